"""Pages name modules, files, settings, variables and pages: those that are named are there."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from tasks.engines.settings import EngineSettings, items_from_settings
from tasks.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GROUPS = {key.partition(".")[0] for key in items_from_settings(EngineSettings()) if "." in key}

every_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


@every_page
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@every_page
def test_modules_and_files_of_ours_are_there(page):
    text = page.read_text()
    commands = set(re.findall(r"-m ((?:flows|workers|tests|tasks)[.\w]*\w)", text))
    files = set(re.findall(r"`((?:flows|tasks|workers|tests|docs|containers)/[\w./]+\.\w+)`", text))

    assert [name for name in commands if importlib.util.find_spec(name) is None] == []
    assert [name for name in files if not (ROOT / name).is_file()] == []


@every_page
def test_settings_and_variables_are_there(page):
    text = page.read_text()
    keys = set(re.findall(rf"`((?:{'|'.join(GROUPS)})\.[a-z_0-9]+)[`,]", text))
    variables = set(re.findall(r"`(THOR_[A-Z_]+\w)[`=]", text))
    known = {f"THOR_{name.upper()}" for name in Settings.model_fields} | {"THOR_PYTHON"}

    assert keys <= set(items_from_settings(EngineSettings()))
    assert variables <= known


def test_attributes_that_the_page_for_users_of_taskqueue_names_are_there():
    text = (ROOT / "docs/from-thor-taskqueue.md").read_text()
    names = set(re.findall(r"`((?:flows|tasks)(?:\.\w+)+)", text))

    assert len(names) > 8
    assert [name for name in names if not is_there(name)] == []


def is_there(name):
    """Whether a dotted name is a module, or a name in one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return hasattr(importlib.import_module(module), attribute)
    return True
