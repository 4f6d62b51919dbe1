"""PyTorch modules as networks, as :func:`hwcost.from_torch` describes."""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hwcost.errors import MISSING, HwcostError, InvalidValueError, first_line
from hwcost.importers.lowered import Sources
from hwcost.importers.rules import Handler
from hwcost.importers.rules.own import OwnRows, is_qualified
from hwcost.importers.torch.composites import replaced
from hwcost.importers.torch.heads import follow_numbers
from hwcost.importers.torch.inputs import Arguments, InputSpec, stand_ins, without_data
from hwcost.importers.torch.kept import kept
from hwcost.importers.torch.loading import load_model
from hwcost.importers.torch.tensors import Tensors
from hwcost.importers.torch.tracer import NeedsValuesError, Tracer
from hwcost.importers.written_inputs import NEEDS_INPUT
from hwcost.network.network import Network
from hwcost.network.operations import AN_INPUT, AN_OUTPUT
from hwcost.network.run import Ends

__all__ = ["read", "read_module", "unwrapped"]


def read(
    model: Any,
    input_size: Any = None,
    *,
    example_inputs: Any = None,
    name: str | None = None,
    operators: Mapping[str, Handler] | None = None,
    modules: Mapping[type[nn.Module], Handler] | None = None,
    partial: bool = False,
) -> Network:
    """The network of a module; see :func:`hwcost.from_torch`."""
    model = unwrapped(model)
    rows = (
        OwnRows("operators", operators, is_qualified, "a qualified name like 'mylib::my_operator'"),
        OwnRows("modules", modules, _is_module_class, "a class of nn.Module"),
    )
    given = stand_ins(input_size, example_inputs)

    def attempt(*, partial: bool = False) -> tuple[Tensors, Tracer, _Made | None]:
        named = list(model.named_modules())
        empty = _without_data(named)
        tensors = Tensors(empty.found, empty.buffers)
        tracer = Tracer(named, tensors, *rows)
        modules_of_all = [module for _, module in named]
        with (
            kept(modules_of_all, given.args, given.named, given.objects),
            _evaluated(modules_of_all),
            empty.in_place(),
        ):
            follow_numbers(named, tensors.used)
            made = _run(model, tracer, given, partial)
        return tensors, tracer, made

    try:
        tensors, tracer, made = attempt()
    except NeedsValuesError as error:
        try:
            with _as_if_compiled():  # models may have a way that looks at no values
                tensors, tracer, made = attempt()
        except HwcostError:
            if not partial:
                raise error from None
            tensors, tracer, made = attempt(partial=True)
    except InvalidValueError:
        if not partial:
            raise
        tensors, tracer, made = attempt(partial=True)
    numbers, parameters, operations = tensors.numbers(), tensors.rules(), tracer.operations()
    source = f"{type(model).__module__}.{type(model).__qualname__}"
    network = Network(
        name or type(model).__name__,
        operations,
        tensors.widths.table(),
        parameters,
        notes=tuple(tracer.notes),
        source=source,
        numbers=numbers,
        ends=made and made.ends,
        outputs=made and tracer.steps.names(made.sources),
    )
    if not network.priced and not network.unsupported:
        is_empty = any(not each.numel() for each in _leaves(given.args, given.named))
        allowed = "pass a module that calls a convolution or a matrix product"
        if is_empty:
            allowed = "pass inputs whose sizes are all at least 1"
        reason = "; ".join((f"{network.name} multiplies nothing", *(["an input is empty"] * is_empty), *network.notes))
        raise InvalidValueError("model", network.name, allowed, reason=reason)
    for each in rows:
        each.warn_if_unused()
    return network


