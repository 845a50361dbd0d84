"""A command line is the signature of a function: options, types, limits, defaults and help are said there, once.

cyclopts reads it. Parameters that many verbs have are explained here, and nowhere else. Prefect is not needed: a worker
has a command line too.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import pydantic
from cyclopts import App, ArgumentCollection, Group, Parameter
from cyclopts.exceptions import CycloptsError, ValidationError
from docstring_parser import DocstringStyle, parse
from pydantic import SecretStr

from tasks.errors import BadInputError


@dataclass(frozen=True)
class Positional:
    """Marks a parameter that the command line takes by its position instead of as an option."""

    #: What help calls it.
    name: str


JobName = Annotated[str, Positional("JOB")]
BucketUrl = Annotated[str | None, Parameter(metavar="URL")]
QueueUrl = Annotated[SecretStr | None, Parameter(metavar="URL")]

#: What parameters of these names mean in every verb whose docstring does not say otherwise.
SHARED_PARAMETERS = {
    "job_id": "The job's id.",
    "bucket": "gs://NAME or file:///PATH. Default: THOR_BUCKET, or a directory in THOR_HOME.",
    "queue": "amqp://..., amqps://... or sqlite:///PATH. Default: THOR_QUEUE. A URL with a password belongs there, or "
    "in the file that THOR_QUEUE_FILE names: others see command lines, and the parameters of runs in Prefect.",
    "catalogue": "File of orbits of known objects: MPCORB, the Small-Body Database's csv, or any table of test orbits.",
    "json": "Print one JSON document instead of tables and sentences.",
}
EXIT_CODES = (
    "Exit codes: 0 done; 1 something failed or is wrong; 2 wrong input, and nothing was changed; 130 interrupted."
)
OPTIONS = Group("Options")
LIMITS = {
    "greater_than_equal": "expected {ge:g} or more",
    "greater_than": "expected more than {gt:g}",
    "less_than_equal": "expected at most {le:g}",
    "less_than": "expected less than {lt:g}",
}
"""How the limits of a number are told, by pydantic's name for each."""


def either_of(*options: str) -> Parameter:
    """Mark a parameter as one of these options, of which a command line may give one."""

    def at_most_one(arguments: ArgumentCollection) -> None:
        if len(arguments.filter_by(value_set=True)) > 1:
            raise ValueError(f"{' and '.join(options)} exclude each other: expected one of them")

    return Parameter(group=(OPTIONS, Group(" or ".join(options), validator=at_most_one, show=False)))


class CommandLine:
    """The command line of a function, called as `program` says."""

    def __init__(self, function: Callable[..., Any], *, program: str) -> None:
        self._function = function
        self._program = program
        function.__doc__ = completed_docstring(function)

    @property
    def summary(self) -> str:
        """What the command does, in one sentence."""
        return _parsed(self._function).short_description or ""

    def parse(self, arguments: Sequence[str]) -> dict[str, Any] | None:
        """Return the parameters that a command line gives; None: it asked for help, which was printed.

        Raises
        ------
        BadInputError
            If it can't be understood.
        """
        app = self._app()
        try:
            call, bound, _ = app.parse_args(list(arguments), exit_on_error=False, print_error=False)
        except CycloptsError as error:
            raise BadInputError(
                f"usage: {self._usage()}\n{self._program}: {_sentence_of(error)} "
                f"`{self._program} --help` explains each option."
            ) from error
        if call is not app.default_command:
            call(*bound.args, **bound.kwargs)
            return None
        self._refuse_empty(bound.arguments)
        return dict(bound.arguments)

    def _refuse_empty(self, options: Mapping[str, Any]) -> None:
        """Refuse an option without a value: most likely a variable of the shell that is not set."""
        for name, value in options.items():
            if value == "" or (isinstance(value, tuple) and "" in value):
                option = f"--{name.replace('_', '-')}"
                raise BadInputError(
                    f"{self._program}: {option} is empty: expected a value; leave the option out for its default."
                )

    def _parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self._function).parameters.values())

    def _usage(self) -> str:
        words = [self._program]
        for parameter in self._parameters():
            position = _position_of(parameter)
            if position is not None:
                words.append(position.name if parameter.default is parameter.empty else f"[{position.name}]")
        return " ".join([*words, "[OPTIONS]"])

    def _app(self) -> App:
        """Return the parser. Its default command is never called: a caller takes what it is bound to."""
        app = App(
            name=self._program,
            usage=f"Usage: {self._usage()}",
            help=_unwrapped(description_of(self._function)),
            help_format="plaintext",
            help_epilogue=EXIT_CODES,
            version_flags=(),
            group_parameters=OPTIONS,
            group_arguments=Group("Arguments"),
        )
        app["--help"].show = False

        def command(*_: Any, **__: Any) -> None:
            """Stand for the function, with the signature that its command line has."""

        told = {each.arg_name: each.description or "" for each in _parsed(self._function).params}
        parameters = [_on_command_line(each, told.get(each.name, "")) for each in self._parameters()]
        # Positional ones first, as Python wants them; otherwise in their order.
        parameters.sort(key=lambda parameter: parameter.kind)
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.default(command)
        return app


