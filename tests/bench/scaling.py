"""What a job costs as it grows: requests by class and price, bytes, messages, Prefect's rows.

`python -m tests.bench.scaling` prints the table of docs/scaling.md. A model of counts: `tests/bench/test_scaling.py`
holds it against the requests that a job makes here.
"""

from dataclasses import dataclass

OUTPUTS = 13
"""Files that a short task brings back."""
LISTED_AT_ONCE = 1000
"""Objects in one answer of a listing."""
DOLLARS_CLASS_A = 0.05 / 10_000
"""One write or listing of a regional bucket of Google Cloud Storage, standard class, as listed in 2026."""
DOLLARS_CLASS_B = 0.004 / 10_000
"""One read, or one look at an object's metadata."""
RAMP_WRITES_PER_SECOND = 1000
"""So many writes a second a bucket takes at once; more only after some time, doubled every 20 minutes, and names that
follow one another share a range of its index."""
PREFECT_RUNS = {"off": 0, "task": 1, "stages": 6}
PREFECT_BYTES_OF_RUN = 47_000
"""Measured: 38 to 56 kB of database."""
BYTES_OF_MESSAGE = 160
ROW_BYTES = 89.4
"""One detection in observations.csv: 894 MB for 10 000 000."""
SURVEY_BYTES = 139.0
"""One detection, prepared, in a worker's memory: 1 389 MB for 10 000 000."""


@dataclass(frozen=True)
class Requests:
    """Requests to a bucket."""

    #: Class A: writes and listings.
    writes: int
    lists: int
    #: Class B: reads, and looks at metadata.
    reads: int
    looks: int

    @property
    def dollars(self) -> float:
        """What Google asks for them."""
        return (self.writes + self.lists) * DOLLARS_CLASS_A + (self.reads + self.looks) * DOLLARS_CLASS_B


def requests_of_submit(n_tasks: int) -> Requests:
    """Return what a submission asks: observations, config, manifest twice; test orbit and status of each task."""
    return Requests(writes=2 * n_tasks + 4, lists=1, reads=2, looks=0)


def requests_of_workers(n_tasks: int, n_workers: int) -> Requests:
    """Return what short tasks ask that each succeed at the first attempt."""
    return Requests(
        writes=(2 + OUTPUTS) * n_tasks,  # claimed, succeeded
        lists=0,
        reads=2 * n_tasks + 3 * n_workers,  # status, test orbit; manifest, config and observations once a worker
        looks=2 * n_tasks,  # is it cancelled? are these the observations that are in memory?
    )


def requests_of_look(n_tasks: int) -> Requests:
    """Return what one look of `monitor`, `status` or `repair` asks."""
    return Requests(writes=0, lists=-(-n_tasks // LISTED_AT_ONCE), reads=0, looks=0)


def requests_of_collect(n_tasks: int, *, merge_only: bool) -> Requests:
    """Return what bringing home asks: each status, and each output that is wanted."""
    files = 2 if merge_only else OUTPUTS
    return Requests(writes=0, lists=-(-n_tasks // LISTED_AT_ONCE), reads=(1 + files) * n_tasks + 4, looks=0)


def row(n_tasks: int, n_workers: int) -> str:
    """Return a row of the table in docs/scaling.md."""
    parts = [
        requests_of_submit(n_tasks),
        requests_of_workers(n_tasks, n_workers),
        requests_of_collect(n_tasks, merge_only=True),
    ]
    writes, reads = sum(part.writes + part.lists for part in parts), sum(part.reads + part.looks for part in parts)
    dollars = sum(part.dollars for part in parts)
    megabytes = {level: runs * n_tasks * PREFECT_BYTES_OF_RUN / 1e6 for level, runs in PREFECT_RUNS.items()}
    cells = (
        f"{n_tasks:,}",
        f"{writes:,}",
        f"{reads:,}",
        f"{dollars:,.2f}",
        f"{requests_of_look(n_tasks).lists:,}",
        f"{n_tasks * BYTES_OF_MESSAGE / 1e6:,.1f}",
        f"{megabytes['task']:,.0f}",
        f"{megabytes['stages']:,.0f}",
    )
    return "| " + " | ".join(cells).replace(",", " ") + " |"


if __name__ == "__main__":
    for n_tasks in (100, 10_000, 1_000_000):
        print(row(n_tasks, n_workers=100))
