"""The picture of ``hwcost sweep``: maps of rows and columns or, if other fields are swept, curves over one of them."""

from __future__ import annotations

from hwcost.cli.sweep_context import Context
from hwcost.model.words import lower_bound
from hwcost.plot import fields_figure, save, sweep_figure
from hwcost.sweep.shown import objectives_text

__all__ = ["draw"]


def draw(path: str, context: Context) -> None:
    """Draws the points of a sweep into a file."""
    found = context.found
    if context.varied:
        title = _title(context, f"front of {objectives_text(found)}")
        figure = fields_figure(found, title=title)
    else:
        figure = sweep_figure(found, _title(context))
    save(figure, path)


def _title(context: Context, *more: str) -> str:
    """The lines of the title, with the reason if times are lower bounds."""
    why = lower_bound(context.found.uncharged)
    return "\n".join([context.title, *more, *([f"lower bound: {why}"] if why else [])])
