"""`thor-orbits`: choose test orbits that cover the observed sky and time. `python -m flows.orbits --observations F`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from flows.terminal import command_line
from flows.terminal.signature import either_of
from flows.terminal.verb import Verb, thor_flow
from tasks.engines.orbit_selection.choice import ChosenOrbit, GroupCoverage, Selection, SelectionSettings
from tasks.engines.orbit_selection.populations import GROUPS
from tasks.errors import BadInputError
from tasks.inputs.choose_orbits import OrbitRequest, choose_orbits, write_orbits
from tasks.prefect_api import instrument
from tasks.wording import counted

DEFAULT_OUTPUT = Path("orbits.csv")

DEFAULTS = SelectionSettings()

HOW_MANY = either_of("--number", "--coverage")

ORBIT_COLUMNS = ("test orbit", "adds", "covered")
GROUP_COLUMNS = ("group", "in the field", "covered", "share", "expected")


@dataclass(frozen=True)
class OrbitsReport:
    """Which test orbits were chosen and what they are expected to cover."""

    output: str
    #: Share of all objects in the field, as many of each group as the model expects.
    coverage: float
    orbits: tuple[ChosenOrbit, ...]
    groups: tuple[GroupCoverage, ...]
    #: First and last time of each window, MJD TDB.
    windows: tuple[tuple[float, float], ...]
    #: What was left out of the observations or filled in, in words.
    notes: tuple[str, ...]


@thor_flow(name="thor-orbits")
def choose(  # noqa: PLR0913, PLR0917 (what a person may set in the UI)
    observations: Path,
    population: Path | None = None,
    config: Path | None = None,
    number: Annotated[int | None, Field(ge=1), HOW_MANY] = None,
    coverage: Annotated[float, Field(gt=0, le=1), HOW_MANY] = DEFAULTS.coverage,
    groups: Annotated[tuple[str, ...], Parameter(consume_multiple=True, choices=GROUPS)] = DEFAULTS.groups,
    window_days: Annotated[float, Field(gt=0)] = DEFAULTS.window_days,
    field_radius_deg: Annotated[float, Field(gt=0, le=10), Parameter(name="--field-radius")] = (
        DEFAULTS.field_radius_deg
    ),
    output: Path = DEFAULT_OUTPUT,
) -> OrbitsReport:
    """Choose test orbits that cover the observed sky and time from a population, and write them as csv.

    Args:
        observations: File of detections, in any format that `flows.submit` reads, on the machine that runs this.
        population: File of orbits to choose for, in any format of test orbits. Default: the synthetic model.
        config: File of the job's settings, csv of key,value. Default: the defaults of all settings.
        number: How many test orbits, at most. Default: as many as the coverage takes.
        coverage: Stop when this share of each group's objects in the field is covered, unless --number is given.
        groups: Groups of the synthetic model.
        window_days: Cut a longer survey into windows of at most this many days.
        field_radius_deg: Radius to assume for exposures with too few detections to estimate it from, degrees.
        output: The csv to write, on the machine that runs this.
    """
    selection = SelectionSettings(number, coverage, groups_named(groups), window_days, field_radius_deg)
    chosen, notes = choose_orbits(OrbitRequest(observations, population, config, selection))
    write_orbits(chosen.table, output)
    show(chosen, notes)
    return OrbitsReport(str(output.absolute()), chosen.coverage, chosen.orbits, chosen.groups, chosen.windows, notes)


def groups_named(names: Sequence[str]) -> tuple[str, ...]:
    """Return these groups of the synthetic model in the model's order."""
    if not names or not set(names) <= set(GROUPS):
        raise BadInputError(
            f"Cannot choose test orbits: groups are {', '.join(names) or 'none'}: expected some of {', '.join(GROUPS)}."
        )
    return tuple(group for group in GROUPS if group in names)


def show(chosen: Selection, notes: Sequence[str]) -> None:
    """Put the tables beside the flow run."""
    if instrument.is_in_run():
        title = f"{len(chosen.orbits)} test orbits, expected coverage {chosen.coverage:.1%}"
        title = ". ".join((title, *notes))
        rows = [dict(zip(ORBIT_COLUMNS, orbit_row(orbit), strict=True)) for orbit in chosen.orbits]
        instrument.show_table("thor-orbits", rows, title)
        groups = [dict(zip(GROUP_COLUMNS, group_row(group), strict=True)) for group in chosen.groups]
        instrument.show_table("thor-orbits-coverage", groups, "Expected coverage of each group")


def orbit_row(orbit: ChosenOrbit) -> tuple[object, ...]:
    """Return the cells of one test orbit."""
    return orbit.orbit_id, f"{orbit.gained:.1%}", f"{orbit.covered:.1%}"


def group_row(group: GroupCoverage) -> tuple[object, ...]:
    """Return the cells of one group."""
    share = None if group.share is None else f"{group.share:.1%}"
    return group.group, group.in_field, group.covered, share, f"{group.expected:.3g}"


def print_report(report: OrbitsReport) -> None:
    """Print the tables."""
    for note in report.notes:
        command_line.print_line(note)
    command_line.print_table(ORBIT_COLUMNS, [orbit_row(orbit) for orbit in report.orbits])
    command_line.print_line()
    command_line.print_table(GROUP_COLUMNS, [group_row(group) for group in report.groups])
    command_line.print_line()
    windows = counted(len(report.windows), "window")
    command_line.print_line(
        f"{counted(len(report.orbits), 'test orbit')} for {windows} of time; expected coverage "
        f"{report.coverage:.1%}: the share of the objects in the field that at least one of them would catch, of each "
        "group as many as are expected (docs/test-orbits.md)."
    )
    command_line.print_line(f"Test orbits: {report.output}")


main = Verb("orbits", choose, show=print_report, run=choose.fn)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
