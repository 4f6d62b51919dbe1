"""Logits for each decision: DARTS, FBNetV2."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hwcost.errors import InvalidValueError
from hwcost.torch.loss import LatencyLoss

__all__ = ["Softmax", "relaxed_choice", "relaxed_latency", "relaxed_penalty"]

Softmax: TypeAlias = Callable[[Tensor], Tensor]


_SOFTMAX: Softmax = functools.partial(Tensor.softmax, dim=-1)


def relaxed_latency(
    latency: LatencyLoss, alphas: Mapping[str, Tensor], *, softmax: Softmax | None = _SOFTMAX
) -> Tensor:
    """The latency for architecture parameters as DARTS and FBNetV2 hold them: a vector of logits for each decision.

    Args:
        latency: the term over the open widths of a network, with any relaxation.
        alphas: for each decision a vector as long as it has options.
        softmax: turns logits into probabilities: the host's own, as ``functools.partial(F.gumbel_softmax, tau=2)``.
            None: ``alphas`` are probabilities already. If the host mixes its layers by a Gumbel sample, pass that
            sample and None, so that latency and layers see the same one.

    Returns:
        The latency in units of the term's reference, a scalar with gradient.

    Raises:
        InvalidValueError: a decision is missing or unknown, or of another length; probabilities are negative or do not
            sum to 1 (raw alphas, for example).
        NoGradientError: nothing carries a gradient, as in :class:`hwcost.torch.LatencyLoss`.

    Source: Liu et al., "DARTS: differentiable architecture search", ICLR 2019; Wan et al., "FBNetV2", CVPR 2020.

    >>> from hwcost import Linear, Network, Operation, SystolicArray
    >>> network = Network("one", {"fc": Operation(Linear(8, 16), {"out_features": "width"})})
    >>> latency = LatencyLoss(network.space({"width": (8, 16)}), SystolicArray(8, 8))
    >>> relaxed_latency(latency, {"width": torch.zeros(2, requires_grad=True)})
    tensor(0.7500, grad_fn=<DivBackward0>)
    """
    term: Tensor = _of_alphas(latency, alphas, softmax)
    return term


def relaxed_penalty(
    latency: LatencyLoss, alphas: Mapping[str, Tensor], *, softmax: Softmax | None = _SOFTMAX
) -> Tensor:
    """The latency times its weight, which moves in each call if the term has a limit; the rest as above.

    >>> from hwcost import Linear, Network, Operation, SystolicArray
    >>> network = Network("one", {"fc": Operation(Linear(8, 16), {"out_features": "width"})})
    >>> latency = LatencyLoss(network.space({"width": (8, 16)}), SystolicArray(8, 8), target=0.5)
    >>> alphas = {"width": torch.zeros(2, requires_grad=True)}
    >>> relaxed_penalty(latency, alphas).item() > 0.1 * relaxed_latency(latency, alphas).item()
    True
    >>> relaxed_choice(latency, alphas)
    {'width': 8}
    """
    term: Tensor = _of_alphas(lambda probs: latency.penalise(torch.zeros(()), probs)[0], alphas, softmax)
    return term


def relaxed_choice(latency: LatencyLoss, alphas: Mapping[str, Tensor]) -> dict[str, int] | None:
    """The most probable network within the limit of the term, as :meth:`hwcost.torch.LatencyLoss.choose` finds it."""
    found: dict[str, int] | None = _of_alphas(latency.choose, alphas, _SOFTMAX)
    return found


def _of_alphas(function: Callable[[Any], Any], alphas: Mapping[str, Tensor], softmax: Softmax | None) -> Any:
    """A function of probabilities, for alphas."""
    try:
        return function({name: alpha if softmax is None else softmax(alpha) for name, alpha in alphas.items()})
    except InvalidValueError as error:
        raise error.at(error.field.replace("probs", "alphas", 1)) from None
