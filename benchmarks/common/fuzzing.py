"""Random command lines and damaged files, and what a command may do with them: accept and be right, or refuse.

A command ends with exit code 0, or with 2 and a line for each fault that begins with "Error: ". Nothing else comes out
of it: no other exception, no NaN or infinity among results. Cycles that it prints are counted by the loop twin of the
tests.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
import re
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from hwcost.cli import cli
from hwcost.console import run_command
from hwcost.errors import HwcostError

__all__ = ["FILES", "Tally", "command_lines", "damaged", "run_file", "run_line", "write_files"]

ODD = (
    "", " ", "0", "-1", "-0", "+3", "1.5", "1e3", "1e308", "5e-324", "1e-300", "nan", "inf", "-inf", "1_0", "\uff11",
    "0x10", "8:1", "1::2", "1:2:0", "1,,2", "a", "None", "9" * 25, "9" * 400, "2147483648", "9223372036854775807",
    "1:99999999999", "same", "1x2", "x", "=1+1", "\u202e", "a\nb", "'", '"', "--", "-", "a" * 300,
)  # fmt: skip
SIZES = ("1", "2", "3", "5", "8", "13", "16", "24", "1:4", "3,7", "2:9:3", "3,3,3")
FLOWS, TIMINGS, CLOCKS = ("ws", "os", "is"), ("ideal", "serial", "double-buffered"), ("1e9", "700MHz", "0.5GHz")
DEVICES = ("gemmini", "tpu-v1", "edge-tpu", "uboost-csim", "machine.toml", "tpu")
ARRAY = {"--s1": ("4", "8", "16"), "--s2": ("4", "8", "16"), "--dataflow": FLOWS, "--fold-timing": TIMINGS}
FORMS, ONLY_CSV = {"--json": None}, ("table",)

LINES: dict[str, tuple[Sequence[str], Mapping[str, Sequence[str] | None]]] = {
    "estimate": (
        (),
        {
            **dict.fromkeys(("--k", "--c", "--f", "--h", "--w"), SIZES),
            "--batch": ("1", "2"),
            "--stride": ("1", "2", "1x2"),
            "--groups": ("1", "2"),
            "--device": DEVICES,
            "--padding": ("same", "valid", "1", "0x1"),
            "--clock": CLOCKS,
            "--temperature": ("20", "5"),
            "--relaxation": ("shifted", "exact", "linear"),
            "--explain": None,
            "--csv": None,
        },
    ),
    "model": (("layers.csv", "layers.toml", "topology.csv"), {"--device": DEVICES, "--clock": CLOCKS, "--csv": None}),
    "sweep": (
        ("layers.csv", "topology.csv"),
        {"--rows": SIZES, "--cols": SIZES, "--device": DEVICES, "--pe-budget": ("64", "8"), "--clock": CLOCKS},
    ),
    "compare": (("layers.csv", "layers.toml"), {"--device": DEVICES, "--devices": DEVICES, "--csv": None}),
    "advise": (
        ("layers.csv",),
        {
            "--device": DEVICES,
            "--table": ("costs.csv",),
            "--budget": ("0.9", "0.5"),
            "--multiple": ("2", "4"),
            "--least": ("0.25", "0.5"),
            "--take": ("c1.out_channels=4", "mm=3"),
            "--csv": None,
        },
    ),
    "table": (
        ("layers.csv", "layers.toml"),
        {
            "--device": DEVICES,
            "--widths": ("c1.out_channels", "fc"),
            "--step": SIZES,
            "--least": ("0.5", "1"),
            "--out": ("a.csv",),
        },
    ),
    "prune": (
        ("net.py:Net",),
        {
            "--input": ("1,2,8,8", "4,2,8,8"),
            "--data": ("net.py:data",),
            "--target": ("0.5", "0.75"),
            "--cycles": ("300", "1"),
            "--table": ("costs.csv",),
            "--device": DEVICES,
            "--importance": ("curves", "taylor", "norm", "magnitude"),
            "--keep": ("conv1", "conv2"),
            "--least": ("0.25", "0.5"),
            "--multiple": ("2", "4"),
            "--fine-tune": ("1",),
            "--out": ("run", "run2"),
            "--plot": ("a.svg",),
        },
    ),
    "devices": (("show", "list", "gemmini"), {}),
    "calibrate": (("measured.csv",), {"--device": DEVICES, "--free": ("cycles_per_row", "overlap")}),
    "plot": (("stairs", "ceiling"), {"--f": SIZES, "--k": SIZES, "--output": ("a.svg", "a.png"), "--device": DEVICES}),
}
"""Arguments and options of the commands; None: the option takes no value."""
WEIGHTS = {
    "estimate": 10,
    "model": 4,
    "sweep": 4,
    "compare": 1,
    "advise": 1,
    "table": 1,
    "prune": 0.3,
    "devices": 1,
    "calibrate": 0.2,
    "plot": 0.2,
}


# ---------------------------------------------------------------- inputs


FILES = {
    "layers.csv": "name,kind,k,c,f,m,n,h,w,padding,batch\nc1,conv2d,3,2,6,,,9,7,same,\nfc,linear,,30,12,,,,,,2\n"
    "mm,matmul,7,,,5,9,,,,3\n",
    "layers.toml": 'schema = "hwcost.layers/1"\nname = "net"\n\n[[layer]]\nname = "c1"\nkind = "conv2d"\nk = 3\nc = 2\n'
    'f = 6\nh = 9\nw = 7\n\n[[layer]]\nname = "fc"\nkind = "linear"\nc = 30\nf = 12\n',
    "topology.csv": "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, "
    "Strides,\n"
    "Conv1, 9, 7, 3, 3, 2, 6, 1,\nFC, 1, 1, 1, 1, 30, 12, 1,\n",
    "scale.cfg": "[general]\nrun_name = run\n\n[architecture_presets]\nArrayHeight: 8\nArrayWidth: 8\n"
    "IfmapSramSzkB: 64\nFilterSramSzkB: 64\nOfmapSramSzkB: 64\nIfmapOffset: 0\nFilterOffset: 10000000\n"
    "OfmapOffset: 20000000\n"
    "Bandwidth: 10\nDataflow: ws\nMemoryBanks: 1\n\n[run_presets]\nInterfaceBandwidth: CALC\n",
    "measured.csv": "kind,c,f,k,h,w,padding,seconds\nconv2d,8,16,3,9,9,same,1e-4\nlinear,64,32,,,,,2e-5\n"
    "linear,100,64,,,,,5e-5\nconv2d,4,8,3,7,7,same,3e-5\nlinear,32,10,,,,,1e-5\n",
    "costs.csv": "layer,in,out,ms\n" + "".join(
        f"{layer},{a},{b},{a * b % 7 + 1}\n"
        for layer, a, b in (("c1", 2, 6), ("c1", 2, 4), ("c1", 1, 6), ("fc", 30, 12), ("fc", 20, 12), ("mm", 7, 9))
    ),
    "net.py": "from torch import nn, randint, randn\n\n\n"
    "class Net(nn.Sequential):\n    def __init__(self):\n"
    "        conv1, conv2 = nn.Conv2d(2, 8, 3), nn.Conv2d(8, 6, 3)\n"
    "        super().__init__(conv1, nn.ReLU(), conv2, nn.Flatten(), nn.Linear(96, 3))\n\n\n"
    "data = [(randn(4, 2, 8, 8), randint(3, (4,))) for _ in range(4)]\n",
}  # fmt: skip
"""A small file of each kind that commands read."""

READERS: dict[str, list[str]] = {
    "layers.csv": ["model", "layers.csv", "--s1", "8", "--s2", "4", "--json"],
    "layers.toml": ["model", "layers.toml", "--s1", "8", "--s2", "4", "--json"],
    "topology.csv": ["model", "topology.csv", "--s1", "8", "--s2", "4", "--json"],
    "machine.toml": ["estimate", "--k", "3", "--c", "5", "--f", "7", "--h", "9", "--device", "machine.toml", "--json"],
    "scale.cfg": [
        "estimate", "--scalesim-topology", "topology.csv", "--scalesim-config", "scale.cfg", "--json",
    ],
    "measured.csv": ["calibrate", "measured.csv", "--device", "gemmini", "--free", "cycles_per_row", "--json"],
    "costs.csv": ["advise", "layers.csv", "--table", "costs.csv", "--budget", "0.9", "--json"],
    "arch_def.toml": [],
}  # fmt: skip
"""The command that reads each file."""


def write_files(folder: Path) -> None:
    """Writes a good file of each kind."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    device = resources.files("hwcost").joinpath("devices", "gemmini.toml").read_text(encoding="utf-8")
    (folder / "machine.toml").write_text(device)
    (folder / "arch_def.toml").write_text(resources.files("nas_plugin").joinpath("lenet.toml").read_text("utf-8"))


