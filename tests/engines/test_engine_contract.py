"""What every engine promises: stages that meet only in tables, and the same tables every time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tasks.engines import tables as schemas
from tasks.engines.demo import demo_problem
from tasks.engines.errors import EngineInputError
from tasks.engines.interface import STAGES, Engine, LinkingProblem
from tasks.engines.registry import engine_by_name
from tasks.engines.settings import ENGINES, EngineSettings
from tasks.engines.warm_up import warm_up
from tests.support.linking import run_prepared, run_stages

SETTINGS = EngineSettings()

TABLES = {
    "projected_observations": schemas.PROJECTED_OBSERVATIONS,
    "clusters": schemas.CLUSTERS,
    "cluster_members": schemas.CLUSTER_MEMBERS,
}


@cache
def demo():
    return demo_problem(seed=1)


def orbit_of(name):
    orbits = demo().test_orbits
    return orbits.slice(orbits["orbit_id"].to_pylist().index(name), 1)


@cache
def results():
    return run_stages(engine_by_name("builtin"), demo().observations, orbit_of("Hebe"), SETTINGS)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_has_its_name_and_every_stage(name):
    engine: Engine = engine_by_name(name)

    assert engine.name == name
    assert all(callable(getattr(engine, stage)) for stage in STAGES)


def test_an_unknown_engine_is_refused_with_the_names_there_are():
    with pytest.raises(EngineInputError, match="'gauss': expected one of builtin, thor"):
        engine_by_name("gauss")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_its_schema(name):
    assert results()[name].schema == TABLES[name]


def test_one_orbit_is_recovered_and_it_is_the_object():
    truth = np.array(demo().truth["object_id"].to_pylist(), dtype=object)
    members = results()["recovered_orbit_members"]

    assert len(results()["recovered_orbits"]) == 1
    assert set(truth[members["obs_index"].to_numpy()]) == {"Hebe"}


def test_the_same_problem_gives_the_same_bytes():
    again = run_stages(engine_by_name("builtin"), demo().observations, orbit_of("Hebe"), SETTINGS)

    assert again.keys() == results().keys()
    assert [name for name, table in again.items() if not table.equals(results()[name])] == []


@pytest.mark.parametrize("exposures_per_block", [40, 10_000])
def test_blocks_and_threads_change_no_byte(exposures_per_block):
    settings = replace(
        SETTINGS, range_and_shift=replace(SETTINGS.range_and_shift, exposures_per_block=exposures_per_block)
    )
    engine = engine_by_name("builtin")
    with ThreadPoolExecutor(2) as pool:
        tables = run_prepared(
            engine,
            engine.prepare(demo().observations, settings),
            orbit_of("Hebe"),
            settings,
            map_blocks=lambda function, blocks: list(pool.map(function, blocks)),
        )

    assert [name for name, table in tables.items() if not table.equals(results()[name])] == []


def test_a_test_orbit_that_nothing_is_near_gives_empty_tables_of_the_same_columns():
    lonely = demo().observations.slice(0, 5)

    tables = run_stages(engine_by_name("builtin"), lonely, orbit_of("Pholus"), SETTINGS)

    assert {name: table.schema.names for name, table in tables.items()} == {
        name: table.schema.names for name, table in results().items()
    }
    assert len(tables["recovered_orbits"]) == 0


def test_a_survey_knows_its_memory_and_stays_as_it_was():
    engine = engine_by_name("builtin")
    survey = engine.prepare(demo().observations, SETTINGS)
    before = {name: np.array(value) for name, value in vars(survey).items()}

    for stage_tables in [{}]:
        engine.range_and_shift(LinkingProblem(survey, orbit_of("Hebe"), SETTINGS), stage_tables)

    assert survey.nbytes > 100 * len(demo().observations)
    assert [name for name, value in vars(survey).items() if not np.array_equal(np.array(value), before[name])] == []


def test_warming_up_runs_every_stage():
    assert warm_up() > 0.0
