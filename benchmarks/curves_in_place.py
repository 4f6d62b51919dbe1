"""How much faster losses of cut networks are measured with a module cut in place than with a copy of it that is cut.

    python benchmarks/curves_in_place.py

Small networks on 500 images of 28 x 28, as they are pruned, and ResNet-50 on 8 images of 64 x 64. The losses have to be
the same to the bit. Writes benchmarks/results/curves_in_place.json.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from common import side_by_side
from common.real_models import MODELS
from common.small_nets import NETS
from hwcost import from_torch
from hwcost.importers.torch.resize import cut_in_place, resized
from hwcost.network.channels import first_channels
from hwcost.pruning.batches import Batch, Task
from hwcost.pruning.norms import of_the_batch

ROUNDS = 7
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    **{name: (make, (500, 1, 28, 28)) for name, make in NETS.items()},
    "resnet50": (lambda: MODELS["resnet50"].module(with_data=True), (8, 3, 64, 64)),
}


def measured(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> dict[str, float]:
    """The ratios of one network, and the largest difference of two losses."""
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(shape)
    network = from_torch(model, (1, *shape[1:]))
    batch = Batch((x,), {}, torch.randint(10, shape[:1]), shape[0])
    task = Task([batch], F.cross_entropy)
    widths = [name for name, width in network.widths.items() if not width.fixed]
    kept = {name: {name: first_channels(network.widths[name], network.widths[name].size // 2)} for name in widths}

    def copied(name: str) -> float:
        small = resized(model, network, keep=kept[name])
        with of_the_batch(small):
            return task.measured(small, [batch]).loss

    def in_place(name: str) -> float:
        with cut_in_place(model, network, kept[name]), of_the_batch(model):
            return task.measured(model, [batch]).loss

    def only_cut(name: str) -> None:
        with cut_in_place(model, network, kept[name]):
            pass

    names = widths[:4]
    seconds = side_by_side.in_turn(
        {
            "copied": lambda: [copied(name) for name in names],
            "in place": lambda: [in_place(name) for name in names],
            "copied, cut alone": lambda: [resized(model, network, keep=kept[name]) for name in names],
            "in place, cut alone": lambda: [only_cut(name) for name in names],
        },
        ROUNDS,
    )
    return {
        "largest difference of losses": max(abs(copied(name) - in_place(name)) for name in widths[:12]),
        "time of a measurement, copied / in place": side_by_side.ratio(seconds, "copied", "in place"),
        "time of a cut, copied / in place": side_by_side.ratio(seconds, "copied, cut alone", "in place, cut alone"),
    }


def main() -> int:
    """Measures all, prints ratios and writes the file."""
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    for name, (make, shape) in CASES.items():
        figures |= {f"{name}: {what}": value for what, value in measured(make, shape).items()}
    goals: dict[str, tuple[str, float]] = {
        **{f"{name}: largest difference of losses": ("<=", 0.0) for name in CASES},
        "resnet50: time of a cut, copied / in place": (">=", 2.0),
    }
    met = side_by_side.report("curves_in_place", {"rounds": ROUNDS, "threads": 1}, figures, goals)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
