"""What commands do, in one call from Python: from a module, a file or layers to a report."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from hwcost import advice
from hwcost.devices import DeviceFile, device_names
from hwcost.errors import InvalidValueError, about
from hwcost.importers import from_torch, read_network
from hwcost.importers.sources import check_file
from hwcost.machine.array import SystolicArray
from hwcost.network.pricing import check_layers
from hwcost.reports import Comparison, Summary, summarise
from hwcost.reports.comparison import compare_named
from hwcost.reports.names import networks_by_name
from hwcost.sweep import running

__all__ = ["advise", "compare", "report", "sweep", "tabulate"]

__dir__ = __all__.copy  # what tab completion offers


Result = TypeVar("Result")
_INPUTS = ("input_size", "example_inputs")
_OF_INPUTS = """\
        input_size, example_inputs: of a PyTorch module, which the network may be, as for :func:`hwcost.from_torch`; the
            path of a file is read too.
"""


def _taking_modules(function: Callable[..., Result]) -> Callable[..., Result]:
    """A function of a network that takes a module, with its inputs, or the path of a file as well."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def taking(network: Any, *args: Any, **options: Any) -> Result:
        inputs = {name: options.pop(name, None) for name in _INPUTS}
        return function(_network(network, **inputs), *args, **options)

    more = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Any") for name in _INPUTS]
    taking.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]
    arguments, *rest = (function.__doc__ or "").partition("\n\n    R")  # where what it returns or raises begins
    taking.__doc__ = "".join((arguments, "\n", _OF_INPUTS.rstrip(), *rest))
    return taking


advise = _taking_modules(advice.advise)
sweep = _taking_modules(running.sweep)
tabulate = _taking_modules(advice.tabulate)


def report(
    network: Any,
    array: SystolicArray | DeviceFile | str,
    *,
    name: str | None = None,
    input_size: Any = None,
    example_inputs: Any = None,
    skip_unsupported: bool = False,
    extrapolate: bool = False,
    keep_activations: bool = False,
) -> Summary:
    """A network on an array, operation by operation, as ``hwcost model`` prints it.

    Args:
        network: a PyTorch module (with one of the next two), the path of a file (ONNX, TFLite, a list of layers), a
            :class:`hwcost.Network`, or layers by name or in order.
        array: the accelerator, or a device by name, path or file.
        name: what the report calls the network; by default as the class, the file or the network does.
        input_size, example_inputs: of a module, as for :func:`hwcost.from_torch`.
        skip_unsupported: leave out what cannot be priced, and name it, instead of raising.
        extrapolate: give totals of which more than half is beyond what a calibrated device was measured with.
        keep_activations: results stay in the buffer between layers where that moves less.

    Raises:
        InvalidValueError: what the importers and :func:`hwcost.reports.summarise` raise.

    >>> from hwcost import Linear
    >>> print(repr(report({"a": Linear(64, 40), "b": Linear(40, 8)}, SystolicArray(8, 8))))
    <Summary: network on 8 x 8, weight stationary, ideal folds: 2 layers, 45 cycles, 45 ns, 100 % utilization>
    """
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise InvalidValueError("name", name, "a name of the network, or None")
    found = summarise(
        _network(network, input_size=input_size, example_inputs=example_inputs),
        array,
        skip_unsupported=skip_unsupported,
        extrapolate=extrapolate,
        keep_activations=keep_activations,
    )
    return found if name is None else dataclasses.replace(found, name=name)


def compare(
    networks: Any,
    arrays: SystolicArray | DeviceFile | str | Sequence[Any] | Mapping[str, Any],
    *,
    name: str | Sequence[str] | None = None,
    input_size: Any = None,
    example_inputs: Any = None,
    skip_unsupported: bool = False,
    extrapolate: bool = False,
) -> Comparison:
    """Networks on machines, side by side, as ``hwcost compare`` prints them.

    Args:
        networks: one, several in a list, or several by name, each as for :func:`report`.
        arrays: one machine, several in a list, or several by name: arrays, or names, paths or files of devices;
            "all" for those that ship.
        name: what the network is called; a list of names for several. Those that share a name get a source or a number.
        input_size, example_inputs: of all modules among them.
        skip_unsupported, extrapolate: as for :func:`report`.

    Raises:
        InvalidValueError: no network, no machine; what :func:`report` raises.

    >>> from hwcost import Linear
    >>> found = compare([{"fc": Linear(64, 40)}], ["gemmini", "tpu-v5e"])
    >>> len(found), [pair.summary.device for pair in found]
    (2, ['gemmini', 'tpu-v5e'])
    >>> found = compare({"small": {"fc": Linear(64, 40)}, "large": {"fc": Linear(64, 80)}}, SystolicArray(8, 8))
    >>> [pair.summary.name for pair in found], found["large"].ratio
    (['small', 'large'], 2.0)
    """
    inputs = {"input_size": input_size, "example_inputs": example_inputs}
    named = networks_by_name(networks, name)
    are_modules = [_is_module(each) for _, each in named]
    own = []
    for index, ((called, each), is_module) in enumerate(zip(named, are_modules, strict=True), 1):
        taken = inputs if is_module or not any(are_modules) else {}  # without any, an error
        with about((called or _words_of(each, index)) if len(named) > 1 else ""):
            own.append((called, _network(each, **taken)))
    machines = device_names() if isinstance(arrays, str) and arrays == "all" else arrays
    return compare_named(own, machines, skip_unsupported=skip_unsupported, extrapolate=extrapolate)


def _network(given: Any, **inputs: Any) -> Any:
    """The network that a caller gives in any form."""
    if _is_module(given):
        return from_torch(given, **inputs)
    is_path = isinstance(given, (str, os.PathLike))
    if is_path:
        check_file(os.fspath(given))
    else:
        check_layers(given, "network")
    for name, value in inputs.items():
        if value is not None:
            raise InvalidValueError(name, value, "leave it out", reason="the network is no module")
    return read_network(os.fspath(given)) if is_path else given


def _words_of(given: Any, index: int) -> str:
    """What one of several networks without names is called in errors."""
    if isinstance(given, (str, os.PathLike)):
        return os.fspath(given)
    return type(given).__name__ if _is_module(given) else f"network {index}"


def _is_module(given: Any) -> bool:
    """Whether something is a module of PyTorch, which is not imported for it."""
    if isinstance(given, type):
        return False
    return any(
        f"{each.__module__}.{each.__qualname__}" == "torch.nn.modules.module.Module" for each in type(given).mro()
    )
