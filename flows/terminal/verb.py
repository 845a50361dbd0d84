"""A command and a flow are one function: `python -m flows.<verb>`, and the form in Prefect's UI when it is a flow.

A module of `flows` ends with `main = Verb(...)`; CONTRIBUTING.md says how to add one.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

from prefect import Flow, flow

from flows.terminal import command_line
from flows.terminal.reporter import reporter_for_terminal, use_reporter
from flows.terminal.signature import CommandLine, completed_docstring, description_of

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def thor_flow(*, name: str, **options: Any) -> Callable[[Callable[Parameters, Result]], Flow[Parameters, Result]]:
    """Make a flow whose description in Prefect's UI is its docstring up to `Args:`, and `Args:` explain its form."""

    def decorate(function: Callable[Parameters, Result]) -> Flow[Parameters, Result]:
        function.__doc__ = completed_docstring(function)
        return flow(name=name, description=description_of(function), **options)(function)

    return decorate


class Verb(Generic[Result]):
    """A command: called with the arguments of a command line, it returns the exit code.

    Parameters
    ----------
    name
        The verb, which is the name of its module in `flows`.
    function
        The flow, or plain function for a command that only looks, whose signature and docstring make the command line.
    show
        Tells a person what came back, when --json is not given.
    is_failure
        Whether what came back calls for exit code 1.
    document
        What --json prints of what came back.
    run
        Called with the parameters in place of the function, such as `choose.fn` for a flow that makes no run from the
        command line; None: the function, as a flow run if it is a flow and a Prefect API answers.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        show: Callable[[Result], None],
        is_failure: Callable[[Result], bool] = lambda _: False,
        document: Callable[[Result], object] = lambda result: result,
        run: Callable[..., Result] | None = None,
    ) -> None:
        self.function = function
        self._show = show
        self._is_failure = is_failure
        self._document = document
        self._run = run or (_as_flow_run(function) if isinstance(function, Flow) else function)
        plain = function.fn if isinstance(function, Flow) else function
        plain.__doc__ = completed_docstring(plain)
        self._command_line = CommandLine(_with_json(plain), program=f"python -m flows.{name}")

    @property
    def summary(self) -> str:
        """What it does, in one sentence."""
        return self._command_line.summary

    def parse(self, arguments: Sequence[str]) -> dict[str, Any] | None:
        """Return the parameters that a command line gives; None: it asked for help, which was printed."""
        return self._command_line.parse(arguments)

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command; return its exit code. None: the arguments of this process."""
        options = self.parse(sys.argv[1:] if arguments is None else arguments)
        if options is None:
            return command_line.DONE
        is_for_programs = options.pop("json", False)
        use_reporter(reporter_for_terminal())
        result = self._run(**options)
        command_line.print_json(self._document(result)) if is_for_programs else self._show(result)
        return command_line.FAILED if self._is_failure(result) else command_line.DONE


def _with_json(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with the signature and docstring of `function`, and --json besides."""

    def command(*_: Any, **__: Any) -> None:
        """Stand for the function."""

    signature = inspect.signature(function)
    json = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), json])  # type: ignore[attr-defined]
    command.__doc__ = function.__doc__
    return command


def _as_flow_run(verb: Flow[..., Result]) -> Callable[..., Result]:
    return lambda **options: command_line.show_run(verb, **options)
