"""Widths and kernels of a small ResNet, searched with the latency in the loss: the same as a LightningModule.

    pip install pytorch-lightning
    python examples/resnet_search_lightning.py

Network, space and images are those of ``resnet_search.py``. The module steps two optimisers by hand ("manual
optimisation"), the weights on the training images and the alphas on those held out. It runs under pytorch-lightning if
that is installed, and otherwise under the small trainer below, which calls the same hooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwcost.torch import LatencyLoss
from resnet_search import (
    Images,
    MasksOf,
    ResNet,
    announce,
    array_of,
    options,
    probabilities,
    search_space,
    summarise,
)

try:
    import pytorch_lightning
    from pytorch_lightning import LightningModule, Trainer

    UNDER = f"pytorch-lightning {pytorch_lightning.__version__}"
except ImportError:
    UNDER = "the trainer of this file: pytorch-lightning is not installed"

    class LightningModule(nn.Module):  # type: ignore[no-redef]
        """The part of Lightning's module that the search uses."""

        trainer: Trainer

        def optimizers(self) -> list[torch.optim.Optimizer]:
            """Those that the module configured."""
            return self.trainer.optimizers

        def manual_backward(self, loss: Tensor) -> None:
            """Backward, without Lightning's optional scaling."""
            loss.backward()

        def log_dict(self, values: dict[str, Tensor], prog_bar: bool = False) -> None:
            """Keeps the last values in ``trainer.callback_metrics``."""
            self.trainer.callback_metrics |= values

    @dataclass
    class Trainer:  # type: ignore[no-redef]
        """The part of Lightning's trainer that ``main`` uses."""

        max_epochs: int
        callback_metrics: dict[str, Tensor] = field(default_factory=dict)
        optimizers: list[torch.optim.Optimizer] = field(default_factory=list)

        def fit(self, module: LightningModule, batches: Iterable[Any]) -> None:
            """All steps of all epochs."""
            module.trainer = self
            self.optimizers = module.configure_optimizers()
            for _ in range(self.max_epochs):
                for index, batch in enumerate(batches):
                    module.training_step(batch, index)
                module.on_train_epoch_end()


class ResNetSearch(LightningModule):
    """A search as Lightning sees it.

    Args:
        model: the network at its largest sizes.
        latency: the term over its open widths and kernels.
    """

    def __init__(self, model: ResNet, latency: LatencyLoss) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.latency = latency  # a module, so that its tables move to the device with the rest
        self.model, self.masks_of = model, MasksOf(latency.network)
        # a ParameterDict would ask for names without points
        self.alphas = nn.ParameterList(torch.zeros(len(sizes)) for sizes in latency.network.options.values())

    def named_alphas(self) -> dict[str, Tensor]:
        """The alphas by decision."""
        return dict(zip(self.latency.network.options, self.alphas, strict=True))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One for the weights, one for the alphas."""
        weights = torch.optim.Adam(self.model.parameters(), lr=3e-3)
        return [weights, torch.optim.Adam(self.alphas.parameters(), lr=0.05)]

    def training_step(self, batch: tuple[str, Tensor, Tensor], batch_idx: int) -> None:
        """A step for the weights or for the alphas, as the batch asks."""
        purpose, pixels, labels = batch
        weight_optimiser, alpha_optimiser = self.optimizers()
        gates = probabilities(self.named_alphas())
        loss = F.cross_entropy(self.model(pixels, self.masks_of(gates)), labels)
        if purpose == "alphas":
            loss, details = self.latency.penalise(loss, gates)
            self.log_dict({"task_loss": details["task_loss"], "latency": details["latency"]}, prog_bar=True)
        optimiser = alpha_optimiser if purpose == "alphas" else weight_optimiser
        optimiser.zero_grad()
        self.manual_backward(loss)
        optimiser.step()

    def on_train_epoch_end(self) -> None:
        """Prints the progress in one line."""
        found = self.trainer.callback_metrics
        print(f"loss {found['task_loss']:.3f}, latency {found['latency']:.3f} of the widest")


@dataclass(frozen=True)
class Batches:
    """In each epoch the training images, then those held out; each batch comes with its purpose."""

    train: Images
    held_out: Images
    random: torch.Generator

    def __iter__(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        for pixels, labels in self.train.batches(64, self.random):
            yield "weights", pixels, labels
        for pixels, labels in self.held_out.batches(64, self.random):
            yield "alphas", pixels, labels


def main() -> None:
    asked = options(__doc__)
    torch.manual_seed(asked.seed)
    model = ResNet()
    latency = LatencyLoss(search_space(model), array_of(asked.array), weight=asked.weight)
    search = ResNetSearch(model, latency)
    print(f"under {UNDER}")
    announce(latency, search.named_alphas())
    train, held_out = Images.generate(asked.images, seed=1).split()
    batches = Batches(train, held_out, torch.Generator().manual_seed(asked.seed))
    settings: dict[str, Any] = {"max_epochs": asked.epochs}
    if UNDER.startswith("pytorch-lightning"):
        quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        settings |= {"accelerator": "cpu"} | dict.fromkeys(quiet, False)
    Trainer(**settings).fit(search, batches)
    summarise(model, search.masks_of, latency, search.named_alphas(), train)


if __name__ == "__main__":
    main()
