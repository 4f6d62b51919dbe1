"""Lists of layers: CSV, TOML and SCALE-Sim topologies, read and written."""

from hwcost.importers.lists.reader import read_layers
from hwcost.importers.lists.scalesim import write_scalesim
from hwcost.importers.lists.writing import write_layers

__all__ = ["read_layers", "write_layers", "write_scalesim"]
