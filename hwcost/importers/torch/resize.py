"""A PyTorch module with other widths: its parameters are cut, and the numbers in its layers changed to match."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hwcost.errors import MISSING, InvalidValueError
from hwcost.importers.torch.inputs import InputSpec
from hwcost.importers.torch.kept import kept as everything_kept
from hwcost.importers.torch.loading import load_model
from hwcost.importers.torch.reader import read
from hwcost.network.channels import Channels, Kept, check_kept, check_shape, first_channels, staying
from hwcost.network.network import Network
from hwcost.network.operations import size_at

__all__ = [
    "applied", "changed_numbers", "chosen_channels", "cut_in_place", "cut_tensor", "cut_tensors", "held_numbers",
    "renumber", "resized", "tensors_of",
]  # fmt: skip

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def resized(
    model: nn.Module, network: Network, sizes: Mapping[str, int] | None = None, *, keep: Kept | None = None
) -> nn.Module:
    """A copy of a module with smaller widths: a part of it, with the weights of the channels that stay.

    Every parameter that follows a width is cut, and the numbers of convolutions, fully connected layers and norms are
    changed with it, wherever they sit; code in a ``forward`` that has sizes written into it is not changed, and a copy
    of such a module may not run. The accuracy of the copy is unknown until it is trained.

    Args:
        model: the module that the network was imported from.
        network: what :func:`hwcost.from_torch` found in it.
        sizes: new sizes of widths, at most today's; the first channels stay, or the first of each group where a width
            has groups. Sides of kernels cannot be cut.
        keep: the channels that stay, by width, as indices; a width with groups keeps equally many of each.
            :meth:`hwcost.network.network.Network.masked` computes the same in the original shapes.

    Raises:
        InvalidValueError: a width that is unknown, fixed, grows, or is not allowed; channels that it does not have;
            neither ``sizes`` nor ``keep``; a module that was cut already, or that cannot be rebuilt.

    >>> from hwcost import from_torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> network = from_torch(model, (1, 4))
    >>> resized(model, network, {"0": 5})[2]
    Linear(in_features=5, out_features=2, bias=True)
    >>> torch.equal(resized(model, network, keep={"0": [1, 6]})[0].weight, model[0].weight[[1, 6]])
    True
    """
    kept = chosen_channels(network, sizes, keep)
    smaller = copy.deepcopy(model)
    _cut(smaller, network, kept)
    return smaller


@contextlib.contextmanager
def cut_in_place(model: nn.Module, network: Network, keep: Kept) -> Iterator[None]:
    """Context manager in which a module itself is what :func:`resized` returns; only what is cut is copied.

    Afterwards the module is as it was, whatever its forward did to its attributes and buffers meanwhile.

    Raises:
        InvalidValueError: as :func:`resized`.

    >>> from hwcost import from_torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> with cut_in_place(model, from_torch(model, (1, 4)), {"0": [1, 6]}):
    ...     model[2].in_features
    2
    >>> model[2].in_features
    8
    """
    channels = check_kept(network.widths, keep)
    with everything_kept(list(model.modules()), of_classes=False):
        copies: dict[int, Tensor] = {}
        for owner, attribute, tensor in tensors_of(model).values():
            if attribute in owner._buffers:
                owner._buffers[attribute] = copies.setdefault(id(tensor), tensor.clone())
        _cut(model, network, channels)
        yield


def _cut(model: nn.Module, network: Network, kept: Mapping[str, Channels]) -> None:
    """Cuts a module itself."""
    tensors = tensors_of(model)
    new: dict[int, Tensor] = {}
    for name, cut in cut_tensors(model, network, kept).items():
        owner, attribute, old = tensors[name]
        if id(old) not in new:
            is_parameter = isinstance(old, nn.Parameter)
            new[id(old)] = nn.Parameter(cut.detach(), old.requires_grad) if is_parameter else cut
        setattr(owner, attribute, new[id(old)])  # tied: both names keep one parameter
    for path, module in model.named_modules():
        renumber(module, groups_stay=_is_of_groups(network, f"{path}.weight" if path else "weight"))
    for module, attribute, size in held_numbers(model, network, kept):
        setattr(module, attribute, size)


def _is_of_groups(network: Network, weight: str) -> bool:
    """Whether the second axis of a weight has the channels of one of several groups, if only one."""
    rules = network.parameters.get(weight, ())
    return len(rules) > 1 and any(factor.denominator > 1 for _, factor in rules[1])


def held_numbers(
    model: nn.Module, network: Network, kept: Mapping[str, Channels]
) -> Iterator[tuple[nn.Module, str, int]]:
    """The numbers that modules hold, as those of attention heads, that a cut changes: module, attribute, new number."""
    sizes = {name: len(kept[name]) if name in kept else width.size for name, width in network.widths.items()}
    for name, rule in network.numbers.items():
        if any(width in kept for width, _ in rule):
            path, _, attribute = name.rpartition(".")
            yield model.get_submodule(path), attribute, int(size_at(rule, sizes))


def cut_tensors(model: nn.Module, network: Network, kept: Mapping[str, Channels]) -> dict[str, Tensor]:
    """The parameters and buffers that a cut changes, by name; tied ones are one tensor. Gradients reach the whole ones.

    Args:
        model: the module that the network was imported from.
        network: what was read from it.
        kept: the channels that stay, by width; ascending.

    Raises:
        InvalidValueError: a parameter of the network that the module does not have, or has in another shape.
    """
    tensors, found = tensors_of(model), dict[str, Tensor]()
    known: dict[int, Tensor] = {}
    for name, rules in network.parameters.items():
        if name not in tensors:
            allowed = "pass the module that was imported"
            raise InvalidValueError("model", type(model).__name__, allowed, reason=f"it has no {name!r}")
        old = tensors[name][2]
        if id(old) not in known and (stays := staying(rules, network.widths, kept)):
            check_shape(model, name, old.shape, rules, network.widths)
            known[id(old)] = cut_tensor(old, stays)
        if id(old) in known:
            found[name] = known[id(old)]
    return found


def cut_tensor(tensor: Tensor, stays: Mapping[int, Any]) -> Tensor:
    """The entries of a tensor that stay, by the masks of each axis."""
    for axis in sorted(stays, reverse=True):  # axis 0, whose parts are the groups, is cut last
        rows = [torch.from_numpy(row.nonzero()[0]).to(tensor.device) for row in stays[axis]]
        parts = [part.index_select(axis, row) for part, row in zip(tensor.chunk(len(rows)), rows, strict=True)]
        tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
    return tensor.contiguous()  # PyTorch's convolutions on channels_last have crashed on 7 channels


def chosen_channels(network: Network, sizes: Mapping[str, int] | None, keep: Kept | None) -> dict[str, Channels]:
    """The channels that stay of every width that is cut."""
    if sizes is None and keep is None:
        raise InvalidValueError("sizes or keep", MISSING, 'sizes by width, as {"conv1": 8}')
    sizes = {} if sizes is None else sizes
    network.at(sizes)
    for name in (*sizes, *(keep or ())):
        if name in network.widths and network.widths[name].is_kernel:
            reason = "it is the side of a kernel, and only channels and features can be cut"
            raise InvalidValueError(f"width {name!r}", name, "build the module with the other kernel", reason=reason)
    kept = {} if keep is None else check_kept(network.widths, keep)
    for name in sizes.keys() & kept.keys():
        if sizes[name] != len(kept[name]):
            allowed = f"{len(kept[name])}, as many as keep has channels, or leave it out"
            raise InvalidValueError(f"width {name!r}", sizes[name], allowed)
    for name, size in sizes.items():
        if size > network.widths[name].size:
            allowed = f"at most today's {network.widths[name].size}: weights are cut"
            raise InvalidValueError(f"width {name!r}", size, allowed)
        kept.setdefault(name, first_channels(network.widths[name], size))
    return kept


def changed_numbers(
    before: nn.Module, after: nn.Module, held: Collection[str] = ()
) -> dict[str, dict[str, tuple[int, int]]]:
    """The numbers to change in the code of a model: for each module, those that differ, before and after.

    Args:
        before, after: the two modules.
        held: names of other numbers than those of layers, as ``Network.numbers`` has them.

    >>> changed_numbers(nn.Sequential(nn.Linear(4, 8)), nn.Sequential(nn.Linear(4, 6)))
    {'0': {'out_features': (8, 6)}}
    """
    others = dict(after.named_modules())
    found = {}
    for path, module in before.named_modules():
        old, new = (_numbers(each, path, held) for each in (module, others[path]))
        changed = {name: (old[name], new[name]) for name in old if old[name] != new[name]}
        if changed:
            found[path] = changed
    return found


_NUMBERS = (
    "in_channels", "out_channels", "groups", "in_features", "out_features", "num_features", "num_channels",
    "input_size", "embedding_dim", "nx", "nf",
)  # fmt: skip


def _numbers(module: nn.Module, path: str, held: Collection[str]) -> dict[str, int]:
    own = [name.rpartition(".")[2] for name in held if name.rpartition(".")[0] == path]
    numbers = {name: value for name in (*_NUMBERS, *own) if isinstance(value := getattr(module, name, None), int)}
    if isinstance(module, nn.LayerNorm):
        numbers["normalized_shape"] = module.normalized_shape[-1]
    return numbers


def tensors_of(model: nn.Module) -> dict[str, tuple[nn.Module, str, Tensor]]:
    """Every parameter and buffer by name, with its module and its name there."""
    found = {}
    for path, module in model.named_modules():
        for attribute, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                found[f"{path}.{attribute}" if path else attribute] = (module, attribute, tensor)
    return found


def renumber(module: nn.Module, *, groups_stay: bool = False) -> None:
    """Sets the numbers of a layer to the sizes of its parameters.

    A convolution with one channel for each group loses groups with its channels, unless ``groups_stay``.
    """
    if isinstance(module, _CONVOLUTIONS):
        was_depthwise = 1 < module.groups == module.in_channels and not groups_stay
        made, of_a_group = module.weight.shape[:2]
        if was_depthwise and made != module.out_channels:
            module.groups = made * module.in_channels // module.out_channels
        module.in_channels, module.out_channels = module.groups * of_a_group, made
    elif isinstance(module, _TRANSPOSED):
        module.in_channels, of_a_group = module.weight.shape[:2]
        module.out_channels = module.groups * of_a_group
    elif isinstance(module, nn.RNNBase):
        module.input_size = module._parameters["weight_ih_l0"].shape[1]  # type: ignore[union-attr]
    elif isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = module.weight.shape
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _NORMS):
        tensor = module.weight if module.weight is not None else module.running_mean
        if tensor is not None:
            module.num_features = len(tensor)
    elif isinstance(module, nn.GroupNorm) and module.weight is not None:
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.LayerNorm) and module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)
    elif {"nx", "nf"} <= vars(module).keys():  # transformers' Conv1D
        weight = module._parameters.get("weight")
        if weight is not None and weight.dim() == 2:
            vars(module).update(nx=weight.shape[0], nf=weight.shape[1])


def applied(
    source: str, inputs: Sequence[InputSpec], network: Network, sizes: Mapping[str, int]
) -> tuple[dict[str, dict[str, tuple[int, int]]], Network]:
    """Rebuilds the module of ``FILE.py:NAME`` with other widths, and reads it again.

    Returns:
        The numbers to change in its code (:func:`changed_numbers`), and the network of the rebuilt module.

    Raises:
        InvalidValueError: as :func:`resized`; a rebuilt module that does not run.
    """
    path, _, name = source.rpartition(":")
    model = load_model(path, name)
    made = resized(model, network, sizes)
    try:
        return changed_numbers(model, made, network.numbers), read(made, list(inputs), name=name)
    except InvalidValueError as error:
        allowed = "a module whose forward has no sizes written into it can be rebuilt"
        raise InvalidValueError("the rebuilt module", name, allowed, reason=str(error)) from error
