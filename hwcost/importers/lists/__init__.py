"""Lists of layers: CSV, TOML and SCALE-Sim topologies, read and written; and tables of measured costs."""

from hwcost.importers.lists.costs import read_costs, write_costs
from hwcost.importers.lists.reader import read_layers
from hwcost.importers.lists.scalesim import write_scalesim
from hwcost.importers.lists.writing import write_layers

__all__ = ["read_costs", "read_layers", "write_costs", "write_layers", "write_scalesim"]

__dir__ = __all__.copy  # what tab completion offers
