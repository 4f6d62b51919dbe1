"""The result of a sweep, put together from groups of machines and their figures."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from hwcost.arrays import Table
from hwcost.model.least import no_tile_fits
from hwcost.sweep.fields import BUFFERS
from hwcost.sweep.points import Sweep
from hwcost.sweep.pricing import Column
from hwcost.sweep.space import Space

__all__ = ["columns_of", "ordered", "that_fit"]


def that_fit(found: Sweep) -> Sweep:
    """The points whose buffers hold a tile of every product.

    Raises:
        InvalidValueError: there is none.
    """
    fits = found.cycles >= 0
    if fits.all():
        return found
    if not fits.any():
        sizes = (found.fields.get(name, (getattr(found.base, name),)) for name in BUFFERS)
        largest = [max(size for size in each if size is not None) for each in sizes if each != (None,)]
        raise no_tile_fits([size for size in largest if size < math.inf])
    return dataclasses.replace(found.at(np.flatnonzero(fits)), left_out=int(np.sum(~fits)))


def ordered(found: Sweep) -> Sweep:
    """The points by dataflow, swept fields, rows and columns; groups follow another order if fields are swept."""
    if not found.fields:
        return found
    return found.at(np.lexsort((found.cols, found.rows, *reversed(list(found.codes.values())), found.flow)))


def columns_of(space: Space) -> dict[str, Any]:
    """Rows, columns, dataflow and the values of swept fields of all machines, before anything is left out."""
    rows, cols, flow = [], [], []
    codes: dict[str, list[Column]] = {name: [] for name in space.fields}
    for group in space.groups:
        sizes, indices = group.places(0, len(group)) if space.fields else (slice(None), {})
        rows.append(group.rows[sizes])
        cols.append(group.cols[sizes])
        flow.append(np.full(len(group), group.flow, dtype=np.uint8))
        for name, values in group.values.items():
            known = [space.fields[name].index(value) for value in values]
            code = np.asarray(known, dtype=np.uint32 if len(space.fields[name]) > 2**16 else np.uint16)
            codes[name].append(code[indices[name]] if name in indices else np.broadcast_to(code, (len(group),)))
    return {
        "rows": np.concatenate(rows),
        "cols": np.concatenate(cols),
        "flow": np.concatenate(flow),
        "codes": Table({name: np.concatenate(parts) for name, parts in codes.items()}),
    }
