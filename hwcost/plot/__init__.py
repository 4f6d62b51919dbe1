"""Pictures of smooth ceilings, of stairs of a layer, of fits, networks, prunings, comparisons and sweeps.

The functions return matplotlib figures without pyplot: no global state, no window. A figure shows as the last line of a
notebook's cell. :func:`save` writes it to a file. matplotlib is loaded on the first call.

Each function also draws on axes of your own, and returns those: ``ax=`` is one Axes, or for a picture of several panels
as many of them, in the order of the panels, as ``plt.subplots`` gives them. The legend then lies to the right of an
axes, and the title on the first; ``layout="constrained"`` makes room for both.

>>> figure = load_matplotlib().figure.Figure(layout="constrained")
>>> cycles, utilization = figure.subplots(2)
>>> from hwcost import Conv2d, SystolicArray
>>> layer, array = Conv2d(6, 16, 5, 14, 14), SystolicArray(8, 8)
>>> drawn = stairs_figure(layer, array, "out_channels", range(1, 65), ax=[cycles, utilization])
>>> drawn == (cycles, utilization)
True
"""

from hwcost.plot.buffers import buffers_figure
from hwcost.plot.calibration import calibration_figure
from hwcost.plot.ceilings import ceiling_data, ceiling_figure
from hwcost.plot.comparison import comparison_figure
from hwcost.plot.fields import fields_data, fields_figure
from hwcost.plot.memory import memory_data, memory_figure
from hwcost.plot.network import PICTURES, network_data, network_figure
from hwcost.plot.pruning import pruning_data, pruning_figure
from hwcost.plot.stairs import stairs_data, stairs_figure
from hwcost.plot.style import ENDINGS, check_path, load_matplotlib, save, svg
from hwcost.plot.sweep import sweep_data, sweep_figure
from hwcost.plot.timeline import timeline_data, timeline_figure

__all__ = [
    "ENDINGS",
    "PICTURES",
    "buffers_figure",
    "calibration_figure",
    "ceiling_data",
    "ceiling_figure",
    "check_path",
    "comparison_figure",
    "fields_data",
    "fields_figure",
    "load_matplotlib",
    "memory_data",
    "memory_figure",
    "network_data",
    "network_figure",
    "pruning_data",
    "pruning_figure",
    "save",
    "stairs_data",
    "stairs_figure",
    "svg",
    "sweep_data",
    "sweep_figure",
    "timeline_data",
    "timeline_figure",
]

__dir__ = __all__.copy  # what tab completion offers
