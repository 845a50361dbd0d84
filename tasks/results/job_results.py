"""What a client has at the end, in one directory: outputs of each task, merged tables, pictures and a report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.engines.settings import ClusterAndLinkSettings, EngineSettings, settings_from_items
from tasks.errors import ObjectNotFoundError
from tasks.inputs.ades_settings import checked_ades, without_ades
from tasks.inputs.config_file import items_from_csv
from tasks.inputs.csv_text import csv_from_table
from tasks.jobs.checkpoints import parquet_from_table
from tasks.jobs.collect import JOB_FILE, CollectedTask, collect_outputs, make_own, remove_file, write_whole
from tasks.jobs.finish import ERROR_MESSAGE
from tasks.jobs.monitor import JobWatch
from tasks.jobs.output_files import READ_BY_PROGRAMS, without_row_numbers
from tasks.records.manifest import Manifest
from tasks.results.adam_core_tables import adam_core_members, adam_core_orbits
from tasks.results.ades_file import AdesFiles, ades_files
from tasks.results.completeness import FILES as JUDGED_FILES
from tasks.results.completeness import Completeness, Figures, completeness_of, share_text
from tasks.results.found_by import (
    ShareOfOrbit,
    expected_coverage,
    picture_of_test_orbits,
    shares_of_test_orbits,
)
from tasks.results.job_detections import JobDetections, detections_from_csv, download_observations
from tasks.results.known_of_job import KNOWN_FILE, KNOWN_FILES, known_of_job, totals_of_known
from tasks.results.merge_results import MEMBERS_FILE, ORBITS_FILE, MergedResults, merge_results
from tasks.results.orbit_plots import pictures_of_fits, pictures_of_orbits
from tasks.results.plots import Picture
from tasks.results.recovered_tables import complete_tables
from tasks.results.report import REPORT_FILE, ReportMatter, files_beside, report_page
from tasks.results.sky_map import picture_of_sky

PLOTS = "plots"
"""Directory of the pictures below the output."""

FILES = {
    JOB_FILE: "whose results these are: a directory belongs to one job",
    f"{ORBITS_FILE}.csv": "recovered orbits, one row per object: state, covariance, elements, quality",
    f"{ORBITS_FILE}.parquet": "the same",
    f"{ORBITS_FILE}_adam_core.parquet": "the same objects as adam_core.orbits.Orbits",
    f"{MEMBERS_FILE}.csv": "the detections of each recovered orbit, with residuals",
    f"{MEMBERS_FILE}.parquet": "the same",
    f"{MEMBERS_FILE}_adam_core.parquet": "the same as adam_core.orbit_determination.FittedOrbitMembers",
}
"""Files of merged results, with what each is; docs/outputs.md has their columns."""


MERGED_FILES = frozenset({*(f"{name}.parquet" for name in READ_BY_PROGRAMS), ERROR_MESSAGE})
"""Outputs of a task without which its results can't be merged, or its failure not be explained."""


@dataclass(frozen=True)
class CollectOptions:
    """What a person may ask of collecting."""

    #: Config keys `ades.*`, checked; they go before those of the job.
    ades: Mapping[str, str] = field(default_factory=dict)
    #: Orbits of known objects, blocks of `known_detections.tables.KNOWN_ORBITS`; None: nothing is attributed.
    catalogue: Iterable[pa.Table] | None = None
    #: Of each task only the files that are merged, and why it failed: a sixth of the requests.
    merge_only: bool = False

    def wants(self, file_name: str) -> bool:
        """Tell whether this output of a task is to be brought home."""
        return not self.merge_only or file_name in MERGED_FILES


@dataclass(frozen=True)
class JobResults:
    """The results of a job on this machine."""

    output: Path
    tasks: list[CollectedTask]
    merged: MergedResults
    pictures: list[Picture]
    #: File names of reports for the Minor Planet Center, and sentences on what was not written.
    ades: AdesFiles
    #: Completeness and purity where the observations tell the truth; else empty.
    truth: Figures = field(default_factory=dict)

    @property
    def report(self) -> Path:
        """The page that shows all of it."""
        return self.output / REPORT_FILE

    @property
    def orbits(self) -> Path:
        """The table of recovered orbits."""
        return self.output / f"{ORBITS_FILE}.csv"

    @property
    def plots(self) -> Path:
        """The directory of the pictures."""
        return self.output / PLOTS


