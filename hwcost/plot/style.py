"""What all pictures share: colours that people with any kind of colour vision can tell apart; files written whole."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwcost.errors import InvalidValueError, MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "COLOURS",
    "ENDINGS",
    "GREY",
    "LIGHT",
    "MARGINS",
    "STYLE",
    "check_path",
    "load_matplotlib",
    "save",
    "svg",
]

ENDINGS = ("png", "svg", "pdf")
"""Of the files that can be written."""

# Okabe and Ito's palette, which people with any kind of colour vision can tell apart; without its yellow.
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
MARGINS = {"w_pad": 0.12, "h_pad": 0.08}
_SMALL: Mapping[str, Any] = {"png": {"pil_kwargs": {"optimize": True}}}
_NO_DATE: Mapping[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def load_matplotlib() -> Any:
    """The library, loaded.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import matplotlib.figure
    except ImportError:
        raise MissingDependencyError("matplotlib", "plot", "a plot") from None
    return matplotlib


def check_path(path: str | os.PathLike[str]) -> str:
    """The format that the ending of ``path`` stands for.

    >>> check_path("stairs.SVG")
    'svg'

    Raises:
        InvalidValueError: an ending that is none of :data:`ENDINGS`.
    """
    ending = Path(path).suffix.removeprefix(".").lower()
    if ending not in ENDINGS:
        raise InvalidValueError("path", os.fspath(path), f"a file name ending in .{', .'.join(ENDINGS)}")
    return ending


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG, SVG or PDF, going by the ending; the file is written whole or not at all.

    The same figure makes the same file: no dates, no random names.

    Raises:
        InvalidValueError: an unknown ending, or a file that cannot be written.
    """
    ending = check_path(path)
    matplotlib = load_matplotlib()
    try:
        with _written_whole(Path(path)) as beside, matplotlib.rc_context(STYLE), _any_letters():
            figure.savefig(beside, format=ending, dpi=120, metadata=_NO_DATE[ending], **_SMALL.get(ending, {}))
    except OSError as error:
        raise InvalidValueError("path", os.fspath(path), f"a file that can be written ({error.strerror})") from None


def svg(figure: Figure) -> str:
    """A figure as the text of an SVG file; the same figure makes the same text."""
    matplotlib, text = load_matplotlib(), io.BytesIO()
    with matplotlib.rc_context(STYLE), _any_letters():
        figure.savefig(text, format="svg", metadata=_NO_DATE["svg"])
    return text.getvalue().decode()


@contextlib.contextmanager
def _any_letters() -> Iterator[None]:
    """Letters that the font does not have are drawn as boxes, which is no news to the reader of a picture."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


@contextlib.contextmanager
def _written_whole(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` that takes its place once it is complete."""
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield beside
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
