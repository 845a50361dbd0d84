"""House rules that a machine can keep."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tasks

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for top in ("flows", "tasks", "workers") for path in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

LONGEST_FUNCTION = 60
LONGEST_MODULE = 400
RUNS_WHAT_IT_READS = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "yaml"}


def name(path):
    return str(path.relative_to(ROOT))


def modules_loaded_by(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split()
    )


def definitions(path, *kinds):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


def test_imports_flow_one_way():
    lint_imports = Path(sys.executable).with_name("lint-imports")

    outcome = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True)

    assert outcome.returncode == 0, outcome.stdout


def test_loading_an_engine_loads_no_orchestration():
    loaded = modules_loaded_by("import tasks.engines.registry")

    assert {"prefect", "pika", "google.cloud", "distributed", "dask"} & loaded == set()


def test_the_supervisor_loads_no_numerics():
    loaded = modules_loaded_by("import workers.__main__, workers.supervise")

    assert {"numpy", "pandas", "pyarrow", "numba", "adam_core", "prefect", "dask"} & loaded == set()


def test_tests_do_not_hide_the_product():
    assert Path(tasks.__file__).parent == ROOT / "tasks"
    assert [name(path) for path in TESTS if path.parent.name in {"flows", "tasks", "workers"}] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_hides_the_standard_library(path):
    assert path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_product_name_looks_like_a_test(path):
    defined = [node.name for node in definitions(path, ast.FunctionDef, ast.ClassDef)]

    assert [each for each in defined if each.startswith(("test_", "Test"))] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_the_environment_is_read_in_one_place(path):
    if name(path) != "tasks/settings.py":
        assert re.findall(r"\b(?:environb?|getenvb?|putenv)\b", path.read_text()) == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_that_is_read_can_run(path):
    """What comes from a bucket or a queue is parsed as JSON, csv or parquet: no pickle, no evaluated text."""
    imported = {
        module.split(".")[0]
        for node in definitions(path, ast.Import, ast.ImportFrom)
        for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    called = {
        getattr(node.func, "attr", None) if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        for node in definitions(path, ast.Call)
    }
    keywords = {keyword.arg for node in definitions(path, ast.Call) for keyword in node.keywords}

    assert imported & RUNS_WHAT_IT_READS == set()
    assert (called | keywords) & {"eval", "exec", "read_pickle", "to_pickle", "allow_pickle", "unpack_archive"} == set()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions_and_modules_stay_small(path):
    long = [
        (node.name, node.end_lineno - node.lineno + 1)
        for node in definitions(path, ast.FunctionDef, ast.AsyncFunctionDef)
        if node.end_lineno - _first_statement_line(node) + 1 > LONGEST_FUNCTION
    ]

    assert long == []
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE


def _first_statement_line(function):
    """A docstring is not counted: it may be as long as it must."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return body[0].lineno


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=name)
def test_a_package_holds_a_docstring_and_nothing_else(path):
    assert len(ast.parse(path.read_text()).body) == 1
