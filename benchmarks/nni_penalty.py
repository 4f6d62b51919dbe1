"""Which penalty moves the alphas of NNI 3.0: its own, or the one of hwcost.torch.adapters?

NNI's strategies themselves (DARTS, GumbelDARTS, Proxyless) search a small convolutional network with pytorch-lightning,
three times from the same seed: without a penalty, with NNI's ``ExpectationProfilerPenalty`` over the exact cycles of
hwcost (as an expression of its profiler), and with ``hwcost.torch.adapters.nni_penalty`` over the same cycles. The two
penalties have the same value (but for GumbelDARTS, where NNI draws its own sample). NNI's goes through
``export_probs``, whose probabilities are floats: the alphas after a step with it are, bit for bit, those without any
penalty. Adam's first step goes by the sign of the slope, so that every alpha can be asked whether it went down the
slope of the expected cycles; the scale of the penalty is large enough to outweigh the images.

The strategies run in an environment of their own with nni 3.0 and pytorch-lightning, without torchvision. It is made
where none is named, which takes a minute or so:

    python benchmarks/nni_penalty.py
    python benchmarks/nni_penalty.py --python /path/to/an/environment/bin/python
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hwcost import Conv2d, Network, Operation, SystolicArray
from hwcost.torch import LatencyLoss, check_gradient
from hwcost.torch.adapters import BlockCosts, nni_cycles, nni_penalty, nni_probabilities

ROOT = Path(__file__).parents[1]
VERSION = "3.0"
STRATEGIES = ("DARTS", "GumbelDARTS", "Proxyless")
PENALTIES = ("none", "nni", "hwcost")
ARRAY = SystolicArray(8, 8)
SIDE, CLASSES = 8, 4
BASELINE = 1000.0

WIDTHS = Network(
    "widths",
    {
        "first": Operation(Conv2d(1, 8, 3, height=SIDE, width=SIDE, padding="same"), {"out_channels": "width"}),
        "second": Operation(
            Conv2d(8, 8, 3, height=SIDE, width=SIDE, padding="same"), {"in_channels": "width", "kernel_size": "kernel"}
        ),
    },
).space({"width": (8, 12, 16, 24), "kernel": (3, 5)})
OPERATION = {
    "conv5": Conv2d(8, 8, 5, height=SIDE, width=SIDE, padding="same"),
    "conv3": Conv2d(8, 8, 3, height=SIDE, width=SIDE, padding="same"),
    "skip": None,
}
BLOCKS = BlockCosts.of({"operation": OPERATION}, ARRAY)

# ---------------------------------------------------------------- in the environment that has nni


def model_space(with_widths: bool) -> nn.Module:
    """A network with a choice of an operation, and of a width and a kernel where the strategy can search those."""
    import nni
    from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableConv2d

    class Space(ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            width = nni.choice("width", [8, 12, 16, 24]) if with_widths else 8
            kernel = nni.choice("kernel", [3, 5]) if with_widths else 3
            self.first = MutableConv2d(1, width, 3, padding=1)
            self.second = MutableConv2d(width, 8, kernel, padding=kernel // 2)
            candidates = {
                "conv5": nn.Conv2d(8, 8, 5, padding=2),
                "conv3": nn.Conv2d(8, 8, 3, padding=1),
                "skip": nn.Identity(),
            }
            self.operation = LayerChoice(candidates, label="operation")
            self.head = nn.Linear(8, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = self.operation(self.second(self.first(images).relu()).relu())
            return self.head(found.relu().mean((2, 3)))

    space: nn.Module = Space()
    return space


def cycles_of(space: nn.Module, latency: LatencyLoss | None) -> Tensor:
    """The expected cycles of everything that is searched. Gumbel noise is left out: it would need another seed."""
    softmax = functools.partial(torch.softmax, dim=-1)
    cycles = nni_cycles(BLOCKS, space, softmax=softmax)
    return cycles if latency is None else cycles + nni_cycles(latency, space, softmax=softmax)


def expression(latency: LatencyLoss | None) -> Any:
    """The same cycles as an expression of NNI's profiler: a sum of tables of the choices."""
    import nni
    from nni.mutable import MutableExpression

    table = dict(zip(OPERATION, BLOCKS.tables["operation"].values.tolist(), strict=True))
    total = MutableExpression.switch_case(nni.choice("operation", list(OPERATION)), table)
    if latency is not None:
        width, kernel = (nni.choice(name, list(options)) for name, options in WIDTHS.options.items())
        per_width = {}
        for w in WIDTHS.options["width"]:
            exact = {k: float(latency.exact({"width": w, "kernel": k}).total.cycles) for k in (3, 5)}
            per_width[w] = MutableExpression.switch_case(kernel, exact)
        total = total + MutableExpression.switch_case(width, per_width)
    return total


