"""`thor-orbits`: choose test orbits that cover the observed sky and time. `python -m flows.orbits --observations F`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows.terminal import command_line
from tasks import instrument
from tasks.engines.orbit_selection.choice import ChosenOrbit, GroupCoverage, Selection, SelectionSettings
from tasks.engines.orbit_selection.populations import GROUPS
from tasks.errors import BadInputError
from tasks.inputs.choose_orbits import OrbitRequest, choose_orbits, write_orbits
from tasks.wording import counted

DEFAULT_OUTPUT = Path("orbits.csv")

DEFAULTS = SelectionSettings()

ORBIT_COLUMNS = ("test orbit", "adds", "covered")
GROUP_COLUMNS = ("group", "in the field", "covered", "share")


@dataclass(frozen=True)
class OrbitsReport:
    """Which test orbits were chosen and what they are expected to cover."""

    output: str
    #: Mean of the groups' shares.
    coverage: float
    orbits: tuple[ChosenOrbit, ...]
    groups: tuple[GroupCoverage, ...]
    #: First and last time of each window, MJD TDB.
    windows: tuple[tuple[float, float], ...]
    #: What was left out of the observations or filled in, in words.
    notes: tuple[str, ...]


@flow(name="thor-orbits", description="Choose test orbits that cover the observed sky and time from a population.")
def choose(  # noqa: PLR0913, PLR0917 (what a person may set in the UI)
    observations: Path,
    population: Path | None = None,
    config: Path | None = None,
    number: int | None = None,
    coverage: float = DEFAULTS.coverage,
    groups: tuple[str, ...] = DEFAULTS.groups,
    window_days: float = DEFAULTS.window_days,
    field_radius_deg: float = DEFAULTS.field_radius_deg,
    output: Path = DEFAULT_OUTPUT,
) -> OrbitsReport:
    """Choose test orbits, write them as THOR v1.2's csv, and tell what they cover.

    Args:
        observations: File of detections on the machine that runs this flow, THOR's csv or parquet.
        population: File of orbits to choose for, in the format of test orbits; None: the synthetic model.
        config: File of the job's settings, csv of key,value; None: the defaults.
        number: How many test orbits; None: as many as the coverage takes.
        coverage: Share of each group's objects in the field that are to be covered, when no number is given.
        groups: Groups of the synthetic model.
        window_days: A longer survey is cut into windows of this many days at most.
        field_radius_deg: Radius of an exposure whose detections are too few to tell it, deg.
        output: The csv to write, on the machine that runs this flow.
    """
    selection = selection_settings(number, coverage, groups, window_days, field_radius_deg)
    chosen, notes = choose_orbits(OrbitRequest(observations, population, config, selection))
    write_orbits(chosen.table, output)
    show(chosen, notes)
    return OrbitsReport(str(output.absolute()), chosen.coverage, chosen.orbits, chosen.groups, chosen.windows, notes)


def selection_settings(
    number: int | None, coverage: float, groups: Sequence[str], window_days: float, field_radius_deg: float
) -> SelectionSettings:
    """Return what was asked for, checked."""
    expected = {
        f"number is {number}: expected 1 or more": number is None or number >= 1,
        f"coverage is {coverage}: expected more than 0 and at most 1": 0.0 < coverage <= 1.0,
        f"groups are {', '.join(groups) or 'none'}: expected some of {', '.join(GROUPS)}": groups
        and set(groups) <= set(GROUPS),
        f"window is {window_days} days: expected more than 0": window_days > 0.0,
        f"field radius is {field_radius_deg} deg: expected more than 0 and at most 10": 0.0 < field_radius_deg <= 10.0,  # noqa: PLR2004 (wider than any camera)
    }
    wrong = [text for text, is_right in expected.items() if not is_right]
    if wrong:
        raise BadInputError(f"Cannot choose test orbits: {wrong[0]}.")
    ordered = tuple(group for group in GROUPS if group in groups)
    return SelectionSettings(number, coverage, ordered, window_days, field_radius_deg)


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
    return group.group, group.in_field, group.covered, None if group.share is None else f"{group.share:.1%}"


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
        f"{report.coverage:.1%}: the share of the objects in the field that at least one of them would catch, the mean "
        "over the groups (docs/test-orbits.md)."
    )
    command_line.print_line(f"Test orbits: {report.output}")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "orbits", "Chooses test orbits that cover the observed sky and time from a population, and writes them as csv."
    )
    parser.add_argument(
        "--observations", metavar="FILE", type=Path, required=True, help="detections, as for flows.submit"
    )
    parser.add_argument(
        "--population",
        metavar="FILE",
        type=Path,
        help="orbits to choose for, in the format of test orbits (default: the synthetic model)",
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="settings of the job (default: defaults)")
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument("--number", metavar="N", type=int, help="so many test orbits")
    how_many.add_argument(
        "--coverage",
        metavar="SHARE",
        type=float,
        default=DEFAULTS.coverage,
        help=f"as many as cover this share of each group's objects in the field (default: {DEFAULTS.coverage})",
    )
    parser.add_argument(
        "--groups",
        metavar="GROUP",
        nargs="+",
        choices=list(GROUPS),
        default=list(GROUPS),
        help=f"groups of the synthetic model (default: all: {', '.join(GROUPS)})",
    )
    parser.add_argument(
        "--window-days",
        metavar="DAYS",
        type=float,
        default=DEFAULTS.window_days,
        help=f"a longer survey is cut into windows of this many days at most (default: {DEFAULTS.window_days:g})",
    )
    parser.add_argument(
        "--field-radius",
        metavar="DEG",
        type=float,
        default=DEFAULTS.field_radius_deg,
        help=f"of an exposure whose detections are too few to tell it (default: {DEFAULTS.field_radius_deg})",
    )
    parser.add_argument(
        "--output", metavar="FILE", type=Path, default=DEFAULT_OUTPUT, help=f"csv to write (default: {DEFAULT_OUTPUT})"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    report = command_line.show_run(
        choose,
        observations=options.observations,
        population=options.population,
        config=options.config,
        number=options.number,
        coverage=options.coverage,
        groups=tuple(options.groups),
        window_days=options.window_days,
        field_radius_deg=options.field_radius,
        output=options.output,
    )
    command_line.print_json(report) if options.json else print_report(report)
    return command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
