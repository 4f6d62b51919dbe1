"""Style and files of all pictures."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.errors import InvalidValueError, require
from hwcost.files import write_given

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BEYOND",
    "BLACK",
    "COLOURS",
    "ENDINGS",
    "GREY",
    "HOLLOW",
    "LIGHT",
    "MARGINS",
    "STYLE",
    "check_path",
    "legend_above",
    "legend_outside",
    "load_matplotlib",
    "new_figure",
    "percent_limits",
    "plain_ticks",
    "reach_of",
    "save",
    "svg",
]

ENDINGS = ("png", "svg", "pdf")
"""The file formats, by ending."""

# the palette of Okabe and Ito without yellow: safe for any kind of colour vision
BLACK, GREY, LIGHT = "#000000", "#767676", "#B8B8B8"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "hwcost",
}
BEYOND = "beyond what was measured"
"""The legend of what is drawn hollow."""
HOLLOW: dict[str, Any] = {"facecolor": "white", "hatch": "////", "linewidth": 0.8}
"""The look of a bar that is beyond what was measured, in addition to the colour of its edge."""
_FEW, _MANY = 8.0, 100.0  # ratios of the ends of an axis with few ticks at 1, 2 and 5, and with enough decades
MARGINS = {"w_pad": 0.12, "h_pad": 0.08}
_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"pil_kwargs": {"optimize": True}},
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
}


def load_matplotlib() -> Any:
    """The library.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require("matplotlib", "plot", "a plot")
    import matplotlib.figure

    return matplotlib


@contextlib.contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of a size in inches, with the style of all pictures while it is drawn."""
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure: Figure = matplotlib.figure.Figure(figsize=(width, height), layout="constrained")
        figure.get_layout_engine().set(**MARGINS)  # type: ignore[union-attr]
        # what a notebook shows; matplotlib gives its figures a picture only once pyplot is imported
        figure._repr_png_ = functools.partial(_render, figure, "png")  # type: ignore[attr-defined]
        yield figure


def legend_outside(axes: Axes, **more: Any) -> None:
    """Adds the legend to the right of the axes; dollar signs in names are not math."""
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1.02), borderaxespad=0, **more)
    for text in legend.get_texts():
        text.set_parse_math(False)


def percent_limits(axes: Axes, most: float) -> None:
    """The vertical axis of shares in per cent: up to 100 or to the largest above, or closer if all are small."""
    axes.set_ylim(0, max(104.0, 1.04 * most) if most > 50 else 1.25 * most or 1.0)


def plain_ticks(*axes: Any) -> None:
    """Plain numbers at the ticks of logarithmic axes, as many as have room: at decades, at 1, 2 and 5, or even ones."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    for axis in axes:
        low, high = axis.get_view_interval()
        subs = (1.0,) if high / low >= _MANY else (1.0, 2.0, 5.0)
        axis.set_major_locator(MaxNLocator(4) if high / low < _FEW else LogLocator(subs=subs, numticks=5))
        axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        axis.set_minor_locator(NullLocator())


def check_path(path: str | os.PathLike[str]) -> str:
    """The format that the ending of ``path`` names.

    >>> check_path("stairs.SVG")
    'svg'

    Raises:
        InvalidValueError: an ending that is not in :data:`ENDINGS`.
    """
    ending = Path(path).suffix.removeprefix(".").lower()
    if ending not in ENDINGS:
        raise InvalidValueError("path", os.fspath(path), f"a file name ending in .{', .'.join(ENDINGS)}")
    return ending


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG, SVG or PDF, by the ending of the path; a failure leaves an existing file unchanged.

    The same figure gives the same file: no dates, no random names.

    Raises:
        InvalidValueError: an unknown ending, or a file that cannot be written.
    """
    ending = check_path(path)
    write_given(path, _render(figure, ending), "path")


def svg(figure: Figure) -> str:
    """A figure as the text of an SVG file; the same figure gives the same text."""
    return _render(figure, "svg").decode()


def _render(figure: Figure, ending: str) -> bytes:
    """The bytes of a figure; characters that the font lacks become boxes, without a warning."""
    content = io.BytesIO()
    with load_matplotlib().rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(content, format=ending, dpi=120, **_OPTIONS[ending])
    return _named_by_order(content.getvalue()) if ending == "svg" else content.getvalue()


def _named_by_order(svg: bytes) -> bytes:
    """An SVG file whose random-looking names are numbers in the order of use, after a digest of all the rest.

    Matplotlib names clip paths and markers by a digest of their coordinates, and the last bits of these may differ from
    one drawing to the next. The digest keeps names apart in a page of several pictures.
    """
    names = list(dict.fromkeys(re.findall(rb'id="([a-zA-Z0-9_]*?[0-9a-f]{10})"', svg)))
    parts = re.split(rb"\b(" + b"|".join(names) + rb")\b", svg) if names else [svg]
    rest = hashlib.sha256(b"".join(parts[::2])).hexdigest()[:10].encode()
    places = {name: b"n%s-%d" % (rest, place) for place, name in enumerate(names)}
    return b"".join(places.get(part, part) for part in parts)


def legend_above(axes: Axes) -> None:
    """A legend above all curves, for which the y axis is made longer."""
    lines = -(-len(axes.get_legend_handles_labels()[0]) // 2)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + (0.05 + 0.1 * lines) * (high - low))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.legend(fontsize=8, loc="upper center", ncols=2)


def reach_of(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How far the least and the largest value of each row lie from its mean; shape (2, rows)."""
    mean = values.mean(1)
    return np.maximum([mean - values.min(1), values.max(1) - mean], 0.0)
