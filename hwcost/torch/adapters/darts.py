"""Logits for each decision: DARTS, FBNetV2."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TypeAlias

from torch import Tensor

from hwcost.errors import InvalidValueError
from hwcost.torch.loss import LatencyLoss

__all__ = ["Softmax", "relaxed_latency"]

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

    >>> import torch
    >>> from hwcost import Linear, Network, Operation, SystolicArray
    >>> network = Network("one", {"fc": Operation(Linear(8, 16), {"out_features": "width"})})
    >>> latency = LatencyLoss(network.space({"width": (8, 16)}), SystolicArray(8, 8))
    >>> relaxed_latency(latency, {"width": torch.zeros(2, requires_grad=True)})
    tensor(0.7500, grad_fn=<DivBackward0>)
    """
    probs = {name: alpha if softmax is None else softmax(alpha) for name, alpha in alphas.items()}
    try:
        term: Tensor = latency(probs)
    except InvalidValueError as error:
        raise error.at(error.field.replace("probs", "alphas", 1)) from None
    return term
