"""How well and how fast known objects are recognised: `python -m tests.bench.known_objects CASE...`.

A catalogue in the form of MPCORB, of an epoch 120 days after the middle, holds the 700 objects (by ASSIST) and 1.5
million main-belt orbits that are not there. Without magnitudes, so that nothing but the place tells them apart.
"""

import json
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

from tasks.engines.builtin.astrodynamics.elements import keplerian_from_states
from tasks.engines.known_detections.attribution import attribute_known
from tasks.inputs.catalogue_file import read_catalogue
from tests.bench.survey import BenchSurvey, make_survey
from tests.support.mpcorb import HEAD, mpcorb_lines, packed_number

OTHERS = 1_500_000
DAYS_AFTER = 120


def write_catalogue(survey: BenchSurvey, path: Path, *, others: int = OTHERS) -> dict[str, str]:
    """Write the file; return the designations of the survey's objects: number -> object_id."""
    rng = np.random.default_rng(20261130)
    epoch = float(int(survey.truth_states["epoch"][0].as_py()) + DAYS_AFTER)
    truth = survey.truth_states_at(epoch)
    elements = np.vstack(
        [
            np.column_stack(keplerian_from_states(np.array(list(truth.values()))).T),
            np.column_stack(
                [
                    rng.uniform(2.1, 3.3, others),
                    np.minimum(rng.rayleigh(0.12, others), 0.7),
                    np.minimum(rng.rayleigh(8.0, others), 90.0),
                    *rng.uniform(0.0, 360.0, (3, others)),
                ]
            ),
        ]
    )
    names = [packed_number(row + 1) for row in range(len(elements))]
    lines = mpcorb_lines(names, elements, epoch, mag=np.full(len(names), 16.0))
    with path.open("w") as file:
        file.write(HEAD)
        file.writelines(f"{line[:8]}{'':5}{line[13:]}" for line in lines)
    return {str(row + 1): name for row, name in enumerate(truth)}


def measure(case: str, seed: int = 1) -> dict[str, object]:
    survey = make_survey(case, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "MPCORB.DAT"
        names = write_catalogue(survey, path)
        attribute_known(survey.observations.slice(0, 1000), [])  # kernels, observers
        before = _cpu_seconds()
        found = attribute_known(survey.observations, read_catalogue(path))
        seconds = _cpu_seconds() - before
    truth = dict(zip(survey.truth["obs_id"].to_pylist(), survey.truth["object_id"].to_pylist(), strict=True))
    table = found.observations.select(["obs_id", "known_object"]).to_pylist()
    right = sum(truth[row["obs_id"]] == names.get(row["known_object"], "") for row in table)
    of_objects = sum(name is not None for name in truth.values())
    return {
        "case": case,
        "detections": len(survey.observations),
        "of objects": of_objects,
        "attributed rightly": right,
        "wrongly": len(table) - right,
        "orbits in the catalogue": found.n_orbits,
        "near the field": len(found.orbits),
        "CPU s": round(seconds, 1),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    for each in sys.argv[1:] or ("100k", "clumped"):
        print(json.dumps(measure(each)), flush=True)
