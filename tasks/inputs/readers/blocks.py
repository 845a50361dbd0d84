"""What every reader gives: blocks of rows as they stand in the file; and how to work on several, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import pyarrow as pa

from tasks.inputs.readers.detections import ObservationColumns, detections_of_block
from tasks.inputs.readers.measurements import Blanked
from tasks.inputs.table_file import TableFile

AHEAD = 4
"""Blocks that are under way at one time: more would only wait in memory."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Block:
    """Some rows of a file, not checked yet."""

    file: TableFile
    #: Which of its columns hold what.
    columns: ObservationColumns
    #: Rows (or lines) of the file that this block was made of, and how many of them it leaves out, by why.
    n_read: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: Gives the file its columns; may refuse it.
    prepare: Callable[[TableFile], TableFile] = lambda file: file

    def detections(self) -> tuple[pa.Table, Blanked]:
        """Return the rows of `tables.OBSERVATIONS`, and the values that were taken for none.

        Raises
        ------
        BadInputError
            For the first thing that is wrong.
        """
        return detections_of_block(self.prepare(self.file), self.columns)


class Source(Protocol):
    """A file of observations. Its blocks can be read more than once, always the same."""

    @property
    def name(self) -> str:
        """How it is called in messages."""
        ...

    @property
    def unit(self) -> str:
        """What `Block.n_read` counts: rows, lines."""
        ...

    def blocks(self, pool: Executor) -> Iterator[Block]:
        """Yield the blocks in the order of the file, parsed in the pool's threads.

        Raises
        ------
        BadInputError
            Where the file can't be read on.
        """
        ...


def in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int = AHEAD
) -> Iterator[Result]:
    """Yield the results of `function` in the order of the items, of which `ahead` are under way at one time.

    What `items` itself raises comes after the results of all items before it.
    """
    coming = iter(items)
    under_way: deque[Future[Result]] = deque()
    failure: Exception | None = None
    is_done = False
    while True:
        while not is_done and len(under_way) < ahead:
            try:
                item = next(coming)
            except StopIteration:
                is_done = True
            except Exception as error:  # noqa: BLE001 (raised again, in its turn)
                is_done, failure = True, error
            else:
                under_way.append(pool.submit(function, item))
        if not under_way:
            break
        yield under_way.popleft().result()
    if failure is not None:
        raise failure
