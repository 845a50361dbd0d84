"""A command line is the signature of its function; one front door leads to all verbs."""

import inspect
import sys
import tomllib
from pathlib import Path
from typing import Annotated

import pytest
from prefect import Flow
from pydantic import Field, SecretStr

from flows.__main__ import VERBS, main, verb_named
from flows.terminal.signature import CommandLine, Positional, QueueUrl, either_of
from flows.terminal.verb import Verb, thor_flow
from tasks.errors import BadInputError
from tests.support.commands import run_command

ROOT = Path(__file__).parents[2]
NAMES = [name for names in VERBS.values() for name in names]
MODULES_BESIDE = {"__init__", "__main__", "notebook", "run_task", "worker"}
EITHER = either_of("--far", "--near")


def look(  # noqa: PLR0913, PLR0917
    place: Annotated[str, Positional("PLACE")],
    times: Annotated[int | None, Field(ge=1)] = None,
    far: Annotated[float, Field(gt=0, le=9), EITHER] = 2.5,
    near: Annotated[bool, EITHER] = False,  # noqa: FBT002
    loud: bool = True,  # noqa: FBT001, FBT002
    words: tuple[str, ...] = (),
    queue: QueueUrl = None,
) -> str:
    """Look at a place.

    The place
    stays.

    Args:
        place: Where.
        times: How
            often.
        far: How far.
        near: Not far.
        loud: Say so.
        words: Which words.
    """
    del place, times, far, near, loud, words, queue
    return "seen"


@pytest.fixture
def command_line():
    return CommandLine(look, program="look")


def test_a_command_line_gives_what_it_names_and_nothing_else(command_line):
    given = command_line.parse(
        ["here", "--far=3", "--words", "a", "--words", "b", "--no-loud", "--queue", "amqp://u:p@h"]
    )

    assert given == {
        "place": "here",
        "far": 3.0,
        "words": ("a", "b"),
        "loud": False,
        "queue": SecretStr("amqp://u:p@h"),
    }


def test_of_an_option_that_is_given_twice_the_last_one_counts(command_line):
    assert command_line.parse(["here", "--times", "3", "--times", "4"]) == {"place": "here", "times": 4}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "PLACE"),
        (["here", "there"], "there"),
        (["here", "--times", "0"], "--times is 0: expected 1 or more"),
        (["here", "--times", "-1"], "--times is -1: expected 1 or more"),
        (["here", "--times", "often"], "--times"),
        (["here", "--far", "0"], "--far is 0.0: expected more than 0"),
        (["here", "--far", "9.5"], "--far is 9.5: expected at most 9"),
        (["here", "--near", "--far", "2"], "--far and --near exclude each other"),
        (["here", "--tmies", "3"], "Did you mean --times?"),
        (["here", "--words", ""], "--words is empty"),
        (["", "--times", "2"], "is empty"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_usage_and_what_is_expected(command_line, arguments, words):
    with pytest.raises(BadInputError) as refusal:
        command_line.parse(arguments)

    assert words in str(refusal.value)
    assert "look" in str(refusal.value)


def test_help_is_the_docstring_in_whole_lines_with_limits_of_the_terminal(command_line, capsys):
    assert command_line.parse(["--help"]) is None

    told = capsys.readouterr().out
    for text in ("Usage: look PLACE [OPTIONS]", "The place stays.", "How often.", "--loud --no-loud", "[default: 2.5]"):
        assert text in told
    assert "--no-near" not in told
    assert "THOR_QUEUE" in told, "what a shared parameter means is known without being said"


def test_a_verb_prints_for_people_or_programs_and_ends_as_what_came_back_says():
    verb = Verb("look", look, show=lambda result: print("Was", result), is_failure=lambda result: result == "seen")

    person, program = run_command(verb, "here"), run_command(verb, "here", "--json")

    assert (person.code, person.out) == (1, "Was seen\n")
    assert (program.code, program.json) == (1, "seen")


def test_a_flow_tells_the_ui_what_its_docstring_says_up_to_the_parameters():
    @thor_flow(name="looks")
    def looks(times: Annotated[int, Field(ge=1)] = 2, queue: QueueUrl = None) -> None:
        """Look around.

        At all there is.

        Args:
            times: How often.
        """

    form = looks.parameters.properties
    assert looks.description == "Look around.\n\nAt all there is."
    assert (form["times"]["minimum"], form["times"]["description"]) == (1, "How often.")
    assert form["queue"]["description"].startswith("amqp://")


def test_the_front_door_knows_every_verb_and_each_verb_explains_itself():
    modules = {path.stem for path in (ROOT / "flows").glob("*.py")} - MODULES_BESIDE

    assert set(NAMES) == modules
    assert [name for name in NAMES if not verb_named(name).summary.endswith(".")] == []


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_verb_explains_every_parameter_of_its_function(name):
    ended = run_command(main, name, "--help")
    function = verb_named(name).function
    signature = inspect.signature(function.fn if isinstance(function, Flow) else function)

    assert ended.code == 0
    assert f"Usage: python -m flows.{name}" in ended.out
    documented = {
        line.strip().partition(":")[0] for line in inspect.getdoc(function).partition("Args:")[2].splitlines()
    }
    assert set(signature.parameters) <= documented


def test_the_front_door_runs_verbs_with_hyphens_too_and_names_the_nearest_for_one_that_is_none(place):
    drained = run_command(main, "drain-dead", *place.options)
    wrong = run_command(main, "sumbit")

    assert (drained.code, drained.out) == (0, "The dead queue is empty.\n")
    assert wrong.code == 2
    assert "Did you mean 'submit'?" in wrong.err


def test_the_front_door_names_all_verbs_and_the_version():
    helped, version = run_command(main), run_command(main, "--version")

    assert [name for name in (*NAMES, "worker") if f"\n  {name} " not in helped.out] == []
    assert (helped.code, version.code) == (0, 0)
    assert "engine builtin" in version.out


def test_the_worker_verb_becomes_the_program_of_the_workers(monkeypatch):
    became = []
    monkeypatch.setattr("os.execv", lambda path, words: became.append((path, words)) or sys.exit(0))

    with pytest.raises(SystemExit):
        main(["worker", "--processes", "2"])

    assert became == [(sys.executable, [sys.executable, "-m", "workers", "--processes", "2"])]


def test_the_console_script_is_the_front_door():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    assert scripts == {"thor-queue": "flows.__main__:console_script"}
