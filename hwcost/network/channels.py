"""Which channels of a width stay when it is cut, and which entries of every parameter follow them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from hwcost.errors import InvalidValueError, unknown
from hwcost.network.operations import SizeExpression, Width, size_at

__all__ = [
    "Channels", "Kept", "channels_along", "check_kept", "check_shape", "first_channels", "has_shape", "staying",
]  # fmt: skip

Channels: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
"""Indices of channels, ascending."""

Kept: TypeAlias = Mapping[str, Iterable[int]]
"""The channels that stay, by width."""


def first_channels(width: Width, size: int) -> Channels:
    """The first channels of a width; of one that must be a multiple of a number, the first ones of each part.

    >>> first_channels(Width(8, multiple=2), 4).tolist()
    [0, 1, 4, 5]
    """
    parts = np.arange(width.size).reshape(width.multiple, -1)
    return parts[:, : size // width.multiple].ravel()


def check_kept(widths: Mapping[str, Width], kept: Kept) -> dict[str, Channels]:
    """The channels that stay, checked and in order.

    A width that must be a multiple of n, as of the n groups of a convolution, keeps equally many channels in each of n
    equal parts: with any others, what is left would be no part of the network.

    Raises:
        InvalidValueError: a width that is unknown or fixed, channels that it does not have or that come twice,
            parts that keep different numbers of them.
    """
    if not isinstance(kept, Mapping):
        raise InvalidValueError("keep", kept, 'the channels that stay by width, as {"conv1": [0, 3, 4]}')
    found = {}
    for name, channels in kept.items():
        if name not in widths:
            raise InvalidValueError("keep", name, widths, form=unknown("width"))
        if widths[name].fixed:
            raise InvalidValueError(
                "keep", name, "leave it out", reason=f"{name!r} cannot change ({widths[name].fixed})"
            )
        found[name] = _checked(f"keep[{name!r}]", channels, widths[name])
    return found


def _checked(field: str, channels: Any, width: Width) -> Channels:
    allowed = f"different integers from 0 to {width.size - 1}"
    if isinstance(channels, (str, bytes, Mapping)) or not isinstance(channels, (Iterable, np.ndarray)):
        raise InvalidValueError(field, channels, allowed)
    try:
        own = np.array([operator.index(each) for each in channels], dtype=np.int64)
    except (TypeError, OverflowError):
        raise InvalidValueError(field, channels, allowed) from None
    own.sort()
    if not len(own) or own[0] < 0 or own[-1] >= width.size or (np.diff(own) == 0).any():
        raise InvalidValueError(field, channels, allowed)
    parts = np.bincount(own * width.multiple // width.size, minlength=width.multiple)
    if parts.min() != parts.max():
        allowed = f"equally many channels of each of {width.multiple} equal parts"
        raise InvalidValueError(field, own.tolist(), allowed, reason=f"they keep {parts.min()} to {parts.max()}")
    return own


def staying(
    rules: Sequence[SizeExpression], widths: Mapping[str, Width], kept: Mapping[str, Channels]
) -> dict[int, Any]:
    """Which entries of a parameter stay along each of its axes that is cut.

    Args:
        rules: the size expression of each axis. A width over a number g of groups is that of the channels of one
            group: then the groups are as many equal parts of axis 0, one after the other, and each has its own mask.
        widths: with today's sizes.
        kept: the channels that stay, as :func:`check_kept` returns them.

    Returns:
        By axis a mask of shape (groups, today's size); one row if there are no groups.
    """
    found = {}
    for axis, rule in enumerate(rules):
        masks = [
            _stays(widths[name], kept[name])[own] if name in kept else own >= 0 for name, own in _pieces(rule, widths)
        ]
        if any(name in kept for name, _ in rule):
            found[axis] = np.concatenate(masks, axis=1)
    return found


def has_shape(shape: Sequence[int], rules: Sequence[SizeExpression], sizes: Mapping[str, int]) -> bool:
    """Whether a parameter has the shape that its axes have at some sizes of widths.

    Args:
        shape: of the parameter.
        rules: the size expression of each axis; an empty one allows any size.
        sizes: of all widths in them.

    >>> from fractions import Fraction
    >>> rules = (("a", Fraction(1)),), (("b", Fraction(1)),)
    >>> has_shape((4, 3), rules, {"a": 4, "b": 3}), has_shape((4, 3), rules, {"a": 4, "b": 2})
    (True, False)
    """
    return len(shape) >= len(rules) and all(
        not rule or size_at(rule, sizes) == own for rule, own in zip(rules, shape, strict=False)
    )


def check_shape(
    model: object, name: str, shape: Sequence[int], rules: Sequence[SizeExpression], widths: Mapping[str, Width]
) -> None:
    """Raises unless a parameter that is to be cut has the shape that was imported.

    Args:
        model: that has it.
        name: of the parameter.
        shape: of it.
        rules: the size expression of each axis.
        widths: with the sizes that were imported.

    Raises:
        InvalidValueError: another shape, as that of a module that was cut already.
    """
    sizes = {name: width.size for name, width in widths.items()}
    if not has_shape(shape, rules, sizes):
        own = [*shape, *[0] * len(rules)]
        wanted = tuple(int(size_at(rule, sizes)) if rule else own[axis] for axis, rule in enumerate(rules))
        reason = f"{name!r} is {tuple(shape)}, and {wanted} in the module that was imported"
        raise InvalidValueError("model", type(model).__name__, "pass that one, which is not cut yet", reason=reason)


def channels_along(rule: SizeExpression, widths: Mapping[str, Width], name: str) -> Any:
    """The channel of a width that each entry along an axis belongs to, or -1; a row for each group.

    >>> from fractions import Fraction
    >>> rule, widths = (("a", Fraction(2)), ("b", Fraction(1))), {"a": Width(2), "b": Width(3)}
    >>> channels_along(rule, widths, "a")
    array([[ 0,  0,  1,  1, -1, -1, -1]])
    """
    pieces = [own if width == name else np.full_like(own, -1) for width, own in _pieces(rule, widths)]
    return np.concatenate(pieces, axis=1)


def _pieces(rule: SizeExpression, widths: Mapping[str, Width]) -> Iterator[tuple[str, Channels]]:
    """For each piece of an axis its width, and the channel of each entry, a row for each group."""
    for name, factor in rule:
        times, groups = factor.as_integer_ratio()
        yield name, np.repeat(np.arange(widths[name].size).reshape(groups, -1), times, axis=1)


def _stays(width: Width, channels: Channels) -> Any:
    mask = np.full(width.size, False)
    mask[channels] = True
    return mask
