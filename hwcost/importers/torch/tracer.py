"""A PyTorch module run on tensors that have shapes but no data, with every operator recorded.

PyTorch calls the mode below for each operator that is left when composite ones have been taken apart: those that a
device would run. The mode records which layers each comes down to, which module called it, and what it does to the axes
of its tensors. The tables of operators are in :mod:`hwcost.importers.torch.table`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from hwcost.errors import InvalidValueError
from hwcost.importers.lowered import MADE_ONCE, LoweredLayer, Sources, Step, add_layers
from hwcost.importers.rules import CannotPriceError, Handler, elementwise, free
from hwcost.importers.rules.own import OwnRows
from hwcost.importers.torch.bodies import BODIES
from hwcost.importers.torch.calls import ModuleCall, OperatorCall
from hwcost.importers.torch.free import COPIES, FILLED, LOOK_UPS
from hwcost.importers.torch.modules import Modules
from hwcost.importers.torch.operators import Operator, constant, operator, shortcut, tensors_in
from hwcost.importers.torch.steps import Steps, named_after, public_name
from hwcost.importers.torch.table import AXES, PRODUCTS
from hwcost.importers.torch.tensors import A_CONSTANT, Tensors
from hwcost.importers.torch.written import Written
from hwcost.network.operations import MemoryOnly, Operation, Unsupported

__all__ = ["NeedsValuesError", "Tracer"]


class NeedsValuesError(InvalidValueError):
    """A forward that cannot run further on shapes alone."""


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator of one run of ``named`` modules; the caller's own rows go first."""

    def __init__(
        self,
        named: Collection[tuple[str, nn.Module]],
        tensors: Tensors,
        operators: OwnRows,
        of_modules: OwnRows,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors = tensors
        self.modules = Modules(named)
        self.steps = Steps()
        self._operators, self._of_modules = operators, of_modules
        self._opaque: nn.Module | None = None
        self._excluded = torch._C._dispatch_tls_local_exclude_set()
        self._has_lengths = False
        self.written = Written()
        self.notes: dict[str, None] = {}
        self._made_once: dict[str, int] = {}

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would wrap the mode for its compiler, which takes longer to load than a network to read."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if type(func) is not torch._ops.OpOverload and isinstance(func, torch._ops.HigherOrderOperator):
            return self._run_body(str(func), args, kwargs or {})
        known, kwargs, values = operator(func), kwargs or {}, self.tensors.values
        args, kwargs, inputs, with_shapes_alone = self._of_one_kind(known, args, kwargs)
        is_constant = known.takes_device and not inputs and not self._is_of_lengths(known, kwargs)
        is_moved = known.takes_device and not with_shapes_alone and _is_to_meta(kwargs)
        is_known = is_constant or is_moved or (with_shapes_alone and values.are_known(inputs))
        is_known &= not known.draws
        out = None
        if with_shapes_alone:
            if is_known and (known.needs_data or _is_for_python(known, kwargs)):
                out = values.computed(func, known, args, kwargs)
                if not known.needs_data:
                    return out
                out = values.stand_ins(out)
            else:
                func, placed = self._with_places(func, known, args)
                if placed is not args:
                    args = placed
                    known, inputs = operator(func), tensors_in((*args, *kwargs.values()))
                out = shortcut(func, args, inputs)
        elif is_constant:
            out = constant(func, args, kwargs)
        self._has_lengths |= known.takes_lengths
        if out is None:
            on_meta = known.takes_device and (with_shapes_alone or is_constant)
            out = self._called(func, args, _on_meta(kwargs) if on_meta else kwargs)
        self._follow_values(is_known, func, known, args, kwargs, out)
        row = self._operators.get(known.name, known.row)
        row = row or PRODUCTS.get(known.row)
        is_noted = inputs or row is not None or not known.is_free  # else a constant, known as one without a record
        if is_noted and self._opaque is None:
            self._seen(known, args, kwargs, inputs, out, row)
        return out

    def _run_body(self, kind: str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """The result of an operator that runs functions."""
        if kind not in BODIES:
            raise self.needs_values(kind, f"it calls torch's {kind}, which is not a plain operator")
        return BODIES[kind](self, *args, **kwargs)

    def run(self, function: Any, *args: Any) -> Any:
        """The result of a function that an operator runs, whose own operators are seen."""
        keys = (torch._C._dispatch_tls_local_include_set(), self._excluded)
        with torch._C._ForceDispatchKeyGuard(*keys), self:  # else operators that others consist of come whole
            return function(*args)

    def _follow_values(self, is_known: bool, func: Any, known: Operator, args: Any, kwargs: Any, out: Any) -> None:
        """States the values of results if those of all inputs are known; what is written to loses its own if not."""
        values = self.tensors.values
        if known.kind in FILLED:
            values.keep_filled(known, args, kwargs, out)
        elif is_known and not known.needs_data and values.are_followed(tensors_in((out,))):
            # an error: there is no such operator on this machine
            with contextlib.suppress(RuntimeError, ValueError, TypeError, IndexError):
                values.keep(out, values.computed(func, known, args, kwargs))
                return
        if known.writes and len(values):
            values.forget(known.written(args, kwargs))

    def _of_one_kind(self, known: Operator, args: Any, kwargs: Any) -> tuple[Any, Any, list[Tensor], bool]:
        """Arguments whose tensors all have data or shapes alone, these tensors, and whether they have shapes alone."""
        if self.written.some_unknown:
            args, kwargs = tree_map_only(Tensor, self._unknown_if_overwritten, (args, kwargs))
        inputs = tensors_in((*args, *kwargs.values()) if kwargs else args)
        are_meta = [tensor.is_meta for tensor in inputs]
        if False in are_meta:
            written = self.written.add(known.written(args, kwargs) if known.writes else ())
            if True in are_meta and not known.takes_lengths:
                args, kwargs = tree_map_only(Tensor, self.tensors.on_meta, (args, kwargs))
                inputs = tensors_in((*args, *kwargs.values()))
                if known.draws or not self.tensors.values.are_known(inputs):
                    self.written.forget(written)
        if known.takes_lengths:
            values = self.tensors.values
            args = (args[0], *tree_map_only(Tensor, lambda each: values.get(each, each), args[1:]))
        return args, kwargs, inputs, True in are_meta

    def _unknown_if_overwritten(self, tensor: Tensor) -> Tensor:
        """A tensor, or one of unknown values in its place."""
        if not self.written.is_unknown(tensor):
            return tensor
        found = self.tensors.on_meta(tensor)
        self.tensors.values.forget([found])
        return found

    def _with_places(self, func: Any, known: Operator, args: Any) -> tuple[Any, Any]:
        """The operator and its arguments, with masks of known values replaced by places; else an error."""
        kind, values = known.kind, self.tensors.values
        if kind == "masked_select" and args[0].shape == args[1].shape:
            func, kind, args = torch.ops.aten.index.Tensor, "index", (args[0], [args[1]])
        if kind in ("index", "_unsafe_index", "index_put", "_unsafe_index_put") and _has_mask(args[1]):
            args = (args[0], values.with_places(args[1]), *args[2:])
        has_mask = kind in ("index", "_unsafe_index") and _has_mask(args[1])
        if has_mask or (kind == known.kind and known.needs_data):
            raise self.needs_values(known.kind, f"it looks at the values of a tensor ({known.kind})")
        return func, args

    def needs_values(self, kind: str, what: str) -> NeedsValuesError:
        """The error about a forward that cannot run further on shapes alone."""
        allowed = (
            "pass example inputs, whose integers and truth values may be looked at, leave out an input that it can do "
            "without, as a mask, make its forward depend on shapes alone, or ask for what ran until then "
            "(partial=True of from_torch, --partial)"
        )
        return NeedsValuesError(self.modules.label, kind, allowed, reason=f"{what}, and only shapes are run")

    def _called(self, func: Any, args: Any, kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if not isinstance(error, NotImplementedError) and "no fake impl registered" not in str(error):
                raise
            reason = f"it calls {func._schema.name}, which does not run on shapes alone"
            allowed = "state the shape of its result with torch.library.register_fake"
            raise NeedsValuesError(self.modules.label, func._schema.name, allowed, reason=reason) from error

    def _is_of_lengths(self, known: Operator, kwargs: Mapping[str, Any]) -> bool:
        """Whether a tensor is made for the lengths of packed sequences, which PyTorch writes one by one."""
        return self._has_lengths and known.kind == "empty" and kwargs.get("dtype") is torch.int64

    def _seen(
        self, known: Operator, args: Any, kwargs: Any, inputs: Sequence[Tensor], out: Any, row: Handler | None
    ) -> None:
        """Records a call by the row of its operator: the one given, or that of its axes."""
        outputs = tensors_in((out,))
        if known.kind == "native_batch_norm" and not args[5]:
            outputs = outputs[:1]  # the others, statistics of a training, are empty
        call = OperatorCall(known, args, kwargs, inputs, outputs, self.tensors, self.modules.path, self.modules.running)
        row = row or AXES.get(known.row)
        self.record(call, row or (elementwise if known.is_elementwise else None), known.is_free or row is not None)
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

    def follow(self) -> contextlib.AbstractContextManager[None]:
        """Context manager in which calls of modules are followed; outside of it, nothing refers to the tracer."""
        return self.modules.follow(self._entered, self._left)

    def _entered(self, module: nn.Module) -> None:
        row = self._of_modules.get(type(module))
        if self._opaque is None and row is not None:
            self._opaque = module

    def _left(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and module._parameters.get("weight") is None:
            for tensor in tensors_in((*args, *kwargs.values()))[:1]:  # no parameter has its sizes, which it checks
                for axis in self.tensors.axes(tensor)[-len(module.normalized_shape) :]:
                    self.tensors.widths.fix(axis, "a norm without parameters")
        for heads, shape in self.tensors.opened.pop(self.modules.path, ()):
            if self.tensors.widths.is_fixed(heads):
                self._fix_written(shape)
        if module is self._opaque:
            self._opaque = None
            call = ModuleCall(module, args, kwargs, output, self.tensors)
            self.record(call, self._of_modules.get(type(module)))

    def _follow_moved(self, call: OperatorCall) -> None:
        """An input whose axes moved in place is what it was before; data that a forward replaced are others."""
        if call.operator.moves_axes:
            call.inputs = [self.tensors.before_moved(call.first), *call.inputs[1:]]
        self.tensors.forget_reshaped(call.inputs, "data that were replaced")

    def record(self, call: OperatorCall, handler: Handler | None, is_free: bool = True) -> None:
        """Records a call: what its row makes of it."""
        tensors, makes_anew = self.tensors, call.operator.makes_anew
        origin = "" if call.operator.draws else tensors.origin(call.inputs)
        self._follow_moved(call)
        own = set(map(id, call.inputs))
        fresh = [tensor for tensor in call.outputs if id(tensor) not in own]
        for tensor in fresh:
            tensors.add(tensor, origin)
        if tensors.copies and len(fresh) < len(call.outputs):
            for tensor in call.outputs:
                tensors.forget_copies(tensor)
        layers: Sequence[LoweredLayer] = ()
        reason = "" if is_free else _why_unsupported(call.operator)
        try:
            if handler is not None:
                layers = tuple(handler(call) or ())
            elif not makes_anew or call.operator.moves_axes:
                free(call)
        except CannotPriceError as error:
            reason = str(error)
            call.fix_all()
        for tensor in fresh:
            if tensors.stated(tensor) is None:
                why = A_CONSTANT if makes_anew else call.kind
                tensors.give(tensor, call.fixed(tensor.shape, why), why)
        if call.operator.writes and not origin:
            tensors.forget_origin(call.written_to)
        if origin:
            for layer in layers:
                self._add_made_once(layer)
            return
        self._add(call, layers, reason)

    def _add(self, call: OperatorCall, layers: Sequence[LoweredLayer], reason: str) -> None:
        """Adds what a call comes down to, and states that it made the results of the call."""
        operator, makers = call.operator, self.tensors.makers
        made: Sources = ()
        read, results = (call.read, call.made) if operator.overwrites else (call.inputs, call.outputs)
        if layers:
            made = add_layers(layers, read, makers.of, self._add_layer)
        elif not call.inputs or any(tensor.is_meta for tensor in (*call.inputs, *call.outputs)):
            made = self._add_other(call, read, reason)  # else of constants alone, and so made once
        if made or (operator.makes_anew and operator.writes):
            for tensor in results:
                makers.wrote(tensor, made)
        elif not operator.makes_anew:
            makers.handed_on(results, read)

    def _add_made_once(self, lowered: LoweredLayer) -> None:
        name = named_after(self.tensors.origin([lowered.weight])) if lowered.weight is not None else lowered.kind
        self._made_once[name] = self._made_once.get(name, 0) + sum(gemm.macs for gemm in lowered.layer.gemms())
        first, macs = next(iter(self._made_once)), sum(self._made_once.values())
        self.notes = {each: None for each in self.notes if not each.startswith(MADE_ONCE)}
        self.notes[f"{MADE_ONCE} ({macs} MACs, first for {first!r})"] = None

    def _add_layer(self, lowered: LoweredLayer, sources: Sources) -> Step:
        origin = self._own_name("" if lowered.weight is None else self.tensors.origin([lowered.weight]))
        name = named_after(origin) if origin else self.joined(lowered.part or lowered.kind)
        if lowered.note:
            self.notes[lowered.note] = None
        weights = "" if lowered.weight is None else self.tensors.whole(lowered.weight)
        call = self.modules.recurrent_call
        named_as = None if origin or lowered.part else partial(_joined, self.modules.path)
        step = self.steps.add_layer(name, self._owner(origin), lowered, sources, call, weights, named_as)
        if lowered.output_axis:
            self.tensors.widths.call(lowered.output_axis, step.name)
        return step

    def _add_other(self, call: OperatorCall, read: Sequence[Tensor], reason: str) -> Sources:
        """Adds an operation without products that reads some tensors, and returns it; none if nothing moves."""
        kind, operator = call.kind.strip("_"), call.operator
        layer: Unsupported | MemoryOnly
        if reason:
            layer = Unsupported(operator.name, reason)
        elif operator.reads_nothing or (kind in COPIES and call.copies(call.out) is not None):
            return ()
        else:
            layer = call.moved(kind, is_look_up=call.kind in LOOK_UPS)
        path = self.modules.path
        name = path if path in self.modules.leaves and path else self.joined(kind)
        sources = self.tensors.makers.of(read)
        return (self.steps.add_other(name, path, layer, kind, sources, self.modules.recurrent_call),)

    def add_unsupported(self, layer: Unsupported) -> Step:
        """Names what cannot be priced."""
        return self.steps.add_other(self.joined(layer.kind), self.modules.path, layer, layer.kind)

    def _own_name(self, origin: str) -> str:
        """The name of a parameter in the running module, if it shares the parameter; else the first."""
        if not origin or public_name(origin).rpartition(".")[0] == self.modules.path:
            return origin
        names = self.tensors.names(origin)
        return next((name for name in names if public_name(name).rpartition(".")[0] == self.modules.path), names[0])

    def _owner(self, origin: str) -> str:
        """The running module, or the one that has the parameter, if that is inside of it."""
        path, owner = self.modules.path, public_name(origin).rpartition(".")[0]
        return owner if owner.startswith(f"{path}." if path else "") else path

    def joined(self, kind: str) -> str:
        """A name for an operator of the running module."""
        return _joined(self.modules.path, kind)

    def operations(self) -> dict[str, Operation]:
        """All operations in order, by name; the steps of a call of a recurrent module are merged."""
        return self.steps.operations(self.tensors.widths)

    def cut(self, error: BaseException, reason: str) -> None:
        """What comes after an error is one unsupported operation, and no width can change."""
        self.tensors.fix_all("the rest of the network is unknown")
        rest = Unsupported("the rest of the network", reason)
        self.steps.add_other("the rest", self.modules.where_raised(error), rest, rest.kind)


def _joined(path: str, kind: str) -> str:
    return f"{path}:{kind}" if path else kind


def _why_unsupported(operator: Operator) -> str:
    return "not known to be free" if operator.name.startswith("aten::") else "not one of PyTorch's operators"


def _on_meta(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    unpinned = {"pin_memory": False} if "pin_memory" in kwargs else {}  # there is no memory to pin
    return {**kwargs, "device": torch.device("meta"), **unpinned}


def _is_to_meta(kwargs: Mapping[str, Any]) -> bool:
    """Whether a result has shapes alone, as activations have here."""
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "meta"


def _is_for_python(known: Operator, kwargs: Mapping[str, Any]) -> bool:
    """Whether a tensor is copied to the processor, where Python reads its values."""
    device = kwargs.get("device")
    return known.kind == "_to_copy" and device is not None and torch.device(device).type == "cpu"


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    """Whether elements are chosen by truth values, so that their number is unknown."""
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
