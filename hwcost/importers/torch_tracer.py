"""A PyTorch module run on tensors that have shapes but no data, with every operator seen on its way.

PyTorch calls the mode below for each operator that is left when composite ones have been taken apart: those that a
device would really run. The mode notes what each is, which module called it, and what it says about the axes of its
tensors; the tables of operators are in ``torch_products`` and ``torch_axes``.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from hwcost.errors import InvalidValueError
from hwcost.graph import MemoryOnly, Operation, Rule, Unsupported
from hwcost.importers.torch_axes import AXES, shaped_alike
from hwcost.importers.torch_free import is_elementwise, is_free, looks_up, needs_data, reads_nothing
from hwcost.importers.torch_products import PRODUCTS, Product, repeated
from hwcost.layers import Linear
from hwcost.widths import Axis, Widths

__all__ = ["Call", "Tracer"]

Axes: TypeAlias = tuple[Axis, ...]

AN_INPUT, AN_OUTPUT, A_CONSTANT = "an input", "an output of the network", "a constant"


@dataclass
class Call:
    """One call of an operator, as the tables see it.

    Attributes:
        kind: the operator's name, without its library, and without the underscore of one that works in place.
        arguments: all of them by name, defaults included.
        outputs: the tensors that came out.
        tracer: what is known of all tensors.
    """

    kind: str
    arguments: Mapping[str, Any]
    outputs: Sequence[Tensor]
    tracer: Tracer

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def widths(self) -> Widths:
        """The register of widths."""
        return self.tracer.widths

    @property
    def inputs(self) -> list[Tensor]:
        """All tensors among the arguments."""
        return [leaf for leaf in tree_leaves(dict(self.arguments)) if isinstance(leaf, Tensor)]

    def axes(self, tensor: Tensor) -> Axes:
        """The axes of a tensor."""
        return self.tracer.axes(tensor)

    def fixed(self, shape: Sequence[int], reason: str) -> Axes:
        """Axes that cannot change."""
        return tuple(self.widths.fixed(size, reason) for size in shape)


@dataclass
class _Known:
    """What is known of a tensor; it is held on to, so that its identity stays its own."""

    tensor: Tensor
    axes: Axes | None = None
    origin: str = ""


@dataclass
class _Step:
    """An operation before it has its final name and rules."""

    name: str
    kind: str
    path: str
    layer: Any
    sizes: dict[str, Axis] = field(default_factory=dict)
    is_named: bool = True


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator of one run of a module.

    Args:
        model: the module that is run.
        parameters: the stand-ins for its parameters and buffers, by name.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.widths = Widths()
        self.steps: list[_Step] = []
        self._known: dict[int, _Known] = {}
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._recurrent = {path for path, module in model.named_modules() if isinstance(module, nn.RNNBase)}
        self._leaves = {path for path, module in model.named_modules() if not any(True for _ in module.children())}
        self._stack: list[tuple[nn.Module, str]] = []
        self._names: Counter[str] = Counter()
        self._buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
        self.parameters = dict(parameters)
        for name, tensor in parameters.items():
            self._known.setdefault(id(tensor), _Known(tensor, origin=name))

    # ---------------------------------------------------------------- modules

    @property
    def path(self) -> str:
        """The module that is running, or was when something went wrong."""
        return self._stack[-1][1] if self._stack else ""

    @contextlib.contextmanager
    def following_modules(self) -> Iterator[None]:
        """Knows, as long as it lasts, which module is running."""
        before = module_hooks.register_module_forward_pre_hook(self._enter)
        after = module_hooks.register_module_forward_hook(self._leave)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def _enter(self, module: nn.Module, _args: Any) -> None:
        self._stack.append((module, self._paths.get(id(module), self.path)))

    def _leave(self, module: nn.Module, _args: Any, _output: Any) -> None:
        # modules that raised, and whose error was caught by another one, are still there
        while self._stack and self._stack.pop()[0] is not module:
            pass

    # ---------------------------------------------------------------- tensors

    def is_parameter(self, tensor: Tensor) -> bool:
        """Whether a tensor is a parameter, or made of nothing else."""
        known = self._known.get(id(tensor))
        return known is not None and bool(known.origin)

    def axes(self, tensor: Tensor) -> Axes:
        """The axes of a tensor; a parameter seen for the first time gets widths of its own, others cannot change.

        A buffer is a table that somebody computed, unless it is given axes before: statistics of a norm are.
        """
        known = self._known.get(id(tensor))
        if known is None:
            known = self._known[id(tensor)] = _Known(tensor)
        if known.axes is None:
            if known.origin and known.origin not in self._buffers:
                known.axes = tuple(map(self.widths.new, tensor.shape))
            else:
                known.axes = tuple(self.widths.fixed(size, A_CONSTANT) for size in tensor.shape)
        return known.axes

    def give(self, tensor: Tensor | None, axes: Axes, reason: str = "") -> None:
        """Says what the axes of a tensor are; those of one that has some already become the same."""
        if tensor is None:
            return
        known = self._known.setdefault(id(tensor), _Known(tensor))
        if known.axes is None:
            known.axes = axes
            return
        for old, new in zip(known.axes, axes, strict=True):
            self.widths.join(old, new, reason)

    def has_axes(self, tensor: Tensor) -> bool:
        """Whether anything was said about a tensor yet."""
        known = self._known.get(id(tensor))
        return known is not None and known.axes is not None

    def fix(self, tensors: Any, reason: str) -> None:
        """Nothing about these tensors can change."""
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, Tensor):
                for axis in self.axes(tensor):
                    self.widths.fix(axis, reason)

    def rules(self) -> dict[str, tuple[Rule, ...]]:
        """The rules of the axes of every parameter; of one that was not used they cannot change."""
        found = {}
        for name, tensor in self.parameters.items():
            if not self.has_axes(tensor):
                self.give(tensor, tuple(self.widths.fixed(size, "not used") for size in tensor.shape))
            found[name] = tuple(map(self.widths.rule, self.axes(tensor)))
        return found

    # ---------------------------------------------------------------- operators

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = func._schema.name.partition("::")[2]
        if needs_data(kind) or (kind == "index" and _has_mask(args[1])):
            raise InvalidValueError(
                f"module {self.path!r}" if self.path else "the model",
                f"looks at the values of a tensor ({kind})",
                "a forward that goes by shapes alone; there are no values where only shapes are run",
            )
        if any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves((args, kwargs))):
            args, kwargs = tree_map_only(Tensor, self._on_meta, (args, kwargs))
        out = func(*args, **kwargs)
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        call = Call(kind.removesuffix("_") or kind, _by_name(func, args, kwargs), outputs, self)
        self._note(func, call)
        return out

    def _on_meta(self, tensor: Tensor) -> Tensor:
        """A constant that the model made elsewhere meets tensors without data: it becomes one."""
        if tensor.is_meta:
            return tensor
        known = self._known.get(id(tensor))
        if known is None:
            self._known[id(tensor)] = known = _Known(tensor)
        key = -id(tensor)  # no identity is negative
        if key not in self._known:
            self._known[key] = _Known(torch.empty_like(tensor, device="meta"))
        return self._known[key].tensor

    def _note(self, func: Any, call: Call) -> None:
        origin = self._origin(call)
        own = {id(tensor) for tensor in call.inputs}
        fresh = [tensor for tensor in call.outputs if id(tensor) not in own]
        for tensor in fresh:  # an identity may have been that of a tensor that nobody followed
            self._known[id(tensor)] = _Known(tensor, origin=origin)
        if call.kind in PRODUCTS and all(min(tensor.shape, default=1) for tensor in call.inputs):
            for product in PRODUCTS[call.kind](call):
                self._add_product(product)
            return
        self._reshaped_in_place(call)
        AXES.get(call.kind, shaped_alike if is_elementwise(func, call.kind) else _unknown)(call)
        for tensor in fresh:
            if not self.has_axes(tensor):
                self.give(tensor, call.fixed(tensor.shape, call.kind))
        if not origin:  # what is made of parameters alone is made once, not for each input
            self._add_other(func, call, fresh)

    def _reshaped_in_place(self, call: Call) -> None:
        """A tensor whose own shape was changed: nothing is known of its axes any more."""
        for tensor in call.inputs:
            known = self._known.get(id(tensor))
            if known is not None and known.axes is not None and len(known.axes) != tensor.dim():
                for axis in known.axes:
                    self.widths.fix(axis, call.kind)
                self._known[id(tensor)] = _Known(tensor, call.fixed(tensor.shape, call.kind))

    def _origin(self, call: Call) -> str:
        """The parameter that outputs are made of: the first one, if all inputs are."""
        known = [self._known.get(id(tensor)) for tensor in call.inputs]
        return known[0].origin if known and known[0] and all(each and each.origin for each in known) else ""

    def _add_product(self, product: Product) -> None:
        origin = "" if product.weight is None else self._known[id(product.weight)].origin
        name = self._named_after(origin) if origin else self._joined(product.kind)
        step = _Step(self._unique(name), product.kind, self._owner(origin), product.layer, dict(product.sizes))
        if product.made:
            self.widths.call(product.made, step.name)
        self.steps.append(step)

    def _add_other(self, func: Any, call: Call, fresh: Sequence[Tensor]) -> None:
        layer: Any
        if not is_free(func, call.kind) and call.kind not in AXES and call.kind not in PRODUCTS:
            library = func._schema.name.partition("::")[0]
            reason = "not known to be free" if library == "aten" else f"an operator of {library}"
            layer = Unsupported(func._schema.name, reason)
        elif reads_nothing(func, call.kind):
            return
        else:
            reads, writes = (sum(tensor.numel() for tensor in tensors) for tensors in (call.inputs, call.outputs))
            layer = MemoryOnly(call.kind.strip("_"), min(reads, 2 * writes) if looks_up(call.kind) else reads, writes)
        kind = call.kind.strip("_")
        name = self.path if self.path in self._leaves and self.path else self._joined(kind)
        self.steps.append(_Step(name, kind, self.path, layer, is_named=False))

    def _owner(self, origin: str) -> str:
        """The module that runs, or that has the parameter, where it lies deeper."""
        owner = origin.rpartition(".")[0]
        return owner if owner.startswith(f"{self.path}." if self.path else "") else self.path

    def _named_after(self, origin: str) -> str:
        owner, _, parameter = origin.rpartition(".")
        if parameter == "weight" and owner:
            return owner
        return f"{owner}:{parameter}" if owner else parameter

    def _joined(self, kind: str) -> str:
        return f"{self.path}:{kind}" if self.path else kind

    def _unique(self, name: str) -> str:
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name} ({self._names[name]})"

    # ---------------------------------------------------------------- what comes out

    def operations(self) -> dict[str, Operation]:
        """All operations in order, by name; the steps of a recurrent net together."""
        for step in self.steps:  # products have the first choice of names
            if not step.is_named:
                own = f"{step.name}:{step.kind}" if step.name == step.path and self._names[step.name] else step.name
                step.name, step.is_named = self._unique(own), True
        steps = _steps_together(self.steps, self._recurrent, self.widths)
        return {
            step.name: Operation(
                step.layer, step.kind, step.path, {name: self.widths.rule(axis) for name, axis in step.sizes.items()}
            )
            for step in steps
        }


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    """Whether elements are chosen by truth values, so that nobody knows how many they are."""
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _unknown(call: Call) -> None:
    """An operator that nobody told us about: nothing that it touches can change."""
    call.tracer.fix(call.inputs, call.kind)


def _by_name(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an operator by name, defaults included."""
    named = {}
    for index, argument in enumerate(func._schema.arguments):
        if index < len(args):
            named[argument.name] = args[index]
        else:
            named[argument.name] = kwargs.get(argument.name, argument.default_value)
    return named


def _steps_together(steps: Sequence[_Step], recurrent: set[str], widths: Widths) -> list[_Step]:
    """The same steps, but each product and each other operator of one recurrent module once."""
    found: list[_Step] = []
    groups: dict[tuple[Any, ...], list[_Step]] = {}
    for step in steps:
        if step.path not in recurrent or not isinstance(step.layer, (Linear, MemoryOnly)):
            found.append(step)
            continue
        base = step.name.rpartition(" (")[0] if step.name.endswith(")") else step.name
        rules = tuple((name, widths.rule(axis)) for name, axis in step.sizes.items())
        own = groups.setdefault((base, step.kind, step.layer, rules), [])
        if not own:
            found.append(step)
        own.append(step)
    for (base, *_), own in groups.items():
        own[0].layer, own[0].sizes = repeated(own[0].layer, own[0].sizes, len(own), "weight_ih" in base)
    return found
