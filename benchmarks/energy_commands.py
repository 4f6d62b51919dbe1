"""Energy and traffic of ResNet-18 by ``hwcost model`` and by zigzag-dse, in one run: CPU seconds, bytes, joules.

    python -m venv zigzag && zigzag/bin/pip install zigzag-dse six
    python benchmarks/energy_commands.py --zigzag zigzag/bin/python

zigzag searches every distinct layer once. hwcost prices the same layers on the same machine with the same figures of
energy (45nm-textbook); caches are emptied before each pass, and the median pass counts. Whole commands run in turn, and
the least CPU time of each counts: with a buffer, with activations that stay, and without either. Without ``--zigzag``
the commands alone are compared.

accelforge is left out: its package needs hwcomponents, which the package index does not have.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from common.side_by_side import report
from hwcost import Conv2d, Linear, SystolicArray, layer_cost
from hwcost.importers import read_network
from hwcost.importers.torch import InputSpec
from hwcost.machine.energies import with_energy
from hwcost.model import least

HERE = Path(__file__).parent
MODEL, INPUT, ENERGY = "examples/resnet.py:ResNet18", "1,3,224,224", "45nm-textbook"
SIDE, BUFFER = 16, 65536
PASSES, RUNS = 21, 5
COMMAND = ("-m", "hwcost", "model", MODEL, "--input", INPUT, "--s1", str(SIDE), "--s2", str(SIDE), "--json")
COMMANDS = {
    "plain": (),
    "with a buffer": ("--buffer", "64k"),
    "with a buffer and energy": ("--buffer", "64k", "--energy", ENERGY),
    "with activations that stay": ("--buffer", "64k", "--keep-activations"),
}


def as_conv(layer: Conv2d | Linear) -> dict[str, Any]:
    """A layer as zigzag's driver takes it."""
    if isinstance(layer, Linear):
        return {"n": layer.out_features, "c": layer.in_features, "out": [1, 1], "kernel": [1, 1], "stride": [1, 1]}
    sizes = {"out": layer.out_size, "kernel": layer.kernel_size, "stride": layer.stride}
    return {"n": layer.out_channels, "c": layer.in_channels} | {name: list(size) for name, size in sizes.items()}


def priced(layers: list[Any], array: SystolicArray) -> tuple[list[Any], float]:
    """The costs of layers, and the CPU seconds of the median pass over them."""
    seconds = []
    for _ in range(PASSES):
        least._of_numbers.cache_clear()
        start = time.process_time()
        costs = [layer_cost(layer, array) for layer in layers]
        seconds.append(time.process_time() - start)
    return costs, statistics.median(seconds)


def cpu_of(command: list[str]) -> float:
    """CPU seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=HERE.parent)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def by_zigzag(python: str, layers: dict[str, Any], array: SystolicArray) -> tuple[list[dict[str, Any]], float]:
    """What zigzag finds for each layer, and the CPU seconds of its whole process."""
    names = ("joules_per_mac", "joules_per_sram_byte", "joules_per_dram_byte")
    given = {"rows": SIDE, "cols": SIDE, "buffer_bytes": BUFFER} | {name: float(getattr(array, name)) for name in names}
    given["layers"] = [{"name": name, **as_conv(layer)} for name, layer in layers.items()]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.json", Path(folder) / "out.json"
        source.write_text(json.dumps(given))
        seconds = cpu_of([python, str(HERE / "common" / "zigzag_layers.py"), str(source), str(target)])
        return json.loads(target.read_text()), seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zigzag", metavar="PYTHON", help="an interpreter that has zigzag-dse")
    python = parser.parse_args().zigzag
    os.chdir(HERE.parent)
    array = with_energy(SystolicArray(SIDE, SIDE, buffer_bytes=float(BUFFER)), ENERGY)
    network = read_network(MODEL, inputs=[InputSpec.parse(INPUT)])
    convs = {name: layer for name, layer in dict(network).items() if isinstance(layer, (Conv2d, Linear))}
    times = Counter(convs.values())
    names = {layer: name for name, layer in reversed(convs.items())}
    layers = {name: layer for layer, name in names.items()}
    figures: dict[str, Any] = {}
    goals: dict[str, tuple[str, float]] = {}

    runs: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, more in COMMANDS.items():
            runs[name].append(cpu_of([sys.executable, *COMMAND, *more]))
    for name, seconds in runs.items():
        figures[f"hwcost model, CPU seconds, {name}"] = min(seconds)
        if name != "plain":
            key = f"hwcost model, CPU {name}, ratio to plain"
            figures[key], goals[key] = min(seconds) / min(runs["plain"]), ("<=", 1.3)

    costs, ours = priced(list(layers.values()), array)
    figures |= {"distinct layers": len(layers), "hwcost, CPU seconds of pricing them": ours}
    rows: list[dict[str, Any]] = []
    if python:
        found, whole = by_zigzag(python, layers, array)
        theirs = sum(row["cpu_seconds"] for row in found)
        rows = [
            {
                "layer": repr(layer), "times": times[layer],
                "bytes, ratio": cost.dram_bytes / row["dram_bytes"],
                "energy, ratio": cost.energy_joules / row["energy_joules"],
                "zigzag, CPU seconds": row["cpu_seconds"],
            }
            for layer, cost, row in zip(layers.values(), costs, found, strict=True)
        ]  # fmt: skip
        counts = [times[layer] for layer in layers.values()]

        def network_of(of_row: str) -> tuple[float, float]:
            own = sum(count * getattr(cost, of_row) for count, cost in zip(counts, costs, strict=True))
            return own, sum(count * row[of_row] for count, row in zip(counts, found, strict=True))

        figures |= {
            "zigzag, CPU seconds of the same layers": theirs,
            "zigzag, CPU seconds of its process": whole,
            "CPU of zigzag over hwcost, the same layers": theirs / ours,
            "CPU of zigzag over hwcost, whole commands": whole / min(runs["with a buffer and energy"]),
        }
        goals["CPU of zigzag over hwcost, the same layers"] = (">=", 1000)
        for name in ("dram_bytes", "energy_joules"):
            own, other = network_of(name)
            figures[f"{name} of the network, hwcost"] = own
            figures[f"{name} of the network, hwcost over zigzag"] = own / other
    settings = {
        "model": MODEL, "input": INPUT, "array": repr(array), "energy": ENERGY, "passes": PASSES, "runs": RUNS,
        "zigzag": {"version": _version_of(python), "opt": "energy", "lpf_limit": 6} if python else None,
        "left out": {"accelforge": "needs hwcomponents, which the package index does not have"},
    }  # fmt: skip
    return 0 if report("energy_commands", settings, figures, goals, more={"rows": rows}) else 1


def _version_of(python: str) -> str:
    code = "from importlib.metadata import version; print(version('zigzag-dse'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
