"""Small real jobs for tests: some objects of the demo with the detections about them."""

from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.demo import DemoProblem, demo_problem
from tasks.engines.settings import EngineSettings, settings_from_items
from tasks.inputs.job_inputs import JobInputs, inputs_from_tables

ONE_BLOCK_A_WEEK = {"range_and_shift.exposures_per_block": "20"}


@lru_cache(maxsize=1)
def whole_demo() -> DemoProblem:
    return demo_problem(seed=5)


def observations_of(objects: tuple[str, ...]) -> pa.Table:
    """Detections, true and false, in the exposures of these objects."""
    demo = whole_demo()
    own = pc.is_in(demo.truth["object_id"], pa.array(objects))
    exposures = demo.observations.filter(own)["exposure_id"]
    return demo.observations.filter(pc.is_in(demo.observations["exposure_id"], exposures.combine_chunks()))


def orbits_of(objects: tuple[str, ...]) -> pa.Table:
    demo = whole_demo()
    return demo.test_orbits.filter(pc.is_in(demo.test_orbits["orbit_id"], pa.array(objects)))


def small_inputs(*objects: str, settings: EngineSettings | None = None) -> JobInputs:
    """A job with one test orbit for each of the objects (Hebe when none is named)."""
    objects = objects or ("Hebe",)
    return inputs_from_tables(
        observations=observations_of(objects),
        orbits=orbits_of(objects),
        settings=settings or settings_from_items(ONE_BLOCK_A_WEEK),
    )
