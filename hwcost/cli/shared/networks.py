"""What the commands for whole networks share: the options that say the network, and those that say the array."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hwcost.cli.shared.values import parse_sizes
from hwcost.cli.shared.workload import changed_device, read_device_option
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.dataflow import DATAFLOWS, FOLD_TIMINGS

if TYPE_CHECKING:
    from hwcost.devices import DeviceFile
    from hwcost.network.network import Network

__all__ = ["array_label", "array_options", "model_options", "read_array", "read_model", "timing_options"]

_F = TypeVar("_F", bound=Callable[..., Any])

_MODEL = (
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="[NAME=]SHAPE[:TYPE]",
        help="An input of a PyTorch module, like 1,3,224,224 or ids=1,128:int64; once for each.",
    ),
    click.option(
        "--dim", "dims", multiple=True, metavar="NAME=SIZE", help="A dynamic size of an ONNX graph, like batch=1."
    ),
)
_TIMINGS = (
    click.option("--dataflow", metavar="NAME", help=f"One of: {', '.join(DATAFLOWS)}.  [default: the device's, or ws]"),
    click.option(
        "--fold-timing",
        metavar="NAME",
        help=f"One of: {', '.join(FOLD_TIMINGS)}.  [default: the device's, or ideal]",
    ),
    click.option("--clock", metavar="FREQUENCY", help="Like 1e9 or 700MHz.  [default: the device's, or 1GHz]"),
)
_ARRAY = (
    click.option("--device", metavar="NAME|FILE", help="A device: a name that hwcost devices lists, or a TOML file."),
    click.option("--s1", "--rows", "s1", metavar="N", help="Rows of the array.  [default: the device's]"),
    click.option("--s2", "--cols", "s2", metavar="N", help="Columns of the array.  [default: the device's]"),
    *_TIMINGS,
)


def _adding(options: Iterable[Callable[[_F], _F]]) -> Callable[[_F], _F]:
    def added(command: _F) -> _F:
        for option in reversed(tuple(options)):
            command = option(command)
        return command

    return added


def model_options(command: _F) -> _F:
    """Adds the options that a network may need beside its file: shapes of inputs, dynamic sizes."""
    return _adding(_MODEL)(command)


def array_options(command: _F) -> _F:
    """Adds the options that say one array."""
    return _adding(_ARRAY)(command)


def timing_options(command: _F) -> _F:
    """Adds those of them that also go with several devices or arrays."""
    return _adding(_TIMINGS)(command)


def read_model(source: str, inputs: tuple[str, ...], dims: tuple[str, ...]) -> Network:
    """The network that the options describe.

    Raises:
        InvalidValueError: a source that cannot be read, an input or dimension that does not go with it.
    """
    from hwcost.importers import read_network, source_kind

    kind = source_kind(source)
    if inputs and kind != "torch":
        raise InvalidValueError("--input", ", ".join(inputs), f"nothing for {source}: its file says the shapes")
    if dims and kind != "onnx":
        raise InvalidValueError("--dim", ", ".join(dims), f"nothing for {source}: it has no dynamic sizes")
    sizes = dict(map(_dim, dims))
    if len(sizes) < len(dims):
        raise InvalidValueError("--dim", ", ".join(dims), "each name once")
    if kind == "torch":
        from hwcost.importers.torch import InputSpec

        specs = [InputSpec.parse(text) for text in inputs]
        with contextlib.redirect_stdout(sys.stderr):  # what the model's file prints is no result of ours
            return read_network(source, inputs=specs)
    return read_network(source, dims=sizes)


def _dim(text: str) -> tuple[str, int]:
    name, equals, size = text.rpartition("=")
    if not equals or not name:
        raise InvalidValueError("--dim", text, "a name and a size, like batch=1")
    return name, _one_size(f"--dim {name}", size)


def _one_size(option: str, text: str) -> int:
    sizes = parse_sizes(option, text)
    if sizes.is_sweep:
        raise InvalidValueError(option, text, "one integer of at least 1")
    return sizes.number


def read_array(
    device: str | None,
    s1: str | None,
    s2: str | None,
    dataflow: str | None = None,
    fold_timing: str | None = None,
    clock: str | None = None,
) -> tuple[SystolicArray, DeviceFile | None]:
    """The array that the options describe, and the device that it started from.

    Raises:
        InvalidValueError: an option that does not hold what is allowed.
        click.UsageError: neither a device nor both sizes.
    """
    file = None if device is None else read_device_option(device)
    sizes = {name: _one_size(f"--{name}", text) for name, text in (("s1", s1), ("s2", s2)) if text is not None}
    if file is None and len(sizes) < 2:
        missing = "--s1" if "s1" not in sizes else "--s2"
        raise click.UsageError(f"{missing} (or --device) is missing; allowed: a device, or rows and columns")
    base = SystolicArray(sizes["s1"], sizes["s2"]) if file is None else file.array
    changes = {field: sizes[name] for name, field in (("s1", "rows"), ("s2", "cols")) if name in sizes}
    return changed_device(base, dataflow=dataflow, fold_timing=fold_timing, clock=clock, **changes), file


def array_label(array: SystolicArray, file: DeviceFile | None) -> str:
    """One line for people.

    >>> array_label(SystolicArray(8, 16), None)
    '8 x 16, weight stationary, ideal folds'
    """
    name = "" if file is None else f"{file.name}: "
    return f"{name}{array.rows} x {array.cols}, {array.dataflow_row.summary}, {array.fold_timing} folds"
