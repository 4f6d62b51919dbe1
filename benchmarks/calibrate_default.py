"""``hwcost calibrate`` with its default settings on other people's measurements: the form is chosen for each.

    python benchmarks/calibrate_default.py --data FOLDER

Errors are those of measurements that neither the fit nor the choice of its form has seen (5 folds, mean of 3 shuffles);
the 90 % intervals count those of the first shuffle. Rivals are fitted on the same folds: the roofline with a constant,
and a line through MACs. A data set that is missing is left out, and the command prints which.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from common.measured_data import (
    DATA,
    EDGE,
    FPGA_BUILDS,
    N150,
    TILERS,
    Form,
    edge_networks,
    fpga_layers,
    gemmini_layers,
    macs_line,
    missing,
    roofline,
    rtl_products,
    tenstorrent_products,
)
from common.side_by_side import report
from hwcost import SystolicArray, load_device
from hwcost.calibration import Measurement, fit

GOALS = {"fpga m32p32": 0.03, "fpga m32p64": 0.05, "tenstorrent n150": 0.15}


def cases(folder: Path) -> Iterator[tuple[str, str, SystolicArray, Callable[[], list[Measurement]]]]:
    """A name, the file, the device to start from, and what reads the measurements."""
    for build, array in FPGA_BUILDS.items():
        yield f"fpga {build}", "fpga", array, lambda build=build: fpga_layers(folder, build)  # type: ignore[misc]
    yield "tenstorrent n150", "tenstorrent", N150, lambda: tenstorrent_products(folder)
    gemmini = load_device("gemmini")
    for name, column in (("best mappings", "best_cycles"), ("default tiler", "auto_cycles_med")):
        yield f"gemmini, {name}", "gemmini", gemmini, lambda column=column: gemmini_layers(folder, column)  # type: ignore[misc]
    for tiler in TILERS:
        yield (
            f"gemmini builds, {tiler}",
            "rtl",
            SystolicArray(16, 16),
            lambda tiler=tiler: rtl_products(folder, tiler, "columns"),
        )  # type: ignore[misc]
    yield "edge tpu, five layers", "edge", EDGE.device, lambda: edge_networks(folder)


def _as_seen(form: Form, measurements: list[Measurement]) -> list[Measurement]:
    """Measurements with what a rival knows of each machine: its size and, with a roof, one bandwidth."""

    def known(device: Mapping[str, float]) -> dict[str, float]:
        kept = {name: device[name] for name in ("rows", "cols", "bytes_per_element") if name in device}
        has_roof = "dram_bytes_per_s" in form.free and "weight_bytes_per_s" in device
        return kept | ({"dram_bytes_per_s": device["weight_bytes_per_s"]} if has_roof else {})

    return [dataclasses.replace(one, device=known(one.device)) for one in measurements]


def fitted(array: SystolicArray, measurements: list[Measurement]) -> dict[str, Any]:
    """The fit by default, and the errors of the rivals."""
    found = fit(array, measurements).as_dict()
    size = (array.rows, array.cols, array.clock_hz)
    rivals = {"roofline and a constant": roofline(*size, constant=True), "line through MACs": macs_line(*size)}
    errors = {name: form.fitted(_as_seen(form, measurements)).scores.mape for name, form in rivals.items()}
    kept = ("scores", "form", "forms", "chosen", "values", "coverage_90", "log_margin_90", "worst", "doubts")
    ratios = sorted(each["predicted_seconds"] / each["seconds"] for each in found["measurements"])
    own = {name: found[name] for name in kept}
    return {"count": len(ratios), **own, "rivals": errors, "predicted_over_measured": ratios}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    options = parser.parse_args()
    jobs = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, file, array, read in cases(options.data):
            if why := missing(options.data, file):
                print(f"left out: {why}", file=sys.stderr)
            else:
                jobs[name] = pool.submit(fitted, array, read())
        rows = {name: job.result() for name, job in jobs.items()}
    figures: dict[str, Any] = {}
    for name, row in rows.items():
        figures[f"{name}: {row['form']}, held out"] = row["scores"]["mape"]
        figures |= {f"{name}: {rival}, held out": error for rival, error in row["rivals"].items()}
        figures[f"{name}: within the 90 % interval"] = row["coverage_90"]
    goals = {
        key: ("<=", bound)
        for name, bound in GOALS.items() if name in rows for key in (f"{name}: {rows[name]['form']}, held out",)
    }  # fmt: skip
    goals |= {key: (">=", 0.85) for key in figures if key.endswith("interval") and figures[key] is not None}
    return 0 if report("calibrate_default", {"folds": 5, "shuffles": 3}, figures, goals, more={"rows": rows}) else 1


if __name__ == "__main__":
    sys.exit(main())
