"""Reports to the Minor Planet Center: of every certain object what was not reported yet, and nothing twice.

Order: the register of a report is created, and only then its files are written, from the register. Its number is the
next free one, so of two runs one creates it. Killed in between, the next run writes the files. A survey without the
keys `ades.*` of an observatory reports nothing of it, and registers nothing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tasks.records.survey import Reported
from tasks.results.ades_file import AdesFiles, ades_files
from tasks.results.merge_results import MergedResults
from tasks.surveys.objects import SurveyObjects
from tasks.surveys.survey_files import SurveyFiles, objects_in

REGISTER_LEAF, DONE_LEAF = "register.json", "written.json"


@dataclass(frozen=True)
class Report:
    """What a run has reported."""

    number: int
    #: Object names of the files to send.
    files: tuple[str, ...]
    n_objects: int
    n_observations: int


def report_what_is_new(
    files: SurveyFiles, objects: SurveyObjects, folder: str, ades: Mapping[str, str]
) -> Report | None:
    """Report the certain objects' observations that are in no register; None: there is nothing to report.

    Parameters
    ----------
    folder
        Of the night after which the objects are these.
    ades
        Checked config keys `ades.*`.
    """
    registers = read_registers(files)
    for each in registers:
        if files.read(files.layout.report(each.number, DONE_LEAF)) is None:
            _write(files, each, ades)
    names = reported_names(registers)
    complete = _certain(objects, names)
    fresh = _only(complete, lambda obs_id: obs_id not in names)
    written = ades_files(fresh, ades, job_id=files.layout.survey_id) if len(fresh.members) else AdesFiles({}, ())
    if not written.bodies:
        return None
    codes = {name.removeprefix("ades_").removesuffix(".psv") for name in written.bodies}
    register = _register(fresh, codes, number=len(registers) + 1, folder=folder)
    if not files.create(files.layout.report(register.number, REGISTER_LEAF), register.to_bytes()):
        return report_what_is_new(files, objects, folder, ades)  # somebody else was faster: look again
    return _write(files, register, ades)


def read_registers(files: SurveyFiles) -> list[Reported]:
    """Return what was reported, in the order of the reports."""
    ending = f"/{REGISTER_LEAF}"
    names = [info.name for info in files.bucket.list(files.layout.reported, ending=ending)]
    return [Reported.from_bytes(files.bucket.read(name).body) for name in names]


def reported_names(registers: list[Reported]) -> dict[str, str]:
    """Return the trkSub under which each observation was reported."""
    return {obs_id: name for each in registers for name, ids in each.observations.items() for obs_id in ids}


def _certain(objects: SurveyObjects, names: Mapping[str, str]) -> MergedResults:
    """Return the certain objects, each under the name that it was reported by."""
    certain = objects.confirmed()
    complete = certain.completed()
    by_name = []
    for name, members in zip(certain.ids, certain.used_ids, strict=True):
        before = Counter(names[obs_id] for obs_id in sorted(members) if obs_id in names)
        by_name.append(before.most_common(1)[0][0] if before else name)
    place = complete.orbits.column_names.index("trkSub")
    orbits = complete.orbits.set_column(place, "trkSub", pa.array(by_name, pa.string()))
    return MergedResults(orbits, complete.members, complete.n_before)


def _only(complete: MergedResults, wanted) -> MergedResults:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Return the objects with those of their detections in use that are wanted; objects without any are left out."""
    used = complete.members.filter(pc.equal(complete.members["outlier"], 0))
    members = used.filter(pa.array([wanted(obs_id) for obs_id in used["obs_id"].to_pylist()], pa.bool_()))
    orbits = complete.orbits.filter(pc.is_in(complete.orbits["orbit_id"], members["orbit_id"].combine_chunks()))
    return MergedResults(orbits, members, complete.n_before)


def _register(fresh: MergedResults, codes: set[str], *, number: int, folder: str) -> Reported:
    name_of = dict(zip(fresh.orbits["orbit_id"].to_pylist(), fresh.orbits["trkSub"].to_pylist(), strict=True))
    observations: dict[str, list[str]] = {}
    taken: set[str] = set()
    for row in fresh.members.select(["orbit_id", "obs_id", "observatory_code"]).to_pylist():
        if row["observatory_code"] in codes and row["obs_id"] not in taken:
            taken.add(row["obs_id"])
            observations.setdefault(name_of[row["orbit_id"]], []).append(row["obs_id"])
    kept = {name: tuple(sorted(ids)) for name, ids in sorted(observations.items())}
    return Reported(number=number, folder=folder, observations=kept)


def _write(files: SurveyFiles, register: Reported, ades: Mapping[str, str]) -> Report:
    """Write the files of a register, from the objects that it was made of."""
    names = reported_names([register])
    matter = _only(_certain(objects_in(files, register.folder), names), names.__contains__)
    written = ades_files(matter, ades, job_id=files.layout.survey_id)
    for name, body in written.bodies.items():
        files.bucket.write(files.layout.report(register.number, name), body)
    files.create(files.layout.report(register.number, DONE_LEAF), b"{}")
    paths = tuple(files.layout.report(register.number, name) for name in sorted(written.bodies))
    return Report(register.number, paths, len(register.observations), len(names))
