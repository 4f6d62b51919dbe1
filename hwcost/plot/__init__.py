"""Pictures of smooth ceilings, of stairs of a layer, of fits, networks, prunings, comparisons and sweeps.

The functions return matplotlib figures without pyplot: no global state, no window. :func:`save` writes a figure to a
file. matplotlib is loaded on the first call.
"""

from hwcost.plot.buffers import buffers_figure
from hwcost.plot.calibration import calibration_figure
from hwcost.plot.ceilings import ceiling_data, ceiling_figure
from hwcost.plot.comparison import comparison_figure
from hwcost.plot.fields import Quantity, fields_data, fields_figure
from hwcost.plot.memory import memory_data, memory_figure
from hwcost.plot.network import PICTURES, network_data, network_figure
from hwcost.plot.pruning import pruning_data, pruning_figure
from hwcost.plot.stairs import stairs_data, stairs_figure
from hwcost.plot.style import ENDINGS, check_path, load_matplotlib, save, svg
from hwcost.plot.sweep import sweep_data, sweep_figure

__all__ = [
    "ENDINGS",
    "PICTURES",
    "Quantity",
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
]
