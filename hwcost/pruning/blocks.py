"""Whole blocks that a residual network can do without, found by running it.

A block is a module that adds the output of a branch to its input. Without the branch it gives back what it gets, so
that the layers behind it still have the shapes that they know. Source: Veit et al., Residual networks behave like
ensembles of relatively shallow networks, NeurIPS 2016.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves, tree_map_only

from hwcost.errors import InvalidValueError, first_line
from hwcost.network.flow import flow_without
from hwcost.network.network import Network
from hwcost.pruning.batches import device_of, seeded

__all__ = ["Blocks", "PassThrough", "find_blocks", "is_inside", "network_without", "without"]

RANDOM_RUNS = 3


class PassThrough(nn.Module):
    """What is left of a block that was dropped: it returns its first argument, whatever else it is given.

    >>> PassThrough()(torch.ones(2), mask=None)
    tensor([1., 1.])
    """

    def forward(self, first: Any, *_: Any, **__: Any) -> Any:
        """The first argument."""
        return first


def is_inside(name: str, blocks: Collection[str]) -> bool:
    """Whether a module or a parameter is one of some modules, or inside one.

    >>> is_inside("stage.1.conv.weight", ["stage.1"]), is_inside("stage.10", ["stage.1"])
    (True, False)
    """
    return any(name == each or name.startswith(f"{each}.") for each in blocks)


@contextlib.contextmanager
def without(model: nn.Module, blocks: Collection[str]) -> Iterator[None]:
    """Context manager in which blocks of a module pass on what they get.

    Raises:
        InvalidValueError: a block that the module does not have.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> with without(model, ["1"]):
    ...     model
    Sequential(
      (0): Linear(in_features=2, out_features=2, bias=True)
      (1): PassThrough()
    )
    >>> model[1]
    Linear(in_features=2, out_features=2, bias=True)
    """
    places = [_place(model, path) for path in blocks]
    own = [modules[name] for modules, name in places]
    try:
        for (modules, name), block in zip(places, own, strict=True):
            modules[name] = PassThrough().train(block.training)
        yield
    finally:
        for (modules, name), block in zip(places, own, strict=True):
            modules[name] = block


def _place(model: nn.Module, path: str) -> tuple[dict[str, Any], str]:
    """Where a module is kept: the modules of its owner, and its name there."""
    parent, _, name = path.rpartition(".")
    try:
        owner = model.get_submodule(parent)
    except AttributeError:
        owner = nn.Module()
    if not isinstance(owner._modules.get(name), nn.Module):
        allowed = "the module that was pruned, or a new one of its class"
        raise InvalidValueError("model", type(model).__name__, allowed, reason=f"it has no module {path!r}")
    return owner._modules, name


def network_without(network: Network, blocks: Collection[str]) -> Network:
    """The network without what runs in some blocks, with the same rules for what is left.

    >>> from hwcost import from_torch
    >>> model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    >>> list(network_without(from_torch(model, (1, 2)), ["1"]))
    ['0', '2']
    """
    if not blocks:
        return network
    gone = {name for name, each in network.operations.items() if is_inside(each.path, blocks)}
    flow = flow_without(network.flow, gone)
    operations = {
        name: dataclasses.replace(network.operations[name], inputs=inputs) for name, inputs in flow.inputs.items()
    }
    parameters = {name: each for name, each in network.parameters.items() if not is_inside(name, blocks)}
    numbers = {name: each for name, each in network.numbers.items() if not is_inside(name, blocks)}
    rules = [*numbers.values(), *(rule for own in parameters.values() for rule in own)]
    left = {width for rule in rules for width, _ in rule} | {w for each in operations.values() for w in each.widths}
    widths = {name: each for name, each in network.widths.items() if name in left}
    options = {name: each for name, each in network.options.items() if name in left}
    return dataclasses.replace(
        network,
        operations=operations,
        widths=widths,
        parameters=parameters,
        numbers=numbers,
        options=options,
        outputs=flow.outputs,
    )


class Blocks(NamedTuple):
    """The blocks of a module.

    Attributes:
        can_go: those that it can do without.
        needed: the others that give back what they get, each with the reason why they stay.
    """

    can_go: tuple[str, ...]
    needed: dict[str, str]


def find_blocks(model: nn.Module, example_inputs: Any, network: Network) -> Blocks:
    """The blocks that a module can do without.

    A block is a module with products that is called once, takes a tensor (and anything else), returns one of the same
    shape, and returns the very values that it was given once all of its weights are 0. They are the tensors that it
    gets from the examples, and from random numbers in their place: behind a ReLU, a block that ends in one is an
    identity. So the blocks of ResNets are found, those of MobileNets and of transformers with norms in front of each
    branch; blocks that change shape are not, nor transformers with norms behind each addition.

    Of modules inside each other the outer one is the block, and what is in its branch is not. But one that blocks
    follow each other in, as a stage, is none: they are, and can go one by one.

    Args:
        model: the module; it is copied, and not changed.
        example_inputs: as for :func:`hwcost.from_torch`.
        network: what was read from it.

    >>> from hwcost import from_torch
    >>> class Block(nn.Sequential):
    ...     def forward(self, x):
    ...         return x + super().forward(x)
    >>> blocks = [Block(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)) for _ in range(2)]
    >>> model = nn.Sequential(nn.Linear(2, 4), nn.Sequential(*blocks), nn.Linear(4, 4))
    >>> find_blocks(model, torch.zeros(1, 2), from_torch(model, (1, 2))).can_go
    ('1.0', '1.1')
    """
    probe = copy.deepcopy(model).eval()
    inside: dict[str, set[str]] = defaultdict(set)
    for name, each in network.priced.items():
        parts = each.path.split(".")
        for count in range(1, len(parts) + 1):
            inside[".".join(parts[:count])].add(name)
    with torch.no_grad(), seeded(None, 0, "blocks"):
        args, named = _arguments(example_inputs, device_of(model))
        tested = _alone(probe, inside)
        runs = list(_runs(probe, tested, args, named))
        for parameter in probe.parameters():
            parameter.zero_()
        for module in probe.modules():
            if isinstance(module, _BatchNorm) and module.running_mean is not None:
                module.running_mean.zero_()
        same = {path for path, module in tested.items() if _gives_back(module, [run.get(path) for run in runs])}
        calls = {path: call for path in same if (call := runs[-1].get(path)) is not None}
        found = list(_outermost(probe, "", calls))
        needed = {path: why for path in found if (why := _why_needed(probe, path, args, named))}
    return Blocks(tuple(path for path in found if path not in needed), needed)


def _arguments(example_inputs: Any, device: torch.device) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Examples as arguments by position and by name."""
    given = tree_map_only(Tensor, lambda each: each.to(device), example_inputs)
    if isinstance(given, Mapping):
        return (), dict(given)
    return tuple(given) if isinstance(given, (tuple, list)) else (given,), {}


