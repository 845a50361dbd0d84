"""Every command of a fenced block of the documents is run, or stands here with the reason why it is not.

Blocks of a page run in their order, in one directory with tables of detections; gs:// and amqp:// are private services.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise

import pytest

from flows.__main__ import VERBS, WORKER, verb_named
from tasks.inputs.csv_text import csv_from_table
from tests.services.processes import wait_until
from tests.support.ades_survey import ades_survey
from tests.support.deployed import running
from tests.support.documents import PAGES, ROOT, blocks_of, commands_of, commands_within_lines
from tests.support.job_inputs import observations_of, orbits_of
from workers.__main__ import COMMAND_LINE as WORKER_COMMAND_LINE

NO_CONTAINERS = (
    "no Docker and no Kubernetes where the tests run; tests/test_containers.py holds the files to their schemas"
)
NO_NETWORK = "downloads; tests/engines/test_upstream_engine.py runs upstream THOR where THOR_PYTHON names it"
NOT_RUN = {
    "make run": "tests/whole_system/test_demo.py runs its command",
    "make test": "runs this test",
    "prefect server start": "tests/services/prefect_server.py starts the server of these tests by it",
    "docker build --file containers/Dockerfile --tag thor-taskqueue:0.1.0 .": NO_CONTAINERS,
    "docker compose --file containers/compose.yaml up": NO_CONTAINERS,
    "kubectl apply --filename containers/workers.yaml": NO_CONTAINERS,
    "git clone https://github.com/moeyensj/thor thor-source": NO_NETWORK,
    "git -C thor-source checkout 7d74c0b": NO_NETWORK,
    "python3.12 -m venv thor-env": NO_NETWORK,
    "thor-env/bin/pip install --constraint containers/upstream-constraints.txt ./thor-source": NO_NETWORK,
    "export THOR_PYTHON=$PWD/thor-env/bin/python": NO_NETWORK,
    "python -m venv ades": "downloads; the two commands after it run in this environment, which has iau-ades",
    "ades/bin/pip install iau-ades": "downloads, as well",
}
ELSEWHERE = {"docs/worked-example.md": "tests/whole_system/test_ades_to_ades.py"}
"""Pages whose own test reads them and runs what they say."""
SERVICES = {"python -m workers": "Serving queue", "prefect worker start": "started!"}
"""Commands that stay until they are stopped, and what they print once they are at work."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def name_of(page):
    return str(page.relative_to(ROOT))


RUN = [page for page in PAGES if set(commands_of(page)) - set(NOT_RUN) and name_of(page) not in ELSEWHERE]


class Terminal:
    """A person's terminal: a directory, variables that stay, programs that run until it is closed."""

    def __init__(self, folder, variables, stack):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DO_NOT_TRACK": "1",
            "THOR_HOME": str(folder / "home"),
        }
        self._variables = variables
        self._stack = stack

    def type(self, command):
        """Run a command of a document; it ends with exit code 0, or stays and says that it is at work."""
        if command.startswith("export "):
            self._export(command)
            return
        words = self._words(command)
        service = next((ready for begin, ready in SERVICES.items() if begin in command), None)
        # A deployment is made from the checkout; everything else from anywhere.
        where = ROOT if "deploy" in words else self.folder
        if service is not None:
            self._stack.enter_context(self._running(words, service))
            return
        ended = subprocess.run(
            words, cwd=where, env=self.environment, capture_output=True, text=True, check=False, timeout=400
        )
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"

    def _export(self, command):
        for assignment in shlex.split(command)[1:]:
            name, _, _ = assignment.partition("=")
            self.environment[name] = self._variables[name]

    def _words(self, command):
        words = shlex.split(command)
        if words[0] == "prefect":
            return [sys.executable, "-m", *words]
        assert words[0] in {".venv/bin/python", "python"}, command
        few = ["2" if before == "--processes" else word for before, word in pairwise(words)]
        return [sys.executable, *few]

    @contextlib.contextmanager
    def _running(self, words, ready):
        log = self.folder / f"service-{len(list(self.folder.glob('service-*')))}.log"
        with running(*words[1:], environment=self.environment, log=log, cwd=self.folder) as process:
            wait_until(lambda: self._is_at_work(process, log, ready), seconds=200, what=f"{words} is at work")
            yield

    @staticmethod
    def _is_at_work(process, log, ready):
        assert process.poll() is None, log.read_text()
        return ready in log.read_text()


