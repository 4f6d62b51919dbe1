"""SCALE-Sim's COMPUTE_REPORT.csv, as version 3.0.0 writes it in calculated-bandwidth mode, byte for byte."""

from __future__ import annotations

import dataclasses
import functools
import operator
import os
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.files import unusable, write_whole
from hwcost.model.formula import price
from hwcost.scalesim.buffers import cycles_with_prefetch
from hwcost.scalesim.configuration import MEMORIES, Configuration, check_memories
from hwcost.scalesim.counting import counts, utilization_cycles
from hwcost.scalesim.layers import TopologyLayer

__all__ = ["compute_report", "write_compute_report"]

NAME = "COMPUTE_REPORT.csv"
HEADER = (
    "LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, Mapping Efficiency %,"
    " Compute Util %,\n"
)
_MOST_LINES = 10**7
_MOST_SUMMED = 10**7
"""Folds that are summed one by one; beyond, the last digits of a mean are those of the closed form."""


class _Folds(NamedTuple):
    """Of one product, in Python integers: extents, array, folds, and the cycles that a fold's utilization is over."""

    rows_extent: int
    cols_extent: int
    streamed: int
    rows: int
    cols: int
    along_rows: int
    along_cols: int
    cycles: int


def compute_report(layers: Sequence[TopologyLayer], config: Configuration) -> Iterator[str]:
    r"""The lines of the report, each with its line end: a header, then one line per layer.

    A row of several layers, such as a depthwise one, gets an equal line for each.

    Args:
        layers: of a topology, with single sizes (no arrays).
        config: the array, and the sizes of the memories, on which the first column depends.

    Raises:
        InvalidValueError: no layers, a memory whose size the configuration does not give, or sizes so large that the
            figures do not fit into 64 bits.

    >>> from hwcost.scalesim import serial_array
    >>> config = Configuration("run", serial_array(8, 8, "os"), 64, 64, 64)
    >>> list(compute_report([TopologyLayer.product("fc", m=9, n=1, k=9)], config))[1]
    '0, 112, 45, 0, 2.8125, 7.03125, 2.751358695652174,\n'
    """
    if not layers:
        raise InvalidValueError("layers", tuple(layers), "at least one layer")
    check_memories(config)
    lines = zip(_lines(_stacked(layers), config), layers, strict=True)
    counted = chain.from_iterable(repeat(line, layer.count) for line, layer in lines)
    return chain((HEADER,), (f"{index}, {line}" for index, line in enumerate(counted)))


def write_compute_report(
    folder: str | os.PathLike[str], layers: Sequence[TopologyLayer], config: Configuration
) -> Path:
    """Writes the report into a folder, which is created if it is missing, and returns its path.

    Atomic write: temporary file, then rename.

    Raises:
        InvalidValueError: what :func:`compute_report` raises, or a folder that cannot be written.
    """
    lines = compute_report(layers, config)
    count = sum(layer.count for layer in layers)
    if count > _MOST_LINES:
        raise InvalidValueError(
            "the lines of the report", count, f"at most {_MOST_LINES}, one for each layer and channel"
        )
    target = Path(folder) / NAME
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(os.fspath(target), (line.encode("ascii") for line in lines))
    except (OSError, ValueError) as error:
        raise unusable("folder", folder, "written", error) from None
    return target


def _stacked(layers: Sequence[TopologyLayer]) -> TopologyLayer:
    """All layers as one whose sizes are arrays over them, each taken once."""
    sizes = [dataclasses.astuple(layer)[1:-1] for layer in layers]
    for layer, own in zip(layers, sizes, strict=True):
        if not all(isinstance(size, int) for size in (*own, layer.count)):
            raise InvalidValueError(f"layer {layer.name!r}", layer, "a layer whose sizes are single integers")
    return TopologyLayer("all", *np.array(sizes, dtype=np.int64).T)


def _lines(stacked: TopologyLayer, config: Configuration) -> Iterator[str]:
    """The line of each layer, without its number."""
    array, (gemm,) = config.array, stacked.gemms()
    memories = {field: getattr(config, field) for field in MEMORIES}
    priced = price(gemm, array)
    folds, passes = priced.work.folds, priced.cost.folds
    columns = np.broadcast_arrays(
        cycles_with_prefetch(stacked, array, **memories),
        counts(gemm, array).total_cycles,
        gemm.macs,
        folds.rows_extent,
        folds.cols_extent,
        folds.streamed,
        folds.rows,
        folds.cols,
        folds.along_rows,
        folds.along_cols,
        utilization_cycles(priced.cycles, passes, array) // passes,
    )
    figures = zip(*(column.tolist() for column in columns), strict=True)
    return (_line(with_prefetch, cycles, macs, _Folds(*of_folds)) for with_prefetch, cycles, macs, *of_folds in figures)


def _line(with_prefetch: int, cycles: int, macs: int, folds: _Folds) -> str:
    overall = macs * 100 / (cycles * folds.rows * folds.cols)
    mapping, compute = _means(folds)
    return f"{with_prefetch}, {cycles}, 0, {overall}, {mapping}, {compute},\n"


def _means(folds: _Folds) -> tuple[float, float]:
    """Mapping efficiency and compute utilization in per cent: means over folds, rounded as the simulator rounds them.

    It adds one fold after the other, and each step rounds; so it is done here.
    """
    pes = folds.rows * folds.cols
    if folds.along_rows * folds.along_cols > _MOST_SUMMED:
        share = folds.rows_extent * folds.cols_extent / (folds.along_rows * folds.along_cols * pes)
        return share * 100, share * folds.streamed / folds.cycles * 100
    last_height = folds.rows_extent - (folds.along_rows - 1) * folds.rows
    last_width = folds.cols_extent - (folds.along_cols - 1) * folds.cols

    def mean(factor: int, whole: int) -> float:
        def column(width: int) -> Iterator[float]:
            full, last = (height * width * factor / whole for height in (folds.rows, last_height))
            return chain(repeat(full, folds.along_rows - 1), (last,))

        widths = chain(repeat(folds.cols, folds.along_cols - 1), (last_width,))
        # sum() compensates for rounding from Python 3.12 on
        summed = functools.reduce(operator.add, chain.from_iterable(map(column, widths)), 0)
        return summed / (folds.along_rows * folds.along_cols) * 100

    return mean(1, pes), mean(folds.streamed, pes * folds.cycles)
