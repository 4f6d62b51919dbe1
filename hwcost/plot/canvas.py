"""What a picture is drawn on: a figure of its own, or axes of the caller."""

from __future__ import annotations

import contextlib
import itertools
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.plot.style import legend_outside, load_matplotlib, new_figure
from hwcost.units import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

__all__ = ["Canvas", "canvas", "say_logarithmic", "size_in_points", "stacked"]


class Canvas(NamedTuple):
    """The panels of a picture.

    Attributes:
        panels: an Axes for each.
        figure: that they are all of; None if they are the caller's, whose figure is left alone.
    """

    panels: tuple[Axes, ...]
    figure: Figure | None

    @property
    def drawn(self) -> Any:
        """What the caller gets: the figure, or their axes: one, or all of them."""
        return self.figure or (self.panels[0] if len(self.panels) == 1 else self.panels)

    def lowest(self, panels: Sequence[Axes]) -> Sequence[Axes]:
        """Of panels below each other with one horizontal axis those that show it: the last, or all of the caller's."""
        return panels if self.figure is None else panels[-1:]

    def title(self, text: str, size: float = 12, clear: float = 0.0) -> None:
        """A title above all panels, or on the first of the caller's; dollar signs are not math.

        Args:
            text: of the title; wrapped on the caller's axes.
            size: of its letters in a figure of its own.
            clear: points above the first panel that are taken.
        """
        if self.figure is not None:
            self.figure.suptitle(text, fontsize=size, parse_math=False)
            return
        wide, _ = size_in_points(self.panels[0])
        lines = (textwrap.fill(line, max(16, int(wide / _LETTER))) for line in text.splitlines())
        self.panels[0].set_title("\n".join(lines), fontsize=9, parse_math=False, pad=6 + clear)

    def legend(self, panels: Sequence[Axes], columns: int = 4) -> None:
        """The legend of panels, each label once: below all of their part of the figure, or right of the caller's last.

        It is outside of all panels, so that it lies on nothing that is drawn.
        """
        found: dict[str, Any] = {}
        for axes in panels:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                found.setdefault(label, handle)
        if self.figure is None:
            legend_outside(panels[-1], handles=list(found.values()), labels=list(found))
            return
        look: dict[str, Any] = {"loc": "outside lower center", "ncols": min(len(found), columns)}
        legend = panels[0].figure.legend(list(found.values()), list(found), **look)
        for text in legend.get_texts():
            text.set_parse_math(False)


Arrange = Callable[["Figure"], Iterable["Axes"]]


@contextlib.contextmanager
def canvas(ax: Any, names: Sequence[str], size: tuple[float, float], arrange: Arrange) -> Iterator[Canvas]:
    """A new figure in the style of all pictures, or the caller's axes as they are; logarithmic axes say so at the end.

    Args:
        ax: None, an Axes, or several: an array or a sequence with one for each panel.
        names: of the panels, for the error.
        size: of a new figure in inches.
        arrange: makes the panels of a new figure.

    Raises:
        InvalidValueError: anything else in ``ax``, or another number of them.
    """
    load_matplotlib()
    if ax is not None:
        given = Canvas(_checked(ax, names), None)
        yield given
        say_logarithmic(given.panels)
        _turn_names(given.panels)
        return
    with new_figure(*size) as figure:
        yield Canvas(tuple(arrange(figure)), figure)
        say_logarithmic(figure.axes)
        _turn_names(figure.axes)


def size_in_points(axes: Axes) -> tuple[float, float]:
    """Width and height of an axes, before room is made for its labels and its legend."""
    point = axes.figure.dpi / 72
    return axes.bbox.width / point, axes.bbox.height / point


def stacked(*heights: float) -> Arrange:
    """Panels below each other that share their horizontal axis, with heights in proportion."""
    return lambda figure: figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]


def _checked(ax: Any, names: Sequence[str]) -> tuple[Axes, ...]:
    from matplotlib.axes import Axes

    panels = tuple(np.asarray(ax, dtype=object).ravel())
    if len(panels) != len(names) or not all(isinstance(each, Axes) for each in panels):
        kinds = ", ".join(dict.fromkeys(type(each).__name__ for each in panels)) or "nothing"
        panel = "one matplotlib Axes" if len(names) == 1 else f"{len(names)} matplotlib Axes, one for each panel"
        count = plural(len(names), "panel")
        form = f"{{field}} is {len(panels)} ({kinds}), but the picture has {count}; needed: {{allowed}}"
        raise InvalidValueError("ax", f"{len(panels)} ({kinds})", f"{panel}: {', '.join(names)}", form=form)
    return panels


def say_logarithmic(panels: Iterable[Axes]) -> None:
    """Adds to the label of each logarithmic axis that it is one."""
    for axes in panels:
        for axis in (axes.xaxis, axes.yaxis):
            text = axis.get_label_text()
            if axis.get_scale() == "log" and text and not text.endswith(_LOGARITHMIC):
                axis.set_label_text(f"{text}{_LOGARITHMIC}")


def _turn_names(panels: Iterable[Axes]) -> None:
    """Turns the names at a horizontal axis upright where they would touch; the legend decides how wide the axis is."""
    named = [axes for axes in panels if any(map(_is_name, _level(axes)))]
    if not named:
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # as when the picture is saved
        named[0].figure.figure.draw_without_rendering()
        ends = [sorted((box.x0, box.x1) for box in map(_box_of, _level(axes))) for axes in named]
    for axes, boxes in zip(named, ends, strict=True):
        if any(after - end < _BETWEEN for (_, end), (after, _) in itertools.pairwise(boxes)):
            axes.tick_params(axis="x", rotation=90)


def _level(axes: Axes) -> list[Text]:
    found = (tick.label1 for tick in axes.xaxis.get_major_ticks())
    return [text for text in found if text.get_text() and text.get_visible() and not text.get_rotation()]


def _is_name(text: Text) -> bool:
    return any(map(str.isalpha, text.get_text()))


def _box_of(text: Text) -> Bbox:
    return text.get_window_extent()


_BETWEEN = 6.0
"""Pixels between two names."""
_LOGARITHMIC = ", log scale"
_LETTER = 7.0
"""Points of a letter of a title on the caller's axes, of which a legend may take some."""
