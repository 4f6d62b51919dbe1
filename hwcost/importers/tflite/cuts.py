"""The axes and places that operators get as small tensors of integers."""

from __future__ import annotations

from hwcost.importers.rules import CannotPriceError
from hwcost.importers.tflite.calls import OperatorCall, Value

__all__ = ["cuts_of", "dims_of", "known_integers"]


def known_integers(call: OperatorCall, index: int) -> list[int]:
    """The integers that an input holds.

    Raises:
        CannotPriceError: they are unknown.
    """
    found = call.constant(index)
    if found is None:
        raise CannotPriceError(f"its input {index + 1} is not known")
    return found


def dims_of(call: OperatorCall, index: int, value: Value) -> list[int]:
    """The axes that an input lists, from 0; some may occur twice.

    Raises:
        CannotPriceError: they are unknown, or not axes of the tensor.
    """
    dims, rank = call.constant(index), len(call.shape(value))
    if dims is None or not all(-rank <= dim < max(rank, 1) for dim in dims):
        raise CannotPriceError("its axes are not known")
    return [dim % max(rank, 1) for dim in dims]


def cuts_of(call: OperatorCall) -> list[tuple[int, int, int, str]]:
    """How each axis of the input is cut by a slice: the start, the step, the number of elements, and what is special.

    That is "shrink" if the axis is left out of the output, "new" for one of 1 that is no axis of the input, else empty.

    Raises:
        CannotPriceError: it is unknown.
    """
    shape = call.shape(call[0])
    if call.kind == "SLICE":
        starts, sizes = known_integers(call, 1), known_integers(call, 2)
        cuts = zip(starts, sizes, shape, strict=True)
        return [(start, 1, whole - start if size == -1 else size, "") for start, size, whole in cuts]
    starts, ends, steps = (known_integers(call, index) for index in (1, 2, 3))
    begin, end, dots, new, shrink = (
        call.option(f"{name}Mask") for name in ("Begin", "End", "Ellipsis", "NewAxis", "ShrinkAxis")
    )
    found: list[tuple[int, int, int, str]] = []
    at = 0
    for place, (start, stop, step) in enumerate(zip(starts, ends, steps, strict=True)):
        bit = 1 << place
        if dots & bit:
            behind = sum(not new & (1 << later) for later in range(place + 1, len(starts)))
            found += [(0, 1, size, "") for size in shape[at : len(shape) - behind]]
            at = len(shape) - behind
        elif new & bit:
            found.append((0, 1, 1, "new"))
        else:
            size = shape[at]
            at += 1
            if shrink & bit:
                found.append((start % size, 1, 1, "shrink"))
                continue
            span = slice(None if begin & bit else start, None if end & bit else stop, step).indices(size)
            found.append((span[0], span[2], len(range(*span)), ""))
    return [*found, *((0, 1, size, "") for size in shape[at:])]
