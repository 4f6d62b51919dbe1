"""PyTorch modules as networks: run on shapes alone, read from the operators that a device would run."""

from hwcost.importers.torch.inputs import InputSpec
from hwcost.importers.torch.loading import load_model
from hwcost.importers.torch.reader import read_module

__all__ = ["InputSpec", "load_model", "read_module"]
