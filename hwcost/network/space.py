"""Which sizes widths and kernels may take: the arithmetic behind :meth:`hwcost.network.network.Network.space`."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from hwcost.arrays import is_number
from hwcost.errors import InvalidValueError, unknown
from hwcost.model.layers import Conv2d
from hwcost.network.operations import Operation, Width, size_at, terms_of, whole

__all__ = ["by_step", "check_options", "complete", "not_a_width", "with_open_kernel"]

KERNEL = ".kernel_size"


def check_options(
    name: str, sizes: Any, widths: Mapping[str, Width], operations: Mapping[str, Operation] | None = None
) -> tuple[int, ...]:
    """The options of one width; an InvalidValueError if it cannot change, or cannot take them."""
    width, field = changeable(name, widths, operations), f"options[{name!r}]"
    if not isinstance(sizes, (tuple, list, range)) or not sizes:
        raise InvalidValueError(field, sizes, "a sequence of at least one size")
    options = tuple(whole(size, field) for size in sizes)
    for size in options:
        width.check(size, field)
    if len(set(options)) != len(options):
        raise InvalidValueError(field, sizes, "sizes that differ from each other")
    return options


def changeable(name: Any, widths: Mapping[str, Width], operations: Mapping[str, Operation] | None = None) -> Width:
    """The width of that name; an InvalidValueError if it is unknown, not open or cannot change."""
    width = widths.get(name)
    if width is not None and not width.fixed:
        return width
    free = [each for each, width in widths.items() if not width.fixed]
    kernels = [f"{each}{KERNEL}" for each, own in (operations or {}).items() if isinstance(own.layer, Conv2d)]
    field, allowed = f"width {name!r}", f"use one of: {', '.join(free)}" if free else "leave it out"
    if name in kernels:
        allowed = f"open it first, as network.space({{{name!r}: (3, 5)}})"
        raise InvalidValueError(field, name, allowed, reason="it is not open to choice")
    if width is not None:
        raise InvalidValueError(field, name, allowed, reason=f"it cannot change ({width.fixed})")
    if operations is not None and name in operations:
        raise not_a_width(name, operations[name].widths, field)
    if not free:
        raise InvalidValueError(field, name, allowed, reason="no width of this network can change")
    allowed = f"one of: {', '.join(free)}"
    raise InvalidValueError("the network", name, allowed, names=(*free, *kernels), form=unknown("width"))


def not_a_width(name: str, followed: Iterable[str], field: str) -> InvalidValueError:
    """The error about the name of an operation in place of those of the widths that it follows."""
    names = [repr(each) for each in followed]
    reason = f"{name!r} follows the width{'s' * (len(names) > 1)} {' and '.join(names)}"
    if not names:
        return InvalidValueError(field, name, "leave it out", reason=f"{name!r} follows no width that can change")
    return InvalidValueError(field, name, "use a name of a width", reason=reason)


def by_step(
    operations: Mapping[str, Operation], widths: Mapping[str, Width], step: int, least: float
) -> dict[str, tuple[int, ...]]:
    """Options for all widths of priced layers that can change: today's size, and multiples of a step below it."""
    step = whole(step, "step")
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


def with_open_kernel(name: str, operation: Operation) -> tuple[Operation, Width]:
    """A convolution whose kernel size follows a width of that name; its padding follows, and the output size stays.

    The width is the operation's own: all sizes of the parity of today's whose padding is at least 0.

    Raises:
        InvalidValueError: not a convolution of plain sizes, a kernel that is not square, an output of another size
            than the input over the stride.
    """
    layer, field = operation.layer, f"width {name!r}"
    if not isinstance(layer, Conv2d) or not all(map(is_number, (*layer.kernel_size, layer.height, layer.width))):
        reason = f"its operation is a {operation.kind}, not a 2-d convolution of plain sizes"
        raise InvalidValueError(field, name, "leave it out", reason=reason)
    today, other = layer.kernel_size
    if other != today:
        raise InvalidValueError(field, name, "leave it out", reason=f"its kernel is not square ({today} x {other})")
    out = tuple(-(-size // stride) for size, stride in zip((layer.height, layer.width), layer.stride, strict=True))
    if layer.out_size != out:
        sizes = " and not ".join(f"{height} x {width}" for height, width in (layer.out_size, out))
        reason = f"its output would change with its kernel: it is {sizes}, the input over the stride"
        raise InvalidValueError(field, name, "pad its input by half its kernel", reason=reason)
    pads = layer.padding if isinstance(layer.padding, tuple) else (0, 0) if layer.padding == "valid" else ()
    steps = min([(today - 1) // 2, *(pad // dilation for pad, dilation in zip(pads, layer.dilation, strict=False))])
    same = dataclasses.replace(layer, padding="same")  # the same products at every kernel size
    width = Width(today, multiple=2, is_kernel=True, above=today - 2 * steps - 2)
    return dataclasses.replace(operation, layer=same, sizes={**operation.sizes, "kernel_size": name}), width


def complete(operations: Mapping[str, Operation], widths: Mapping[str, Width]) -> dict[str, Width]:
    """All widths that operations follow; those that are not given get the sizes that today's layers imply.

    Raises:
        InvalidValueError: a layer whose size contradicts its widths, a width that no layer determines.
    """
    found, multiples, kernels = dict(widths), defaultdict[str, int](lambda: 1), set()
    rules = []
    for name, each in operations.items():
        for field, rule in each.sizes.items():
            size = _side(f"{name}.{field}", getattr(each.layer, field))
            if is_number(size):
                rules.append((f"{name}.{field}", rule, size))
            grouped = isinstance(each.layer, Conv2d) and field in Conv2d.WIDTHS and "groups" not in each.sizes
            for width, factor in rule:
                groups = Fraction(each.layer.groups if grouped else 1)
                multiples[width] = math.lcm(multiples[width], (groups / factor).numerator, factor.denominator)
                kernels |= {width} if field == "kernel_size" else set()
    while left := [rule for rule in rules if any(name not in found for name, _ in rule[1])]:
        before = len(found)
        for where, rule, size in left:
            unknown = [term for term in terms_of(rule).items() if term[0] not in found]
            if len(unknown) == 1:
                (name, factor), *_ = unknown
                rest = (size - sum(other * found[known].size for known, other in rule if known in found)) / factor
                if rest.denominator != 1 or rest <= 0:
                    raise InvalidValueError(where, size, f"{factor} times a whole {name!r}")
                found[name] = Width(int(rest), multiples[name], is_kernel=name in kernels)
        if len(found) == before:
            where, rule, size = left[0]
            names = " and ".join(repr(name) for name in terms_of(rule) if name not in found)
            allowed = "give all but one of them in widths"
            raise InvalidValueError(where, size, allowed, reason=f"nothing states the sizes of {names}")
    for where, rule, size in rules:
        if (implied := size_at(rule, {name: found[name].size for name, _ in rule})) != size:
            sizes = " and ".join(f"{name!r} is {found[name].size}" for name, _ in rule)
            raise InvalidValueError(where, size, f"{implied}, as {sizes} in another layer or in the widths given")
    return found


def _side(where: str, size: Any) -> Any:
    """The side of a square kernel; a size that is no pair as it is."""
    if not isinstance(size, tuple):
        return size
    if len(set(size)) != 1:
        raise InvalidValueError(where, size, "equal sides, to follow a width")
    return size[0]
