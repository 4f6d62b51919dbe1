"""The measured data sets as measurements of hwcost, and the form of the model that each is fitted with.

The data are other people's and are not part of the project. They are read from the folder DATA: that of the environment
variable HWCOST_DATA, or of ``--data`` of the benchmarks. A form is a device and the names of the numbers
that are free; a rival is a form as well, with less in it, so that all are fitted by the same lines with the same loss.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hwcost import Conv2d, Gemm, Linear, SystolicArray, layer_cost
from hwcost.calibration import FIT_PARAMETERS, Calibration, Measurement, fit, medians_of_repeats
from hwcost.machine import adapt
from hwcost.network.operations import MemoryOnly

DATA = Path(os.environ.get("HWCOST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
FILES = {
    "scalesim": "scalesim_3.0.0.csv",
    "uboost": "uboost_csim.csv",
    "gemmini": "gemmini_firesim_layers.csv",
    "edge": "edgetpu_conv5.csv",
    "edge pairs": "edgetpu_conv2.csv",
    "rtl": "gemmini_rtl_gemm.csv",
    "fpga": "fpga_cnn_layers.csv",
    "tenstorrent": "tenstorrent_gemm.csv",
}
TILERS = ("orig_tiler", "fsm_tiler", "hw_tiler")
EDGE_SIZES = (16, 32, 40, 48, 56, 60, 62, 63, 64, 65, 66, 68, 72, 80, 96, 112, 128, 192, 256)
EDGE_FEW_SIZES = (16, 32, 48, 64, 80, 96, 112, 128, 192, 256)
EDGE_CLOCK_HZ = 4e12 / (2 * 64 * 64)
"""Assumed: the clock at which 64 x 64 PEs make the 4 Tera-operations a second that the maker states."""


def missing(folder: Path, name: str) -> str:
    """Why a data set cannot be used; empty if it can."""
    path = folder / FILES[name]
    return "" if path.is_file() else f"there is no {path.name} in {folder}"


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / FILES[name]).open(newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- measurements


def gemmini_layers(folder: Path, column: str) -> list[Measurement]:
    """Layers of two networks on a 16 x 16 array; cycles count as nanoseconds. A layer that comes twice counts once."""
    found = []
    for row in rows_of(folder, "gemmini"):
        c, k, p, q, r, s, stride = (int(row[name]) for name in ("C", "K", "P", "Q", "R", "S", "stride"))
        layer = Conv2d(c, k, (r, s), height=p * stride, width=q * stride, stride=stride, padding="same")
        found.append(Measurement((layer,), float(row[column]) / 1e9, name=f"{row['network']} {row['layer']}"))
    return list(medians_of_repeats(found))


def edge_networks(folder: Path, session: int = 1, *, most: int = 0) -> list[Measurement]:
    """Chains of five 3 x 3 convolutions; networks that a session lacks are left out.

    Args:
        folder: of the data.
        session: 1 or 2.
        most: the filters up to which networks count whose weights do not fit on the chip.
    """
    return list(_edge_chains(folder, "edge", f"latency_ms_s{session}", most))


def edge_pairs(folder: Path) -> list[Measurement]:
    """Chains of two 3 x 3 convolutions, measured in a session of their own."""
    return list(_edge_chains(folder, "edge pairs", "latency_ms", 0))


def _edge_chains(folder: Path, name: str, column: str, most: int) -> Iterator[Measurement]:
    for row in rows_of(folder, name):
        text, filters, size = row[column], int(row["filters"]), int(row["width"])
        if not text or (float(row["offchip_mib"]) > 0 and filters > most):
            continue
        channels = (int(row["in_channels"]), *(filters,) * (int(row["layers"]) - 1))
        layers = tuple(Conv2d(c, filters, 3, height=size, width=size, padding="same") for c in channels)
        one = Measurement(
            layers, float(text) / 1e3, name=f"{filters} filters" + ("" if name == "edge" else ", two layers")
        )
        if one.macs != int(row["macs"]):
            raise ValueError(f"{one.name}: {one.macs} MACs, but the file has {row['macs']}")
        yield one


def rtl_products(folder: Path, tiler: str, known: str = "all") -> list[Measurement]:
    """Products on ten builds of Gemmini, of one tiler; those of one shape are held out together.

    Args:
        folder: of the data.
        tiler: of :data:`TILERS`.
        known: what a model knows of a build: its "size", that and its "bus", "all", or as columns of a file have it:
            its "columns".
    """
    found = []
    for row in rows_of(folder, "rtl"):
        if row["swconfig"] != tiler:
            continue
        m, n, k, size = (int(row[name]) for name in ("m", "n", "k", "dim"))
        bus = int(row["bus_bits"]) / 8 * 1e9
        build: dict[str, float] = {"rows": size, "cols": size}
        if known == "bus":
            build["dram_bytes_per_s"] = bus
        elif known == "columns":
            build |= {"accumulators": int(row["acc_kb"]) * 1024 // 4}  # 4 bytes each
            build |= dict.fromkeys(("weight_bytes_per_s", "input_bytes_per_s", "output_bytes_per_s"), bus)
        elif known == "all":
            # half of the accumulators: while one block is written out, the next one is computed; 4 bytes each
            build |= {"accumulators": int(row["acc_kb"]) * 1024 // 8, "min_streamed": size}
            build |= dict.fromkeys(("weight_bytes_per_s", "input_bytes_per_s", "output_bytes_per_s"), bus)
        shape = f"{m}x{n}x{k}"
        name = f"{row['hw']} {shape}"
        found.append(Measurement((Gemm(m, n, k),), float(row["cycles"]) / 1e9, name, shape, build))
    return found


FPGA_BUILDS = {"m32p32": SystolicArray(32, 32, 4e8, dataflow="os"), "m32p64": SystolicArray(64, 32, 4e8, dataflow="os")}
"""M filters along columns, P pixels along rows."""


def fpga_layers(folder: Path, build: str) -> list[Measurement]:
    """The distinct convolutions of twelve networks on one build of an FPGA accelerator."""
    found = []
    for row in rows_of(folder, "fpga"):
        if row["type"] == "Conv" and row["accel"] == build:
            sizes = ("in_channels", "out_channels", "kernel_height", "kernel_width", "in_height", "in_width")
            c, f, k1, k2, height, width = (int(row[name]) for name in sizes)
            padding = int(row["pad_top"]), int(row["pad_left"])
            layer = Conv2d(c, f, (k1, k2), height, width, stride=int(row["stride_height"]), padding=padding)
            found.append(Measurement((layer,), float(row["latency_ns"]) / 1e9, f"{row['network']} {row['layer']}"))
    return list(medians_of_repeats(found))


def fpga_networks(folder: Path, build: str) -> dict[str, list[Measurement]]:
    """All layers of twelve networks on one build, by network: convolutions, linear layers, additions and poolings.

    An addition has no sizes in the file: it adds two outputs of the convolution before it. A pooling reads the
    elements of all its windows.
    """
    found: dict[str, list[Measurement]] = {}
    outputs = 0
    for row in rows_of(folder, "fpga"):
        if row["accel"] != build:
            continue
        c, f, k1, k2, height, width, stride, top, left, bottom, right = (int(row[name]) for name in _FPGA_SIZES)
        layer: Any
        if row["type"] == "Add":
            layer = MemoryOnly("add", 2 * outputs, outputs)
        elif row["type"] == "Fc":
            layer = Linear(c, f)
        elif row["type"] == "Conv":
            layer = Conv2d(c, f, (k1, k2), height, width, stride=stride, padding=(top, left))
            outputs = math.prod((f, *layer.out_size))
        else:
            high, wide = (
                (n + a + b - k) // stride + 1 for n, a, b, k in ((height, top, bottom, k1), (width, left, right, k2))
            )
            layer = MemoryOnly("pool", c * high * wide * k1 * k2, c * high * wide)
        one = Measurement((layer,), float(row["latency_ns"]) / 1e9, f"{row['network']} {row['layer']}")
        found.setdefault(row["network"], []).append(one)
    return found


_FPGA_SIZES = (
    "in_channels", "out_channels", "kernel_height", "kernel_width", "in_height", "in_width", "stride_height", "pad_top",
    "pad_left", "pad_bottom", "pad_right",
)  # fmt: skip

N150 = SystolicArray(512, 256, 1e9, dram_bytes_per_s=288e9)
"""As many multiply-accumulates a cycle as the chip's peak has, and its memory: the maker's figures."""
BYTES = {"bf16": 2.0, "bf8": 1.0625, "bf4": 0.5625}
"""Of an element: block floats share an exponent of one byte among 16."""


def tenstorrent_products(folder: Path) -> list[Measurement]:
    """Products on one chip in three formats; those of one shape are held out together."""
    found = []
    for row in rows_of(folder, "tenstorrent"):
        m, n, k = (int(row[name]) for name in ("m", "n", "k"))
        shape, kind = f"{m}x{n}x{k}", row["dtype"]
        device = {"bytes_per_element": BYTES[kind]}
        found.append(Measurement((Gemm(m, n, k),), float(row["ns"]) / 1e9, f"{kind} {shape}", shape, device))
    return found


# ---------------------------------------------------------------- forms


@dataclass(frozen=True)
class Form:
    """A device, the numbers that are free, and how it is fitted where that differs from the defaults."""

    device: SystolicArray
    free: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def fitted(self, measurements: Sequence[Measurement], **options: Any) -> Calibration:
        """The form fitted to measurements."""
        return fit(self.device, measurements, free=self.free, **{**self.options, **options})

    def with_options(self, **options: Any) -> Form:
        """The same form, fitted with other options."""
        return dataclasses.replace(self, options={**self.options, **options})

    def with_device(self, **fields: Any) -> Form:
        """The same form, starting from another device."""
        return dataclasses.replace(self, device=dataclasses.replace(self.device, **fields))

    def without(self, *names: str) -> Form:
        """The same form with fewer numbers free; they stay as the device has them."""
        return dataclasses.replace(self, free=tuple(name for name in self.free if name not in names))

    def described(self) -> dict[str, Any]:
        """The settings that, with the data, make the fit repeatable."""
        fitting = {"prior": 0.5, "robust": 0.1, "starts": 6, "seed": 0} | dict(self.options)
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in fitting.items() if k != "grid"}
        grid = {name: list(tried) for name, tried in fitting.get("grid", {}).items()}
        return {"device": self.device.as_dict(), "free": list(self.free), "grid": grid} | plain


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


BEST = Form(
    SystolicArray(16, 16, lowering="kernel-position"),
    _names(
        "cycles_per_layer min_streamed weight_bytes_per_s input_bytes_per_s output_bytes_per_s filter_block overlap"
    ),
)
AUTO = Form(
    SystolicArray(16, 16, lowering="kernel-position", accumulators=8192, rereads_inputs=True, input_bytes_per_s=16e9),
    _names(
        "cycles_per_layer cycles_per_row cycles_per_fold "
        "weight_bytes_per_s input_bytes_per_s reread_bytes_per_s overlap"
    ),
)
EDGE = Form(
    SystolicArray(64, 64, EDGE_CLOCK_HZ, lowering="kernel-position", row_stairs=0.5, col_stairs=0.5),
    _names("cycles_per_row cycles_per_layer output_bytes_per_s stairs overlap"),
)
EDGE_SPILLING = 632
"""Filters up to which weights that do not fit arrive once in a run; beyond, another regime begins."""
EDGE_RUNS = Form(
    SystolicArray(
        64,
        64,
        EDGE_CLOCK_HZ,
        lowering="kernel-position",
        depthwise_columns=True,
        row_stairs=0.5,
        col_stairs=0.5,
        weight_capacity_bytes=8e6,
        filter_multiple=64,
        spill_bytes_per_s=1e8,
    ),
    _names("cycles_per_row stairs host_bytes_per_s cycles_per_run spill_bytes_per_s"),
    {"robust": 0.05, "prior": None},
)
"""Whole networks, whether their weights fit or not."""
EDGE_SHARP = EDGE.with_options(robust=0.02, prior=None)
"""The two sessions differ by 0.1 % for most networks and by half for one: such errors call for a sharper loss."""
RTL = Form(
    SystolicArray(
        16, 16, accumulators=8192, cycles_per_block=512.0, min_streamed=16, overlap=1.0, dram_bytes_per_s=16e9
    ),
    _names(
        "cycles_per_row cycles_per_fold cycles_per_layer weight_bytes_per_s activation_bytes_per_s cycles_per_block"
    ),
)


def without_stairs(form: Form) -> Form:
    """The same form with x in the place of ceil(x)."""
    return form.without("stairs", "row_stairs", "col_stairs").with_device(row_stairs=0.0, col_stairs=0.0)


def with_free_stairs(form: Form) -> Form:
    """The same form with the share of the stair fitted too; no priors, which would hold it back."""
    free = form.free if "stairs" in form.free else (*form.free, "stairs")
    return dataclasses.replace(form, free=free).with_options(prior=None)


def macs_line(rows: int = 16, cols: int = 16, clock_hz: float = 1e9) -> Form:
    """A constant and so much for each MAC, which is what counters of operations assume."""
    array = SystolicArray(rows, cols, clock_hz, row_stairs=0.0, col_stairs=0.0)
    return Form(array, ("cycles_per_row", "cycles_per_layer"), {"prior": None})


def scaled_formula(rows: int = 16, cols: int = 16, clock_hz: float = 1e9) -> Form:
    """The author's formula, times a factor."""
    return Form(SystolicArray(rows, cols, clock_hz), ("cycles_per_row",), {"prior": None})


