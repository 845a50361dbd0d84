"""What a field of a settings dataclass says of a key of config.csv: its type, range or choices, default and help.

A field is `radius_deg: Annotated[float, Field(gt=0, le=90)] = 10.0` with a docstring below it; pydantic parses
the text of the key with it. Numbers are finite always. Who builds the dataclass in code may go beyond the ranges: they
are what a person's file may say.
"""

import dataclasses
import difflib
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform, get_args, get_origin, get_type_hints

import annotated_types
import pydantic
from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from tasks.engines.errors import EngineInputError

Model = TypeVar("Model")


NO_KEY: Mapping[str, bool] = {"is_key": False}
"""Metadata of a field that no key sets."""


@dataclass_transform(frozen_default=True)
def settings_group(group: type[Model]) -> type[Model]:
    """Make a frozen dataclass of settings; the docstring below a field says what it means."""
    group.__pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[attr-defined]
    return dataclass(frozen=True)(group)


@dataclass(frozen=True)
class TextThat:
    """Annotates a text of which `holds` must be true; `expected` says so in words, for messages and help."""

    holds: Callable[[str], bool]
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        """Have pydantic ask it."""
        return no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, text: str) -> str:
        if not self.holds(text):
            raise ValueError(self.expected)
        return text


def _no_word_but_true_and_false(text: object) -> object:
    if isinstance(text, str) and text.lower() not in {"true", "false"}:
        raise ValueError("neither true nor false")
    return text


Flag = Annotated[bool, BeforeValidator(_no_word_but_true_and_false)]
"""Pydantic alone would take "yes", "on" and "1" as well."""


@dataclass(frozen=True)
class Setting:
    """A key of config.csv."""

    key: str
    #: The annotation of its field.
    kind: Any
    default: object
    #: What it means.
    help: str = ""

    @property
    def text(self) -> str:
        """Its default as a config has it."""
        return str(self.default)

    @property
    def expected(self) -> str:
        """What values it may have, in words."""
        words = [each.expected for each in self._metadata if isinstance(each, TextThat)]
        if words:
            return words[0]
        if get_origin(self._type) is Literal:
            return f"one of {', '.join(get_args(self._type))}"
        kinds = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}
        return kinds[self._type] + _range_in_words(self._metadata)

    def parsed(self, text: str) -> Any:
        """Return the value that a text says.

        Raises
        ------
        EngineInputError
            If the key can't have it.
        """
        try:
            value = TypeAdapter(self.kind).validate_strings(text.strip())
        except pydantic.ValidationError:
            value = math.nan
        if isinstance(value, float) and not math.isfinite(value):
            raise EngineInputError(f"Setting {self.key!r} is {text!r}: expected {self.expected}.")
        return value

    @property
    def _type(self) -> Any:
        return _flattened(self.kind)[0]

    @property
    def _metadata(self) -> list[Any]:
        return _flattened(self.kind)[1]


@functools.cache
def settings_of(model: type, prefix: str = "") -> Mapping[str, Setting]:
    """Return the settings of a dataclass by their keys; those of a dataclass in a field have its name before them."""
    found: dict[str, Setting] = {}
    hints = get_type_hints(model, include_extras=True)
    about = _docstrings_of_fields(model)
    for field in dataclasses.fields(model):
        key, kind = f"{prefix}{field.name}", hints[field.name]
        inner = _flattened(kind)[0]
        if dataclasses.is_dataclass(inner):
            found |= settings_of(inner, f"{key}.")  # type: ignore[arg-type]
        elif field.metadata != NO_KEY:
            found[key] = Setting(key, kind, field.default, about.get(field.name, ""))
    return found


def setting_named(key: str, known: Mapping[str, Setting]) -> Setting:
    """Return a setting by its key.

    Raises
    ------
    EngineInputError
        If there is none; the message names what the writer may have meant.
    """
    if key not in known:
        raise EngineInputError(f"Unknown setting {key!r}: {_instead_of(key, list(known))}")
    return known[key]


def with_items(model: Model, items: Mapping[str, str], *, prefix: str = "") -> Model:
    """Return a settings dataclass with the values of some keys, which messages call by `prefix` and key.

    Raises
    ------
    EngineInputError
        For an unknown key, or a value that the key can't have.
    """
    known = settings_of(cast("type", type(model)), prefix)
    changes: dict[str, Any] = {}
    for key, text in items.items():
        value = setting_named(f"{prefix}{key}", known).parsed(text)
        group, _, name = key.rpartition(".")
        if group:
            value = dataclasses.replace(changes.get(group, getattr(model, group)), **{name: value})
        changes[group or name] = value
    return dataclasses.replace(model, **changes)  # type: ignore[type-var]


def value_of(model: object, key: str) -> Any:
    """Return the value that a key has in a settings dataclass."""
    for part in key.split("."):
        model = getattr(model, part)
    return model


def _docstrings_of_fields(model: type) -> dict[str, str]:
    """Return what stands below each field; pydantic tells it of the fields that a class has itself."""
    found: dict[str, str] = {}
    for each in reversed([owner for owner in model.__mro__ if dataclasses.is_dataclass(owner)]):
        properties = TypeAdapter(each).json_schema()["properties"]
        found |= {
            name: " ".join(about["description"].split()) for name, about in properties.items() if "description" in about
        }
    return found


def _instead_of(key: str, known: list[str]) -> str:
    """Return what the writer of an unknown key may have meant: a stage left out, a slip of the pen."""
    name = key.rpartition(".")[2]
    same = [other for other in known if other.rpartition(".")[2] == name]
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.9) or same or difflib.get_close_matches(key, known, n=1)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return "expected a key that `python -m flows.config` writes, such as cluster_and_link.min_observations."


def _flattened(kind: Any) -> tuple[Any, list[Any]]:
    """Return a type without its annotations, and them."""
    metadata: list[Any] = []
    while get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        metadata += more
    return kind, metadata


def _range_in_words(metadata: Iterable[Any]) -> str:
    limits = [limit for each in metadata if isinstance(each, FieldInfo) for limit in each.metadata]
    words = {
        annotated_types.Ge: "at least {ge:g}",
        annotated_types.Gt: "more than {gt:g}",
        annotated_types.Le: "at most {le:g}",
        annotated_types.Lt: "less than {lt:g}",
    }
    said = [words[type(limit)].format(**vars_of(limit)) for limit in limits if type(limit) in words]
    return f", {' and '.join(said)}" if said else ""


def vars_of(limit: Any) -> dict[str, Any]:
    """Return the number of a limit by its name."""
    return {field.name: getattr(limit, field.name) for field in dataclasses.fields(limit)}
