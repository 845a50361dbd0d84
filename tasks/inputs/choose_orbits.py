"""Test orbits made for a person: reads observations and population, has them chosen, writes THOR v1.2's csv."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.engines.errors import EngineInputError
from tasks.engines.orbit_selection.choice import Selection, SelectionSettings, select_test_orbits
from tasks.engines.orbit_selection.footprint import COLUMNS
from tasks.engines.orbit_selection.objects_in_field import Catalogue
from tasks.engines.settings import EngineSettings
from tasks.errors import BadInputError
from tasks.inputs.config_file import Config, read_config
from tasks.inputs.csv_text import COORDINATES, csv_from_table
from tasks.inputs.observations_file import read_detections
from tasks.inputs.orbits_file import read_orbits

UNITS_ROW = b"--,mjd [TDB],au,au,au,au / d,au / d,au / d\n"
"""Second line of THOR v1.2's file of test orbits."""

MANY_PROCESSES = "{name}.{pid}.part"
"""A file being written: a reader of the directory does not take it for a whole one."""


@dataclass(frozen=True)
class OrbitRequest:
    """What test orbits are wanted for."""

    observations: Path
    #: Orbits of the population; None: the synthetic model.
    population: Path | None = None
    #: Settings of the job that will use them; None: the defaults.
    config: Path | None = None
    selection: SelectionSettings = field(default_factory=SelectionSettings)


def choose_orbits(request: OrbitRequest) -> tuple[Selection, tuple[str, ...]]:
    """Choose test orbits, and say what was left out of the observations; the same files always give the same ones.

    Raises
    ------
    BadInputError
        For what is wrong with a file, or if the survey could find nothing of the population.
    """
    config = read_config(request.config) if request.config else Config()
    catalogue = _catalogue(read_orbits(request.population)) if request.population else None
    detections = read_detections(request.observations, config.observations_format, columns=COLUMNS)
    chosen = choose_for_observations(
        detections.table,
        settings=config.settings,
        selection=request.selection,
        catalogue=catalogue,
        name=str(request.observations),
    )
    return chosen, (*detections.notes, *chosen.notes)


def choose_for_observations(
    observations: pa.Table,
    *,
    settings: EngineSettings,
    selection: SelectionSettings,
    catalogue: Catalogue | None = None,
    name: str,
) -> Selection:
    """Choose test orbits for a table of observations, called `name` in messages."""
    try:
        return select_test_orbits(observations, settings=settings, selection=selection, catalogue=catalogue)
    except EngineInputError as error:
        raise BadInputError(f"Cannot choose test orbits for {name}: {error}") from error


def orbits_csv(orbits: pa.Table) -> bytes:
    """Return test orbits as THOR v1.2's csv: a header, a row of units, a row an orbit."""
    header, _, rows = csv_from_table(orbits.select(["orbit_id", "epoch", *COORDINATES])).partition(b"\n")
    return header + b"\n" + UNITS_ROW + rows


def write_orbits(orbits: pa.Table, path: Path) -> None:
    """Write the csv; a file that is there is replaced as a whole."""
    part = path.with_name(MANY_PROCESSES.format(name=path.name, pid=os.getpid()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(orbits_csv(orbits))
        part.replace(path)
    except OSError as error:
        raise BadInputError(f"Cannot write {path}: {error}. Give another --output.") from error


def _catalogue(orbits: pa.Table) -> Catalogue:
    states = np.column_stack([orbits[name].to_numpy() for name in COORDINATES])
    return Catalogue(states, np.asarray(orbits["epoch"].to_numpy()))
