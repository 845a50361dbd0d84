"""A directory of results, read: what `flows.submit` and `flows.collect` left there. docs/python-api.md shows it."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from tasks.errors import BadInputError
from tasks.results.completeness import OBJECTS_FILE
from tasks.results.completeness import ORBITS_FILE as TRUTH_ORBITS_FILE
from tasks.results.job_results import PLOTS
from tasks.results.merge_results import MEMBERS_FILE, ORBITS_FILE
from tasks.results.report import REPORT_FILE

TEXT_COLUMNS = ("orbit_id", "obs_id", "object_id", "cluster_id", "observatory_code", "filter", "verdict", "task_id")
"""Columns of csv files that are text, also where each value looks like a number: object 433, observatory 070."""


@dataclass(frozen=True)
class ResultFiles:
    """What a job left in its output directory, `flows.submit` and `flows.collect` alike; tables are read when asked."""

    directory: Path

    @property
    def orbits(self) -> pa.Table:
        """Recovered orbits, one row per object; docs/outputs.md has the columns. `.to_pandas()` for pandas."""
        return pq.read_table(self.orbits_file)

    @property
    def members(self) -> pa.Table:
        """Detections of recovered orbits with their residuals."""
        return pq.read_table(self._existing(f"{MEMBERS_FILE}.parquet"))

    @property
    def truth_objects(self) -> pa.Table | None:
        """What there was of each object and what was found; None where the observations tell no truth."""
        return self._truth(OBJECTS_FILE)

    @property
    def truth_orbits(self) -> pa.Table | None:
        """Whether each orbit is pure; None where the observations tell no truth."""
        return self._truth(TRUTH_ORBITS_FILE)

    @property
    def orbits_file(self) -> Path:
        """The parquet file of `orbits`."""
        return self._existing(f"{ORBITS_FILE}.parquet")

    @property
    def adam_core_orbits_file(self) -> Path:
        """For `adam_core.orbits.Orbits.from_parquet`."""
        return self._existing(f"{ORBITS_FILE}_adam_core.parquet")

    @property
    def adam_core_members_file(self) -> Path:
        """For `adam_core.orbit_determination.FittedOrbitMembers.from_parquet`."""
        return self._existing(f"{MEMBERS_FILE}_adam_core.parquet")

    @property
    def report(self) -> Path:
        """The page that shows all of it."""
        return self._existing(REPORT_FILE)

    @property
    def ades(self) -> list[Path]:
        """Reports for the Minor Planet Center, one per observatory."""
        return sorted(self.directory.glob("ades_*.psv"))

    @property
    def plots(self) -> list[Path]:
        """The pictures, PNG."""
        return sorted((self.directory / PLOTS).glob("*.png"))

    def task_table(self, task_id: str, name: str) -> pa.Table:
        """Return a table of a task, such as `clusters` or `od_orbits`."""
        return _from_csv(self._existing(f"tasks/{task_id}/outputs/{name}.csv"))

    def _truth(self, name: str) -> pa.Table | None:
        path = self.directory / f"{name}.csv"
        return _from_csv(path) if path.is_file() else None

    def _existing(self, name: str) -> Path:
        path = self.directory / name
        if not path.is_file():
            raise BadInputError(
                f"Cannot read {path}: there is no such file. Expected the output of a job that was collected: "
                "`python -m flows.collect JOB --output DIR` makes one."
            )
        return path


def _from_csv(path: Path) -> pa.Table:
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(TEXT_COLUMNS, pa.string()), null_values=[""], strings_can_be_null=True
    )
    return pyarrow.csv.read_csv(path, convert_options=convert)
