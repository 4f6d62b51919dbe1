"""A module at smaller widths without a copy: its own weights, of which only the channels that stay are used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hwcost.importers.torch.resize import chosen_channels, cut_tensors, held_numbers, renumber, tensors_of
from hwcost.network.channels import Kept
from hwcost.network.network import Network

__all__ = ["Sliced", "swapped"]


@contextlib.contextmanager
def swapped(model: nn.Module, tensors: Mapping[str, Tensor], *, renumbers: bool = False) -> Iterator[None]:
    """Context manager in which a module has other parameters and buffers.

    Args:
        model: the module.
        tensors: by name; the others stay.
        renumbers: whether the numbers of its layers become those of the new tensors' sizes.
    """
    places = tensors_of(model)
    owners = {id(owner): owner for owner, _, _ in map(places.__getitem__, tensors)} if renumbers else {}
    numbers = {key: {name: value for name, value in vars(owner).items() if isinstance(value, (int, tuple))}
               for key, owner in owners.items()}  # fmt: skip
    try:
        for name, tensor in tensors.items():
            _table(*places[name])[places[name][1]] = tensor
        for owner in owners.values():
            renumber(owner)
        yield
    finally:
        for name in tensors:
            _table(*places[name])[places[name][1]] = places[name][2]
        for key, owner in owners.items():
            vars(owner).update(numbers[key])


def _table(owner: nn.Module, attribute: str, tensor: Tensor) -> dict[str, Any]:
    return owner._parameters if attribute in owner._parameters else owner._buffers


class Sliced(nn.Module):
    """A part of a module, which shares its weights.

    It computes what :func:`hwcost.torch.resized` with the same sizes or channels would compute, to the last bit;
    gradients go to the weights of the whole module. In training mode, a part does not change the running statistics of
    batch norms, which are those of the whole module.

    Args:
        model: the module that the network was imported from.
        network: what was read from it.
        sizes, keep: as for :func:`hwcost.torch.resized`.

    Raises:
        InvalidValueError: as :func:`hwcost.torch.resized`.

    >>> import torch
    >>> from hwcost import from_torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> part = Sliced(model, from_torch(model, (1, 4)), {"0": 5})
    >>> part(torch.ones(1, 4)).sum().backward()
    >>> int((model[0].bias.grad != 0).sum()) <= 5, model[0].out_features
    (True, 8)
    """

    def __init__(
        self, model: nn.Module, network: Network, sizes: Mapping[str, int] | None = None, *, keep: Kept | None = None
    ) -> None:
        super().__init__()
        self.model, self.training = model, model.training
        self._network = network
        self._kept = {
            name: channels
            for name, channels in chosen_channels(network, sizes, keep).items()
            if len(channels) < network.widths[name].size
        }

    def forward(self, *args: Any, **named: Any) -> Any:
        """The outputs of the part."""
        tensors = cut_tensors(self.model, self._network, self._kept)
        if not tensors:
            return self.model(*args, **named)
        others = {} if not self.model.training else _statistics(self.model)
        with swapped(self.model, others | tensors, renumbers=True), self._numbers():
            return self.model(*args, **named)

    @contextlib.contextmanager
    def _numbers(self) -> Iterator[None]:
        """Context manager in which the numbers that modules hold are those of the part."""
        found = list(held_numbers(self.model, self._network, self._kept))
        before = [getattr(module, attribute) for module, attribute, _ in found]
        try:
            for module, attribute, size in found:
                setattr(module, attribute, size)
            yield
        finally:
            for (module, attribute, _), size in zip(found, before, strict=True):
                setattr(module, attribute, size)


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the running statistics of batch norms."""
    return {
        f"{path}.{name}" if path else name: buffer.clone()
        for path, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        for name, buffer in module.named_buffers(recurse=False)
    }
