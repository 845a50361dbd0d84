"""Runs the documents' notebooks: `python -m tests.notebooks` makes docs/examples/*.ipynb from the .py beside each.

A notebook is its source in cells (`# %%`), each with what it printed, its last value and its figures. The site shows
it as a page (`tests/site_hooks.py`).
"""

import ast
import base64
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "examples"
DPI = 80
"""Of figures in a notebook: what lies in the repository stays small; the report has them at 300."""

Cell = dict[str, Any]


def cells_of(source: str) -> list[Cell]:
    """The cells of a script in the percent format, without outputs. Pure."""
    parts = re.split(r"^# %%(.*)\n", source, flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [_cell(number, kind, text.strip("\n")) for number, (kind, text) in enumerate(pairs)]


def _cell(number: int, kind: str, text: str) -> Cell:
    if "markdown" in kind:
        text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
        return {"cell_type": "markdown", "id": f"cell-{number}", "metadata": {}, "source": text}
    code = {"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "source": text}
    return {**code, "execution_count": None, "outputs": []}


def executed(cells: Sequence[Cell], folder: Path) -> list[Cell]:
    """The cells with their outputs, run one after the other in one namespace, in that folder."""
    mpl.use("agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    done = []
    with contextlib.chdir(folder), mpl.rc_context({"figure.dpi": DPI}):
        for cell in cells:
            if cell["cell_type"] == "code":
                count += 1
                cell = {**cell, "execution_count": count, "outputs": list(_outputs(cell["source"], names, count))}  # noqa: PLW2901
            done.append(cell)
    return done


def _outputs(source: str, names: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)  # noqa: S102 (our own document)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)  # noqa: S307
    if printed.getvalue():
        yield {"output_type": "stream", "name": "stdout", "text": printed.getvalue()}
    figures = list(_figures())
    if value is not None and not figures:  # the last value of a plot is its legend
        yield {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": _data(value)}
    for png in figures:
        data = {"image/png": base64.b64encode(png).decode()}
        yield {"output_type": "display_data", "metadata": {}, "data": data}


def _data(value: Any) -> dict[str, str]:
    html = {"text/html": value.to_html()} if hasattr(value, "to_html") else {}
    return {"text/plain": repr(value), **html}


def _figures() -> Iterator[bytes]:
    import matplotlib.pyplot as plt  # noqa: PLC0415 (after the backend was chosen)

    for number in plt.get_fignums():
        body = io.BytesIO()
        plt.figure(number).savefig(body, format="png", metadata={"Software": None})
        yield body.getvalue()
    plt.close("all")


def document(cells: Sequence[Cell]) -> str:
    """The file of a notebook, format 4.5."""
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    content = {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def markdown_of(notebook: Mapping[str, Any], name: str) -> str:
    """The page that shows a notebook: its cells, what they printed, and their figures. Pure."""
    title, *cells = [_markdown_of_cell(cell) for cell in notebook["cells"]]
    files = f"This page is [a notebook]({name}.ipynb) as it ran, made from [a script in cells]({name}.py)."
    return "\n\n".join([title, files, *cells]) + "\n"


def _markdown_of_cell(cell: Cell) -> str:
    if cell["cell_type"] == "markdown":
        return str(cell["source"])
    return "\n\n".join([f"```python\n{cell['source']}\n```", *map(_markdown_of_output, cell["outputs"])])


def _markdown_of_output(output: Mapping[str, Any]) -> str:
    if output["output_type"] == "stream":
        return f"```text\n{output['text']}```"
    data = output["data"]
    if "image/png" in data:
        return f"![what the cell draws](data:image/png;base64,{data['image/png']})"
    html = data.get("text/html", "").replace(' border="1" class="dataframe"', "")  # the site's own look, then
    return html or str(f"```text\n{data['text/plain']}\n```")


def made_from(source: Path, folder: Path) -> str:
    """The notebook of a script, run in that folder, with a bucket and a queue of its own."""
    # Its workers are processes of their own, which begin in that folder.
    own = {"THOR_HOME": str(folder / "home"), "THOR_INSTRUMENTATION": "off", "PYTHONPATH": str(ROOT)}
    os.environ.update(own)
    return document(executed(cells_of(source.read_text()), folder))


if __name__ == "__main__":
    for script in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.py")):
        with tempfile.TemporaryDirectory() as scratch:
            script.with_suffix(".ipynb").write_text(made_from(script.resolve(), Path(scratch)))
