"""What a client has at the end: the outputs of each task, the merged tables, and pictures, in one directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.jobs.collect import CollectedTask, collect_outputs, write_whole
from tasks.jobs.csv_text import csv_from_table
from tasks.jobs.merge_results import MEMBERS_FILE, ORBITS_FILE, MergedResults, merge_results
from tasks.jobs.monitor import JobWatch
from tasks.jobs.output_files import without_row_numbers
from tasks.jobs.plots import Picture, pictures_of_orbits
from tasks.records.ids import TaskId


@dataclass(frozen=True)
class JobResults:
    """The results of a job on this machine."""

    output: Path
    tasks: list[CollectedTask]
    merged: MergedResults
    pictures: list[Picture]


def collect_results(watch: JobWatch, *, orbit_ids: Mapping[TaskId, str], output: Path) -> JobResults:
    """Download the outputs of every task that has come to an end, merge them and draw them.

    Order: outputs of the tasks, then `recovered_orbits.csv`, `recovered_orbit_members.csv` and the pictures.
    Twice: the same files again; what is there is not downloaded again.
    """
    statuses = {task_id: watch.statuses[task_id] for task_id in watch.task_ids}
    tasks = collect_outputs(watch.bucket, watch.layout, statuses=statuses, orbit_ids=orbit_ids, output=output)
    merged = merge_results(task for task in tasks if task.status.state == "succeeded")
    write_whole(output / f"{ORBITS_FILE}.csv", csv_from_table(merged.orbits))
    write_whole(output / f"{MEMBERS_FILE}.csv", csv_from_table(without_row_numbers(merged.members)))
    pictures = pictures_of_orbits(merged.orbits)
    for picture in pictures:
        write_whole(output / picture.file_name, picture.body)
    return JobResults(output, tasks, merged, pictures)
