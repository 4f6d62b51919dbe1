"""Do other people's search loops end within a limit? 20 runs each over seeds and targets.

    python benchmarks/limits_in_loops.py
    python benchmarks/limits_in_loops.py --python /path/to/an/environment/bin/python

Two hosts: the plain PyTorch loop of ``examples/resnet_search.py`` (a small ResNet, 9 decisions), and the DARTS strategy
of NNI 3.0 under pytorch-lightning on a chain of convolutions (``MutableConv2d``, 5 decisions), in an environment of its
own as ``benchmarks/nni_penalty.py`` makes it. Both take ``LatencyLoss(target=...)``, whose weight moves by itself, and
``choose`` or ``nni_choice`` for the network. The figures are the exact cycles of that network over the limit, counted
anew by ``network_cost``, and how far the expected cycles of the alphas were from the limit in the end; next to them the
cycles of the largest alphas, which is what a loop without a choice takes.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "examples"))

from common.progress import tell  # noqa: E402
from hwcost import Conv2d, Network, Operation, SystolicArray, network_cost  # noqa: E402
from hwcost.torch import LatencyLoss  # noqa: E402
from hwcost.torch.adapters import nni_choice, nni_cycles, nni_penalty, nni_probabilities  # noqa: E402

ARRAY = SystolicArray(8, 8)
TARGETS = (0.4, 0.55, 0.7, 0.85)
SIDE, CLASSES = 8, 4
WIDTHS = tuple(range(4, 33, 4))


def outcome(latency: LatencyLoss, probs: dict[str, Tensor], choice: dict[str, int] | None) -> dict[str, Any]:
    """The exact cycles of the network found, of the largest alphas, and as expected, over the limit."""
    assert latency.limit is not None
    limit = latency.limit.cycles
    largest = {name: latency.network.options[name][int(p.argmax())] for name, p in probs.items()}
    cycles = [network_cost(latency.network.at(each or {}), latency.array).total.cycles for each in (choice, largest)]
    expected = float(latency.eval().cycles(probs)) / limit
    return {"choice": choice, "share": cycles[0] / limit, "largest": cycles[1] / limit, "expected": expected}


def plain_loop(seed: int, target: float, steps: int) -> dict[str, Any]:
    """The search of the example, one step of the weights and one of the alphas in turn."""
    import resnet_search as example

    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    train, held_out = example.Images.generate(1000, seed=1).split()
    model = example.ResNet()
    space = example.search_space(model)
    masks_of, latency = example.MasksOf(space), LatencyLoss(space, ARRAY, target=target)
    alphas = {name: nn.Parameter(torch.zeros(len(sizes))) for name, sizes in space.options.items()}
    of_weights, of_alphas = torch.optim.Adam(model.parameters(), lr=3e-3), torch.optim.Adam(alphas.values(), lr=0.1)

    def batch(images: Any) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(images.labels), (16,), generator=random)
        return images.pixels[index], images.labels[index]

    for _ in range(steps):
        gates = {name: F.gumbel_softmax(alpha.detach(), tau=2.0) for name, alpha in alphas.items()}
        pixels, labels = batch(train)
        of_weights.zero_grad()
        F.cross_entropy(model(pixels, masks_of(gates)), labels).backward()
        of_weights.step()
        probs = example.probabilities(alphas)
        pixels, labels = batch(held_out)
        total, _ = latency.penalise(F.cross_entropy(model(pixels, masks_of(probs)), labels), probs)
        of_alphas.zero_grad()
        total.backward()
        of_alphas.step()
    probs = {name: p.detach() for name, p in example.probabilities(alphas).items()}
    return outcome(latency, probs, latency.choose(probs))


# ---------------------------------------------------------------- in the environment that has nni


def network() -> Network:
    """Five convolutions, each of which takes the channels of the one before."""
    layers = {}
    for i in range(5):
        follows = {"out_channels": f"width{i}"} | ({"in_channels": f"width{i - 1}"} if i else {})
        layer = Conv2d(32 if i else 1, 32, 3, height=SIDE, width=SIDE, padding="same")
        layers[f"conv{i}"] = Operation(layer, follows)
    return Network("chain", layers).space({f"width{i}": WIDTHS for i in range(5)})


def in_nni(seed: int, target: float, steps: int) -> dict[str, Any]:
    """The same by NNI's DARTS, whose penalty is the only line that knows of the limit."""
    import nni
    import pytorch_lightning
    from nni.nas.evaluator.pytorch import Lightning, Trainer
    from nni.nas.evaluator.pytorch.lightning import LightningModule
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.nn.pytorch import ModelSpace, MutableConv2d, MutableLinear
    from nni.nas.space import RawFormatModelSpace
    from nni.nas.strategy import DARTS
    from torch.utils.data import DataLoader, TensorDataset

    class Space(ModelSpace):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            widths = [1, *(nni.choice(f"width{i}", list(WIDTHS)) for i in range(5))]
            self.layers = nn.ModuleList(MutableConv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
            self.head = MutableLinear(widths[-1], CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            for layer in self.layers:
                images = layer(images).relu()
            return self.head(images.mean((2, 3)))

    class Task(LightningModule):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.05)

    pytorch_lightning.seed_everything(seed, verbose=False)
    space, latency = Space(), LatencyLoss(network(), ARRAY, target=target)
    penalty = nni_penalty(functools.partial(nni_cycles, latency, space), target=latency.target_weight)
    labels = torch.randint(CLASSES, (16 * steps,))
    images = torch.randn(len(labels), 1, SIDE, SIDE) + labels[:, None, None, None] / 2
    loader = DataLoader(TensorDataset(images, labels), batch_size=16)
    quiet = ("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger")
    trainer = Trainer(max_epochs=1, accelerator="cpu", **dict.fromkeys(quiet, False))
    evaluator = Lightning(Task(), trainer, train_dataloaders=loader, val_dataloaders=loader)
    strategy = DARTS(arc_learning_rate=0.1, penalty=penalty)
    strategy.initialize(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    strategy.run()
    found = nni_probabilities(space)
    probs = {name: torch.stack([found[name][width] for width in WIDTHS]).detach() for name in latency.network.options}
    return outcome(latency, probs, nni_choice(latency, space))


HOSTS = {"plain PyTorch loop": plain_loop, "DARTS of NNI 3.0": in_nni}


def runs_of(host: str, runs: int, steps: int) -> list[dict[str, Any]]:
    """Runs over seeds and targets."""
    torch.set_num_threads(1)
    found = []
    for seed in range(runs):
        target = TARGETS[seed % len(TARGETS)]
        found.append({"seed": seed, "target": target} | HOSTS[host](seed, target, steps))
        tell(f"{host}, run {seed + 1} of {runs}: {found[-1]}")
    return found


def runs_there(python: str, runs: int, steps: int) -> list[dict[str, Any]]:
    """Those of NNI, in another interpreter."""
    command = [python, __file__, "--here", "--runs", str(runs), "--steps", str(steps)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as folder:  # where Lightning may leave what it likes
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=folder)
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="an interpreter that has nni 3.0 and pytorch-lightning (default: one is made)")
    parser.add_argument("--here", action="store_true", help="run NNI in this interpreter, and print JSON")
    parser.add_argument("--runs", type=int, default=20, help="of each host (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=120, help="of the alphas in a run (default: %(default)s)")
    args = parser.parse_args()
    plain, nni = HOSTS
    if args.here:
        print(json.dumps(runs_of(nni, args.runs, args.steps)))
        return 0
    from common.side_by_side import report
    from nni_penalty import make_environment

    with tempfile.TemporaryDirectory() as folder:
        python = args.python or make_environment(Path(folder) / "environment")
        found = {nni: runs_there(python, args.runs, args.steps), plain: runs_of(plain, args.runs, args.steps)}
    figures: dict[str, Any] = {}
    for host, runs in found.items():
        for name, field in (("the network chosen", "share"), ("the largest alphas", "largest")):
            within = [0.97 <= run[field] <= 1 for run in runs]
            figures[f"{host}: share of runs with {name} within 97 and 100 % of the limit"] = statistics.fmean(within)
        figures[f"{host}: largest share of the limit"] = max(run["share"] for run in runs)
        figures[f"{host}: smallest share of the limit"] = min(run["share"] for run in runs)
        off = [abs(run["expected"] - 1) for run in runs]
        figures[f"{host}: expected cycles off the limit in the end, median"] = statistics.median(off)
        figures[f"{host}: expected cycles off the limit in the end, most"] = max(off)
    goals = {name: (">=", 1.0) for name in figures if "network chosen" in name}
    settings = {"runs": args.runs, "steps": args.steps, "targets": TARGETS, "array": "8x8", "threads": 1}
    return 0 if report("limits_in_loops", settings, figures, goals, more={"runs": found}) else 1


if __name__ == "__main__":
    sys.exit(main())
