"""The widths of any module by gradient descent: masks on its channels, and the latency in the loss.

    L = L_data + lambda * L_latency

In each epoch the weights train on four fifths of the data by SGD, on L_data alone, under masks drawn by
Gumbel-softmax; then the logits alpha of the sizes train on the last fifth by Adam, on L. Lambda moves so that the exact
expected cycles go to the limit. Sources: Liu et al., DARTS, ICLR 2019; Wan et al., FBNetV2, CVPR 2020.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwcost.advice.tables import Allowed
from hwcost.arrays import is_real
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.network.network import Network
from hwcost.network.operations import whole
from hwcost.network.pricing import network_cost
from hwcost.pruning.batches import Batch, Loss, Task, device_of, seed_of, seeded
from hwcost.pruning.beginning import begun, check_scored, notes_of, read, read_within
from hwcost.pruning.building import Problem, built, settings_of, with_stages
from hwcost.pruning.candidates import Pool
from hwcost.pruning.choosing import Choice, stairs
from hwcost.pruning.curves import sizes_to_measure
from hwcost.pruning.masking import Masked
from hwcost.pruning.result import Pruned
from hwcost.pruning.splitting import split
from hwcost.pruning.tuning import MakeOptimizer, Tuning, descended
from hwcost.pruning.valuing import Work
from hwcost.pruning.weights import weights_digest
from hwcost.torch.alphas import Alphas
from hwcost.torch.loss import LatencyLoss

__all__ = ["darts"]

TAU_FIRST, TAU_LAST = 2.0, 0.5
OVERLAP = (
    "alpha and the weights learn from the same examples in different epochs: pass a DataLoader over a data set to keep "
    "them apart"
)


class WidthSearch(Tuning):
    """Epochs of weights and alpha in turn, which can stop after each and go on.

    Args:
        masked: the module, trained in place.
        latency: the loss term, with a limit.
        task: data and loss of the weights.
        others: the batches of alpha.
        epochs: of all; in the first one alpha is left alone, if there are more.
        alpha_lr: of Adam.
        more: as for :class:`hwcost.pruning.tuning.Tuning`.
    """

    def __init__(
        self,
        masked: Masked,
        latency: LatencyLoss,
        task: Task,
        others: Task,
        epochs: int,
        *,
        alpha_lr: float,
        **more: Any,
    ) -> None:
        super().__init__(masked.model, None, task, epochs, distil=0, **more)
        self.masked, self.others = masked, others
        self.latency = latency.to(device_of(masked.model))
        self.alphas = Alphas(latency.network.options).to(device_of(masked.model))
        self.adam = torch.optim.Adam(self.alphas.parameters(), lr=alpha_lr)

    def run_epoch(self, advance: Callable[[int], Any] = lambda count: None) -> None:
        """One pass over the data of the weights, and one over those of alpha."""
        first = self.epoch == 0 and self.epochs > 1
        super().run_epoch(advance)
        if not first:
            self._train_alphas(self.epoch - 1)

    def probabilities(self) -> dict[str, Tensor]:
        """Of the options of each width."""
        return self.alphas.split(self.alphas.probabilities())

    def _drawn(self, epoch: int, number: int, purpose: str) -> dict[str, Tensor]:
        """A sample of the Gumbel-softmax distribution for each width."""
        tau = TAU_FIRST * (TAU_LAST / TAU_FIRST) ** (epoch / max(1, self.epochs - 1))
        with seeded(None, self.seed, f"gumbel of {purpose}, epoch {epoch}", number):
            return self.alphas.split(self.alphas.sample(tau))

    def _backward(self, batch: Batch, number: int) -> float:
        self.masked.probs = {name: each.detach() for name, each in self._drawn(self.epoch, number, "weights").items()}
        return descended(self.task.of(self.masked, batch)[1])

    def _train_alphas(self, epoch: int) -> None:
        self.model.train()
        for each in self.trained:
            each.requires_grad_(False)
        try:
            with seeded(self.others.data, self.seed, "fine-tuning", epoch):  # as the weights had, so that parts differ
                for number, batch in enumerate(self.others.batches(device_of(self.model))):
                    self.masked.probs = self._drawn(epoch, number, "alpha")
                    loss, _ = self.latency.penalise(self.others.of(self.masked, batch)[1], self.probabilities())
                    self.adam.zero_grad(set_to_none=True)
                    descended(loss)
                    self.adam.step()
        finally:
            for each in self.trained:
                each.requires_grad_(True)
            self.model.eval()

    def more_state(self) -> dict[str, Any]:
        """Alpha, its optimizer and lambda."""
        return {"alphas": self.alphas.state_dict(), "adam": self.adam.state_dict(), "lambda": self.latency.weight}

    def load_more_state(self, state: Mapping[str, Any]) -> None:
        """Takes what :meth:`more_state` gave."""
        self.alphas.load_state_dict(state["alphas"])
        self.adam.load_state_dict(state["adam"])
        self.latency.weight = state["lambda"]


def darts(
    model: nn.Module,
    example_inputs: Any,
    array: SystolicArray | str,
    *,
    target: float | None = None,
    cycles: float | None = None,
    seconds: float | None = None,
    data: Iterable[Any],
    loss: Loss = F.cross_entropy,
    held_out: Iterable[Any] | None = None,
    epochs: int = 6,
    options: int = 8,
    importance: Any = "taylor",
    keep: Sequence[str] = (),
    least: float = 0.25,
    multiple: int = 1,
    alpha_lr: float = 0.1,
    optimizer: MakeOptimizer | None = None,
    seed: int = 0,
    name: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Pruned:
    """Searches for the widths of a module by gradient descent, and cuts it to an exact limit.

    Every width has some of the ends of its stairs as options, and each channel is masked by the
    probability of those that keep it. Weights and probabilities train in turn, as in DARTS, with the exact
    expected cycles in the loss; then the most probable network within the limit is cut out of the trained weights. For
    a trained module try :func:`prune` first; this is the way of the author's search.

    Args:
        model: a module, trained or not; it is not changed.
        example_inputs: as for :func:`prune`.
        array: the accelerator, or the name of a device.
        target, cycles, seconds: the limit, as for :func:`prune`.
        data, loss, held_out: as for :func:`prune`. Weights learn from four fifths of the data, alpha from one fifth:
            a loader of PyTorch's over a data set is split by examples, whatever its sampler draws, and a list by
            batches. Of other data every fifth batch of a pass is for alpha, and a note says that both see all examples.
        epochs: of the search; in the first one only weights learn.
        options: the most sizes of a width, today's included.
        importance, keep, least, multiple: as for :func:`supernet`.
        alpha_lr: the learning rate of Adam.
        optimizer: of the weights, as for :meth:`Pruned.fine_tune`.
        seed: of the order of data, and of the masks.
        name: of the network.
        checkpoint: a file to write after each epoch. If it is there already, the search goes on from it, and ends with
            the same bits.
        progress: called with the number of batches of the weights done and that of all.

    Raises:
        InvalidValueError: as :func:`prune`; a checkpoint that is damaged or of another search.

    >>> model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    >>> batches = [(torch.randn(16, 8), torch.randint(2, (16,))) for _ in range(5)]
    >>> result = darts(model, torch.zeros(1, 8), SystolicArray(4, 4), target=0.5, data=batches, epochs=2)
    >>> result.report.after.cycles <= 0.5 * result.report.before.cycles
    True
    """
    network = read(model, example_inputs, name)
    machine, limit, device = read_within(network, array, target=target, cycles=cycles, seconds=seconds)
    if not isinstance(machine, SystolicArray):
        raise InvalidValueError("array", array, "a SystolicArray or the name of a device: costs need a gradient")
    of_scores, most, seed = check_scored(model, importance), whole(options, "options"), seed_of(seed)
    if not is_real(alpha_lr) or not 0 < alpha_lr < math.inf:
        raise InvalidValueError("alpha_lr", alpha_lr, "a number above 0")
    work = Work(model, network, Task(data, loss), seed)
    own, held, notes, scores, _ = begun(
        work,
        example_inputs,
        Allowed.checked(multiple, least, keep),
        lambda allowed: {width: sizes for width, sizes in stairs(network, machine, allowed).items() if len(sizes) > 1},
        lambda names: importance,
        loss,
        held_out,
        within=(machine, limit),
    )
    space = network.space({
        width: (*sizes_to_measure(sizes, max(1, most - 1)), network.widths[width].size)
        for width, sizes in own.options.items()
    })  # fmt: skip
    of_weights, of_alpha, is_apart = split(data, seed)
    settings = settings_of(
        model, own.allowed, keep, importance=of_scores, seed=seed, epochs=epochs, options=most, alpha_lr=alpha_lr,
        method="darts",
    )  # fmt: skip
    latency = LatencyLoss(space, machine, cycles=limit.cycles)
    masked = Masked(copy.deepcopy(model), space, scores)
    search = WidthSearch(
        masked, latency, Task(of_weights, loss), Task(of_alpha, loss), epochs, alpha_lr=alpha_lr, seed=seed,
        make_optimizer=optimizer,
    )  # fmt: skip
    search.run(checkpoint, _identity(search, settings, model, space, scores, limit.cycles, checkpoint), progress)
    sizes = latency.choose(search.probabilities())
    if sizes is None:
        raise InvalidValueError(limit.field, limit.value, "more options, or a smaller least")
    first = tuple(sizes.values())
    pool = Pool({width: own.options[width] for width in sizes}, network, machine, limit.cycles, first)
    filled = pool.grown(first, np.random.default_rng(seed))  # between the options there are others
    sizes = dict(zip(sizes, filled, strict=True))
    changed = {width: size for width, size in sizes.items() if size != network.widths[width].size}
    notes += [] if is_apart else [OVERLAP]
    notes = [*notes_of(network), *notes]
    problem = Problem(model, example_inputs, network, machine, limit, own.kept_by, notes, device=device)
    choice = Choice(changed, network_cost(network.at(sizes), machine).total.cycles, latency.floor, None)
    result = built(problem, choice, scores, settings, seed=seed, weights=masked.model)
    return with_stages(result, work, held, loss, "found by darts")


def _identity(
    search: WidthSearch,
    settings: Mapping[str, Any],
    model: nn.Module,
    space: Network,
    scores: Mapping[str, Any],
    limit: float,
    checkpoint: Any,
) -> dict[str, Any]:
    """What a search follows from, as plain data."""
    found = search.identity | {"limit": limit, "alpha_lr": float(settings["alpha_lr"])}
    found |= {name: settings[name] for name in ("importance", "options")}
    if checkpoint is not None:
        more = {name: (sizes, scores[name].tolist()) for name, sizes in space.options.items()}
        found["weights"] = weights_digest(model, more)
    return found
