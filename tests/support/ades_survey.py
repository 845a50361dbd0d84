"""A survey as an astronomer has one: ADES PSV, of a synthetic main belt with places by ASSIST and false detections.

`python -m tests.support.ades_survey survey.psv` writes it. Which object a detection is of stands in `trkSub`, as in
simulations: `A0012`; a false detection has a name of its own there.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.results.ades_file import obs_time
from tests.bench.cases import CASES
from tests.bench.survey import generate_survey

CASE = replace(CASES["20k"], name="ades", orbits=150, detections=6000)

HEADER = (
    "# version=2022\n# observatory\n! mpcCode X05\n# submitter\n! name J. Doe\n# observers\n! name A. Bee\n"
    "# measurers\n! name J. Doe\n# telescope\n! design reflector\n! aperture 8.4\n! detector CCD\n"
    "trkSub|obsSubID|mode|stn|obsTime|ra|dec|rmsRA|rmsDec|astCat|mag|rmsMag|band\n"
)


def ades_survey(*, seed):
    """(The file, the object of each detection by its `obsSubID`; None: a false one)."""
    survey = generate_survey(CASE, seed)
    truth = dict(zip(survey.truth["obs_id"].to_pylist(), survey.truth["object_id"].to_pylist(), strict=True))
    rng = np.random.default_rng([seed, 1])
    magnitudes = {name: rng.uniform(19.0, 23.0) for name in sorted({*truth.values()} - {None})}
    rows = []
    for detection in survey.observations.to_pylist():
        object_id = truth[detection["obs_id"]]
        if object_id is not None:
            detection["mag"] = rng.normal(magnitudes[object_id], detection["mag_sigma"])
        rows.append(_row(detection, object_id))
    return HEADER + "".join(rows), truth


def _row(detection, object_id):
    name = detection["obs_id"] if object_id is None else f"A{object_id[-4:]}"
    sigma = f"{detection['RA_sigma_deg'] * 3600:.3f}"
    return (
        f"{name}|{detection['obs_id']}|CCD|{detection['observatory_code']}|{obs_time(detection['mjd_utc'])}"
        f"|{detection['RA_deg']:.7f}|{detection['Dec_deg']:.7f}|{sigma}|{sigma}|Gaia3"
        f"|{detection['mag']:.2f}|{detection['mag_sigma']:.2f}|{detection['filter']}\n"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(ades_survey(seed=1)[0])
