"""MACs of real architectures: hwcost's importer against PyTorch's own counter, and widths against rebuilt modules.

    pip install "hwcost[models]"
    python benchmarks/models_macs.py

Writes benchmarks/results/models_macs.json. Everything runs on shapes alone; it takes about a minute.
"""

from __future__ import annotations

import random
import re
import sys
import warnings
from typing import Any

from common import real_models, side_by_side
from hwcost import InvalidValueError, from_torch
from hwcost.importers.torch.resize import resized

SEED = 0


def row(name: str) -> dict[str, Any]:
    """Both counts, and whether the module rebuilt with other widths matches them."""
    real = real_models.MODELS[name]
    model = real.module()
    network = from_torch(model, **real.arguments(), name=name)
    sizes = other_widths(network)
    found = {
        "model": name,
        "library": real.library,
        "macs": network.macs,
        "made_once": made_once(network),
        "torch_macs": real_models.torch_macs(model, real.inputs),
        "priced": len(network.priced),
        "memory_only": len(network.memory_only),
        "unsupported": sorted({str(each.layer) for each in network.unsupported.values()}),
        "widths": len(sizes),
    }
    return found | {"rebuilt": rebuilt(real, network, sizes)}


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


def rebuilt(real: real_models.RealModel, network: Any, sizes: dict[str, int]) -> str:
    """Whether the module with these widths, run again, has the products that were predicted."""
    if not sizes:
        return "no width can change"
    try:
        again = from_torch(resized(real.module(), network, sizes), **real.arguments())
    except InvalidValueError as error:
        return f"does not run: {error.field}"
    predicted, found = (
        [gemm for layer in layers.values() for gemm in layer.gemms()] for layers in (network.at(sizes), again)
    )
    return "equal" if predicted == found else "differs"


def main() -> int:
    """Counts every architecture, prints the table and writes the file."""
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in real_models.MODELS:
            rows.append(row(name))
            same = "equal" if rows[-1]["macs"] + rows[-1]["made_once"] == rows[-1]["torch_macs"] else "DIFFERS"
            print(f"{name:24} {rows[-1]['macs']:>15} {same:8} {rows[-1]['widths']:>4} widths: {rows[-1]['rebuilt']}")
    equal = sum(each["macs"] + each["made_once"] == each["torch_macs"] for each in rows)
    built = [each for each in rows if each["rebuilt"] != "no width can change"]
    met = side_by_side.report(
        "models_macs",
        {"seed": SEED, "sizes of widths": "between half of today's and today's"},
        {
            "architectures": len(rows),
            "with the same MACs as torch's FlopCounterMode": equal,
            "with products of weights alone, made once": sum(each["made_once"] > 0 for each in rows),
            "with operations that are not supported": sum(bool(each["unsupported"]) for each in rows),
            "with widths": len(built),
            "rebuilt with other widths as predicted": sum(each["rebuilt"] == "equal" for each in built),
        },
        {"architectures": (">=", 20), "with the same MACs as torch's FlopCounterMode": (">=", len(rows))},
        more={"rows": rows},
        packages=("torchvision", "timm", "transformers"),
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
