"""PyTorch modules as networks: run on shapes alone, read from the operators that a device would run."""

from hwcost.errors import MissingDependencyError

try:
    import torch as _torch  # noqa: F401  # first, so that the error names the extra to install
except ImportError as error:
    raise MissingDependencyError("PyTorch", "torch", "reading a PyTorch module") from error

from hwcost.importers.torch.inputs import InputSpec
from hwcost.importers.torch.loading import load_model, load_object
from hwcost.importers.torch.reader import read_module

__all__ = ["InputSpec", "load_model", "load_object", "read_module"]

__dir__ = __all__.copy  # what tab completion offers
