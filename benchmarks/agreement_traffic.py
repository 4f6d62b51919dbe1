"""Bytes and joules: against a search over all tilings, zigzag-dse, accelforge, and Timeloop with Accelergy.

    python benchmarks/agreement_traffic.py --data FOLDER

Tilings of random products and convolutions against everything that a nest of six loops can do; bytes, energy and cycles
of common layers against what other tools found (none of them is run here); gradients against secants of the exact
model; layers a second. Data that are missing are left out, and the command prints which.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from common.every_tiling import case_of, least_bytes
from common.measured_data import DATA
from common.progress import progress_of
from common.side_by_side import report
from common.traffic_data import (
    ACCELFORGE,
    CUT_TO_WORDS,
    TIMELOOP,
    ZIGZAG,
    accelforge_bytes,
    accelforge_machine,
    layer_of,
    rows_of,
    timeloop_layer,
    timeloop_machine,
    zigzag_bytes,
    zigzag_machine,
)
from hwcost import EXACT, RELAXATIONS, Conv2d, Gemm, InvalidValueError, Relaxation, SystolicArray, layer_cost
from hwcost.model.least import tiling_of

SEED = 0
PRODUCTS, CONVOLUTIONS, SAMPLES, LAYERS = 300, 100, 2000, 50_000
DRAM_PICOJOULES = (50, 163, 560)
"""A byte of HBM2 and of DDR3 by Accelergy's tables, and Horowitz's lower end (ISSCC 2014)."""
PRIME = "197"
"""Tokens that the other tools cannot cut."""


def moved(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Any:
    """Bytes of inputs, weights and partial sums."""
    found = tiling_of(gemm, array, relaxation)
    again = found.inputs_again + found.weights_again
    return found.inputs + gemm.elements("weights") + again + array.partial_bytes * found.partials


def log_uniform(rng: np.random.Generator, low: float, high: float, count: int | None = None) -> Any:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def against_everything(rng: np.random.Generator, figures: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    with progress_of(PRODUCTS + CONVOLUTIONS, "tilings") as advance:
        while len(rows) < PRODUCTS + CONVOLUTIONS:
            side, flow = int(rng.choice([4, 8, 16])), str(rng.choice(["ws", "os", "is"]))
            if len(rows) < PRODUCTS:
                gemm, room = Gemm(*(int(log_uniform(rng, 4, 400)) for _ in "mnk")), log_uniform(rng, 600, 40_000)
            else:
                size, kernel = int(rng.integers(7, 29)), int(rng.choice([3, 5]))
                c, n = (int(log_uniform(rng, 4, 128)) for _ in range(2))
                layer = Conv2d(c, n, kernel, height=size, width=size, stride=int(rng.choice([1, 2])))
                gemm, room = layer.gemms()[0], log_uniform(rng, 3000, 60_000)
            array = SystolicArray(side, side, dataflow=flow, buffer_bytes=float(int(room)), reload_weight=0.0)
            try:
                ours = float(moved(gemm, array))
            except InvalidValueError:  # nothing fits
                continue
            ratio = ours / least_bytes(case_of(gemm, array))
            rows.append({"product": repr(gemm), "array": side, "dataflow": flow, "room": int(room), "ratio": ratio})
            advance(1)
    ratios = np.array([row["ratio"] for row in rows])
    figures["every tiling: most bytes, ratio"] = float(ratios.max())
    figures["every tiling: share with equal bytes"] = float(np.mean(np.abs(ratios - 1) < 1e-9))
    return [row for row in rows if abs(row["ratio"] - 1) >= 1e-9]


def against_accelforge(folder: Path, figures: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for row in rows_of(folder, ACCELFORGE):
        cost = layer_cost(layer_of(row), accelforge_machine(row))
        rows.append({
            "machine": row["machine"], "layer": row["name"], "bytes": cost.dram_bytes / accelforge_bytes(row),
            "energy": cost.energy_joules * 1e12 / float(row["energy_pj"]),
            "cycles": cost.cycles / float(row["latency_cycles"]),
            "can be cut": PRIME not in (row["oh"], row["c"], row["n"]),
        })  # fmt: skip
    if rows:
        ratios = np.array([row["bytes"] for row in rows])
        alike = [row for row in rows if row["can be cut"] and row["bytes"] > 0.999]
        figures["accelforge: most bytes, ratio"] = float(ratios.max())
        figures["accelforge: share with equal bytes"] = float(np.mean(np.abs(ratios - 1) <= 1e-3))
        for name in ("energy", "cycles"):
            errors = [abs(row[name] - 1) for row in alike]
            figures[f"accelforge: largest error of {name}, where bytes are equal"] = float(max(errors))
    return rows


def against_zigzag(folder: Path, figures: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for row in rows_of(folder, ZIGZAG):
        ratio = layer_cost(layer_of(row), zigzag_machine(row)).dram_bytes / zigzag_bytes(row)
        too_fast = zigzag_bytes(row) / 8 / float(row["cycles"])
        rows.append({
            "machine": row["machine"], "objective": row["opt"], "layer": row["name"], "bytes": ratio,
            "its bytes over its cycles": too_fast,
        })  # fmt: skip
    if rows:
        whole = [row["bytes"] for row in rows if row["layer"] not in CUT_TO_WORDS]
        figures["zigzag: most bytes, ratio"] = float(max(row["bytes"] for row in rows))
        figures["zigzag: the same where it moves every operand once at least"] = float(max(whole))
        figures["zigzag: rows with cycles below its own bytes over bandwidth"] = sum(
            row["its bytes over its cycles"] > 1.0001 for row in rows
        )
    return rows


def against_timeloop(folder: Path, figures: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for row in rows_of(folder, TIMELOOP):
        energy = layer_cost(timeloop_layer(row), timeloop_machine(row)).energy_joules
        rows.append({"layer": repr(timeloop_layer(row)), "predictor": row["predictor"], "mapping": row["mapping"],
                     "energy": energy * 1e6 / float(row["timeloop_energy_uJ"])})  # fmt: skip
    if rows:
        figures["timeloop: most energy, ratio"] = float(max(row["energy"] for row in rows))
        figures["timeloop: median energy, ratio"] = float(np.median([row["energy"] for row in rows]))
        for name in sorted({row["predictor"] for row in rows}):
            own = [row["energy"] for row in rows if row["predictor"] == name]
            figures[f"timeloop: the same, mappings chosen by {name}"] = float(np.median(own))
    return rows


def spread(folder: Path, figures: dict[str, Any]) -> None:
    """What published figures of DRAM, which differ 11 times, do to the energy of the layers of ``TIMELOOP``."""
    from scipy.stats import spearmanr

    rows = list({repr(timeloop_layer(row)): row for row in rows_of(folder, TIMELOOP)}.values())
    if not rows:
        return
    totals, shares = {}, {}
    for picojoules in DRAM_PICOJOULES:
        machines = (replace(timeloop_machine(row), joules_per_dram_byte=picojoules * 1e-12) for row in rows)
        costs = [layer_cost(timeloop_layer(row), machine) for row, machine in zip(rows, machines, strict=True)]
        totals[picojoules] = np.array([cost.energy_joules for cost in costs])
        shares[picojoules] = float(np.median([cost.dram_joules / cost.energy_joules for cost in costs]))
    low, middle, high = DRAM_PICOJOULES
    figures[f"DRAM at {high} over {low} pJ a byte: median ratio of energy"] = float(
        np.median(totals[high] / totals[low])
    )
    for picojoules, share in shares.items():
        figures[f"DRAM at {picojoules} pJ a byte: median share of DRAM"] = share
    for other in (middle, high):
        rho = spearmanr(totals[low], totals[other]).statistic
        figures[f"DRAM at {low} and {other} pJ a byte: rank correlation of layers"] = float(rho)


def gradients(rng: np.random.Generator, figures: dict[str, Any]) -> None:
    import torch

    torch.set_num_threads(1)
    sizes = [log_uniform(rng, 16, 2000, SAMPLES).astype(int) for _ in "mnk"]
    array = SystolicArray(16, 16, buffer_bytes=65536.0)

    def total(gemm: Gemm, relaxation: Relaxation) -> Any:
        return moved(gemm, array, relaxation) + gemm.elements("outputs")

    for index, name in enumerate("mnk"):
        soft = [torch.tensor(size, dtype=torch.float64, requires_grad=True) for size in sizes]
        total(Gemm(*soft), RELAXATIONS["linear"]).sum().backward()
        low, high = ([*sizes] for _ in range(2))
        low[index], high[index] = (np.round(sizes[index] * factor).astype(int) for factor in (0.75, 1.25))
        secant = (total(Gemm(*high), EXACT) - total(Gemm(*low), EXACT)) / (high[index] - low[index])
        ratio = soft[index].grad.numpy() / secant
        figures[f"d/d{name}: share with the right sign"] = float(np.mean(ratio > 0))
        figures[f"d/d{name}: share within a factor of 2 of the secant"] = float(np.mean((ratio > 0.5) & (ratio < 2)))
    room = torch.full((SAMPLES,), float(array.buffer_bytes), dtype=torch.float64, requires_grad=True)
    soft = [torch.tensor(size, dtype=torch.float64) for size in sizes]

    def at(buffer: Any, relaxation: Relaxation, products: list[Any]) -> Any:
        gemm = Gemm(*products)
        return moved(gemm, replace(array, buffer_bytes=buffer), relaxation) + gemm.elements("outputs")

    at(room, RELAXATIONS["linear"], soft).sum().backward()
    ends = [factor * array.buffer_bytes for factor in (0.75, 1.25)]
    few, many = (at(end, EXACT, sizes) for end in ends)
    matters, secant = few != many, (many - few) / (ends[1] - ends[0])
    smooth = [at(torch.full_like(room, end), RELAXATIONS["linear"], soft).detach().numpy() for end in ends]
    found = {"gradient": room.grad.numpy(), "secant without stairs": (smooth[1] - smooth[0]) / (ends[1] - ends[0])}
    figures["d/d buffer: products for which it matters"] = int(matters.sum())
    for name, slope in found.items():
        ratio = slope[matters] / secant[matters]
        figures[f"d/d buffer: {name}, share with the right sign"] = float(np.mean(ratio > 0))
        figures[f"d/d buffer: {name}, share within a factor of 2 of the secant"] = float(
            np.mean((ratio > 0.5) & (ratio < 2))
        )


def speed(rng: np.random.Generator, figures: dict[str, Any]) -> None:
    import torch

    m, n, k = (log_uniform(rng, 4, 4000, LAYERS).astype(int) for _ in range(3))
    array = SystolicArray(16, 16, buffer_bytes=65536.0)
    start = time.process_time()
    moved(Gemm(m=m, n=n, k=k), array)
    figures["layers a CPU second, exact"] = LAYERS / (time.process_time() - start)
    soft = [torch.tensor(size, dtype=torch.float64, requires_grad=True) for size in (m, n, k)]
    start = time.process_time()
    moved(Gemm(*soft), array, RELAXATIONS["linear"]).sum().backward()
    figures["layers a CPU second, with gradient"] = LAYERS / (time.process_time() - start)


GOALS = {
    "every tiling: most bytes, ratio": ("<=", 1.0),
    "every tiling: share with equal bytes": (">=", 0.97),
    "accelforge: most bytes, ratio": ("<=", 1.001),
    "accelforge: share with equal bytes": (">=", 0.85),
    "accelforge: largest error of energy, where bytes are equal": ("<=", 0.03),
    "accelforge: largest error of cycles, where bytes are equal": ("<=", 0.015),
    "zigzag: most bytes, ratio": ("<=", 1.006),
    "timeloop: most energy, ratio": ("<=", 1.01),
    "timeloop: median energy, ratio": (">=", 0.98),
    **{f"d/d{name}: share with the right sign": (">=", 1.0) for name in "mnk"},
    **{f"d/d{name}: share within a factor of 2 of the secant": (">=", 0.95) for name in "mnk"},
    "layers a CPU second, exact": (">=", 50_000),
    "layers a CPU second, with gradient": (">=", 15_000),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with the tools' rows")
    folder = parser.parse_args().data
    for name in (ACCELFORGE, ZIGZAG, TIMELOOP):
        if not (folder / name).is_file():
            print(f"left out: there is no {name} in {folder}")
    rng, figures = np.random.default_rng(SEED), {}
    rows = {
        "every tiling, where not equal": against_everything(rng, figures),
        "accelforge": against_accelforge(folder, figures),
        "zigzag": against_zigzag(folder, figures),
        "timeloop": against_timeloop(folder, figures),
    }
    spread(folder, figures)
    gradients(rng, figures)
    speed(rng, figures)
    goals = {name: goal for name, goal in GOALS.items() if name in figures}
    settings = {"seed": SEED, "products": PRODUCTS, "convolutions": CONVOLUTIONS, "samples": SAMPLES, "layers": LAYERS}
    return 0 if report("agreement_traffic", settings, figures, goals, more={"rows": rows}) else 1


if __name__ == "__main__":
    sys.exit(main())
