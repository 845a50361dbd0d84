"""The front door: `python -m flows VERB`, or `thor-queue VERB` where the project is installed.

Each verb is a module of `flows`, imported when it is asked for, and can be called as `python -m flows.VERB` as well.
"""

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import cast

from flows.terminal import command_line
from flows.terminal.verb import Verb
from tasks.engines.builtin.version import VERSION
from tasks.errors import BadInputError

VERBS = {
    "a job, from its inputs to its results": ("config", "orbits", "submit", "monitor", "collect"),
    "what there is": ("compare", "list", "status", "workers", "doctor"),
    "when something went wrong": ("retry", "cancel", "repair", "drain_dead", "delete"),
    "a service that runs by itself": ("incoming", "night", "autoscale", "clean_up", "metrics", "setup"),
}
WORKER = "worker"
"""The verb that is a program of its own, `python -m workers`: what runs the flows is not known to them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that the arguments of a command line begin with; return the exit code."""
    verb, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if verb in {"--help", "-h", "help"}:
        print_help()
        return command_line.DONE
    if verb == "--version":
        command_line.print_line(version())
        return command_line.DONE
    if verb == WORKER:
        os.execv(sys.executable, [sys.executable, "-m", "workers", *rest])  # noqa: S606 (nothing but a program and words)
    return verb_named(verb)(rest)


def verb_named(name: str) -> Verb[object]:
    """Return a verb; hyphens may stand for its underscores.

    Raises
    ------
    BadInputError
        If there is none of that name.
    """
    names = [verb for verbs in VERBS.values() for verb in verbs]
    wanted = name.replace("-", "_")
    if wanted not in names:
        near = get_close_matches(wanted, [*names, WORKER], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise BadInputError(f"There is no verb {name!r}.{hint} `python -m flows --help` names them all.")
    return cast("Verb[object]", importlib.import_module(f"flows.{wanted}").main)


def print_help() -> None:
    """Name the verbs, each with its sentence."""
    command_line.print_line("Usage: python -m flows VERB [OPTIONS]\n")
    command_line.print_line("THOR's task queue: finds asteroids in a table of detections, one test orbit per task.")
    for purpose, names in VERBS.items():
        command_line.print_line(f"\n{purpose.capitalize()}:")
        for name in names:
            command_line.print_line(f"  {name:<11} {verb_named(name).summary}")
    command_line.print_line("\nWhat computes:")
    command_line.print_line(
        f"  {WORKER:<11} Take tasks from the queue and compute them; the same as `python -m workers`."
    )
    command_line.print_line(
        "\n`python -m flows VERB --help` explains the options of a verb; --version prints the version."
    )


def version() -> str:
    """Return the versions of the product and of its engine."""
    try:
        product = importlib.metadata.version("thor-taskqueue")
    except importlib.metadata.PackageNotFoundError:
        product = "of a checkout that is not installed"
    return f"thor-taskqueue {product}, engine builtin {VERSION}"


def console_script() -> int:
    """Run the command as the installed `thor-queue`."""
    return command_line.exit_code_of(main)


if __name__ == "__main__":
    sys.exit(console_script())