def roofline(rows: int = 16, cols: int = 16, clock_hz: float = 1e9, *, constant: bool = False) -> Form:
    """The longer of MACs over a peak and bytes over a bandwidth, with a constant on top or without."""
    array = SystolicArray(rows, cols, clock_hz, row_stairs=0.0, col_stairs=0.0, dram_bytes_per_s=cols * clock_hz)
    names = ("cycles_per_row", "dram_bytes_per_s") + (("cycles_per_layer",) if constant else ())
    return Form(array, names, {"prior": None, "starts": 16})  # a kink and no prior: few starts miss the best fit


# ---------------------------------------------------------------- prediction


def predict(form: Form, found: Calibration, measurements: Iterable[Measurement]) -> np.ndarray[Any, Any]:
    """Seconds by a fit to other measurements, each on the device that it was taken on.

    For a number that a build states itself (its bus), the fit found the factor by which all builds differ from it.
    """
    fitted = {
        field: FIT_PARAMETERS[name].start_of(form.device) for name in form.free for field in FIT_PARAMETERS[name].fields
    }
    seconds = []
    for one in measurements:
        own = {
            name: getattr(found.device, name) * value / fitted[name] if name in fitted else value
            for name, value in one.device.items()
        }
        device = adapt(found.device, own).array
        seconds.append(float(sum(layer_cost(layer, device).seconds for layer in one.layers)))
    return np.array(seconds)


def features(one: Measurement) -> list[float]:
    """What a learned model sees of a measurement: sizes and bytes of its last layer, all MACs, the build."""
    (gemm,) = one.layers[-1].gemms()
    bytes_moved = [gemm.elements(operand) for operand in ("weights", "inputs", "outputs")]
    sizes = [gemm.m, gemm.n, gemm.k, gemm.positions, *bytes_moved, sum(bytes_moved), one.macs]
    return [float(np.log(size)) for size in (*sizes, *one.device.values())]
