"""PyTorch modules as networks, as :func:`hwcost.from_torch` describes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hwcost.errors import MISSING, HwcostError, InvalidValueError, first_line
from hwcost.importers.rules import Handler
from hwcost.importers.rules.own import OwnRows, is_qualified
from hwcost.importers.torch.inputs import InputSpec, stand_ins, without_data
from hwcost.importers.torch.loading import load_model
from hwcost.importers.torch.tensors import Tensors
from hwcost.importers.torch.tracer import Tracer
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
) -> Network:
    """The network of a module; see :func:`hwcost.from_torch`."""
    model = _unwrapped(model)
    tensors = Tensors(*_without_data(model))
    args, named = stand_ins(input_size, example_inputs)
    rows = (
        OwnRows("operators", operators, is_qualified, "a qualified name like 'mylib::my_operator'"),
        OwnRows("modules", modules, _is_module_class, "a class of nn.Module"),
    )
    tracer = Tracer(model, tensors, *rows)
    for tensor in _leaves(args, named):
        tensors.give(tensor, tuple(tensors.widths.fixed(size, _AN_INPUT) for size in tensor.shape), _AN_INPUT)
    for tensor in _leaves(_run(model, tracer, args, named)):
        tensors.fix(tensor, _AN_OUTPUT)
    parameters, operations = tensors.rules(), tracer.operations()
    source = f"{type(model).__module__}.{type(model).__qualname__}"
    network = Network(name or type(model).__name__, operations, tensors.widths.table(), parameters, source=source)
    if not network.priced and not network.unsupported:
        allowed = "pass a module that calls a convolution or a matrix product"
        raise InvalidValueError("model", network.name, allowed, reason=f"{network.name} multiplies nothing")
    for each in rows:
        each.warn_if_unused()
    return network


def read_module(source: str, inputs: Sequence[InputSpec]) -> Network:
    """The network of ``FILE.py:NAME``.

    Raises:
        InvalidValueError: as :func:`load_model` and :func:`hwcost.from_torch`; no inputs.
    """
    path, _, name = source.rpartition(":")
    model = load_model(path, name)
    if not inputs:
        allowed = "the shape of each, like --input 1,3,224,224 (for token ids --input 1,128:int64)"
        raise InvalidValueError("--input", MISSING, allowed)
    return read(model, list(inputs), name=name)


def _unwrapped(model: Any) -> Any:
    """The module inside of a compiled or a data-parallel one.

    Raises:
        InvalidValueError: ``model`` is not a module, or is a script.
    """
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


def _without_data(model: nn.Module) -> tuple[dict[str, Tensor], set[str]]:
    """A tensor without data for each parameter and buffer by name, and the names of buffers; shared ones stay shared.

    A module with two names gives its parameters once: given twice, PyTorch would restore the wrong ones.
    """
    empty: dict[Tensor, Tensor] = {}
    found: dict[str, Tensor] = {}
    buffers: set[str] = set()
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        buffers.update(prefix + name for name in module._buffers)
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


def _run(model: nn.Module, tracer: Tracer, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    with warnings.catch_warnings(action="ignore"), tracer.modules.follow():
        try:
            with torch.no_grad(), tracer:
                return torch.func.functional_call(model, tracer.tensors.parameters, args, named, tie_weights=False)
        except HwcostError:
            raise
        except RecursionError:
            raise _refused("", args, named, "it calls itself endlessly") from None
        except (Exception, SystemExit) as error:
            raise _refused(tracer.modules.where_raised(error), args, named, f"it raises {first_line(error)}") from error


def _refused(path: str, args: tuple[Any, ...], named: dict[str, Any], what: str) -> InvalidValueError:
    where = f"module {path!r}" if path else "the model's forward"
    shapes = (f"{'x'.join(map(str, each.shape))} {str(each.dtype)[6:]}" for each in _leaves(args, named))
    given = ", ".join(shapes) or "no inputs"
    allowed, wanted = "pass inputs that it takes", re.search(r"expected .*?(\d)D", what)
    lacking = next((each for each in _leaves(args, named) if wanted and each.dim() == int(wanted[1]) - 1), None)
    if lacking is not None:
        allowed += f"; the batch size may be missing, as in 1,{','.join(map(str, lacking.shape))}"
    return InvalidValueError(where, given, allowed, reason=f"on {given} {what}")
