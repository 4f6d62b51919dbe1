"""The latency in other NAS code: the values that each kind of host holds, and the lines that hwcost needs in it.

    python examples/in_other_nas.py

Each section is a host cut down to what the latency sees of it: its architecture parameters, and where it adds a
penalty. The lines of hwcost are those that the real one would need. ``check_gradient`` shows after each whether the
term reaches the host's parameters. PLiNIO and NNI are used if they are installed.
"""

from __future__ import annotations

import functools
import importlib.util

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwcost import Conv2d, Cost, Linear, Network, Operation, SystolicArray
from hwcost.torch import LatencyLoss, TargetWeight, check_gradient
from hwcost.torch.adapters import (
    BlockCosts,
    effective_cost,
    nni_choice,
    nni_cycles,
    nni_penalty,
    plinio_costs,
    relaxed_choice,
    relaxed_latency,
    relaxed_penalty,
)

ARRAY = SystolicArray(16, 16)
SPACE = Network(
    "two layers",
    {
        "conv": Operation(Conv2d(3, 32, 3, height=32, width=32, padding=1), {"out_channels": "width"}),
        "head": Operation(Linear(32, 10), {"in_features": "width"}),
    },
).space({"width": (8, 12, 16, 24, 32)})

# ---------------------------------------------------------------- DARTS, FBNetV2


def logits_for_each_decision() -> None:
    """The host holds a vector of logits for each width; FBNetV2 mixes its masks by a Gumbel sample of them."""
    latency = LatencyLoss(SPACE, ARRAY)
    alphas = {"width": nn.Parameter(torch.zeros(5))}

    term = relaxed_latency(latency, alphas)  # DARTS: the softmax of the logits
    print(f"DARTS: {term.item():.3f} of the widest; {check_gradient(term, alphas)}")

    limited = LatencyLoss(SPACE, ARRAY, target=0.5)  # a limit in place of a weight, which then moves by itself
    loss = 2.0 + relaxed_penalty(limited, alphas)  # in each step
    print(f"within half of the cycles: {relaxed_choice(limited, alphas)}; {check_gradient(loss, alphas)}")

    gates = {name: F.gumbel_softmax(alpha, tau=2.0) for name, alpha in alphas.items()}  # the weights of the masks
    term = relaxed_latency(latency, gates, softmax=None)
    print(f"FBNetV2: {term.item():.3f} of the widest; {check_gradient(term, alphas)}")


# ---------------------------------------------------------------- ProxylessNAS, FBNet


def inverted_bottleneck(channels: int, expansion: int, kernel: int) -> list[Conv2d]:
    """A candidate of both: expand, depthwise, project, on a map of 16 x 16."""
    wide = channels * expansion
    return [
        Conv2d(channels, wide, 1, height=16, width=16),
        Conv2d(wide, wide, kernel, height=16, width=16, padding="same", groups=wide),
        Conv2d(wide, channels, 1, height=16, width=16),
    ]


def candidates_for_each_block() -> None:
    """The host holds weights over the candidate operations of each block, and a list of their costs."""
    candidates = {f"e{e} k{k}": inverted_bottleneck(16, e, k) for e in (3, 6) for k in (3, 5)} | {"skip": None}
    costs = BlockCosts.of([candidates] * 4, ARRAY)
    print("FBNet's table of a block:", dict(zip(candidates, costs.tables["0"].values.tolist(), strict=True)))

    thetas = nn.Parameter(torch.zeros(4, 5))
    cycles = costs.cycles(F.gumbel_softmax(thetas, tau=5.0))  # one row per block, as the host draws them
    reference = costs.cycles(F.one_hot(torch.full((4,), 2), 5).float())
    term = 0.1 * cycles / reference
    print(f"FBNet: {cycles.item():,.0f} cycles; {check_gradient(term, {'thetas': thetas})}")

    weight = TargetWeight(0.5 * reference.item())  # ProxylessNAS with a limit
    term = weight.penalty(costs.cycles(thetas.softmax(-1)))
    print(f"within the limit: {costs.choose(thetas.softmax(-1), weight.target)}")


# ---------------------------------------------------------------- U-Boost NAS


