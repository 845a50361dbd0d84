"""One way through a file of observations: its blocks are checked side by side, what they say is put together in order.

The outcome does not depend on where the blocks begin: the same rows, notes and first error as of the file as a whole.
"""

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import pyarrow as pa

from tasks.errors import BadInputError
from tasks.inputs.readers.blocks import Block, Source, in_order
from tasks.inputs.readers.measurements import Blanked, notes_of
from tasks.inputs.readers.uncertainties import Filled, fill_uncertainties
from tasks.inputs.readers.unique_ids import Hashes, hashes_of_ids, require_unique_ids
from tasks.inputs.table_file import WrongValueError, require_rows

MOST_THREADS = 4
"""Arrow parses and checks without the interpreter's lock, but the disk and one thread that writes set the pace."""

Result = TypeVar("Result")


@dataclass
class Faults:
    """The first check that any block fails, and what it says of all of them."""

    check: int | None = None
    error: BadInputError | None = None
    count: int | None = None

    def add(self, check: int, error: BadInputError) -> None:
        """Take what a block says, after all blocks before it. `check`: how many it had begun."""
        if self.check is None or check < self.check:
            self.check, self.error = check, error
            self.count = error.count if isinstance(error, WrongValueError) else None
        elif check == self.check and isinstance(error, WrongValueError):
            self.count = None if self.count is None or error.count is None else self.count + error.count

    def raise_first(self, n_rows: int) -> None:
        """Raise the error, if there is any, as that of a file of `n_rows` rows."""
        if isinstance(self.error, WrongValueError):
            raise self.error.of_whole_file(count=self.count, n_rows=n_rows) from self.error
        if self.error is not None:
            raise self.error


@dataclass(frozen=True)
class _Checked(Generic[Result]):
    """What came of one block."""

    block: Block
    result: Result | None = None
    hashes: Hashes | None = None
    filled: Filled = field(default_factory=Filled)
    blanked: Blanked = field(default_factory=Counter)
    error: BadInputError | None = None


class Reading:
    """Reads a file of observations once. `n_rows` and `notes` are whole when the results have come to their end."""

    def __init__(self, source: Source, *, fills_uncertainties: bool) -> None:
        self._source = source
        self._fills_uncertainties = fills_uncertainties
        self.n_rows = 0
        self.notes: tuple[str, ...] = ()

    def results(self, work: Callable[[pa.Table], Result]) -> Iterator[Result]:
        """Yield what `work` makes of the rows of each block (`tables.OBSERVATIONS`, in the order of the file).

        Several threads call `work`. After the first fault the rest is only checked, so as to count.

        Raises
        ------
        BadInputError
            For the first thing that is wrong with the file; results that came before it count for nothing.
        """
        faults, filled = Faults(), Filled()
        n_read, left_out = 0, Counter[str]()
        blanked: Blanked = Counter()
        hashes: list[Hashes] = []
        with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
            check = functools.partial(_checked, work, self._fills_uncertainties)
            for each in in_order(pool, check, self._source.blocks(pool)):
                self.n_rows += len(each.block.file.table)
                n_read += each.block.n_read
                left_out.update(each.block.left_out)
                filled.add(each.filled)
                blanked.update(each.blanked)
                if each.error is not None:
                    faults.add(each.block.file.checks.begun, each.error)
                if each.hashes is not None:
                    hashes.append(each.hashes)
                if faults.error is None and each.result is not None:
                    yield each.result
            faults.raise_first(self.n_rows)
            if not self.n_rows and left_out.total():
                raise BadInputError(
                    f"Cannot use {self._source.name}: none of its {n_read} {self._source.unit} can be used, since "
                    f"{_reasons(left_out)}. Expected at least one detection with a position of its own."
                )
            require_rows(self._source.name, self.n_rows)
            require_unique_ids(self._source, hashes, pool)
        self.notes = (
            *(
                f"{count} of {n_read} {self._source.unit} of {self._source.name} are left out: they {why}."
                for why, count in left_out.items()
                if count
            ),
            *notes_of(blanked, self.n_rows),
            *filled.notes(self.n_rows),
        )


def _reasons(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} {why}" for why, count in left_out.items() if count)


def _checked(work: Callable[[pa.Table], Result], fills_uncertainties: bool, block: Block) -> _Checked[Result]:  # noqa: FBT001
    if not len(block.file.table):
        return _Checked(block)
    try:
        table, blanked = block.detections()
    except BadInputError as error:
        return _Checked(block, error=error)
    ids = table["obs_id"].combine_chunks()
    hashes = hashes_of_ids(ids) if block.columns.obs_id else None
    table, filled = fill_uncertainties(table) if fills_uncertainties else (table, Filled())
    return _Checked(block, work(table), hashes, filled, blanked)
