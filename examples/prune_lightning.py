"""A network pruned in steps, with a LightningModule that trains it on after each.

    pip install pytorch-lightning
    python examples/prune_lightning.py

A network of a residual block a stage for made images is trained, and cut to 0.75, then to 0.5 of its cycles. Each time
the smaller network goes on under Lightning if that is installed, and otherwise under the trainer of this file, which
calls the same hooks. A LightningModule around your network needs no change: give ``prune`` the network inside of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hwcost import SystolicArray
from hwcost.torch import schedule
from resnet_search import SIDE, Images, ResNet

try:
    import pytorch_lightning
    from pytorch_lightning import LightningModule, Trainer

    UNDER = f"pytorch-lightning {pytorch_lightning.__version__}"
except ImportError:
    UNDER = "the trainer of this file: pytorch-lightning is not installed"

    class LightningModule(nn.Module):  # type: ignore[no-redef]
        """The part of Lightning's module that is used here."""

    @dataclass
    class Trainer:  # type: ignore[no-redef]
        """The part of Lightning's trainer that is used here."""

        max_epochs: int

        def fit(self, module: LightningModule, batches: Iterable[Any]) -> None:
            """All steps of all epochs."""
            optimizer = module.configure_optimizers()
            module.train()
            for _ in range(self.max_epochs):
                for index, batch in enumerate(batches):
                    optimizer.zero_grad()
                    module.training_step(batch, index).backward()
                    optimizer.step()
            module.eval()


class Classifier(LightningModule):
    """A network, its loss and its optimizer, as Lightning sees them."""

    def __init__(self, network: nn.Module, learning_rate: float = 3e-3) -> None:
        super().__init__()
        self.network, self.learning_rate = network, learning_rate

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch."""
        pixels, labels = batch
        return F.cross_entropy(self.network(pixels), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One for all weights."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


def loader(count: int, seed: int) -> DataLoader:
    images = Images.generate(count, seed)
    return DataLoader(TensorDataset(images.pixels, images.labels), 64, shuffle=True)


def accuracy(network: nn.Module, batches: DataLoader) -> float:
    with torch.no_grad():
        hits = [(network(pixels).argmax(1) == labels).float().mean() for pixels, labels in batches]
    return float(torch.stack(hits).mean())


def fit(network: nn.Module, batches: DataLoader, epochs: int) -> None:
    """Trains under Lightning, in place."""
    settings: dict[str, Any] = {"max_epochs": epochs}
    if UNDER.startswith("pytorch-lightning"):
        quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        settings |= {"accelerator": "cpu"} | dict.fromkeys(quiet, False)
    Trainer(**settings).fit(Classifier(network), batches)
    network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1280)
    asked = parser.parse_args()
    torch.manual_seed(0)
    network, example = ResNet(), torch.zeros(1, 3, SIDE, SIDE)
    batches, held_out = loader(asked.images, 1), loader(asked.images // 4, 2)
    print(f"under {UNDER}")
    fit(network, batches, 5)
    print(f"trained: {accuracy(network, held_out):.1%} on held-out images")
    settings = {"data": batches, "held_out": held_out}
    for step in schedule(network, example, SystolicArray(8, 8), targets=(0.75, 0.5), **settings):
        before = accuracy(step.model, held_out)
        fit(step.model, batches, 2)
        report = step.report
        print(f"{report.asked}: {report.after.cycles} cycles, {step.sizes}")
        print(f"  {before:.1%} after cutting, {accuracy(step.model, held_out):.1%} after two more epochs")


if __name__ == "__main__":
    main()
