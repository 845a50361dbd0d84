"""Makes docs/reference/ from the code: `python -m tests.reference_pages` after a command or a setting has changed."""

import contextlib
import inspect
import io
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from flows.__main__ import VERBS, WORKER, verb_named
from tasks.inputs.config_file import config_keys
from tasks.settings import Settings
from workers.__main__ import COMMAND_LINE as WORKER_COMMAND_LINE

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
MADE = "<!-- Made by `python -m tests.reference_pages`; do not edit. -->"


def commands_page() -> str:
    """Every command as its own --help tells it."""
    parts = [
        "# Commands",
        MADE,
        "Each is `python -m flows VERB` as well, and `thor-queue VERB` where the project is installed.",
    ]
    for theme, verbs in VERBS.items():
        parts.append(f"## {theme[0].upper()}{theme[1:]}")
        for name in verbs:
            parts += [f"### {name}", f"```text\n{help_of(verb_named(name).parse)}```"]
    parts += ["## What computes", f"### {WORKER}", f"```text\n{help_of(WORKER_COMMAND_LINE.parse)}```"]
    return "\n\n".join(parts) + "\n"


def help_of(parse) -> str:
    """What a command prints for --help, without colours, as wide as a page of the site."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "72", "NO_COLOR": "1", "TERM": "dumb"}),
        contextlib.redirect_stdout(printed),
    ):
        parse(["--help"])
    return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().strip().splitlines())


def settings_page() -> str:
    """Every key of config.csv, and every variable of the environment."""
    keys = [
        (f"`{key.key}`", f"{key.expected}; default `{key.text}`" if key.text else key.expected, key.help)
        for key in config_keys().values()
    ]
    return (
        "\n\n".join(
            [
                "# Settings",
                MADE,
                "## Keys of config.csv",
                "`python -m flows.config --output config.csv` writes them as a file.",
                table(("key", "value", "meaning"), keys),
                "## Variables of the environment",
                "They say where things are and how a machine works; options of a command win over them.",
                table(("variable", "default", "meaning"), list(variables())),
            ]
        )
        + "\n"
    )


def variables() -> Iterator[tuple[str, str, str]]:
    """Each variable with its default and its meaning."""
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = alias if isinstance(alias, str) else f"THOR_{name.upper()}" if alias is None else alias.choices[0]
        default = "" if field.default is None else str(field.default).replace(str(Path.home()), "~")
        yield f"`{variable}`", f"`{default}`" if default else "", inspect.cleandoc(field.description or "")


def table(header, rows) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


PAGES = {"commands.md": commands_page, "settings.md": settings_page}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make())
