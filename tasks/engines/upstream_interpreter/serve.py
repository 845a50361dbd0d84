"""Runs upstream THOR stage after stage; a script for the interpreter that has it, not a part of this process.

    python serve.py check     which THOR is there
    python serve.py serve     the same, then it does what JSON lines on standard input ask for, until they end

It says what happens in JSON lines on standard output; upstream's log goes to standard error.
"""

import dataclasses
import importlib
import importlib.metadata
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

Commands = queue.SimpleQueue[dict[str, Any] | None]


def main() -> int:
    """Do what the command line asks; 0 when it was done, 3 when upstream THOR is not there."""
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # upstream logs and prints on standard output, which is for our JSON lines alone
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 (lines come while it is at work)

    def say(event: str, **values: object) -> None:
        lines.write(json.dumps({"event": event, **values}) + "\n")

    try:
        found = found_thor()
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    say("found", **found)
    if sys.argv[1] == "serve":
        serve(say)
    return 0


def serve(say: Callable[..., None]) -> None:
    """Do one command after the other."""
    stages = importlib.import_module("stages")  # beside this script; what it imports has just been found
    commands: Commands = queue.SimpleQueue()
    threading.Thread(target=hear, args=(commands,), daemon=True).start()
    try:
        while (command := commands.get()) is not None:
            try:
                say("done", **stages.run(command, say))
            except Exception as error:  # noqa: BLE001 (whatever upstream raises is told; the next command may work)
                traceback.print_exc()
                say("failed", error=f"{type(error).__name__}: {error}")
    finally:
        stages.leave()


def hear(commands: Commands, patience_seconds: float = 5.0) -> None:
    """Put the lines of standard input into the queue; None at their end.

    The parent may end at any moment, also while a stage is at work: then this process ends, with all that it started.
    """
    for line in sys.stdin:
        commands.put(json.loads(line))
    commands.put(None)
    threading.main_thread().join(patience_seconds)  # it ends by itself when it has nothing to do
    end_descendants()
    os._exit(4)


def end_descendants() -> None:
    """Kill every process that this one has started, ray's own included."""
    try:
        psutil = importlib.import_module("psutil")
    except ImportError:
        return  # upstream requires it; a stand-in may lack it
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.Error:
            continue


def found_thor() -> dict[str, object]:
    """Return the versions of THOR and of what it computes with, and the fields of its `Config` with their defaults.

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
    config = importlib.import_module("thor.config").Config
    fields = {field.name: field.default for field in dataclasses.fields(config)}
    return {**{name: importlib.metadata.version(name) for name in packages}, "config": fields}


if __name__ == "__main__":
    sys.exit(main())
