"""How much CPU it takes to read ResNet-18, and to price it, next to other tools.

In one process, in turn: ``from_torch`` against fvcore, torchinfo and PyTorch's FlopCounterMode. Then whole commands,
each in its own process: ``hwcost model`` against ZigZag on the same ONNX file, and against SCALE-Sim on the same
topology.

    pip install fvcore torchinfo
    python -m venv zigzag && zigzag/bin/pip install zigzag-dse six
    python -m venv scalesim && scalesim/bin/pip install scalesim "numpy<2.4"
    python benchmarks/import_speed.py --zigzag zigzag/bin/python --scalesim scalesim/bin/python

What is not given is left out. Writes benchmarks/results/import_speed.json. CPU seconds are those of all threads and of
all child processes; ZigZag and SCALE-Sim take minutes.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from common import side_by_side
from hwcost import from_torch
from hwcost.importers.lists import write_scalesim
from hwcost.scalesim import Configuration, serial_array, write_configuration

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from resnet import ResNet18

EXAMPLE = Path(__file__).parents[1] / "examples" / "resnet.py"
SHAPE = (1, 3, 224, 224)
ROUNDS = 7
ZIGZAG = """
import sys, pathlib, zigzag
from zigzag.api import get_hardware_performance_zigzag
inputs = pathlib.Path(zigzag.__file__).parent / "inputs"
out = get_hardware_performance_zigzag(
    sys.argv[1], str(inputs / "hardware/tpu_like.yaml"), str(inputs / "mapping/tpu_like.yaml"),
    opt="latency", dump_folder=sys.argv[2], loma_show_progress_bar=False)
print("latency", out[1])
"""
ZIGZAG_MODEL = "import pathlib, zigzag; print(pathlib.Path(zigzag.__file__).parent / 'inputs/workload/resnet18.onnx')"
SCALESIM = """
import sys
from scalesim.scale_sim import scalesim
files = {"config": sys.argv[1], "topology": sys.argv[2], "layout": sys.argv[3]}
scalesim(save_disk_space=True, verbose=False, **files).run_scale(top_path=sys.argv[4])
"""


# ---------------------------------------------------------------- importers


def counters() -> dict[str, Callable[[], object]]:
    """Tools that read the same module, and the MACs that each finds."""
    from torch.utils.flop_counter import FlopCounterMode

    model, images = ResNet18().eval(), torch.zeros(SHAPE)
    with torch.device("meta"):
        empty, shapes = ResNet18().eval(), torch.zeros(SHAPE)

    def with_torch(model: torch.nn.Module, images: torch.Tensor) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(images)
        return int(counter.get_total_flops()) // 2

    cases: dict[str, Callable[[], object]] = {
        "from_torch": lambda: from_torch(model, SHAPE).macs,
        "FlopCounterMode": lambda: with_torch(model, images),
        "FlopCounterMode without data": lambda: with_torch(empty, shapes),
    }
    try:
        from fvcore.nn import FlopCountAnalysis

        logging.getLogger("fvcore").setLevel(logging.ERROR)
        cases["fvcore"] = lambda: int(
            FlopCountAnalysis(model, images).unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
        )
    except ImportError:
        print("fvcore is not installed and left out")
    try:
        from torchinfo import summary

        cases["torchinfo"] = lambda: summary(model, SHAPE, verbose=0).total_mult_adds
    except ImportError:
        print("torchinfo is not installed and left out")
    return cases


def cpu_of(command: list[str], folder: str) -> float:
    """CPU seconds of a process and all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} if "-m" in command else None
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{command[:4]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(source: str, folder: str, *options: str) -> float:
    """CPU seconds of ``hwcost model``, the middle one of several."""
    command = [sys.executable, "-m", "hwcost", "model", source, "--device", "tpu-v1", *options]
    return statistics.median(cpu_of(command, folder) for _ in range(5))


def commands(zigzag: str | None, scalesim: str | None) -> dict[str, float]:
    """CPU seconds of every whole command."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        found["hwcost model, PyTorch file"] = ours(f"{EXAMPLE}:ResNet18", folder, "--input", "1,3,224,224")
        if zigzag is not None:
            model = subprocess.run([zigzag, "-c", ZIGZAG_MODEL], capture_output=True, text=True, check=True).stdout
            found["hwcost model, ONNX file"] = ours(model.strip(), folder)
            found["zigzag"] = cpu_of([zigzag, "-c", ZIGZAG, model.strip(), f"{folder}/out"], folder)
        if scalesim is not None:
            topology, configuration, layout = (
                f"{folder}/{name}" for name in ("resnet18.csv", "array.cfg", "layout.csv")
            )
            write_scalesim(topology, from_torch(ResNet18(), SHAPE))
            memories = {"input_kb": 1024, "weight_kb": 1024, "output_kb": 1024}
            write_configuration(configuration, Configuration("resnet18", serial_array(128, 128), **memories))
            Path(layout).write_text("Layer name,\n")  # the simulator wants one, of no effect
            found["hwcost model, SCALE-Sim topology"] = ours(topology, folder)
            files = [configuration, topology, layout, f"{folder}/out"]
            found["scalesim"] = cpu_of([scalesim, "-c", SCALESIM, *files], folder)
    return found


def main() -> int:
    """Measures what is installed, prints ratios and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zigzag", metavar="PYTHON", help="of an environment with zigzag-dse")
    parser.add_argument("--scalesim", metavar="PYTHON", help="of an environment with scalesim")
    given = parser.parse_args()
    torch.set_num_threads(1)  # several wait for each other, and waiting takes CPU too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = counters()
        macs = {name: case() for name, case in cases.items()}
        seconds = side_by_side.in_turn(cases, ROUNDS, 1, time.process_time)
    figures: dict[str, Any] = {f"MACs by {name}": value for name, value in macs.items()}
    for name in cases:
        if name != "from_torch":
            figures[f"CPU of {name} / from_torch"] = side_by_side.ratio(seconds, name, "from_torch")
    whole = commands(given.zigzag, given.scalesim)
    if "zigzag" in whole:
        figures["CPU of zigzag / hwcost model, ONNX file"] = whole["zigzag"] / whole["hwcost model, ONNX file"]
        figures["CPU of zigzag / hwcost model, PyTorch file"] = whole["zigzag"] / whole["hwcost model, PyTorch file"]
    if "scalesim" in whole:
        ratio = whole["scalesim"] / whole["hwcost model, SCALE-Sim topology"]
        figures["CPU of scalesim / hwcost model, SCALE-Sim topology"] = ratio
        figures["CPU of scalesim / hwcost model, PyTorch file"] = (
            whole["scalesim"] / whole["hwcost model, PyTorch file"]
        )
    goals = {
        "CPU of fvcore / from_torch": (">=", 8.0),
        "CPU of zigzag / hwcost model, ONNX file": (">=", 100.0),
        "CPU of scalesim / hwcost model, SCALE-Sim topology": (">=", 100.0),
    }
    met = side_by_side.report(
        "import_speed",
        {"network": "ResNet-18, 1 x 3 x 224 x 224", "rounds": ROUNDS, "threads of PyTorch in one process": 1},
        figures,
        {name: goal for name, goal in goals.items() if name in figures},
        more={"cpu_seconds_of_commands": whole},
        packages=("fvcore", "torchinfo"),
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