@pytest.fixture
def folder(tmp_path):
    """A directory with the tables that the documents speak of."""
    objects = ("Hebe", "Eros")
    (tmp_path / "detections.csv").write_bytes(csv_from_table(observations_of(objects)))
    for name in ("test_orbits.csv", "my_orbits.csv"):
        (tmp_path / name).write_bytes(csv_from_table(orbits_of(objects)))
    return tmp_path


@pytest.fixture
def variables(prefect_process, rabbitmq_url, fake_gcs):
    """What stands for the services that the documents name."""
    return {
        "THOR_BUCKET": f"gs://{fake_gcs.make_bucket()}",
        "THOR_QUEUE": rabbitmq_url,
        "PREFECT_API_URL": prefect_process.url,
        "STORAGE_EMULATOR_HOST": fake_gcs.url,
    }


@pytest.mark.rabbitmq
@pytest.mark.gcs
@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_commands_of_a_page_do_what_it_says(page, folder, variables):
    with contextlib.ExitStack() as stack:
        terminal = Terminal(folder, variables, stack)
        terminal.environment["STORAGE_EMULATOR_HOST"] = variables["STORAGE_EMULATOR_HOST"]
        for command in commands_of(page):
            if command not in NOT_RUN:
                terminal.type(command)


def test_only_commands_of_the_documents_are_left_out():
    assert set(NOT_RUN) - {command for page in PAGES for command in commands_of(page)} == set()


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_a_page_that_has_a_test_of_its_own_is_read_by_it(page, test):
    assert page in (ROOT / test).read_text()


def parser_of(module):
    """What reads the command line of a module."""
    if module == "workers":
        return WORKER_COMMAND_LINE.parse
    verb = module.removeprefix("flows.")
    return verb_named(verb).parse


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_within_lines_are_understood(page):
    verbs = {f"flows.{name}" for names in VERBS.values() for name in names} | {WORKER + "s"}
    for module, arguments in commands_within_lines(page):
        words = [word for word in re.sub(r"[\[\]]", " ", arguments).split() if word != "..."]
        if module not in verbs or not words:
            continue
        if words[-1].startswith("--"):
            assert words[-1] in help_words(module)  # an option alone, named without its value
            words = words[:-1]
        values = [VALUES.get(word, word.rpartition("|")[2]) for word in words]
        parser_of(module)(values)


VALUES = {"N": "3", "S": "30", "K": "all", "DIR": "out", "URL": "file:///bucket"}
"""What stands for a placeholder."""


def help_words(module):
    text = (ROOT / "docs/reference/commands.md").read_text()
    return re.search(rf"Usage: python -m {re.escape(module)} .*?```", text, flags=re.DOTALL)[0]


def test_the_python_of_the_documents_runs(folder, prefect_process):
    survey, _ = ades_survey(seed=1)
    few = [line for line in survey.splitlines() if not re.match(r"A00[1-9]|A01|d", line)]
    (folder / "survey.psv").write_text("\n".join([*few, ""]))
    (folder / "orbits.csv").write_text((folder / "test_orbits.csv").read_text())
    outputs, python_api = (blocks_of(ROOT / "docs" / name, "python") for name in ("outputs.md", "python-api.md"))
    code = [*python_api, "nightly('survey')", *(block.replace("DIR/", "survey/") for block in outputs)]
    environment = Terminal(folder, {}, None).environment | {"PREFECT_API_URL": prefect_process.url}

    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "\n".join([*code, "print(len(job.orbits), len(open_results('survey').orbits), len(orbits))"]),
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )

    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"\d+ \d+ \d+\n", ended.stdout)
