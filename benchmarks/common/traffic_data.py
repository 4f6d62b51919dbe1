"""What zigzag-dse, accelforge and Timeloop with Accelergy say of common layers, and the machines that they say it of.

The rows are other people's tools' and are not part of the project; ``measured_data`` has the folder.
"""

from __future__ import annotations

import csv
from pathlib import Path

from hwcost import Conv2d, SystolicArray

ACCELFORGE, ZIGZAG, TIMELOOP = "accelforge_traffic.csv", "zigzag_traffic.csv", "timeloop_energy.csv"
CUT_TO_WORDS = ("lenet.fc3", "vits.av_head")
"""Layers of which zigzag moves less than every operand once: it cuts the bytes of a transfer to whole words."""

Row = dict[str, str]


def rows_of(folder: Path, name: str) -> list[Row]:
    """The rows of a file; none if it is not there."""
    path = folder / name
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def layer_of(row: Row) -> Conv2d:
    names = ("b", "c", "n", "kh", "kw", "s", "ih", "iw")
    b, c, n, kh, kw, s, ih, iw = (int(float(row[name])) for name in names)
    return Conv2d(c, n, (kh, kw), height=ih, width=iw, stride=s, batch=b)


def accelforge_machine(row: Row) -> SystolicArray:
    """16 x 16, weight stationary; energy after Horowitz (ISSCC 2014); outputs are as wide as partial sums."""
    size, kilobytes = int(row["output_bits"]) / 8, 64 if "64k" in row["machine"] else 32
    return SystolicArray(
        16, 16, buffer_bytes=1024.0 * kilobytes, bytes_per_output=size, partial_bytes=size, dram_bytes_per_s=8e9,
        joules_per_mac=0.23e-12, joules_per_sram_byte=1.25e-12 * (kilobytes / 8) ** 0.475, joules_per_dram_byte=2e-10,
    )  # fmt: skip


def accelforge_bytes(row: Row) -> float:
    names = ("read_i", "read_w", "read_o", "write_o")
    return sum(float(row[f"dram_{name}_bytes"]) for name in names)


def zigzag_machine(row: Row) -> SystolicArray:
    return SystolicArray(
        16, 16, dataflow=row["machine"][:2], buffer_bytes=65536.0, double_buffered=row["machine"].endswith("_db")
    )


def zigzag_bytes(row: Row) -> float:
    return sum(float(row[f"dram_{name}"]) for name in ("read_w", "read_i", "read_o", "write_o"))


def timeloop_layer(row: Row) -> Conv2d:
    c, k, p, q, r, s, stride = (int(row[name]) for name in ("C", "K", "P", "Q", "R", "S", "stride"))
    return Conv2d(c, k, (r, s), height=(p - 1) * stride + r, width=(q - 1) * stride + s, stride=stride)


def timeloop_machine(row: Row) -> SystolicArray:
    """A Gemmini of 16 x 16: a scratchpad for weights and inputs, an accumulator for sums; 40 nm by Accelergy."""
    scratchpad, accumulator = float(row["scratchpad_kB"]), float(row["accumulator_kB"])
    return SystolicArray(
        16, 16, fold_timing="serial", lowering="kernel-position", buffer_bytes=1024 * scratchpad,
        output_buffer_bytes=1024 * accumulator, joules_per_mac=(0.5608 + 0.48746) * 1e-12,
        joules_per_sram_byte=(0.02513 * scratchpad + 0.49) * 1e-12,
        joules_per_accumulator_byte=(0.1005 * accumulator / 16 + 1.94) / 4 * 1e-12, joules_per_dram_byte=1e-10,
    )  # fmt: skip
