"""A command as a person runs it, in this process: arguments in, exit code and both outputs out."""

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flows.terminal import command_line


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_command(main: Callable[[Sequence[str]], int], *arguments: object) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = command_line.exit_code_of(lambda: main([str(argument) for argument in arguments]))
        except SystemExit as left:  # argparse
            code = int(left.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())