def _alone(model: nn.Module, inside: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The modules with products that are in one place, and share no parameter with others."""
    named = [(path, module) for path, module in model.named_modules(remove_duplicate=False) if path in inside]
    places = Counter(id(module) for _, module in named)
    names = defaultdict(list)
    for name, each in model.named_parameters(remove_duplicate=False):
        names[id(each)].append(name)
    return {
        path: module
        for path, module in named
        if places[id(module)] == 1
        and all(is_inside(name, [path]) for each in module.parameters() for name in names[id(each)])
    }


Call = tuple[tuple[Any, ...], dict[str, Any]]


def _runs(model: nn.Module, tested: Mapping[str, nn.Module], args: Any, named: Any) -> Iterator[dict[str, Call]]:
    """What modules get that are called once and return a tensor of the shape of their first argument.

    First that of the examples, then those of random numbers in place of their floating-point ones.
    """
    yield _received(model, tested, args, named)
    if not any(each.is_floating_point() for each in tree_leaves((args, named)) if isinstance(each, Tensor)):
        return
    for _ in range(RANDOM_RUNS):
        drawn = tree_map_only(
            Tensor, lambda each: torch.randn_like(each) if each.is_floating_point() else each, (args, named)
        )
        with contextlib.suppress(Exception):  # of a forward that does not take any numbers
            yield _received(model, tested, *drawn)


def _received(model: nn.Module, tested: Mapping[str, nn.Module], args: Any, named: Any) -> dict[str, Call]:
    found: dict[str, Call] = {}
    others: set[str] = set()
    with contextlib.ExitStack() as stack:
        for path, module in tested.items():

            def before(_: nn.Module, args: Any, named: Any, path: str = path) -> None:
                if path in found or path in others or not args or not isinstance(args[0], Tensor):
                    others.add(path)
                else:
                    found[path] = tree_map_only(Tensor, Tensor.clone, (args, named))

            def after(_: nn.Module, args: Any, out: Any, path: str = path) -> None:
                if not isinstance(out, Tensor) or path not in found or out.shape != found[path][0][0].shape:
                    others.add(path)

            hooks = module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)
            for hook in hooks:
                stack.callback(hook.remove)
        model(*args, **named)
    return {path: call for path, call in found.items() if path not in others}


def _gives_back(module: nn.Module, calls: Collection[Call | None]) -> bool:
    """Whether a module returns the first argument of each call, which is not always 0."""
    is_seen = False
    for call in calls:
        if call is None:
            return False
        args, named = tree_map_only(Tensor, Tensor.clone, call)
        try:
            out = module(*args, **named)
        except Exception:
            return False
        wanted = call[0][0]
        if not isinstance(out, Tensor) or out.dtype != wanted.dtype or not torch.equal(out, wanted):
            return False
        is_seen |= bool(wanted.any())
    return is_seen


def _outermost(module: nn.Module, path: str, same: Mapping[str, Call]) -> Iterator[str]:
    """The blocks of a module, of those that give back what they get; with a call of each of them."""
    inner = [
        each
        for name, child in module.named_children()
        for each in _outermost(child, f"{path}.{name}" if path else name, same)
    ]
    own = [module.get_submodule(each[len(path) :].removeprefix(".")) for each in inner]
    if path in same and not _is_chain(module, own, same[path]):
        yield path
    else:
        yield from inner


def _is_chain(module: nn.Module, inner: Collection[nn.Module], call: Call) -> bool:
    """Whether what a module gets goes through some inner ones to its output; other branches give 0.

    It does if they get the very same, and the output is another one if theirs is.
    """
    first: set[nn.Module] = set()

    def before(module: nn.Module, args: Any) -> None:
        if torch.equal(args[0], call[0][0]):
            first.add(module)

    def after(module: nn.Module, _: Any, out: Tensor) -> Tensor | None:
        return out + 1 if module in first else None

    with contextlib.ExitStack() as stack:
        for each in inner:
            for hook in (each.register_forward_pre_hook(before), each.register_forward_hook(after)):
                stack.callback(hook.remove)
        return bool(inner) and not _gives_back(module, [call])


def _why_needed(model: nn.Module, path: str, args: Any, named: Any) -> str:
    """Why a module does not run without a block; empty if it does."""
    calls = []
    hook = model.get_submodule(path).register_forward_pre_hook(lambda *_: calls.append(path))
    try:
        shapes = _shapes(model(*args, **named))
        calls.clear()
        with without(model, [path]):
            left = _shapes(model(*args, **named))
    except Exception as error:
        return f"the code of the module needs it: {first_line(error)}"
    finally:
        hook.remove()
    if calls:
        return "the code of the module calls it by another name"
    return "" if left == shapes else "the outputs have another shape without it"


def _shapes(outputs: Any) -> list[tuple[int, ...]]:
    return [tuple(each.shape) for each in tree_leaves(outputs) if isinstance(each, Tensor)]