class HardwareModel(nn.Module):
    """In place of the host's class of this name: called with a module, soft widths, and the shape of its output."""

    def runtime(self, cell: nn.Module, in_ch: Tensor, out_ch: Tensor, out_shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Milliseconds and utilization, as the host adds them up."""
        cost = effective_cost(cell, in_ch, out_ch, out_shape, array=ARRAY, relaxation="generalized")
        return 1e3 * cost.seconds, cost.utilization


def effective_widths() -> None:
    """The host holds soft widths, and asks in each layer's forward pass."""
    alphas = {name: nn.Parameter(torch.zeros(4)) for name in ("conv1", "conv2")}
    options = torch.tensor([8.0, 16.0, 24.0, 32.0])
    width1, width2 = (F.gumbel_softmax(alpha, tau=2.0) @ options for alpha in alphas.values())
    cells = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
    shape = torch.Size((1, 32, 32, 32))

    model = HardwareModel()
    first, second = model.runtime(cells[0], 3, width1, shape), model.runtime(cells[1], width1, width2, shape)
    print(f"U-Boost: {(first[0] + second[0]).item():.4f} ms; {check_gradient(first[0] + second[0], alphas)}")

    layers = ((cells[0], 3, width1), (cells[1], width1, width2))
    network = sum((effective_cost(*layer, shape, array=ARRAY) for layer in layers), start=Cost())
    mean = (first[1] + second[1]).item() / 2
    print(f"utilization: {network.utilization.item():.3f} of the array; the mean over layers, U-Boost's, is {mean:.3f}")


# ---------------------------------------------------------------- PLiNIO


def specification_of_each_layer() -> None:
    """The host calls a function with a dictionary of each layer, in which searched sizes are tensors."""
    costs = plinio_costs(ARRAY, relaxation="shifted")
    if importlib.util.find_spec("plinio") is not None:
        from plinio.cost import CostSpec, pattern

        latency = CostSpec(shared=False, default_behavior="fail")
        latency.update({getattr(pattern, name): cost for name, cost in costs.items()})
        print("PLiNIO: PIT(network, cost=latency), and the same for SuperNet and MPS")

    mask = nn.Parameter(torch.rand(32))  # PIT: a channel is kept as far as its entry is above 0
    layer = nn.Conv2d(16, 32, 3, padding=1)
    spec = {**vars(layer), "out_channels": mask.sum(), "output_shape": torch.Size((1, 32, 16, 16))}
    cycles = costs["Conv2dGeneric"](spec)
    print(f"PLiNIO: {cycles.item():,.0f} cycles; {check_gradient(cycles, {'mask': mask})}")


# ---------------------------------------------------------------- NNI 3.0


def modules_with_alphas() -> None:
    """The host's strategy holds the alphas, in modules of a model space that it has mutated in place."""
    if importlib.util.find_spec("nni") is None:
        print("NNI: not installed; benchmarks/nni_penalty.py makes an environment with it and runs it")
        return
    import nni
    from nni.nas.nn.pytorch import ModelSpace, MutableConv2d, MutableLinear
    from nni.nas.strategy import DARTS

    class Net(ModelSpace):
        """The search space above, as NNI writes it."""

        def __init__(self) -> None:
            super().__init__()
            width = nni.choice("width", [8, 12, 16, 24, 32])
            self.conv, self.head = MutableConv2d(3, width, 3, padding=1), MutableLinear(width, 10)

        def forward(self, images: Tensor) -> Tensor:
            """Logits."""
            logits: Tensor = self.head(self.conv(images).relu().mean((2, 3)))
            return logits

    net, latency = Net(), LatencyLoss(SPACE, ARRAY, target=0.5)
    cycles = functools.partial(nni_cycles, latency, net)
    penalty = nni_penalty(cycles, target=latency.target_weight)  # or a fixed weight: baseline=..., scale=0.1
    strategy = DARTS(penalty=penalty)  # and on as ever: NasExperiment(net, evaluator, strategy).run()

    strategy.mutate_model(net)
    alphas = {name: alpha for name, alpha in net.named_parameters() if "_arch_alpha" in name}
    print(f"NNI: the network within half of the cycles: {nni_choice(latency, net)}")
    print(f"NNI: {cycles().item():,.0f} cycles; {check_gradient(penalty(torch.tensor(0.0), {})[0], alphas)}")


def main() -> None:
    torch.manual_seed(0)
    logits_for_each_decision()
    candidates_for_each_block()
    effective_widths()
    specification_of_each_layer()
    modules_with_alphas()


if __name__ == "__main__":
    main()