def _position_of(parameter: inspect.Parameter) -> Positional | None:
    return next((each for each in get_args(parameter.annotation)[1:] if isinstance(each, Positional)), None)


def _on_command_line(parameter: inspect.Parameter, text: str) -> inspect.Parameter:
    """Return the parameter as cyclopts is to read it: how it is given, its help, whether its default is shown."""
    position = _position_of(parameter)
    is_flag = parameter.default is False
    how = Parameter(
        help=_unwrapped(text),
        # A flag that is on by itself has --no-NAME; one that is off needs no word for it.
        negative_bool=() if is_flag else None,
        negative_iterable=(),
        # Of an option that is given twice the last one counts, so that a script's can be overruled.
        allow_repeating=None if _takes_many(parameter) else True,
        show_default=False if isinstance(parameter.default, bool) or not parameter.default else _text_of_default,
    )
    annotation: Any = Annotated[parameter.annotation, how]
    if position is None:
        return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
    annotation = Annotated[annotation, Parameter(name=position.name)]
    return parameter.replace(kind=inspect.Parameter.POSITIONAL_ONLY, annotation=annotation)


def _takes_many(parameter: inspect.Parameter) -> bool:
    return "tuple" in str(parameter.annotation)


def _text_of_default(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sentence_of(error: CycloptsError) -> str:
    """Return what is wrong with a command line; values that pydantic refused are named as everywhere in the project."""
    refused = error.__cause__
    if isinstance(error, ValidationError) and isinstance(refused, pydantic.ValidationError) and error.argument:
        first = refused.errors()[0]
        limit = LIMITS.get(first["type"])
        expected = first["msg"] if limit is None else limit.format(**first["ctx"])
        return f"{error.argument.name} is {first['input']}: {expected}."
    if isinstance(error, ValidationError) and error.group:
        return f"{error.exception_message}."
    return str(error)


def _unwrapped(text: str) -> str:
    """Return the paragraphs of a docstring, each in one line: the terminal has a width of its own."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _parsed(function: Callable[..., Any]) -> Any:
    return parse(function.__doc__ or "", style=DocstringStyle.GOOGLE)


def description_of(function: Callable[..., Any]) -> str:
    """Return what its docstring says before it explains the parameters."""
    return (inspect.getdoc(function) or "").partition("\nArgs:")[0].strip()


def completed_docstring(function: Callable[..., Any]) -> str:
    """Return the docstring with the meaning of the shared parameters that it does not give itself."""
    text = inspect.getdoc(function) or ""
    told = {each.arg_name for each in _parsed(function).params}
    missing = [name for name in inspect.signature(function).parameters if name in SHARED_PARAMETERS.keys() - told]
    if not missing:
        return text
    head = "" if "\nArgs:" in text else "\n\nArgs:"
    return "\n".join([text + head, *(f"    {name}: {SHARED_PARAMETERS[name]}" for name in missing)])