def command_lines(rng: random.Random) -> Iterator[list[str]]:
    """Command lines without end: options that a command has, with values that it takes and values that it does not."""
    while True:
        (name,) = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
        places, options = LINES[name]
        line = [name] + ([_value(rng, places, 0.05)] if places and rng.random() < 0.97 else [])
        wanted = ("--k", "--c", "--f", "--rows", "--cols", "--input", "--target")
        for option, values in {**options, **ARRAY, **({} if name in ONLY_CSV else FORMS)}.items():
            if rng.random() > (0.97 if option in wanted else 0.85 if option in ("--s1", "--s2", "--json") else 0.12):
                continue
            line += [option] if values is None else [option, _value(rng, values, 0.06)]
        yield line


def _value(rng: random.Random, values: Sequence[str], odd: float) -> str:
    return rng.choice(ODD if rng.random() < odd else values)


def damaged(rng: random.Random, content: bytes) -> bytes:
    """A file with one to three spans cut, doubled, moved, swapped for odd text, or numbers changed."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((1, 2, 8, 40)))
        how = rng.randrange(6)
        if how == 0:
            content = content[:start] + content[end:]
        elif how == 1:
            content = content[:end] + content[start:]
        elif how == 2:
            content = content[:start] + rng.choice(ODD).encode() + content[end:]
        elif how == 3:
            content = content[:start] + bytes(rng.choices((0, 10, 34, 44, 91, 255, 61), k=rng.choice((1, 3))))
            content += b"" if rng.random() < 0.2 else content[end:]
        elif how == 4 and (numbers := list(re.finditer(rb"[0-9][0-9.e+]*", content))):
            found = rng.choice(numbers)
            content = content[: found.start()] + rng.choice(ODD).encode() + content[found.end() :]
        else:
            lines = content.splitlines(keepends=True)
            rng.shuffle(lines)
            content = b"".join(lines[: rng.choice((len(lines), len(lines) // 2 + 1))])
    return content


# ---------------------------------------------------------------- outcomes


@dataclass
class Tally:
    """What came of all inputs.

    Attributes:
        counts: inputs, refused, accepted; cycles that the twin counted as well, and those too many for it.
        faults: inputs that ended in any other way, with what was wrong.
        slowest: seconds of the longest input.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[list[str], str]] = field(default_factory=list)
    slowest: float = 0.0


