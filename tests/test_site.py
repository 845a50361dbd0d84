"""The documents as a site: every page has its place, the reference is the code's, the messages are the code's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.reference_pages import FOLDER, PAGES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def pages_of(node):
    """Every file that the navigation names."""
    if isinstance(node, str):
        return [node]
    children = node.values() if isinstance(node, dict) else node
    return [page for child in children for page in pages_of(child)]


def test_every_page_has_its_place_in_the_navigation():
    pages = [*DOCS.rglob("*.md"), *(notebook.with_suffix(".md") for notebook in DOCS.rglob("*.ipynb"))]

    assert sorted(pages_of(SITE["nav"])) == sorted(str(page.relative_to(DOCS)) for page in pages)


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_what_the_code_says(name):
    """If this fails: `python -m tests.reference_pages`."""
    assert (FOLDER / name).read_text() == PAGES[name]()


def messages():
    """The words that the page on troubleshooting quotes of messages."""
    text = (DOCS / "troubleshooting.md").read_text()
    return re.findall(r"^\*\*`([^`]+)`", text, re.MULTILINE)


@pytest.fixture(scope="module")
def source():
    """All of the product's text, its literals joined where they go over several lines."""
    files = [path for folder in ("flows", "tasks", "workers") for path in (ROOT / folder).rglob("*.py")]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files))


@pytest.mark.parametrize("message", messages())
def test_a_message_that_is_explained_is_one_of_ours(message, source):
    assert message in source


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)

    assert (built.returncode, built.stderr) == (0, "")
    assert "Moeyens" in (tmp_path / "index.html").read_text()
    notebook = (tmp_path / "examples/from_detections_to_orbits/index.html").read_text()
    assert notebook.count("data:image/png;base64") == 3
    assert (tmp_path / "examples/from_detections_to_orbits.ipynb").is_file()


def test_the_citation_names_the_paper_and_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    pyproject = (ROOT / "pyproject.toml").read_text()

    assert f'version = "{citation["version"]}"' in pyproject
    assert citation["preferred-citation"]["doi"] == "10.3847/1538-3881/ac042b"
