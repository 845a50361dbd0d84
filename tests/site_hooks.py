"""What mkdocs calls while it builds the site: each notebook of the documents becomes a page."""

import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from tests.notebooks import markdown_of


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, in its place in the navigation."""
    for notebook in sorted(Path(config.docs_dir).rglob("*.ipynb")):
        page = notebook.with_suffix(".md").relative_to(config.docs_dir)
        text = markdown_of(json.loads(notebook.read_text()), notebook.stem)
        files.append(File.generated(config, str(page), content=text))
    return files