Twin = Callable[[dict[str, int], int, int, str, str], int | None]
"""Cycles of a product on a rows x cols array by dataflow and fold timing; None if it has too many to count."""


def run_line(line: list[str], twin: Twin, tally: Tally) -> None:
    """Runs a command line in this process and judges it."""
    out, err = io.StringIO(), io.StringIO()
    started = time.monotonic()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("error")
            code = run_command(cli, "hwcost", line)
        fault = _fault(line, code, out.getvalue(), err.getvalue(), twin, tally)
    except KeyboardInterrupt:
        raise
    except BaseException:
        fault, code = traceback.format_exc(), -1
    _count(line, code, fault, started, tally)


def run_file(name: str, content: bytes, twin: Twin, tally: Tally) -> None:
    """Writes a file into the working directory and runs the command that reads it."""
    Path(name).write_bytes(content)
    if READERS[name]:
        run_line(READERS[name], twin, tally)
        return
    from nas_plugin.space.reader import load_arch_def

    started, code, fault = time.monotonic(), 0, ""
    try:
        load_arch_def(name)
    except HwcostError as error:
        code, fault = 2, "" if "\n" not in str(error) else "an error of several lines"
    except Exception:
        fault = traceback.format_exc()
    _count([name], code, fault, started, tally)


def _count(line: list[str], code: int, fault: str, started: float, tally: Tally) -> None:
    tally.counts["inputs"] += 1
    tally.counts["accepted" if code == 0 else "refused"] += 1
    tally.slowest = max(tally.slowest, time.monotonic() - started)
    if fault:
        tally.faults.append((line, fault))


_NOT_FINITE = re.compile(r"(?<![\w.'-])-?(nan|inf|infinity)(?![\w.'-])", re.IGNORECASE)


