"""Recovered orbits of a few real objects, made once by the engine itself, as `merge_results` gives them."""

from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.interface import STAGES, LinkingProblem
from tasks.engines.registry import engine_by_name
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import OBJECT_ID
from tasks.results.merge_results import FOUND_BY, MergedResults
from tests.support.job_inputs import observations_of, orbits_of, whole_demo

OBJECTS = ("Hebe", "Eros", "Agamemnon")


@lru_cache(maxsize=1)
def merged_demo() -> tuple[MergedResults, pa.Table]:
    """Results of a job with these objects' test orbits, and its observations."""
    observations, test_orbits = observations_of(OBJECTS), orbits_of(OBJECTS)
    engine, settings = engine_by_name("builtin"), EngineSettings()
    survey = engine.prepare(observations, settings)
    orbits, members = [], []
    for row, name in enumerate(test_orbits["orbit_id"].to_pylist()):
        problem = LinkingProblem(survey=survey, test_orbit=test_orbits.slice(row, 1), settings=settings)
        tables: dict[str, pa.Table] = {}
        for stage in STAGES:
            tables |= getattr(engine, stage)(problem, tables).tables
        found = tables["recovered_orbits"]
        for field, value in zip(FOUND_BY, (name, name, 1), strict=True):
            found = found.append_column(field, pa.array([value] * len(found), field.type))
        own = tables["recovered_orbit_members"]
        column = own.column_names.index("orbit_index")
        shifted = pa.array(own["orbit_index"].to_numpy() + sum(map(len, orbits)), pa.int32())
        orbits.append(found)
        members.append(own.set_column(column, own.schema.field(column), shifted))
    merged = pa.concat_tables(orbits).combine_chunks(), pa.concat_tables(members).combine_chunks()
    truth = whole_demo().truth
    rows = pc.index_in(observations["obs_id"], truth["obs_id"].combine_chunks()).combine_chunks()
    known = observations.append_column(OBJECT_ID, truth["object_id"].combine_chunks().take(rows))
    return MergedResults(*merged, n_before=len(merged[0])), known
