"""Which channels of a width stay when it is cut, and which entries of every parameter follow them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hwcost.errors import InvalidValueError, unknown
from hwcost.network.operations import SizeExpression, Width

if TYPE_CHECKING:
    from hwcost.network.network import Network

__all__ = ["Channels", "Kept", "check_kept", "first_channels", "staying"]

Channels: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
"""Indices of channels, ascending."""

Kept: TypeAlias = "Mapping[str, Iterable[int]]"
"""The channels that stay, by width."""


def first_channels(width: Width, size: int) -> Channels:
    """The first channels of a width; of one that must be a multiple of a number, the first ones of each part.

    >>> first_channels(Width(8, multiple=2), 4).tolist()
    [0, 1, 4, 5]
    """
    parts = np.arange(width.size).reshape(width.multiple, -1)
    return parts[:, : size // width.multiple].ravel()


def check_kept(network: Network, kept: Kept) -> dict[str, Channels]:
    """The channels that stay, checked and in order.

    A width that must be a multiple of a number, as of the groups of a convolution, keeps equally many channels in each
    of so many equal parts: with any others, what is left would be no part of the network.

    Raises:
        InvalidValueError: a width that is unknown or cannot be cut, channels that it does not have or that come twice,
            parts that keep different numbers of them.
    """
    if not isinstance(kept, Mapping):
        raise InvalidValueError("keep", kept, 'the channels that stay by width, as {"conv1": [0, 3, 4]}')
    found = {}
    for name, channels in kept.items():
        if name not in network.widths:
            raise InvalidValueError("keep", name, network.widths, form=unknown("width"))
        found[name] = _checked(f"keep[{name!r}]", channels, network.widths[name])
    network.at({name: len(channels) for name, channels in found.items()})
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
        if any(name in kept for name, _ in rule):
            pieces = [_mask(widths[name], kept.get(name), *factor.as_integer_ratio()) for name, factor in rule]
            found[axis] = np.concatenate(pieces, axis=1)
    return found


def _mask(width: Width, channels: Channels | None, times: int, groups: int) -> Any:
    """Which channels stay, a row for each group, each channel repeated ``times``."""
    mask = np.full(width.size, channels is None)
    if channels is not None:
        mask[channels] = True
    return np.repeat(mask.reshape(groups, -1), times, axis=1)
