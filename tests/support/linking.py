"""Run an engine on a problem, all stages or some."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from adam_core.dynamics.propagation import propagate_2body
from adam_core.time import Timestamp

from tasks.engines.interface import STAGES, Engine, LinkingProblem, MapBlocks, Stage, map_blocks_in_turn
from tasks.engines.settings import EngineSettings
from tests.support.sky import AXES, orbit_table, orbits_from_states


def run_stages(
    engine: Engine,
    observations: pa.Table,
    test_orbit: pa.Table,
    settings: EngineSettings,
    *,
    stages: Sequence[Stage] = STAGES,
    map_blocks: MapBlocks = map_blocks_in_turn,
) -> dict[str, pa.Table]:
    """All tables that the stages give."""
    return run_prepared(engine, engine.prepare(observations, settings), test_orbit, settings, stages, map_blocks)


def run_prepared(
    engine: Engine,
    survey: object,
    test_orbit: pa.Table,
    settings: EngineSettings,
    stages: Sequence[Stage] = STAGES,
    map_blocks: MapBlocks = map_blocks_in_turn,
) -> dict[str, pa.Table]:
    problem = LinkingProblem(survey, test_orbit, settings, map_blocks)
    tables: dict[str, pa.Table] = {}
    for stage in stages:
        tables |= getattr(engine, stage)(problem, tables).tables
    return tables


def moved_to(test_orbit: pa.Table, epoch_mjd_tdb: float) -> pa.Table:
    """The test orbit at another epoch, by adam-core's two-body propagation: ASSIST cannot move its own perturbers."""
    state = np.array([[test_orbit[name][0].as_py() for name in AXES]])
    orbits = orbits_from_states(["moved"], state, test_orbit["epoch"][0].as_py())
    moved = propagate_2body(orbits, Timestamp.from_mjd([epoch_mjd_tdb], scale="tdb"))
    return orbit_table(test_orbit["orbit_id"].to_pylist(), moved.coordinates.values, epoch_mjd_tdb)


def wrong_by(test_orbit: pa.Table, fraction: float, rng: np.random.Generator) -> pa.Table:
    """The test orbit with its position and its velocity moved by that fraction of their lengths, in any direction."""
    state = np.array([test_orbit[name][0].as_py() for name in AXES])
    for part in (slice(0, 3), slice(3, 6)):
        direction = rng.normal(size=3)
        state[part] += fraction * np.linalg.norm(state[part]) * direction / np.linalg.norm(direction)
    row = test_orbit.to_pylist()[0] | dict(zip(AXES, state.tolist(), strict=True))
    return pa.Table.from_pylist([row], schema=test_orbit.schema)
