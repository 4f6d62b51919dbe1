"""A PyTorch module run on tensors that have shapes but no data, with every operator recorded.

PyTorch calls the mode below for each operator that is left when composite ones have been taken apart: those that a
device would run. The mode records which layers each comes down to, which module called it, and what it does to the axes
of its tensors. The tables of operators are in :mod:`hwcost.importers.torch.table`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from hwcost.errors import InvalidValueError
from hwcost.importers.lowered import LoweredLayer
from hwcost.importers.rules import CannotPriceError, Handler, elementwise, free
from hwcost.importers.rules.own import OwnRows
from hwcost.importers.torch.calls import ModuleCall, OperatorCall
from hwcost.importers.torch.free import COPIES, LOOK_UPS
from hwcost.importers.torch.modules import Modules
from hwcost.importers.torch.operators import Operator, operator, shortcut, tensors_in
from hwcost.importers.torch.steps import Steps, named_after, public_name
from hwcost.importers.torch.table import AXES, PRODUCTS
from hwcost.importers.torch.tensors import A_CONSTANT, Tensors
from hwcost.network.operations import MemoryOnly, Operation, Unsupported

__all__ = ["Tracer"]


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator of one run of a module; the caller's own rows, of operators and of modules, go first."""

    def __init__(
        self,
        model: nn.Module,
        tensors: Tensors,
        operators: OwnRows,
        of_modules: OwnRows,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors = tensors
        self.modules = Modules(model, self._entered, self._left)
        self._steps = Steps()
        self._operators, self._of_modules = operators, of_modules
        self._opaque: nn.Module | None = None
        self._has_lengths = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would wrap the mode for its compiler, which takes longer to load than a network to read."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known, kwargs = operator(func), kwargs or {}
        inputs = tensors_in((*args, *kwargs.values()))
        are_meta = [tensor.is_meta for tensor in inputs]
        with_shapes_alone = True in are_meta
        if with_shapes_alone and False in are_meta and not known.takes_lengths:
            args, kwargs = tree_map_only(Tensor, self.tensors.on_meta, (args, kwargs))
            inputs = tensors_in((*args, *kwargs.values()))
        if with_shapes_alone and (known.needs_data or (known.kind == "index" and _has_mask(args[1]))):
            reason = f"it looks at the values of a tensor ({known.kind}), and only shapes are run"
            allowed = "make its forward depend on shapes alone"
            raise InvalidValueError(self.modules.label, known.kind, allowed, reason=reason)
        if known.takes_device and (with_shapes_alone or not inputs) and not self._is_of_lengths(known, kwargs):
            unpinned = {"pin_memory": False} if "pin_memory" in kwargs else {}  # there is no memory to pin
            kwargs = {**kwargs, "device": torch.device("meta"), **unpinned}
        self._has_lengths |= known.takes_lengths
        out = shortcut(func, args, inputs) if with_shapes_alone else None
        if out is None:
            out = self._called(func, args, kwargs)
        row = self._operators.get(known.name, known.row)
        if self._opaque is None:
            outputs = tensors_in((out,))
            self._seen(OperatorCall(known, args, kwargs, inputs, outputs, self.tensors, self.modules.path), row)
        return out

    def _called(self, func: Any, args: Any, kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if not isinstance(error, NotImplementedError) and "no fake impl registered" not in str(error):
                raise
            reason = f"it calls {func._schema.name}, which does not run on shapes alone"
            allowed = "state the shape of its result with torch.library.register_fake"
            raise InvalidValueError(self.modules.label, func._schema.name, allowed, reason=reason) from error

    def _is_of_lengths(self, known: Operator, kwargs: Mapping[str, Any]) -> bool:
        """Whether a tensor is made for the lengths of packed sequences, which PyTorch writes one by one."""
        return self._has_lengths and known.kind == "empty" and kwargs.get("dtype") is torch.int64

    def _seen(self, call: OperatorCall, row: Handler | None) -> None:
        """Records a call by the row of its operator: the caller's, or ours."""
        known = call.operator
        row = row or PRODUCTS.get(known.row) or AXES.get(known.row)
        if known.makes_anew and not call.inputs and row is None:
            return  # a constant, and known as one without a record
        self._record(call, row or (elementwise if known.is_elementwise else None), known.is_free or row is not None)
        if call.written:
            self._fix_written(call.written)

    def _fix_written(self, shape: Sequence[int]) -> None:
        """A reshape split or merged axes into sizes that the code of the running module holds.

        If such a size, or the product of neighbours, is that of an input of the module, the code has it from there
        (``B, N, C = x.shape``): that one cannot change independently either.
        """
        sizes = {
            math.prod(shape[start:stop]) for start in range(len(shape)) for stop in range(start + 1, len(shape) + 1)
        }
        for tensor in self.modules.inputs:
            for axis in self.tensors.axes(tensor):
                if self.tensors.widths.size(axis) in sizes:
                    self.tensors.widths.fix(axis, "a reshape in the same module")

    def _entered(self, module: nn.Module) -> None:
        row = self._of_modules.get(type(module))
        if self._opaque is None and row is not None:
            self._opaque = module

    def _left(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if module is self._opaque:
            self._opaque = None
            call = ModuleCall(module, args, kwargs, output, self.tensors)
            self._record(call, self._of_modules.get(type(module)))

    def _record(self, call: OperatorCall, handler: Handler | None, is_free: bool = True) -> None:
        tensors, makes_anew = self.tensors, call.operator.makes_anew
        origin = tensors.origin(call.inputs)
        own = set(map(id, call.inputs))
        fresh = [tensor for tensor in call.outputs if id(tensor) not in own]
        for tensor in fresh:
            tensors.add(tensor, origin)
        tensors.forget_reshaped(call.inputs, call.kind)
        if tensors.copies and len(fresh) < len(call.outputs):
            for tensor in call.outputs:
                tensors.forget_copies(tensor)
        layers: Sequence[LoweredLayer] = ()
        reason = "" if is_free else _why_unsupported(call.operator)
        try:
            if handler is not None:
                layers = tuple(handler(call) or ())
            elif not makes_anew:
                free(call)
        except CannotPriceError as error:
            reason = str(error)
            call.fix_all()
        for tensor in fresh:
            if tensors.stated(tensor) is None:
                why = A_CONSTANT if makes_anew else call.kind
                tensors.give(tensor, call.fixed(tensor.shape, why), why)
        for layer in layers:
            self._add_layer(layer)
        # of parameters or of constants alone, and so not for each input
        made_once = origin or (call.inputs and not any(tensor.is_meta for tensor in (*call.inputs, *call.outputs)))
        if not layers and not made_once:
            self._add_other(call, reason)

    def _add_layer(self, lowered: LoweredLayer) -> None:
        origin = "" if lowered.weight is None else self.tensors.origin([lowered.weight])
        name = named_after(origin) if origin else self._joined(lowered.kind)
        name = self._steps.add_layer(name, self._owner(origin), lowered)
        if lowered.output_axis:
            self.tensors.widths.call(lowered.output_axis, name)

    def _add_other(self, call: OperatorCall, reason: str) -> None:
        kind, operator = call.kind.strip("_"), call.operator
        layer: Unsupported | MemoryOnly
        if reason:
            layer = Unsupported(operator.name, reason)
        elif operator.reads_nothing or (kind in COPIES and call.copies(call.out) is not None):
            return
        else:
            layer = call.moved(kind, is_look_up=call.kind in LOOK_UPS)
        path = self.modules.path
        name = path if path in self.modules.leaves and path else self._joined(kind)
        self._steps.add_other(name, path, LoweredLayer(layer, kind))

    def _owner(self, origin: str) -> str:
        """The running module, or the one that has the parameter, if that is inside of it."""
        path, owner = self.modules.path, public_name(origin).rpartition(".")[0]
        return owner if owner.startswith(f"{path}." if path else "") else path

    def _joined(self, kind: str) -> str:
        return f"{self.modules.path}:{kind}" if self.modules.path else kind

    def operations(self) -> dict[str, Operation]:
        """All operations in order, by name; the steps of a recurrent net are merged."""
        return self._steps.operations(self.modules.recurrent, self.tensors.widths)


def _why_unsupported(operator: Operator) -> str:
    return "not known to be free" if operator.name.startswith("aten::") else "not one of PyTorch's operators"


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    """Whether elements are chosen by truth values, so that their number is unknown."""
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
