"""The weight of a cost in a loss, moved so that the cost goes to a target."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hwcost.arrays import is_real
from hwcost.errors import InvalidValueError
from hwcost.units import number

__all__ = ["TargetWeight", "check_weight"]

GAIN = 0.02  # a step at twice the target multiplies the weight by exp(GAIN)
# at least this is added to the weight at twice the target, and subtracted at a cost of 0, so that a search that fell
# short comes back; a weight above it is added itself, without which large losses overshoot
PULL = 1.0
LEAST, MOST = 1e-4, 1e3


def check_weight(weight: float) -> float:
    """A weight. Raises InvalidValueError unless it is a number from 0 to 1e9."""
    if not is_real(weight) or not 0 <= weight <= 1e9:
        raise InvalidValueError("weight", weight, "a number from 0 to 1e9")
    return float(weight)


class TargetWeight(nn.Module):
    """The weight lambda of a cost in L = L_data + lambda * cost / reference, which moves until the cost meets a target.

    It rises while the cost exceeds the target and falls while it is below: dual ascent on its logarithm, with a pull
    that is proportional to the distance. Its state is part of ``state_dict``, so that a search can be resumed.

    Args:
        target: of the cost, in its own unit, like cycles.
        reference: the cost that counts as 1; the target itself by default.
        weight: to begin with.

    Raises:
        InvalidValueError: a target or reference that is not a finite number above 0, a weight outside of 0 to 1e9.

    >>> target, width = TargetWeight(20.0), torch.tensor(30.0, requires_grad=True)
    >>> optimizer = torch.optim.SGD([width], lr=5.0)
    >>> for _ in range(1000):
    ...     optimizer.zero_grad()
    ...     loss = (0.1 * width - 4) ** 2 + target.penalty(width)  # alone, the width would become 40
    ...     loss.backward()
    ...     optimizer.step()
    >>> round(width.item(), 1)
    20.0
    """

    def __init__(self, target: float, *, reference: float | None = None, weight: float = 0.1) -> None:
        super().__init__()
        self.target, self.reference = target, target if reference is None else reference
        for name, value in (("target", self.target), ("reference", self.reference)):
            if not is_real(value) or not 0 < value < math.inf:
                raise InvalidValueError(name, value, "a finite number above 0")
        self.weight = check_weight(weight)

    def extra_repr(self) -> str:
        """The target, the reference and the weight as it is now: what ``print`` shows."""
        reference = "" if self.reference == self.target else f"reference {number(self.reference)}; "
        return f"target {number(self.target)}; {reference}weight {self.weight:.4g}"

    def step(self, cost: Tensor | float) -> float:
        """Moves the weight by one step; returns the weight in this step, which below 0 asks for more of the cost.

        An accelerator has to wait for the value of the cost.

        Args:
            cost: as it is now, a scalar.

        Raises:
            InvalidValueError: a cost that is not finite.
        """
        value = float(cost.detach() if isinstance(cost, Tensor) else cost)
        if not math.isfinite(value):
            raise InvalidValueError("cost", value, "a finite number")
        off = min(max(value / self.target - 1, -1.0), 1.0)
        self.weight = min(max(self.weight, LEAST) * math.exp(GAIN * off), MOST)
        return self.weight + max(PULL, self.weight) * off

    def penalty(self, cost: Tensor) -> Tensor:
        """The weight times the cost, in units of the reference; in training mode the weight moves."""
        return cost * ((self.step(cost) if self.training else self.weight) / self.reference)

    def get_extra_state(self) -> Tensor:
        """The weight, for ``state_dict``."""
        return torch.tensor(self.weight, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Takes the weight of :meth:`get_extra_state`."""
        self.weight = check_weight(float(state))
