"""Networks out of PyTorch modules: run on shapes alone, priced from the operators that really run."""

from hwcost.importers.torch.reader import InputSpec, from_torch, load_model, read_module

__all__ = ["InputSpec", "from_torch", "load_model", "read_module"]
