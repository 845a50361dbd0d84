"""Runs one stage of upstream THOR; a script for the interpreter that has it, not a part of this process.

    python run_stage.py check              which THOR is there
    python run_stage.py run FOLDER STAGE   FOLDER: observations.parquet, test_orbit.parquet, config.json

It says what happens in JSON lines on standard output, and writes flat tables to FOLDER/tables. Upstream keeps its own
checkpoints in FOLDER/work: a stage whose predecessors are not there makes them first.
"""

import importlib
import importlib.metadata
import json
import os
import sys
import threading
from pathlib import Path


def main() -> int:
    """Do what the command line asks; 0 when it was done, 3 when upstream THOR is not there."""
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # upstream logs and prints on standard output, which is for our JSON lines alone

    def say(event: str, **values: object) -> None:
        lines.write(json.dumps({"event": event, **values}) + "\n")

    try:
        say("found", **found_thor())
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    if sys.argv[1] == "run":
        leave_with_parent()
        stages = importlib.import_module("stages")  # beside this script; what it imports has just been found
        stages.run(Path(sys.argv[2]), sys.argv[3], say)
    return 0


def leave_with_parent() -> None:
    """End this process when the parent's end of standard input closes, however the parent ended."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(4)

    threading.Thread(target=wait, daemon=True).start()


def found_thor() -> dict[str, str]:
    """Return the versions of THOR and of what it computes with.

    Raises
    ------
    ImportError
        If there is no package `thor`, or it is another one.
    """
    thor = importlib.import_module("thor")
    try:
        importlib.import_module("thor.range_and_transform")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("thor"):
            raise
        message = f"the package 'thor' in {thor.__file__} is not Tracklet-less Heliocentric Orbit Recovery"
        raise ImportError(message) from error
    packages = ("thor", "adam-core", "adam-assist", "ray")
    return {name: importlib.metadata.version(name) for name in packages}


if __name__ == "__main__":
    sys.exit(main())
