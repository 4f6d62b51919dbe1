"""Energy, and energy times latency, as loss terms in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.energies import check_energy
from hwcost.network.network import Network
from hwcost.network.pricing import Report
from hwcost.relaxation import Relaxation
from hwcost.torch.loss import CostLoss, LatencyLoss, Probabilities
from hwcost.torch.target import check_weight

__all__ = ["EnergyDelayLoss", "EnergyLoss"]


class EnergyLoss(CostLoss):
    """L = L_data + weight * energy / reference, the energy as a function of architecture probabilities.

    Energy adds over layers, so that its expectation over the probabilities is as exact as that of the latency.

    Args:
        network: with options, as :meth:`hwcost.network.network.Network.space` makes it.
        array: an accelerator with figures of energy, as :func:`hwcost.machine.energies.with_energy` makes it; or the
            name of a device that has some.
        relaxation: None for the exact expectation over the probabilities, or one for the smooth energy at the expected
            widths; as for :class:`hwcost.torch.LatencyLoss`.
        reference: joules that count as an energy of 1; or a choice of sizes by decision, whose exact energy is taken.
            By default the network as it is today.
        weight: lambda; with a limit, where it starts.
        target: a limit as a share of the reference, as for :class:`hwcost.torch.LatencyLoss`.
        joules: a limit on the energy of a run, in place of ``target``.
        skip_unsupported: leave out operations that cannot be priced instead of raising.

    Raises:
        InvalidValueError: a machine without figures of energy; and as for :class:`hwcost.torch.LatencyLoss`.

    >>> from hwcost import Linear, Network, Operation
    >>> from hwcost.machine.energies import with_energy
    >>> array = with_energy(SystolicArray(8, 8, buffer_bytes=65536.0), "45nm-textbook")
    >>> network = Network("one", {"fc": Operation(Linear(64, 64, batch=16), {"out_features": "width"})})
    >>> loss = EnergyLoss(network.space({"width": (32, 64)}), array)
    >>> probs = {"width": torch.tensor([0.5, 0.5], requires_grad=True)}
    >>> round(loss(probs).item(), 3), round(1e9 * loss.joules(probs).item())
    (0.785, 1323)
    """

    FIGURE = "energy_joules"
    NAME = "energy"

    def __init__(
        self,
        network: Network,
        array: SystolicArray | str,
        *,
        relaxation: Relaxation | str | None = None,
        reference: float | Mapping[str, int] | None = None,
        weight: float = 0.1,
        target: float | None = None,
        joules: float | None = None,
        skip_unsupported: bool = False,
    ) -> None:
        super().__init__(
            network, array, relaxation=relaxation, reference=reference, weight=weight,
            skip_unsupported=skip_unsupported, target=target, joules=joules,
        )  # fmt: skip

    def _check(self, array: SystolicArray) -> SystolicArray:
        return check_energy(array)

    def joules(self, probs: Probabilities) -> Tensor:
        """The energy in joules: as :meth:`forward`, not divided by the reference."""
        return self.cost(probs)


class EnergyDelayLoss(nn.Module):
    """L = L_data + weight * energy * latency / reference: the energy-delay product (EDP).

    The product of the expected energy and the expected latency, which is the exact EDP once every decision is made.

    Args:
        network: with options, as :meth:`hwcost.network.network.Network.space` makes it.
        array: an accelerator with figures of energy, or the name of a device that has some.
        relaxation: as for :class:`hwcost.torch.LatencyLoss`.
        reference: a choice of sizes by decision whose exact EDP counts as 1; by default the network as it is today.
        weight: lambda.
        skip_unsupported: leave out operations that cannot be priced instead of raising.

    Raises:
        InvalidValueError: as for :class:`EnergyLoss`.

    >>> from hwcost import Linear, Network, Operation
    >>> from hwcost.machine.energies import with_energy
    >>> array = with_energy(SystolicArray(8, 8, buffer_bytes=65536.0), "45nm-textbook")
    >>> network = Network("one", {"fc": Operation(Linear(64, 64, batch=16), {"out_features": "width"})})
    >>> loss = EnergyDelayLoss(network.space({"width": (32, 64)}), array)
    >>> round(loss({"width": torch.tensor([1.0, 0.0], requires_grad=True)}).item(), 3)
    0.285
    >>> round(loss.exact({"width": 32}).total.energy_delay / loss.exact({}).total.energy_delay, 3)
    0.285
    """

    def __init__(
        self,
        network: Network,
        array: SystolicArray | str,
        *,
        relaxation: Relaxation | str | None = None,
        reference: Mapping[str, int] | None = None,
        weight: float = 0.1,
        skip_unsupported: bool = False,
    ) -> None:
        super().__init__()
        if reference is not None and not isinstance(reference, Mapping):
            raise InvalidValueError("reference", reference, "a choice of sizes by decision")
        self.weight = check_weight(weight)
        of_both = {"relaxation": relaxation, "reference": reference, "skip_unsupported": skip_unsupported}
        self.energy = EnergyLoss(network, array, **of_both)  # type: ignore[arg-type]
        self.latency = LatencyLoss(network, array, **of_both)  # type: ignore[arg-type]

    def forward(self, probs: Probabilities) -> Tensor:
        """Energy times latency in units of the reference: a scalar, differentiable in the probabilities.

        Args:
            probs: as for :meth:`hwcost.torch.LatencyLoss.forward`, which also says what it raises.
        """
        product: Tensor = self.energy(probs) * self.latency(probs)
        return product

    def penalise(self, task_loss: Tensor, probs: Probabilities) -> tuple[Tensor, dict[str, Tensor]]:
        """``task_loss + weight * EDP``, and the parts for a log.

        Returns:
            The total, and ``{"task_loss", "energy", "latency", "penalty"}`` as scalars without gradient.

        Raises:
            InvalidValueError, NoGradientError: as :meth:`forward`; a ``task_loss`` that is not a tensor.
        """
        if not isinstance(task_loss, Tensor):
            raise InvalidValueError("task_loss", task_loss, "a tensor")
        energy, latency = self.energy(probs), self.latency(probs)
        parts = {"task_loss": task_loss, "energy": energy, "latency": latency}
        parts["penalty"] = self.weight * energy * latency
        details = {name: each.detach() for name, each in parts.items()}
        return torch.add(task_loss, parts["penalty"]), details

    def choose(self, probs: Probabilities) -> dict[str, int] | None:
        """The most probable network: the size of each decision with the largest probability."""
        return self.latency.choose(probs)

    def exact(self, choice: Mapping[str, int]) -> Report:
        """The exact cost of one choice of sizes, layer by layer and in total; other widths stay as today."""
        return self.latency.exact(choice)
