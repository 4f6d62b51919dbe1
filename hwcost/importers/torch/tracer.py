"""A PyTorch module run on tensors that have shapes but no data, with every operator seen on its way.

PyTorch calls the mode below for each operator that is left when composite ones have been taken apart: those that a
device would really run. The mode notes what each is, which module called it, and what it says about the axes of its
tensors; the tables of operators are in ``torch_products`` and ``torch_axes``.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from hwcost.errors import InvalidValueError
from hwcost.importers.torch.axes import AXES, shaped_alike
from hwcost.importers.torch.free import looks_up
from hwcost.importers.torch.inputs import without_data
from hwcost.importers.torch.operators import Operator, operator, shortcut, tensors_in
from hwcost.importers.torch.products import PRODUCTS, LoweredLayer
from hwcost.importers.torch.steps import Steps, named_after, public_name
from hwcost.network.axes import Axis, AxisTracker
from hwcost.network.operations import MemoryOnly, Operation, SizeExpression, Unsupported

__all__ = ["Call", "Tracer"]

Axes: TypeAlias = tuple[Axis, ...]

AN_INPUT, AN_OUTPUT, A_CONSTANT = "an input", "an output of the network", "a constant"


class Call:
    """One call of an operator, as the tables see it.

    Args:
        operator: what is known of it.
        args, kwargs: its arguments.
        inputs: the tensors among them.
        outputs: the tensors that came out.
        tracer: what is known of all tensors.
    """

    def __init__(
        self,
        operator: Operator,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        tracer: Tracer,
    ) -> None:
        self.kind, self.inputs, self.outputs, self.tracer = operator.kind, inputs, outputs, tracer
        self.operator, self._args, self._kwargs = operator, args, kwargs

    @functools.cached_property
    def arguments(self) -> dict[str, Any]:
        """All arguments by name, defaults included."""
        return self.operator.by_name(self._args, self._kwargs)

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def widths(self) -> AxisTracker:
        """The register of widths."""
        return self.tracer.widths

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


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator of one run of a module.

    Args:
        model: the module that is run.
        parameters: the stand-ins for its parameters and buffers, by name.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.widths = AxisTracker()
        self.steps = Steps()
        self._known: dict[int, _Known] = {}
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._recurrent = {path for path, module in model.named_modules() if isinstance(module, nn.RNNBase)}
        self._leaves = {path for path, module in model.named_modules() if not any(True for _ in module.children())}
        self._stack: list[tuple[nn.Module, str, list[Tensor]]] = []
        self._error: BaseException | None = None
        self._raised_in = ""
        self._has_lengths = False
        self._buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
        self.parameters = dict(parameters)
        for name, tensor in parameters.items():
            self._known.setdefault(id(tensor), _Known(tensor, origin=name))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would wrap the mode for its compiler, which takes longer to load than a network to read."""
        return False

    # ---------------------------------------------------------------- modules

    @property
    def path(self) -> str:
        """The module that is running."""
        return self._stack[-1][1] if self._stack else ""

    @contextlib.contextmanager
    def following_modules(self) -> Iterator[None]:
        """Knows, as long as it lasts, which module is running."""
        before = module_hooks.register_module_forward_pre_hook(self._enter)
        after = module_hooks.register_module_forward_hook(self._leave, always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._stack.append((module, self._paths.get(id(module), self.path), tensors_in(args)))

    def _leave(self, module: nn.Module, _args: Any, _output: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and error is not self._error:
            self._error, self._raised_in = error, self.path
        while self._stack and self._stack.pop()[0] is not module:
            pass

    def where_raised(self, error: BaseException) -> str:
        """The path of the innermost module that an error came out of."""
        return self._raised_in if error is self._error else self.path

    def shape_was_written(self, shape: Sequence[int]) -> None:
        """A reshape took axes apart or put them together, into sizes that the code of a module says.

        Where such a size, or one of several together, is that of an input of the module, the code has it from there
        (``B, N, C = x.shape``): that one cannot change by itself either.
        """
        if not self._stack:
            return
        sizes = {
            math.prod(shape[start:stop]) for start in range(len(shape)) for stop in range(start + 1, len(shape) + 1)
        }
        for tensor in self._stack[-1][2]:
            for axis in self.axes(tensor):
                if self.widths.size(axis) in sizes:
                    self.widths.fix(axis, "a reshape in the same module")

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

    def rules(self) -> dict[str, tuple[SizeExpression, ...]]:
        """The rules of the axes of every parameter; of one that was not used they cannot change."""
        found = {}
        for name, tensor in self.parameters.items():
            if not self.has_axes(tensor):
                self.give(tensor, tuple(self.widths.fixed(size, "not used") for size in tensor.shape))
            found[name] = tuple(map(self.widths.rule, self.axes(tensor)))
        return found

    # ---------------------------------------------------------------- operators

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known, kwargs = operator(func), kwargs or {}
        inputs = tensors_in((*args, *kwargs.values()))
        with_shapes_alone = any(tensor.is_meta for tensor in inputs)
        if with_shapes_alone and not known.takes_lengths and not all(tensor.is_meta for tensor in inputs):
            args, kwargs = tree_map_only(Tensor, self._on_meta, (args, kwargs))
            inputs = tensors_in((*args, *kwargs.values()))
        if with_shapes_alone and (known.needs_data or (known.kind == "index" and _has_mask(args[1]))):
            raise InvalidValueError(
                f"module {self.path!r}" if self.path else "the model",
                f"looks at the values of a tensor ({known.kind})",
                "a forward that goes by shapes alone; there are no values where only shapes are run",
            )
        if known.takes_device and (with_shapes_alone or not inputs) and not self._is_of_lengths(known, kwargs):
            kwargs = {**kwargs, "device": torch.device("meta"), **_unpinned(kwargs)}
        self._has_lengths |= known.takes_lengths
        out = shortcut(func, args, inputs) if with_shapes_alone else None
        if out is None:
            out = self._called(func, args, kwargs)
        self._note(Call(known, args, kwargs, inputs, tensors_in((out,)), self))
        return out

    def _called(self, func: Any, args: Any, kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if not isinstance(error, NotImplementedError) and "no fake impl registered" not in str(error):
                raise
            raise InvalidValueError(
                f"module {self.path!r}" if self.path else "the model",
                f"calls {func._schema.name}",
                "operators that say the shape of their result without data (torch.library.register_fake teaches them)",
            ) from error

    def _is_of_lengths(self, known: Operator, kwargs: Mapping[str, Any]) -> bool:
        """Whether a tensor is made for the lengths of packed sequences, which PyTorch writes one by one."""
        return self._has_lengths and known.kind == "empty" and kwargs.get("dtype") is torch.int64

    def _on_meta(self, tensor: Tensor) -> Tensor:
        """A constant that the model made elsewhere meets tensors without data: it becomes one."""
        if tensor.is_meta:
            return tensor
        known = self._known.get(id(tensor))
        if known is None:
            self._known[id(tensor)] = known = _Known(tensor)
        key = -id(tensor)  # no identity is negative
        if key not in self._known:
            self._known[key] = _Known(without_data(tensor))
        return self._known[key].tensor

    def _note(self, call: Call) -> None:
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
        if call.kind in AXES:
            AXES[call.kind](call)
        elif call.operator.is_elementwise:
            shaped_alike(call)
        elif not call.operator.makes_anew:
            _unknown(call)
        for tensor in fresh:
            if not self.has_axes(tensor):
                made = "a constant of the code" if call.operator.makes_anew else call.kind
                self.give(tensor, call.fixed(tensor.shape, made))
        made_once = origin or (call.inputs and not any(tensor.is_meta for tensor in (*call.inputs, *call.outputs)))
        if not made_once:  # of parameters or of constants alone, and not for each input
            self._add_other(call)

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

    def _add_product(self, product: LoweredLayer) -> None:
        origin = "" if product.weight is None else self._known[id(product.weight)].origin
        name = named_after(origin) if origin else self._joined(product.kind)
        name = self.steps.add_product(name, product.kind, self._owner(origin), product.layer, product.sizes)
        if product.output_axis:
            self.widths.call(product.output_axis, name)

    def _add_other(self, call: Call) -> None:
        layer: Any
        kind = call.kind.strip("_")
        if not call.operator.is_free and call.kind not in AXES and call.kind not in PRODUCTS:
            library = call.operator.name.partition("::")[0]
            reason = "not known to be free" if library == "aten" else f"an operator of {library}"
            layer = Unsupported(call.operator.name, reason)
        elif call.operator.reads_nothing:
            return
        else:
            reads, writes = (sum(tensor.numel() for tensor in tensors) for tensors in (call.inputs, call.outputs))
            layer = MemoryOnly(kind, min(reads, 2 * writes) if looks_up(call.kind) else reads, writes)
        name = self.path if self.path in self._leaves and self.path else self._joined(kind)
        self.steps.add_other(name, kind, self.path, layer)

    def _owner(self, origin: str) -> str:
        """The module that runs, or that has the parameter, where it lies deeper."""
        owner = public_name(origin).rpartition(".")[0]
        return owner if owner.startswith(f"{self.path}." if self.path else "") else self.path

    def _joined(self, kind: str) -> str:
        return f"{self.path}:{kind}" if self.path else kind

    def operations(self) -> dict[str, Operation]:
        """All operations in order, by name; the steps of a recurrent net together."""
        return self.steps.operations(self._recurrent, self.widths)


def _unpinned(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be said besides, so that a tensor can be without data."""
    return {"pin_memory": False} if "pin_memory" in kwargs else {}


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    """Whether elements are chosen by truth values, so that nobody knows how many they are."""
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _unknown(call: Call) -> None:
    """An operator that nobody told us about: nothing that it touches can change."""
    call.tracer.fix(call.inputs, call.kind)
