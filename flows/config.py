"""`python -m flows.config`: every key of config.csv, explained; --output writes them as a config."""

import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path

from flows.terminal import command_line
from flows.terminal.verb import Verb
from tasks.errors import BadInputError
from tasks.inputs.config_file import config_keys
from tasks.wording import counted

COLUMNS = ("key", "value", "expected", "meaning")
LEFT_OUT = "default_sigma_deg"
"""A config that names it, with whatever value, has missing uncertainties filled in with it and not by observatory."""
NOT_WRITTEN = (LEFT_OUT, "thor.")
"""How keys begin that say something by being named; those of upstream are refused with another engine."""


@dataclass(frozen=True)
class KeyReport:
    """A key of config.csv."""

    key: str
    #: Its default; empty: nothing is said.
    value: str
    #: What it may be.
    expected: str
    meaning: str


@dataclass(frozen=True)
class ConfigReport:
    """All keys, and the file that they were written to."""

    keys: list[KeyReport]
    output: str | None


def explain(output: Path | None = None) -> ConfigReport:
    """Explain every key of config.csv: its default, what it may be, what it means.

    A key of ADES may name an observatory, such as ades.X05.telescope.aperture; ades.band.FILTER is the ADES band of a
    filter. With --output they are written as a config: change values, and delete the rows whose default you keep.

    Args:
        output: The csv to write: key,value,expected,meaning. It must not be there yet.
    """
    keys = [KeyReport(each.key, each.text, each.expected, each.help) for each in config_keys().values()]
    if output is not None:
        write(keys, output)
    return ConfigReport(keys, None if output is None else str(output.absolute()))


def written(keys: list[KeyReport]) -> list[KeyReport]:
    """Return the keys that a config with the defaults has."""
    return [each for each in keys if not each.key.startswith(NOT_WRITTEN)]


def write(keys: list[KeyReport], output: Path) -> None:
    """Write the keys as a config; a file that is there may be a person's work, and stays."""
    text = io.StringIO()
    rows = [(each.key, each.value, each.expected, each.meaning) for each in written(keys)]
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text.getvalue())
    except OSError as error:
        raise BadInputError(f"Cannot write {output}: {error.strerror}. Choose another --output.") from error


def show(report: ConfigReport) -> None:
    """Print the keys, or where they were written."""
    if report.output is None:
        command_line.print_table(COLUMNS, [(each.key, each.value, each.expected, each.meaning) for each in report.keys])
        return
    command_line.print_line(
        f"Config: {report.output} ({counted(len(written(report.keys)), 'key')} with their defaults)"
    )
    command_line.print_line(
        f"{LEFT_OUT} is left out: without it missing uncertainties are filled in by observatory, with it by its value."
    )


main = Verb("config", explain, show=show)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
