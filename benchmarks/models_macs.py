"""MACs of real architectures: hwcost's importer against PyTorch's own counter, and widths against rebuilt modules.

    pip install "hwcost[models]" onnx onnxscript
    pip install --no-deps segmentation-models-pytorch diffusers open-clip-torch ftfy wcwidth torchaudio
    pip install --no-deps ultralytics opencv-python-headless torch-geometric xxhash
    python benchmarks/models_macs.py

Writes benchmarks/results/models_macs.json. The libraries of the second and third line are optional: a model whose
library is missing is not tried, and listed. hwcost reads shapes alone; PyTorch's counter runs every model on tensors
with data on the processor, which takes about ten minutes. Weights are random, and nothing is downloaded.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from common import more_models, real_models, side_by_side
from hwcost import InvalidValueError, SystolicArray, advise, from_onnx, from_torch
from hwcost.importers.torch.resize import resized

SEED, NONE = 0, "no width can change"
ARRAY = SystolicArray(16, 16)
EXPORTED = "resnet18", "mobilenet_v2", "vit_b_16", "smp_unet", "yolov8n", "conv_tasnet", "autoencoder_kl", "bert"
"""Architectures that are written to an ONNX file, and read from it."""

os.environ.setdefault("YOLO_OFFLINE", "1")


def row(name: str) -> dict[str, Any]:
    """Both counts, and whether modules rebuilt with other widths match them."""
    real = more_models.ALL_MODELS[name]
    model = real.module()
    network, again = (from_torch(model, **real.arguments(), name=name) for _ in range(2))
    sizes = other_widths(network)
    return {
        "model": name,
        "library": real.library,
        "macs": network.macs,
        "made_once": made_once(network),
        "torch_macs": real_models.torch_macs(real, real.module(with_data=True), "cpu"),
        "priced": len(network.priced),
        "memory_only": len(network.memory_only),
        "unsupported": sorted({str(each.layer) for each in network.unsupported.values()}),
        "widths": len(sizes),
        "rebuilt": rebuilt(real, network, sizes),
        "advised": rebuilt(real, network, advised_widths(network)),
        "same_again": again == network and again.widths == network.widths,
        "same_at_todays_widths": network.at({}) == dict(network),
    }


def advised_widths(network: Any) -> dict[str, int]:
    """For each width that can change and has a cheaper size, the largest of these, as advice finds it."""
    advice = advise(network, ARRAY, skip_unsupported=True)
    return {each.name: each.cheaper.size for each in advice.widths if each.cheaper is not None}


def exported_macs(name: str) -> int:
    """The MACs of an architecture that PyTorch has written to an ONNX file."""
    real = more_models.ALL_MODELS[name]
    args, kwargs = real.called_with("cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        torch.onnx.export(real.module(with_data=True), tuple(args), path, kwargs=kwargs, dynamo=True, verbose=False)
        network = from_onnx(path)
    return network.macs + made_once(network)


def made_once(network: Any) -> int:
    """The MACs of products of weights alone, which are not in the network's: PyTorch's counter has them."""
    return sum(int(macs) for note in network.notes for macs in re.findall(r"\((\d+) MACs, first for", note))


def other_widths(network: Any) -> dict[str, int]:
    """A size between half of today's and today's for each width that any layer follows."""
    rng = random.Random(SEED)
    followed = {width for each in network.priced.values() for width in each.widths}
    return {
        name: max(width.multiple, int(width.size * rng.uniform(0.5, 1)) // width.multiple * width.multiple)
        for name, width in network.widths.items()
        if not width.fixed and name in followed
    }


def rebuilt(real: real_models.RealModel, network: Any, sizes: dict[str, int], model: Any = None) -> str:
    """Whether the module with these widths, run again, has the products that were predicted."""
    if not sizes:
        return NONE
    try:
        again = from_torch(resized(model or real.module(), network, sizes), **real.arguments())
    except InvalidValueError as error:
        return f"does not run: {error.field} {error.reason.partition(' it raises ')[2]}"
    predicted, found = (
        [gemm for name in network.priced for gemm in layers[name].gemms()] for layers in (network.at(sizes), again)
    )
    return "equal" if predicted == found else "differs"


def explained(each: dict[str, Any]) -> str:
    """Why the two counts of a row differ; empty if they do not."""
    if each["macs"] + each["made_once"] == each["torch_macs"]:
        return ""
    return EXPLAINED.get(each["model"], "DIFFERS")


EXPLAINED = {"vq_model": "PyTorch's counter has no entry for cdist"}
"""Architectures whose two counts differ, and why."""


def main() -> int:
    """Counts every architecture, prints the table and writes the file."""
    rows, exported = [], {}
    missing = [name for name in more_models.ALL_MODELS if not more_models.is_installed(name)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (name for name in more_models.ALL_MODELS if name not in missing):
            rows.append(row(name))
            rows[-1]["explained"] = explained(rows[-1])
            found = rows[-1]
            print(
                f"{name:30} {found['macs']:>15} {found['explained'] or 'equal':8} {found['widths']:>4} widths: "
                f"{found['rebuilt']}, advised: {found['advised']}",
                flush=True,
            )
        for name in (name for name in EXPORTED if name not in missing):
            exported[name] = exported_macs(name)
    for name in missing:
        print(f"{name:30} not tried: {more_models.ALL_MODELS[name].library} is not installed")
    by_name = {each["model"]: each for each in rows}
    equal = sum(not each["explained"] for each in rows)
    of_reasons = sum(each["explained"] not in ("", "DIFFERS") for each in rows)
    built = [each for each in rows if each["rebuilt"] != NONE]
    advised = [each for each in rows if each["advised"] != NONE]
    whole = sum(each["same_again"] and each["same_at_todays_widths"] for each in rows)
    read_again = sum(macs == by_name[name]["macs"] + by_name[name]["made_once"] for name, macs in exported.items())
    met = side_by_side.report(
        "models_macs",
        {"seed": SEED, "sizes of widths": "between half of today's and today's"},
        {
            "architectures": len(rows),
            "not tried": len(missing),
            "with the same MACs as torch's FlopCounterMode": equal,
            "with other MACs, explained": of_reasons,
            "with products of weights alone, made once": sum(each["made_once"] > 0 for each in rows),
            "with operations that are not supported": sum(bool(each["unsupported"]) for each in rows),
            "read twice alike, and alike at today's widths": whole,
            "with widths": len(built),
            "rebuilt with other widths as predicted": sum(each["rebuilt"] == "equal" for each in built),
            "with widths that have a cheaper size": len(advised),
            "rebuilt with these sizes as predicted": sum(each["advised"] == "equal" for each in advised),
            "written to ONNX": len(exported),
            "with the same MACs in ONNX": read_again,
        },
        {
            "architectures": (">=", 70),
            "with the same MACs as torch's FlopCounterMode": (">=", len(rows) - of_reasons),
            "read twice alike, and alike at today's widths": (">=", len(rows)),
            "with the same MACs in ONNX": (">=", len(exported)),
        },
        more={"rows": rows, "exported": exported, "missing": missing},
        packages=(
            "torchvision", "timm", "transformers", "segmentation-models-pytorch", "diffusers", "open-clip-torch",
            "torchaudio", "ultralytics", "torch-geometric", "onnx", "onnxscript",
        ),
    )  # fmt: skip
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