def penalty_of(kind: str, space: nn.Module, latency: LatencyLoss | None, scale: float) -> Any:
    """The penalty of a run."""
    from nni.nas.oneshot.pytorch.profiler import ExpectationProfilerPenalty
    from nni.nas.profiler import ExpressionProfiler

    if kind == "none":
        return None
    if kind == "hwcost":
        return nni_penalty(functools.partial(cycles_of, space, latency), baseline=BASELINE, scale=scale)

    class Profiler(ExpressionProfiler):  # type: ignore[misc]
        """hwcost's cycles."""

        def __init__(self) -> None:
            self.expression = expression(latency)

    return ExpectationProfilerPenalty(Profiler(), baseline=BASELINE, scale=scale)


def search(strategy_name: str, kind: str, *, seed: int, steps: int, scale: float) -> dict[str, Any]:
    """One search by NNI's own strategy: alphas before and after, expected cycles, and what the penalty reaches."""
    import nni.nas.strategy
    import pytorch_lightning
    from nni.nas.evaluator.pytorch import Lightning, Trainer
    from nni.nas.evaluator.pytorch.lightning import LightningModule
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.space import RawFormatModelSpace
    from torch.utils.data import DataLoader, TensorDataset

    class Task(LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.logged: dict[str, float] = {}

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            images, labels = batch
            return nn.functional.cross_entropy(self.model(images), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.05)

    pytorch_lightning.seed_everything(seed, verbose=False)
    with_widths = strategy_name != "Proxyless"  # which cannot search them
    space = model_space(with_widths)
    latency = LatencyLoss(WIDTHS, ARRAY, reference=BASELINE) if with_widths else None
    penalty = penalty_of(kind, space, latency, scale)
    images = torch.randn(16 * steps, 1, SIDE, SIDE)
    labels = torch.randint(CLASSES, (len(images),))
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
    )
    loader = DataLoader(TensorDataset(images, labels), batch_size=16)
    evaluator = Lightning(Task(), trainer, train_dataloaders=loader, val_dataloaders=loader)
    strategy = getattr(nni.nas.strategy, strategy_name)(arc_learning_rate=0.05, penalty=penalty)
    strategy.initialize(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    alphas = {label: _alpha(space, label) for label in nni_probabilities(space)}
    before = {label: alpha.detach().clone() for label, alpha in alphas.items()}
    cycles = cycles_of(space, latency)
    slopes = dict(zip(alphas, torch.autograd.grad(cycles, list(alphas.values())), strict=True))
    reached = ""
    if penalty is not None:
        strategy.oneshot_module.set_model(strategy.supernet)
        term = penalty(torch.tensor(0.0), strategy.oneshot_module.export_probs())[1]["normalized_penalty"]
        reached = str(check_gradient(term, alphas))
    pytorch_lightning.seed_everything(seed, verbose=False)
    strategy.run()
    return {
        "before": {label: alpha.tolist() for label, alpha in before.items()},
        "after": {label: alpha.tolist() for label, alpha in alphas.items()},
        "down": sum(int(((alpha - before[k]) * slopes[k] < 0).sum()) for k, alpha in alphas.items()),
        "count": sum(alpha.numel() for alpha in alphas.values()),
        "cycles_before": cycles.item(),
        "cycles_after": cycles_of(space, latency).item(),
        "penalty": float(trainer.callback_metrics.get("penalty/penalty", float("nan"))),
        "reached": reached,
    }


def _alpha(space: nn.Module, label: str) -> Tensor:
    for module in space.modules():
        alphas: Any = getattr(module, "_arch_alpha", None)
        if isinstance(alphas, Tensor) and getattr(module, "label", None) == label:
            return alphas
        if isinstance(alphas, nn.ParameterDict) and label in alphas:
            found: Tensor = alphas[label]
            return found
    raise KeyError(label)


def run_here(seed: int, steps: int, scale: float) -> dict[str, Any]:
    """All strategies with all penalties, in an interpreter that has nni."""
    import logging
    import warnings
    from importlib import metadata

    warnings.simplefilter("ignore")  # NNI is older than this PyTorch
    logging.disable(logging.INFO)
    runs = {
        name: {kind: search(name, kind, seed=seed, steps=steps, scale=scale) for kind in PENALTIES}
        for name in STRATEGIES
    }
    packages = ("nni", "pytorch-lightning", "torch")
    return {"runs": runs, "versions": {package: metadata.version(package) for package in packages}}


# ---------------------------------------------------------------- around it


def make_environment(folder: Path) -> str:
    """An interpreter with nni and pytorch-lightning, and with this PyTorch; hwcost is read from this checkout.

    Raises:
        subprocess.CalledProcessError: pip could not install them; the reason is in ``stderr``.
    """
    version = torch.__version__.partition("+")[0]
    wanted = [f"nni=={VERSION}", "pytorch-lightning", f"torch=={version}", "click", "array-api-compat"]
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    # half of the time would go into compiling all of PyTorch to byte code, little of which is imported
    install = [python, "-m", "pip", "install", "--no-compile", "--quiet", "--disable-pip-version-check", *wanted]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return python


def run_there(python: str, *, seed: int = 0, steps: int = 1, scale: float = 10.0) -> dict[str, Any]:
    """:func:`run_here` in another interpreter."""
    command = [python, __file__, "--here", "--seed", str(seed), "--steps", str(steps), "--scale", str(scale)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:  # where Lightning may leave what it likes
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    if done.returncode:
        sys.exit(f"NNI failed under {python}:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def figures_of(runs: dict[str, Any]) -> dict[str, Any]:
    """Does a penalty move the alphas, and which way?"""
    figures: dict[str, Any] = {}
    for name, by_kind in runs.items():
        none, theirs, ours = (by_kind[kind] for kind in PENALTIES)
        figures |= {
            f"{name}: NNI's penalty leaves alphas as without one": float(theirs["after"] == none["after"]),
            f"{name}: labels whose alphas hwcost's penalty moves": sum(
                ours["after"][label] != none["after"][label] for label in none["after"]
            ),
            f"{name}: share of alphas down the slope of the cycles, no penalty": none["down"] / none["count"],
            f"{name}: share of alphas down the slope of the cycles, NNI's penalty": theirs["down"] / theirs["count"],
            f"{name}: share of alphas down the slope of the cycles, hwcost's": ours["down"] / ours["count"],
            f"{name}: expected cycles before": ours["cycles_before"],
            f"{name}: expected cycles after, without penalty": none["cycles_after"],
            f"{name}: expected cycles after, NNI's penalty": theirs["cycles_after"],
            f"{name}: expected cycles after, hwcost's penalty": ours["cycles_after"],
            f"{name}: hwcost's over NNI's value of the penalty, at the last step": ours["penalty"] / theirs["penalty"],
        }
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="an interpreter that has nni 3.0 and pytorch-lightning (default: one is made)")
    parser.add_argument("--here", action="store_true", help="run NNI in this interpreter, and print JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1, help="of the alphas (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=10.0, help="of the penalty (default: %(default)s)")
    args = parser.parse_args()
    if args.here:
        print(json.dumps(run_here(args.seed, args.steps, args.scale)))
        return 0
    from side_by_side import report

    with tempfile.TemporaryDirectory() as folder:
        python = args.python or make_environment(Path(folder) / "environment")
        found = run_there(python, seed=args.seed, steps=args.steps, scale=args.scale)
    settings = {"seed": args.seed, "steps": args.steps, "scale": args.scale, "host": found["versions"]}
    figures = figures_of(found["runs"])
    asked = ("as without one", "hwcost's penalty moves", "of the cycles, hwcost's")
    goals = {key: (">=", 1.0) for key in figures if key.endswith(asked)}
    more = {"reached": {name: {k: run["reached"] for k, run in runs.items()} for name, runs in found["runs"].items()}}
    for name, lines in more["reached"].items():
        for kind, line in lines.items():
            print(f"{name}, {kind}: {line or 'no penalty'}")
    return 0 if report("nni_penalty", settings, figures, goals, more=more) else 1


if __name__ == "__main__":
    sys.exit(main())
