"""The latency loss in a search of your own, without nas_plugin: 60 lines around a plain PyTorch model.

    python examples/own_search.py

A two-layer network on the digits 0 to 9 (made here, so that nothing is downloaded): which width should the hidden layer
have on a 16 x 16 array? The soft choice multiplies the hidden units by the expected mask, and LatencyLoss prices it.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import nn

from hwcost import Linear, Network, Operation, SystolicArray
from hwcost.torch import LatencyLoss

WIDTHS = (8, 12, 16, 20, 24, 28, 32, 40, 48)

SPACE = Network(
    "two layers",
    {
        "first": Operation(Linear(64, 48, batch=32), {"out_features": "hidden"}),
        "second": Operation(Linear(48, 10, batch=32), {"in_features": "hidden"}),
    },
).space({"hidden": WIDTHS})


def digits(count: int, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy copies of ten random 8 x 8 patterns."""
    patterns = torch.randn(10, 64, generator=torch.Generator().manual_seed(7))
    labels = torch.randint(10, (count,), generator=random)
    return patterns[labels] + 1.5 * torch.randn(count, 64, generator=random), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--lambda", dest="weight", type=float, default=0.3)
    options = parser.parse_args()

    random = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    masks = torch.stack([(torch.arange(WIDTHS[-1]) < width).float() for width in WIDTHS])
    model = nn.ModuleDict({"first": nn.Linear(64, WIDTHS[-1]), "second": nn.Linear(WIDTHS[-1], 10)})
    alpha = nn.Parameter(torch.zeros(len(WIDTHS)))
    # None: the exact expectation over the probabilities; "shifted", "logistic", ... for a smooth ceiling instead
    latency = LatencyLoss(SPACE, SystolicArray(16, 16), relaxation=None, weight=options.weight)
    weights_optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    alpha_optimiser = torch.optim.Adam([alpha], lr=0.05)

    for step in range(options.steps):
        images, labels = digits(32, random)
        probabilities = alpha.softmax(0)
        hidden = F.relu(model["first"](images)) * (probabilities @ masks)
        loss = F.cross_entropy(model["second"](hidden), labels)
        total, details = latency.penalise(loss, {"hidden": probabilities})
        weights_optimiser.zero_grad()
        alpha_optimiser.zero_grad()
        total.backward()
        weights_optimiser.step()
        alpha_optimiser.step()
        if step % 100 == 0:
            print(f"step {step:4}  loss {details['task_loss']:.3f}  latency {details['latency']:.3f} of width 48's")

    width = WIDTHS[int(alpha.argmax())]
    print(f"chosen width: {width}, {latency.exact({'hidden': width}).total.cycles} cycles")
    free = [
        w for w in WIDTHS if latency.exact({"hidden": w}).total.cycles == latency.exact({"hidden": width}).total.cycles
    ]
    print(f"widths that cost as much: {free}; take the largest, its capacity is free")


if __name__ == "__main__":
    main()