def collect_results(
    watch: JobWatch, *, manifest: Manifest, output: Path, options: CollectOptions | None = None
) -> JobResults:
    """Download the outputs of every task that has come to an end, merge them, draw them and report them.

    Order: whose directory it is, outputs of the tasks, the merged tables, the pictures, and last the report that links
    to them.
    Twice: the same files again; what is there is not downloaded again.
    """
    options = options or CollectOptions()
    make_own(output, manifest.job_id)
    config = _config_items(watch.bucket, watch.layout)
    statuses = watch.whole_statuses()
    orbit_ids = dict(zip(manifest.task_ids, manifest.orbit_ids, strict=True))
    tasks = collect_outputs(
        watch.bucket, watch.layout, statuses=statuses, orbit_ids=orbit_ids, output=output, wanted=options.wants
    )
    merged = merge_results(task for task in tasks if task.status.state == "succeeded")
    observations = download_observations(watch.bucket, watch.layout)
    detections = detections_from_csv(observations, merged.members["obs_id"])
    known = known_of_job(
        watch.bucket,
        watch.layout,
        observations=observations,
        catalogue=options.catalogue,
        settings=_settings_of(config, "default_sigma_deg"),
    )
    merged = complete_tables(merged, detections, known.orbits)
    judged = completeness_of(detections, merged.members, settings=_what_is_findable(config))
    _write_tables(merged, output)
    _write_known(known.observations, output)
    for name, table in judged.tables.items():
        write_whole(output / f"{name}.csv", csv_from_table(table))
    shares = shares_of_test_orbits(merged.orbits, manifest.orbit_ids)
    pictures = _drawn(merged, detections, judged, shares, output)
    ades = ades_files(merged, _ades_items(config, options), job_id=manifest.job_id, observers=detections.asked)
    _write_ades(ades, output)
    others = dict.fromkeys(ades.bodies, "the objects as ADES 2022, PSV") | (JUDGED_FILES if judged.tables else {})
    others |= KNOWN_FILES if known.observations is not None else {}
    matter = ReportMatter(
        manifest=manifest,
        config={**config, **options.ades},
        tasks=tasks,
        merged=merged,
        detections=detections,
        pictures=pictures,
        judged=judged,
        shares=shares,
        totals=judged.totals | _expected_totals(manifest) | totals_of_known(known.observations),
        files=files_beside(output, FILES | others),
        notes=(*manifest.notes, *ades.notes),
    )
    write_whole(output / REPORT_FILE, report_page(matter))
    return JobResults(output, tasks, merged, pictures, ades, judged.figures)


def _expected_totals(manifest: Manifest) -> dict[str, str]:
    coverage = expected_coverage(manifest.expected)
    return {} if coverage is None else {"expected coverage": share_text(coverage)}


def _drawn(
    merged: MergedResults,
    detections: JobDetections,
    judged: Completeness,
    shares: Sequence[ShareOfOrbit],
    output: Path,
) -> list[Picture]:
    sky = picture_of_sky(detections, merged.members)
    pictures = [
        *([sky] if sky else []),
        *pictures_of_orbits(merged.orbits),
        *judged.pictures,
        *picture_of_test_orbits(shares),
        *pictures_of_fits(merged.orbits, merged.members),
    ]
    for each in pictures:
        write_whole(output / PLOTS / f"{each.name}.png", each.png)
        write_whole(output / PLOTS / f"{each.name}.svg", each.svg)
        write_whole(output / PLOTS / f"{each.name}.pdf", each.pdf)
    return pictures


def _write_tables(merged: MergedResults, output: Path) -> None:
    flat = {ORBITS_FILE: merged.orbits, MEMBERS_FILE: without_row_numbers(merged.members)}
    for name, table in flat.items():
        write_whole(output / f"{name}.csv", csv_from_table(table))
    tables: dict[str, pa.Table] = flat | {
        f"{ORBITS_FILE}_adam_core": adam_core_orbits(merged.orbits),
        f"{MEMBERS_FILE}_adam_core": adam_core_members(merged.members),
    }
    for name, table in tables.items():
        write_whole(output / f"{name}.parquet", parquet_from_table(table))


def _write_known(known: pa.Table | None, output: Path) -> None:
    if known is not None:
        write_whole(output / f"{KNOWN_FILE}.csv", csv_from_table(known))
        write_whole(output / f"{KNOWN_FILE}.parquet", parquet_from_table(known))


def _write_ades(ades: AdesFiles, output: Path) -> None:
    """Write the files, and remove those of an earlier collect that are no more: nobody shall send them."""
    for path in output.glob("ades_*.psv"):
        if path.name not in ades.bodies:
            remove_file(path)
    for name, body in ades.bodies.items():
        write_whole(output / name, body)


def _config_items(bucket: Bucket, layout: JobLayout) -> dict[str, str]:
    """Return the job's settings as they lie in the bucket; none when they were deleted."""
    try:
        body = bucket.read(layout.config).body
    except ObjectNotFoundError:
        return {}
    return items_from_csv(body, name=layout.config)


def _what_is_findable(config: Mapping[str, str]) -> ClusterAndLinkSettings:
    return _settings_of(config, "cluster_and_link.").cluster_and_link


def _settings_of(config: Mapping[str, str], start: str) -> EngineSettings:
    """Return the settings whose keys begin so; the others as they are by default."""
    return settings_from_items({key: value for key, value in without_ades(config).items() if key.startswith(start)})


def _ades_items(config: Mapping[str, str], options: CollectOptions) -> dict[str, str]:
    return {**checked_ades(config, name="the job's config"), **options.ades}