@contextlib.contextmanager
def _evaluated(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Modules in evaluation mode, as a device runs them; the flags alone, since ``eval`` may do more in some."""
    flags = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, flag in zip(modules, flags, strict=True):
            module.training = flag


@contextlib.contextmanager
def _as_if_compiled() -> Iterator[None]:
    """Context manager in which code that asks whether it is compiled hears that it is, as torch.export does."""
    flags = {name: getattr(torch.compiler, name, None) for name in ("_is_compiling_flag", "_is_exporting_flag")}
    for name in flags:
        setattr(torch.compiler, name, True)
    try:
        yield
    finally:
        for name, value in flags.items():
            setattr(torch.compiler, name, value)


def read_module(source: str, inputs: Sequence[InputSpec], *, partial: bool = False) -> Network:
    """The network of ``FILE.py:NAME``.

    Raises:
        InvalidValueError: as :func:`load_model` and :func:`hwcost.from_torch`; no inputs.
    """
    path, _, name = source.rpartition(":")
    model = load_model(path, name)
    if not inputs:
        raise InvalidValueError("--input", MISSING, NEEDS_INPUT)
    try:
        return read(model, list(inputs), name=name)
    except NeedsValuesError:  # the values of buffers may do, which a module made without memory does not have
        return read(load_model(path, name, with_values=True), list(inputs), name=name, partial=partial)


def unwrapped(model: Any) -> Any:
    """The module inside of a compiled or a data-parallel one.

    Raises:
        InvalidValueError: ``model`` is not a module, or is a script.
    """
    exported = sys.modules.get("torch.export.exported_program")  # loading it takes as long as loading the compiler
    if exported is not None and isinstance(model, exported.ExportedProgram):
        return model.module()
    while isinstance(model, nn.Module):
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif "_orig_mod" in model._modules:  # torch.compile
            model = model._orig_mod
        else:
            break
    if _is_module_class(model):
        name = model.__name__
        raise InvalidValueError("model", model, f"pass a module, as {name}()", reason=f"{name} is a class")
    if not isinstance(model, nn.Module):
        raise InvalidValueError("model", model, "an nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise InvalidValueError("model", type(model).__name__, "the nn.Module itself, before it is scripted or traced")
    return model


def _is_module_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


class _Empty(NamedTuple):
    """Tensors without data for the parameters and buffers of a module.

    Attributes:
        found: by name.
        buffers: those of the module, by name.
        tables: of the module, and what goes into each instead.
    """

    found: dict[str, Tensor]
    buffers: dict[str, Tensor]
    tables: list[tuple[Any, dict[str, Tensor]]]

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Context manager in which the module has them instead of its own."""
        before = [(table, {name: table[name] for name in own}) for table, own in self.tables]
        try:
            _put(self.tables)
            yield
        finally:
            _put(before)


def _put(tables: Iterable[tuple[Any, dict[str, Tensor]]]) -> None:
    for table, own in tables:
        for name, tensor in own.items():
            table[name] = tensor


def _without_data(named: Iterable[tuple[str, nn.Module]]) -> _Empty:
    """A tensor without data for each parameter and buffer of modules that have names; shared ones stay shared."""
    empty: dict[int, Tensor] = {}
    alive: list[Tensor] = []  # so that no identity comes again
    result = _Empty({}, {}, [])
    for path, module in named:
        prefix = f"{path}." if path else ""
        for table in (module._parameters, module._buffers):
            own = {}
            for name, tensor in table.items():
                if tensor is None:
                    continue
                whole = prefix + name
                if id(tensor) not in empty:
                    empty[id(tensor)] = _stand_in(whole, tensor)
                    alive.append(tensor)
                own[name] = result.found[whole] = empty[id(tensor)]
                if table is module._buffers:
                    result.buffers[whole] = tensor
            if own:
                result.tables.append((table, own))
    return result


def _stand_in(name: str, tensor: Tensor) -> Tensor:
    if nn.parameter.is_lazy(tensor):
        allowed = "run the module once, so that its lazy layers have sizes"
        raise InvalidValueError(f"the parameter {name!r}", name, allowed, reason="it has no size yet")
    is_plain = tensor.is_contiguous() and not tensor.is_meta and tensor.layout == torch.strided
    plain = tensor.detach().to("meta") if is_plain else without_data(tensor)
    is_parameter = type(tensor) is nn.Parameter or isinstance(tensor, nn.Parameter)
    return nn.Parameter(plain, tensor.requires_grad) if is_parameter else plain


def _leaves(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


class _Made(NamedTuple):
    """What a call takes and gives, and the operations that made the latter."""

    ends: Ends
    sources: Sources


def _run(model: nn.Module, tracer: Tracer, given: Arguments, partial: bool) -> _Made | None:
    """Follows one call; None if it did not run to its end."""
    tensors = tracer.tensors
    for tensor, value in given.values:
        tensors.values.add_given(tensor, value)
    for tensor in _leaves(given.args, given.named):
        tensors.give(tensor, tuple(tensors.widths.fixed(size, AN_INPUT) for size in tensor.shape), AN_INPUT)
        tensors.makers.wrote(tensor, (None,))
    with warnings.catch_warnings(action="ignore"), tracer.follow(), _without_fast_path(), replaced():
        try:
            with torch.no_grad(), tracer:
                out = model(*given.args, **given.named)
        except (Exception, SystemExit) as error:
            if isinstance(error, HwcostError) and not (partial and isinstance(error, NeedsValuesError)):
                raise
            if not partial:
                raise _refused(tracer.modules.where_raised(error), given, _in_words(error)) from error
            tracer.cut(error, error.reason if isinstance(error, InvalidValueError) else _in_words(error))
            return None
        finally:
            tracer.written.put_back()
    results = _leaves(out)
    for tensor in results:
        tensors.fix(tensor, AN_OUTPUT)
    ends = Ends(*(sum(each.numel() for each in side) for side in (_leaves(given.args, given.named), results)))
    return _Made(ends, tensors.makers.of(results))


@contextlib.contextmanager
def _without_fast_path() -> Iterator[None]:
    """Context manager in which transformer layers run as the operators that their fast path puts together."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _refused(path: str, given: Arguments, what: str) -> InvalidValueError:
    where = f"module {path!r}" if path else "the model's forward"
    leaves = _leaves(given.args, given.named)
    shapes = ", ".join(f"{'x'.join(map(str, each.shape))} {str(each.dtype)[6:]}" for each in leaves) or "no inputs"
    allowed, wanted = "pass inputs that it takes", re.search(r"expected .*?(\d)D", what)
    lacking = next((each for each in leaves if wanted and each.dim() == int(wanted[1]) - 1), None)
    if lacking is not None:
        allowed += f"; the batch size may be missing, as in 1,{','.join(map(str, lacking.shape))}"
    others = [each for each in leaves if each.dtype not in (torch.int32, torch.int64)]
    if others and all(re.search(word, what, re.IGNORECASE) for word in (r"\bind(ex|ices)\b", r"\b(long|int)")):
        sizes = ",".join(map(str, others[0].shape))
        allowed += f"; indices, as token ids, are integers: --input {sizes}:int64, "
        allowed += f"or example_inputs=torch.ones({sizes}).long()"
    allowed += ", or ask for what ran until then (partial=True of from_torch, --partial)"
    return InvalidValueError(where, shapes, allowed, reason=f"on {shapes} {what}")


def _in_words(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it calls itself endlessly"
    if isinstance(error, AssertionError) and not str(error) and error.__traceback__ is not None:
        return f"it raises AssertionError at {traceback.extract_tb(error.__traceback__)[-1].line!r}"
    return f"it raises {first_line(error)}"
