"""Which sizes widths and kernels may take: the arithmetic behind :meth:`hwcost.network.network.Network.space`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from hwcost.arrays import as_size, is_number
from hwcost.errors import InvalidValueError
from hwcost.model.layers import Conv2d
from hwcost.network.operations import Operation, Width, sized

__all__ = ["by_step", "check_names", "check_options", "complete", "with_open_kernel"]

KERNEL = ".kernel_size"


# ---------------------------------------------------------------- options


def check_options(name: str, sizes: Any, widths: Mapping[str, Width]) -> tuple[int, ...]:
    """The options of one width.

    Raises:
        InvalidValueError: an unknown or fixed width; sizes that repeat or are no multiples of what the width needs.
    """
    width = widths.get(name)
    if width is None or width.fixed:
        raise InvalidValueError("width", name, allowed_names(widths))
    field = f"options of {name!r}"
    if not isinstance(sizes, (tuple, list, range)) or not sizes:
        raise InvalidValueError(field, sizes, "a sequence of at least one size")
    options = tuple(as_size(size, field) for size in sizes)
    if len(set(options)) != len(options):
        raise InvalidValueError(field, sizes, "sizes that differ from each other")
    if any(size % width.multiple for size in options):
        raise InvalidValueError(field, sizes, f"multiples of {width.multiple}")
    return options


def allowed_names(widths: Mapping[str, Width]) -> str:
    """The widths that can change, as an error lists them."""
    names = [name for name, width in widths.items() if not width.fixed]
    return f"one that can change: {', '.join(names)}" if names else "none: no width of this network can change"


def by_step(
    operations: Mapping[str, Operation], widths: Mapping[str, Width], step: int, least: float
) -> dict[str, tuple[int, ...]]:
    """Options for all widths of priced layers that can change: today's size, and multiples of a step below it.

    Args:
        operations, widths: of the network.
        step: all other options are multiples of it, and of the width's own ``multiple``.
        least: the smallest option, as a share of today's size.
    """
    step = as_size(step, "step")
    if not is_number(step):
        raise InvalidValueError("step", step, "a positive integer")
    if isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 <= least <= 1:
        raise InvalidValueError("least", least, "a share of today's size, from 0 to 1")
    followed = {name for each in operations.values() if each.is_priced for name in each.widths}
    found = {}
    for name, width in widths.items():
        if name in followed and not width.fixed and not width.is_kernel:
            unit = math.lcm(step, width.multiple)
            first = max(unit, -(-math.ceil(least * width.size) // unit) * unit)
            sizes = (*range(first, width.size, unit), width.size)
            if len(sizes) > 1:
                found[name] = sizes
    return found


def check_names(options: Mapping[str, Sequence[int]], given: Mapping[str, Any]) -> None:
    """Raises unless ``given`` has exactly the names of the open widths."""
    for name in (*options, *given):
        if name not in given or name not in options:
            kind = "missing" if name not in given else "unknown"
            raise InvalidValueError(f"decisions ({kind})", name, f"exactly: {', '.join(options)}")


# ---------------------------------------------------------------- kernels


def with_open_kernel(name: str, operation: Operation, sizes: Any) -> tuple[Operation, Width]:
    """A convolution whose kernel size follows a width of that name; its padding follows, and the output size stays.

    Raises:
        InvalidValueError: no convolution of plain sizes, a kernel that is not square, sizes of another parity, padding
            that would be negative.
    """
    layer, field = operation.layer, f"options of {name!r}"
    if not isinstance(layer, Conv2d) or not all(map(is_number, (*layer.kernel_size, layer.height, layer.width))):
        raise InvalidValueError(field, sizes, f"none: {operation.kind} is no 2-d convolution")
    today = layer.kernel_size[0]
    if layer.kernel_size[1] != today:
        raise InvalidValueError(field, sizes, f"none: the kernel is not square ({today} x {layer.kernel_size[1]})")
    if isinstance(layer.padding, str) and layer.padding == "valid":
        raise InvalidValueError(field, sizes, 'none: with "valid" padding the size of the output would change')
    width = Width(today, is_kernel=True)
    for size in check_options(name, sizes, {name: width}):
        steps, odd = divmod(size - today, 2)
        pads = () if layer.padding == "same" else zip(layer.padding, layer.dilation, strict=True)
        if odd or any(pad + dilation * steps < 0 for pad, dilation in pads):
            allowed = f"{'odd' if today % 2 else 'even'} sizes whose padding is at least 0, so that the output stays"
            raise InvalidValueError(field, size, allowed)
    if any(layer.out_size[i] != -(-size // layer.stride[i]) for i, size in enumerate((layer.height, layer.width))):
        allowed = "none: the output is not as large as the input over the stride; pad it by half its kernel"
        raise InvalidValueError(field, sizes, allowed)
    same = dataclasses.replace(layer, padding="same")  # the same products at every kernel size
    return dataclasses.replace(operation, layer=same, sizes={**operation.sizes, "kernel_size": name}), width


# ---------------------------------------------------------------- widths of a network written by hand


def complete(operations: Mapping[str, Operation], widths: Mapping[str, Width]) -> dict[str, Width]:
    """All widths that operations follow; those that are not given get the sizes that today's layers imply.

    Raises:
        InvalidValueError: a layer whose size today is not what its widths give, a width that nothing determines.
    """
    found = dict(widths)
    rules = [
        (f"{name}.{field}", rule, size)
        for name, each in operations.items()
        for field, rule in each.sizes.items()
        if is_number(size := _today(getattr(each.layer, field)))
    ]
    while left := [rule for rule in rules if any(name not in found for name, _ in rule[1])]:
        before = len(found)
        for where, rule, size in left:
            unknown = [(name, factor) for name, factor in rule if name not in found]
            if len(unknown) == 1:
                (name, factor), *_ = unknown
                rest = (size - sum(other * found[known].size for known, other in rule if known in found)) / factor
                if rest.denominator != 1 or rest <= 0:
                    raise InvalidValueError(where, size, f"{factor} times a whole {name!r}")
                found[name] = _width(name, int(rest), operations)
        if len(found) == before:
            names = [name for name, _ in left[0][1]]
            raise InvalidValueError(f"widths of {left[0][0]}", names, "at most one whose size nothing else gives")
    for where, rule, size in rules:
        if (implied := sized(rule, {name: found[name].size for name, _ in rule})) != size:
            sizes = " and ".join(f"{name!r} is {found[name].size}" for name, _ in rule)
            raise InvalidValueError(where, size, f"{implied}, as {sizes} in another layer or in the widths given")
    return found


def _today(size: Any) -> Any:
    """The size of a field; of a square pair one of the two."""
    return size[0] if isinstance(size, tuple) and len(size) == 2 and size[0] == size[1] else size


def _width(name: str, size: int, operations: Mapping[str, Operation]) -> Width:
    """A width by what all operations that follow it need."""
    multiple, is_kernel = 1, False
    for operation in operations.values():
        for field, rule in operation.sizes.items():
            for factor in (factor for width, factor in rule if width == name):
                grouped = isinstance(operation.layer, Conv2d) and "groups" not in operation.sizes
                groups = operation.layer.groups if grouped and field in Conv2d.WIDTHS else 1
                multiple = math.lcm(multiple, (Fraction(groups) / factor).numerator, factor.denominator)
                is_kernel |= field == "kernel_size"
    return Width(size, multiple, is_kernel=is_kernel)
