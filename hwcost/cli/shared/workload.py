"""The layer and the array that the options describe: one point, or all points of a sweep at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click
import numpy as np

from hwcost.arrays import Size
from hwcost.cli.shared.machines import ARRAYS, DATAFLOW, DEVICE, FOLD_TIMING, ArrayOptions, Machine
from hwcost.cli.shared.options import Command, Decorator, added, block, default_option
from hwcost.cli.shared.values import ALLOWED_SIZES, INT64_MAX, Sizes, parse_padding, parse_sizes, parse_stride
from hwcost.errors import MISSING, InvalidValueError, check_all
from hwcost.machine.array import SystolicArray
from hwcost.machine.energies import without_energy
from hwcost.model.layers import Conv2d
from hwcost.units import MARK

__all__ = ["SWEEP_LIMIT", "Workload", "check_complete", "read_workload", "sizes_in", "workload_options"]

MAX_POINTS = 5_000_000
SWEEP_LIMIT = f"at most {INT64_MAX} in a sweep; a single point is exact at any size"

_OF_CORE = {
    "Conv2d.in_channels": "c",
    "Conv2d.out_channels": "f",
    "Conv2d.kernel_size": "k1",
    "Conv2d.kernel_size along the height": "k1",
    "Conv2d.kernel_size along the width": "k2",
    "Conv2d.height": "h",
    "Conv2d.width": "w",
    "Conv2d.batch": "batch",
    "Conv2d.groups": "groups",
    "Conv2d.stride": "stride_h",
    "SystolicArray.rows": "s1",
    "SystolicArray.cols": "s2",
}


class Workload(NamedTuple):
    """A convolution on an array, some sizes of which may be swept.

    Attributes:
        sizes: the value of each size option, by name; names given by one option share one value.
        padding: as :class:`hwcost.Conv2d` takes it.
        machine: the accelerator, except for its rows and columns, which are in ``sizes``.
        axes: the swept options in the order they were given; the last one varies fastest.
        values: every size as an integer, or as an array along its own axis of the sweep.
    """

    sizes: Mapping[str, Sizes]
    padding: str | int | tuple[int, int]
    machine: Machine
    axes: tuple[Sizes, ...]
    values: Mapping[str, Size]

    @property
    def is_sweep(self) -> bool:
        """Whether a size is a list or a range, even of one number."""
        return bool(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values along each axis of the sweep."""
        return tuple(axis.points for axis in self.axes)

    @property
    def points(self) -> int:
        """The number of points."""
        return math.prod(self.shape)

    def layer(self, values: Mapping[str, Size] | None = None) -> Conv2d:
        """The convolution, or one with other sizes; an error has the sizes of the first bad point of a sweep."""
        v = self.values if values is None else values
        try:
            return Conv2d(
                v["c"],
                v["f"],
                (v["k1"], v["k2"]),
                height=v["h"],
                width=v["w"],
                batch=v["batch"],
                stride=(v["stride_h"], v["stride_w"]),
                padding=self.padding,
                groups=v["groups"],
            )
        except InvalidValueError as error:
            if values is None and self.is_sweep:
                self.layer(self._first_bad())  # raises, unless the sizes overflow only as arrays
                raise InvalidValueError(error.field, error.value, SWEEP_LIMIT) from None
            raise self._renamed(error) from None

    def array(self) -> SystolicArray:
        """The array, with its rows and columns."""
        v = self.values
        try:
            return dataclasses.replace(self.machine.array, rows=v["s1"], cols=v["s2"])
        except InvalidValueError as error:
            raise self._renamed(error) from None

    def is_beyond(self) -> Any:
        """Whether the layer lies outside the range in which a calibrated device was measured, for every point.

        None for a device that was not fitted to measurements.
        """
        file = self.machine.file
        return None if file is None else file.is_beyond(self.layer())

    def interval(self, seconds: Any) -> tuple[Any, Any] | None:
        """The ends between which the latency of every point lies with 90 %; None unless all are on the fitted device.

        Args:
            seconds: of every point.
        """
        file, array = self.machine.file, self.array()
        is_fitted = file is not None and np.all(array.rows == file.array.rows) and np.all(array.cols == file.array.cols)
        if file is None or not is_fitted:
            return None
        same = dataclasses.replace(array, rows=file.array.rows, cols=file.array.cols)
        is_same = without_energy(same) == without_energy(file.array)
        return file.interval([(self.layer(), seconds)]) if is_same else None

    @property
    def legend(self) -> str:
        """What the mark before figures says; empty if no point is beyond what was measured."""
        file = self.machine.file
        beyond = [] if file is None else file.beyond(self.layer())
        return f"{MARK} an extrapolation: {'; '.join(beyond)} on {self.machine.name}" if beyond else ""

    def _renamed(self, error: InvalidValueError) -> InvalidValueError:
        name = _OF_CORE.get(error.field)
        option = error.field if name is None else self.sizes[name].option
        return error.at(option)

    def _first_bad(self) -> dict[str, int]:
        """The first point of the sweep whose sizes do not go together, found by bisection."""
        flat = {name: np.broadcast_to(size, self.shape).reshape(-1) for name, size in self.values.items()}
        low, high = 0, self.points
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self.layer({name: column[low:middle] for name, column in flat.items()})
            except InvalidValueError:
                high = middle
            else:
                low = middle
        return {name: int(column[low]) for name, column in flat.items()}


def _along(axis: int, axes: int, column: Any) -> Any:
    return column.reshape((1,) * axis + (-1,) + (1,) * (axes - axis - 1))


# ---------------------------------------------------------------- options


