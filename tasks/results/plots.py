"""How pictures of a job are drawn: one style, one palette, each as PNG, SVG and PDF with the same bytes every time."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib.style
import numpy as np
import PIL.Image
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's palette: told apart with any colour vision.
BLUE = "#0072B2"
SKY_BLUE = "#56B4E9"
VERMILION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
GREY = "#8C8C8C"

WIDTH_INCHES = 7.0
"""Two columns of a journal: text of 9 points is then 9 points in print."""

STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "svg.hashsalt": "thor",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # text stays text, as journals ask for
}

PNG_DPI = 300
"""What journals ask of pictures made of pixels."""
SMALL_DPI = 130
"""For a page that people look at on a screen: Prefect keeps what is below 200 kB."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Picture:
    """One picture in its forms; `name` is that of its files without their ending."""

    name: str
    title: str
    #: One sentence below the picture: what is drawn, and what is not.
    caption: str
    png: bytes
    svg: bytes
    pdf: bytes

    @cached_property
    def small_png(self) -> bytes:
        """The picture for a screen, PNG."""
        with PIL.Image.open(io.BytesIO(self.png)) as large:
            size = tuple(round(side * SMALL_DPI / PNG_DPI) for side in large.size)
            small = io.BytesIO()
            large.convert("RGB").resize((size[0], size[1]), PIL.Image.Resampling.LANCZOS).save(
                small, format="png", optimize=True
            )
        return small.getvalue()


def picture(name: str, title: str, caption: str, draw: Callable[[Figure], None], *, height: float = 4.4) -> Picture:
    """Draw on a fresh figure and return the picture; `height` in inches."""
    with drawing_style():
        figure = Figure(figsize=(WIDTH_INCHES, height), dpi=PNG_DPI, layout="constrained")
        draw(figure)
        png, svg, pdf = io.BytesIO(), io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(svg, format="svg", metadata=nothing)
        figure.savefig(pdf, format="pdf", metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))
    return Picture(name, title, caption, png.getvalue(), svg.getvalue(), pdf.getvalue())


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw with the style of this module, whatever matplotlibrc the machine has."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def floats(table: pa.Table, name: str) -> FloatArray:
    """Return a column as floats, null as NaN."""
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)
