"""PyTorch modules as networks, as :func:`hwcost.from_torch` describes."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hwcost.errors import MISSING, HwcostError, InvalidValueError, first_line
from hwcost.importers.rules import Handler
from hwcost.importers.rules.own import OwnRows, is_qualified
from hwcost.importers.torch.chunks import following_chunks
from hwcost.importers.torch.inputs import Arguments, InputSpec, stand_ins, without_data
from hwcost.importers.torch.kept import kept
from hwcost.importers.torch.loading import load_model
from hwcost.importers.torch.tensors import Tensors
from hwcost.importers.torch.tracer import NeedsValuesError, Tracer
from hwcost.network.network import Network

__all__ = ["read", "read_module"]

_AN_INPUT, _AN_OUTPUT = "an input", "an output of the network"


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
    model = _unwrapped(model)
    rows = (
        OwnRows("operators", operators, is_qualified, "a qualified name like 'mylib::my_operator'"),
        OwnRows("modules", modules, _is_module_class, "a class of nn.Module"),
    )
    given = stand_ins(input_size, example_inputs)

    def attempt(*, partial: bool = False) -> tuple[Tensors, Tracer]:
        tensors = Tensors(*_without_data(model))
        tracer = Tracer(model, tensors, *rows)
        with kept(model, given.args, given.named, given.objects):
            _run(model, tracer, given, partial)
        return tensors, tracer

    try:
        tensors, tracer = attempt()
    except NeedsValuesError as error:
        try:
            with _as_if_compiled():  # models may have a way that looks at no values
                tensors, tracer = attempt()
        except HwcostError:
            if not partial:
                raise error from None
            tensors, tracer = attempt(partial=True)
    except InvalidValueError:
        if not partial:
            raise
        tensors, tracer = attempt(partial=True)
    parameters, operations = tensors.rules(), tracer.operations()
    source = f"{type(model).__module__}.{type(model).__qualname__}"
    network = Network(
        name or type(model).__name__,
        operations,
        tensors.widths.table(),
        parameters,
        notes=tuple(tracer.notes),
        source=source,
    )
    if not network.priced and not network.unsupported:
        allowed = "pass a module that calls a convolution or a matrix product"
        reason = "; ".join((f"{network.name} multiplies nothing", *network.notes))
        raise InvalidValueError("model", network.name, allowed, reason=reason)
    for each in rows:
        each.warn_if_unused()
    return network


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
        allowed = "the shape of each, like --input 1,3,224,224 (for token ids --input 1,128:int64)"
        raise InvalidValueError("--input", MISSING, allowed)
    try:
        return read(model, list(inputs), name=name)
    except NeedsValuesError:  # the values of buffers may do, which a module made without memory does not have
        return read(load_model(path, name, with_values=True), list(inputs), name=name, partial=partial)


def _unwrapped(model: Any) -> Any:
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


def _without_data(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A tensor without data for each parameter and buffer by name, and the buffers; shared ones stay shared.

    A module with two names gives its parameters once: given twice, PyTorch would restore the wrong ones.
    """
    empty: dict[Tensor, Tensor] = {}
    found: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        buffers.update({prefix + name: each for name, each in module._buffers.items() if each is not None})
        for own, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is None:
                continue
            name = prefix + own
            if nn.parameter.is_lazy(tensor):
                allowed = "run the module once, so that its lazy layers have sizes"
                raise InvalidValueError(f"the parameter {name!r}", name, allowed, reason="it has no size yet")
            if tensor not in empty:
                plain = without_data(tensor)
                is_parameter = isinstance(tensor, nn.Parameter)
                empty[tensor] = nn.Parameter(plain, tensor.requires_grad) if is_parameter else plain
            found[name] = empty[tensor]
    return found, buffers


def _leaves(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _run(model: nn.Module, tracer: Tracer, given: Arguments, partial: bool) -> None:
    tensors = tracer.tensors
    for tensor, value in given.values:
        tensors.values.add_given(tensor, value)
    for tensor in _leaves(given.args, given.named):
        tensors.give(tensor, tuple(tensors.widths.fixed(size, _AN_INPUT) for size in tensor.shape), _AN_INPUT)
    with warnings.catch_warnings(action="ignore"), tracer.modules.follow(), _without_fast_path(), following_chunks():
        try:
            with torch.no_grad(), tracer:
                out = torch.func.functional_call(
                    model, tensors.parameters, tuple(given.args), given.named, tie_weights=False
                )
        except (Exception, SystemExit) as error:
            if isinstance(error, HwcostError) and not (partial and isinstance(error, NeedsValuesError)):
                raise
            if not partial:
                raise _refused(tracer.modules.where_raised(error), given, _in_words(error)) from error
            tracer.cut(error, error.reason if isinstance(error, InvalidValueError) else _in_words(error))
            return
        finally:
            tracer.written.put_back()
    for tensor in _leaves(out):
        tensors.fix(tensor, _AN_OUTPUT)


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
    sizes = (f"{'x'.join(map(str, each.shape))} {str(each.dtype)[6:]}" for each in _leaves(given.args, given.named))
    shapes = ", ".join(sizes) or "no inputs"
    allowed, wanted = "pass inputs that it takes", re.search(r"expected .*?(\d)D", what)
    leaves = _leaves(given.args, given.named)
    lacking = next((each for each in leaves if wanted and each.dim() == int(wanted[1]) - 1), None)
    if lacking is not None:
        allowed += f"; the batch size may be missing, as in 1,{','.join(map(str, lacking.shape))}"
    allowed += ", or ask for what ran until then (partial, --partial)"
    return InvalidValueError(where, shapes, allowed, reason=f"on {shapes} {what}")


def _in_words(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it calls itself endlessly"
    if type(error).__module__.startswith("torch._dynamo"):
        return (
            "it calls a control flow operator of torch (cond, while_loop, scan, map), which shapes alone cannot decide"
        )
    return f"it raises {first_line(error)}"