def _checked_size(_: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    if texts:
        list(_parts(str(param.name), _once(str(param.name), texts)))
    return texts


def _size_option(*names: str, help: str) -> Decorator:  # noqa: A002 (as click calls it)
    return click.option(*names, multiple=True, metavar="N", callback=_checked_size, help=help)


_PADDING = 'Pixels on every side, a pair like 1x2, "same" or "valid".'
_OPTIONS = (
    _size_option("--k", help="Kernel height and width; or give --k1 and --k2."),
    _size_option("--k1", help="Kernel height."),
    _size_option("--k2", help="Kernel width."),
    _size_option("--c", help="Input channels."),
    _size_option("--f", help="Filters (output channels)."),
    _size_option("--s1", "--rows", "s1", help="Rows of the array."),
    _size_option("--s2", "--cols", "s2", help="Columns of the array."),
    _size_option("--h", help="Input height.  [default: 1]"),
    _size_option("--w", help="Input width.  [default: 1]"),
    _size_option("--batch", help="Batch size.  [default: 1]"),
    _size_option("--stride", help="Stride, or a pair like 1x2 for height and width.  [default: 1]"),
    _size_option("--groups", help="Groups of channels.  [default: 1]"),
    default_option("--padding", default="same", metavar="P", words=_PADDING, parser=(parse_padding,)),
)
_SIZES = ("k", "k1", "k2", "c", "f", "s1", "s2", "h", "w", "batch", "stride", "groups")

_DEFAULTS = {"h": "1", "w": "1", "batch": "1", "stride": "1", "groups": "1"}


def workload_options(command: Command) -> Command:
    """Adds the options that describe a layer and an array.

    The command takes the sizes by name, in the order of the command line, ``padding`` and ``array``.
    """
    return added(block("array", ArrayOptions, DEVICE, ARRAYS, DATAFLOW, FOLD_TIMING)(command), *_OPTIONS)


def sizes_in(known: Mapping[str, Any]) -> dict[str, tuple[str, ...]] | None:
    """The sizes among the arguments of a command, in their order; None unless all of them can be read."""
    found = {name: texts for name, texts in known.items() if name in _SIZES}
    return found if len(found) == len(_SIZES) else None


def read_workload(
    given: Mapping[str, tuple[str, ...]],
    *,
    padding: str | int | tuple[int, int],
    array: ArrayOptions,
    defaults: Mapping[str, str] = _DEFAULTS,
) -> Workload:
    """The workload that the options describe.

    Args:
        given: the values of each size option, in the order of the command line.
        padding, array: the values of the other options.
        defaults: the values of size options that are not given.
    """
    texts = {name: _once(name, texts) for name, texts in given.items() if texts}
    machine = array.read(bare=SystolicArray(1, 1))
    if machine.file is not None:
        defaults = {**defaults, "s1": str(machine.array.rows), "s2": str(machine.array.cols)}
    apart = [name for name in ("k1", "k2") if name in texts]
    if apart and "k" in texts:
        raise InvalidValueError(f"--{apart[0]}", texts[apart[0]], "leave one of them out", reason="--k sets it already")
    given_already = {*texts, "k"} if apart else texts.keys()
    texts |= {name: text for name, text in {**_DEFAULTS, **defaults}.items() if name not in given_already}
    sizes = dict(_read_sizes(texts))
    check_complete(texts)
    axes = tuple({id(size): size for size in sizes.values() if size.is_sweep}.values())
    _check_sweep(sizes, axes)
    columns = {id(axis): _along(i, len(axes), axis.array()) for i, axis in enumerate(axes)}
    values = {name: columns.get(id(size), size.number) for name, size in sizes.items()}
    return Workload(sizes, padding, machine, axes, values)


def _once(name: str, texts: tuple[str, ...]) -> str:
    if len(texts) > 1:
        raise InvalidValueError(f"--{name}", ", ".join(texts), f"one value, or a list: --{name} {','.join(texts)}")
    return texts[0]


def check_complete(texts: Collection[str]) -> None:
    """Raises for each size that nothing gives; ``texts`` are the names of those that are given."""
    kernel = ("k",) if "k" in texts or not {"k1", "k2"} & set(texts) else ("k1", "k2")
    instead = {"k": ", or --k1 and --k2", "s1": ", or a --device", "s2": ", or a --device"}
    missing = [name for name in (*kernel, "c", "f", "s1", "s2") if name not in texts]
    check_all(InvalidValueError(f"--{name}", MISSING, f"{ALLOWED_SIZES}{instead.get(name, '')}") for name in missing)


def _read_sizes(texts: Mapping[str, str]) -> Iterator[tuple[str, Sizes]]:
    for name, text in texts.items():
        yield from _parts(name, text)


def _parts(name: str, text: str) -> Iterator[tuple[str, Sizes]]:
    """The sizes that an option gives: both of a kernel or a stride."""
    if name == "stride":
        yield from zip(("stride_h", "stride_w"), parse_stride("--stride", text), strict=True)
    else:
        sizes = parse_sizes(f"--{name}", text)
        yield from ((part, sizes) for part in (("k1", "k2") if name == "k" else (name,)))


def _check_sweep(sizes: Mapping[str, Sizes], axes: Sequence[Sizes]) -> None:
    points = math.prod(axis.points for axis in axes)
    if points > MAX_POINTS:
        field = f"the number of points ({' x '.join(axis.option for axis in axes)})"
        raise InvalidValueError(field, points, f"at most {MAX_POINTS}; give shorter lists or ranges, or larger steps")
    for size in sizes.values():
        if axes and size.largest > INT64_MAX:
            raise InvalidValueError(size.option, size.largest, SWEEP_LIMIT)