def _fault(line: list[str], code: int, out: str, err: str, twin: Twin, tally: Tally) -> str:
    """What is wrong with the end of a command; empty if nothing is."""
    errors = [text for text in err.splitlines() if text.startswith("Error: ")]
    if code == 2:
        is_right = errors and err.splitlines()[-len(errors) :] == errors == [*dict.fromkeys(errors)]
        return "" if is_right else f"not a line for each fault: {err!r}"
    if code != 0 or errors:
        return f"exit code {code}: {err!r}"
    if line[0] != "devices" and (found := _NOT_FINITE.search(out)):
        return f"not finite: {out[max(0, found.start() - 60) : found.end() + 20]!r}"
    if line[0] == "estimate" and "--json" in line and "--scalesim-topology" not in line:
        return _fault_of_estimate(json.loads(out), twin, tally)
    if line[0] in ("model", "sweep") and "--json" in line:
        return _fault_of_network(line[1], json.loads(out), twin, tally)
    return ""


def _fault_of_network(source: str, found: Mapping[str, Any], twin: Twin, tally: Tally) -> str:
    """The cycles of a list of layers, or of each array of a sweep, as the sum of its products."""
    from hwcost.importers import read_network

    settings = found["settings"]
    rows = found.get("rows") if "cycles" not in found.get("total", {}) else [settings | found["total"]]
    if settings["device"] is not None or not rows:
        tally.counts["cycles of a device, which the twin does not know"] += len(rows or ())
        return ""
    timing = settings.get("fold_timing") or settings["array"]["fold_timing"]
    gemms = [gemm for each in read_network(source).priced.values() for gemm in each.layer.gemms()]
    sizes = [{name: getattr(gemm, name) for name in ("m", "n", "k", "count")} for gemm in gemms]
    for row in rows[:5]:
        counted = [twin(each, row["rows"], row["cols"], row["dataflow"], timing) for each in sizes]
        if None in counted or any(gemm.shares_operands for gemm in gemms):
            tally.counts["cycles too many to count"] += 1
            continue
        tally.counts["cycles counted by the twin"] += 1
        if sum(counted) != row["cycles"]:  # type: ignore[arg-type]
            return f"{sum(counted)} cycles counted, {row['cycles']} printed, for {row}"  # type: ignore[arg-type]
    return ""


def _fault_of_estimate(found: Mapping[str, Any], twin: Twin, tally: Tally) -> str:
    settings = found["settings"]
    if settings.keys() - {"padding", "device", "clock_hz", "dataflow", "fold_timing", "relaxation", "uncharged"}:
        tally.counts["cycles of a device, which the twin does not know"] += len(found["rows"])
        return ""
    for row in found["rows"][:20]:
        sizes = product_of(row, settings["padding"])
        counted = (
            None if sizes is None else twin(sizes, row["s1"], row["s2"], settings["dataflow"], settings["fold_timing"])
        )
        tally.counts["cycles counted by the twin" if counted is not None else "cycles too many to count"] += 1
        if counted is not None and counted != row["cycles"]:
            return f"{counted} cycles counted, {row['cycles']} printed, for {row}"
        if not 0 < row["utilization"] <= 1 or not math.isfinite(row["seconds"]):
            return f"utilization {row['utilization']}, {row['seconds']} seconds, for {row}"
    return ""


_MOST = 100_000
"""The largest convolution whose windows are enumerated, in elements of its products."""


def product_of(row: Mapping[str, int], padding: Any) -> dict[str, int] | None:
    """The product of an estimate's row, by enumerating; None if there is too much to enumerate."""
    from twin import convolution

    extents = [row[name] for name in ("c", "f", "k1", "k2", "h", "w", "batch")]
    if math.prod(extents) > _MOST:
        return None
    return convolution(
        in_channels=row["c"], out_channels=row["f"], kernel_size=(row["k1"], row["k2"]), height=row["h"],
        width=row["w"], batch=row["batch"], stride=(row["stride_h"], row["stride_w"]),
        padding=padding if isinstance(padding, str) else tuple(padding), dilation=(1, 1), groups=row["groups"],
    )  # fmt: skip


def twin_cycles(sizes: dict[str, int], rows: int, cols: int, dataflow: str, timing: str) -> int | None:
    """Cycles by the loop twin; None if it would take too long."""
    from twin import simulate

    work = math.prod(sizes.values()) + rows * cols * (sizes["m"] + sizes["n"] + sizes["k"]) * sizes["count"]
    if work > _MOST or rows * cols > 4096:
        return None
    return simulate(sizes, rows, cols, dataflow, timing, multiply=False).cycles
