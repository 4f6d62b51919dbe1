"""SCALE-Sim 3.0.0 and hwcost side by side in one run: what agrees, and how long each takes.

Random layers (convolutions, depthwise ones, products) for several arrays and all three dataflows are written as the
simulator's files. The simulator runs them in a separate interpreter, since it needs numpy below 2.4; its seconds are
those of reading the files and running, without the start of the interpreter. hwcost reads the same files, builds its
layers and writes the same report, again and again; its seconds are the median. The reports are compared value by value
and byte by byte (bytes agree where both interpreters are of one version: Python 3.12 changed how ``sum`` rounds).

Where a table of recorded rows is found, all of it is compared too, and the author's formula (ideal folds, where filling
and draining are free) is compared with SCALE-Sim's cycles.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.measured_data import DATA, FILES
from common.progress import tell
from common.side_by_side import report
from hwcost import SystolicArray
from hwcost.model.formula import price
from hwcost.scalesim import (
    Configuration,
    Topology,
    TopologyLayer,
    counts,
    dram_output_writes,
    dram_weight_reads,
    read_configuration,
    read_topology,
    serial_array,
    write_compute_report,
    write_configuration,
    write_topology,
)

ARRAYS = ((4, 4), (8, 8), (12, 14), (16, 16), (32, 32), (64, 16))
DATAFLOWS = ("ws", "os", "is")
VERSION = "3.0.0"
CLOSE = 1e-9


class Case(NamedTuple):
    """A folder with the files of one run of the simulator."""

    folder: Path
    kind: str


# ---------------------------------------------------------------- random layers


def cases(folder: Path, seed: int, layers: int) -> Iterator[Case]:
    """One case for each array, dataflow and kind of topology."""
    rng = random.Random(seed)
    for rows, cols in ARRAYS:
        for dataflow in DATAFLOWS:
            for kind, make in (("conv", convolution), ("gemm", product)):
                case = Case(folder / f"{rows}x{cols}-{dataflow}-{kind}", kind)
                case.folder.mkdir()
                memories = rng.choices((1, 2, 4, 64), k=3)
                config = Configuration("run", serial_array(rows, cols, dataflow), *memories)
                write_configuration(case.folder / "scale.cfg", config)
                topology = Topology("net", kind, tuple(make(rng, index) for index in range(layers)))
                write_topology(case.folder / "net.csv", topology)
                (case.folder / "layout.csv").write_text("Layer name,\n")  # the simulator wants one, of no effect
                yield case


def convolution(rng: random.Random, index: int) -> TopologyLayer:
    kernel, stride, channels = (rng.randint(1, 5), rng.randint(1, 5)), rng.randint(1, 3), rng.randint(1, 12)
    size = [extent + rng.randint(0, 16) for extent in kernel]
    if index % 4 == 3:
        return TopologyLayer(f"DP{index}", *size, *kernel, 1, rng.randint(1, 3), stride, stride, channels)
    return TopologyLayer(f"conv{index}", *size, *kernel, channels, rng.randint(1, 48), stride, stride)


def product(rng: random.Random, index: int) -> TopologyLayer:
    m, n, k = (rng.randint(1, 120) for _ in range(3))
    return TopologyLayer.product(f"gemm{index}", m=m, n=n, k=k)


# ---------------------------------------------------------------- the simulator, in its own interpreter


def simulate(arguments: list[str]) -> None:
    """Runs SCALE-Sim on cases (folder and kind in turn) and prints seconds and versions as JSON."""
    import platform
    from importlib import metadata

    from scalesim.scale_sim import scalesim

    seconds = []
    for folder, kind in zip(arguments[::2], arguments[1::2], strict=True):
        files = {"config": "scale.cfg", "topology": "net.csv", "layout": "layout.csv"}
        paths = {name: os.path.join(folder, file) for name, file in files.items()}
        with contextlib.redirect_stdout(io.StringIO()):
            start = time.perf_counter()
            simulator = scalesim(save_disk_space=True, verbose=False, input_type_gemm=kind == "gemm", **paths)
            simulator.run_scale(top_path=os.path.join(folder, "simulated"))
            seconds.append(time.perf_counter() - start)
    versions = {"scalesim": metadata.version("scalesim"), "python": platform.python_version()}
    print(json.dumps({"seconds": seconds, "versions": versions}))


SIMULATE = """
import contextlib, io, json, os, sys, time
{source}
simulate(sys.argv[1:])
"""


def run_simulator(python: str, made: list[Case]) -> dict[str, Any]:
    import inspect

    program = SIMULATE.format(source=inspect.getsource(simulate))
    arguments = [part for case in made for part in (str(case.folder), case.kind)]
    done = subprocess.run([python, "-c", program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the simulator failed under {python}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def interpreter(asked: str | None, folder: Path) -> str:
    """An interpreter that has scalesim; made in ``folder`` where none was named."""
    if asked:
        return asked
    tell(f"making an environment with scalesim {VERSION}")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    wanted = [f"scalesim=={VERSION}", "numpy<2.4"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python


# ---------------------------------------------------------------- comparison


def translate(case: Case) -> Path:
    """What hwcost does for a case: reads the files, builds the layers, writes the report."""
    config = read_configuration(case.folder / "scale.cfg")
    layers = read_topology(case.folder / "net.csv").layers
    return write_compute_report(case.folder / "translated", layers, config)


def cells(path: Path) -> np.ndarray[Any, Any]:
    """The values of a report, one row per layer."""
    rows = path.read_text().splitlines()[1:]
    return np.array([[float(cell) for cell in row.rstrip(",").split(", ")] for row in rows])


def compare_reports(made: list[Case]) -> dict[str, float]:
    ours = [cells(case.folder / "translated" / "COMPUTE_REPORT.csv") for case in made]
    theirs = [cells(case.folder / "simulated" / "run" / "COMPUTE_REPORT.csv") for case in made]
    if any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
        sys.exit("the reports differ in their number of rows")
    a, b = np.concatenate(ours), np.concatenate(theirs)
    close = np.isclose(a, b, rtol=CLOSE, atol=0)
    same = [
        (case.folder / "translated" / "COMPUTE_REPORT.csv").read_bytes()
        == (case.folder / "simulated" / "run" / "COMPUTE_REPORT.csv").read_bytes()
        for case in made
    ]
    return {
        "layers simulated": len(a),
        "share with equal total cycles": float(np.mean(a[:, 2] == b[:, 2])),
        "share with equal cycles incl. prefetch": float(np.mean(a[:, 1] == b[:, 1])),
        "share with no stalls in the simulator": float(np.mean(b[:, 3] == 0)),
        "share with equal overall utilization": float(np.mean(close[:, 4])),
        "share with equal mapping efficiency": float(np.mean(close[:, 5])),
        "share with equal compute utilization": float(np.mean(close[:, 6])),
        "share of report values that are equal": float(np.mean(close)),
        "share of reports that are equal byte by byte": float(np.mean(same)),
    }


def timed(made: list[Case], rounds: int) -> list[float]:
    """The median seconds of hwcost for each case, over rounds through all of them."""
    seconds: list[list[float]] = [[] for _ in made]
    for _ in range(rounds):
        for case, own in zip(made, seconds, strict=True):
            start = time.perf_counter()
            translate(case)
            own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in seconds]


# ---------------------------------------------------------------- the recorded rows


def compare_rows(path: Path) -> dict[str, float]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    equal: dict[str, list[bool]] = {}
    ideal: dict[str, list[float]] = {"ours": [], "theirs": []}
    seconds = 0.0
    for dataflow in DATAFLOWS:
        own = [row for row in rows if row["dataflow"] == dataflow]
        columns = {name: np.array([int(row[name]) for row in own]) for name in SIZES}
        start = time.perf_counter()
        array = serial_array(columns["array_h"], columns["array_w"], dataflow)
        (gemm,) = TopologyLayer("all", *(columns[name] for name in SIZES[2:])).gemms()
        found = counts(gemm, array)
        seconds += time.perf_counter() - start
        figures = {
            "total_cycles": found.total_cycles,
            "overall_util": found.overall_util,
            "mapping_eff": found.mapping_eff,
            "compute_util": found.compute_util,
            "sram_ifmap_reads": found.sram_input_reads,
            "sram_filter_reads": found.sram_weight_reads,
            "sram_ofmap_writes": found.sram_output_writes,
            "dram_filter_reads": dram_weight_reads(gemm, array),
            "dram_ofmap_writes": dram_output_writes(gemm, array),
        }
        for name, figure in figures.items():
            tolerance = CLOSE if name.endswith(("util", "eff")) else 0
            pairs = zip(figure.tolist(), (row[name] for row in own), strict=True)
            equal.setdefault(name, []).extend(
                abs(a - float(b)) <= tolerance * abs(float(b)) for a, b in pairs if b != ""
            )
        large = (columns["array_h"] == 128) & (columns["array_w"] == 128)
        plain = SystolicArray(columns["array_h"], columns["array_w"], dataflow=dataflow)
        ideal["ours"] += price(gemm, plain).cycles[large].tolist()
        ideal["theirs"] += [int(row["total_cycles"]) for row, is_large in zip(own, large, strict=True) if is_large]
    ours, theirs = (np.array(ideal[side]) for side in ("ours", "theirs"))
    return {
        "recorded rows": len(rows),
        **{f"recorded rows with equal {name}": float(np.mean(same)) for name, same in equal.items()},
        **{f"recorded values of {name}": len(same) for name, same in equal.items() if len(same) < len(rows)},
        "seconds of hwcost for all recorded rows": seconds,
        "seconds of the simulator for them, as recorded": sum(float(row["sim_cpu_seconds"] or 0) for row in rows),
        "ideal formula at 128x128, median of its cycles over SCALE-Sim's": float(np.median(ours / theirs)),
        "ideal formula at 128x128, Spearman's rank correlation": rank_correlation(ours, theirs),
    }


SIZES = (
    "array_h",
    "array_w",
    "ifmap_h",
    "ifmap_w",
    "filt_h",
    "filt_w",
    "channels",
    "num_filters",
    "stride_h",
    "stride_w",
)


def rank_correlation(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Spearman's: the correlation of the ranks, ties sharing the mean of theirs."""
    return float(np.corrcoef(*(ranks(values) for values in (a, b)))[0, 1])


def ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    _, inverse, ties = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(ties)
    return (last - (ties - 1) / 2)[inverse]


# ---------------------------------------------------------------- the run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--python",
        default=os.environ.get("SCALESIM_PYTHON"),
        help="an interpreter that has scalesim (default: SCALESIM_PYTHON, or else one is made)",
    )
    parser.add_argument(
        "--data", type=Path, default=DATA / FILES["scalesim"], help="the recorded rows (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=8, help="in each topology (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of hwcost (default: %(default)s)")
    args = parser.parse_args()
    settings: dict[str, Any] = {
        "seed": args.seed,
        "layers in a topology": args.layers,
        "rounds of hwcost": args.rounds,
        "arrays": ["x".join(map(str, array)) for array in ARRAYS],
        "dataflows": list(DATAFLOWS),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = interpreter(args.python, folder / "environment")
        (folder / "cases").mkdir()
        made = list(cases(folder / "cases", args.seed, args.layers))
        simulated = run_simulator(python, made)
        settings["simulator"] = simulated["versions"]
        ours = timed(made, args.rounds)
        figures: dict[str, Any] = compare_reports(made)
        ratios = [theirs / own for theirs, own in zip(simulated["seconds"], ours, strict=True)]
        figures |= {
            "seconds of the simulator": sum(simulated["seconds"]),
            "seconds of hwcost": sum(ours),
            "times faster, over all": sum(simulated["seconds"]) / sum(ours),
            "times faster, median of cases": statistics.median(ratios),
        }
    if args.data.exists():
        figures |= compare_rows(args.data)
    else:
        print(f"recorded rows are left out: there is no {args.data}")
    goals = {key: (">=", 1.0) for key in figures if key.startswith(("share ", "recorded rows with"))}
    if simulated["versions"]["python"].split(".")[:2] != [str(part) for part in sys.version_info[:2]]:
        goals.pop("share of reports that are equal byte by byte")
    return 0 if report("agreement_scalesim", settings, figures, goals) else 1


if __name__ == "__main__":
    sys.exit(main())
