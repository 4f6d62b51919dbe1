"""Modules with alphas by label: NNI 3.0."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hwcost.errors import InvalidValueError, unknown
from hwcost.torch.adapters.blocks import BlockCosts
from hwcost.torch.adapters.darts import Softmax
from hwcost.torch.loss import LatencyLoss
from hwcost.torch.target import TargetWeight

__all__ = ["nni_choice", "nni_cycles", "nni_penalty", "nni_probabilities"]


def nni_probabilities(supernet: nn.Module, *, softmax: Softmax | None = None) -> dict[str, dict[Hashable, Tensor]]:
    """The probabilities of NNI's ``export_probs``, which are floats there, with their gradient.

    Args:
        supernet: a model space after an NNI 3.0 strategy (DARTS, GumbelDARTS, Proxyless) has mutated it in place.
        softmax: turns alphas into probabilities; by default the strategy's own, which for GumbelDARTS draws a new
            sample.

    Returns:
        For each label a mapping from options to probabilities.

    Raises:
        InvalidValueError: nothing in the model has alphas.
    """
    found: dict[str, dict[Hashable, Tensor]] = {}
    module: Any
    for module in supernet.modules():
        export = getattr(module, "export_probs", None)
        for label, shares in export({}).items() if callable(export) else ():
            alphas = getattr(module, "_arch_alpha", None)
            if alphas is None:  # a depth under Proxyless, made of other modules' alphas: these are tensors already
                values = shares.values()
            else:
                values = (softmax or module._softmax)(alphas if isinstance(alphas, Tensor) else alphas[label])
            # in a cell the last alpha, for no edge at all, has no name
            found.setdefault(label, dict(zip(shares, values, strict=False)))
    if not found:
        raise InvalidValueError("supernet", type(supernet).__name__, "a model that an NNI strategy has mutated")
    return found


def nni_cycles(latency: LatencyLoss | BlockCosts, supernet: nn.Module, *, softmax: Softmax | None = None) -> Tensor:
    """The cycles of an NNI super-network, with gradient in its alphas.

    Args:
        latency: a term whose decisions are named by NNI's labels and have its options (widths and kernels of mutable
            layers), or the costs of blocks named by the labels of layer choices, whose candidates have its names.
            Other labels of the super-network play no part.
        supernet, softmax: as for :func:`nni_probabilities`.

    Returns:
        A scalar. Terms add up, since each covers only its own layers.

    Raises:
        InvalidValueError: a decision or block without a label, or with other options.
    """
    return latency.cycles(_wanted(latency, supernet, softmax))


def nni_choice(
    latency: LatencyLoss | BlockCosts, supernet: nn.Module, *, limit: float | None = None
) -> dict[str, Any] | None:
    """The most probable network of an NNI super-network whose exact cycles are within the limit, for ``freeze``.

    Args:
        latency, supernet: as for :func:`nni_cycles`. Probabilities are the softmax of the alphas, without noise.
        limit: in cycles, of :class:`BlockCosts`; a term has its own.

    Returns:
        An option for each label, as NNI's ``export_arch_hparams`` gives them; None if no network is within the limit.

    Raises:
        InvalidValueError: as :func:`nni_cycles`; a limit for a term, or none for blocks.
    """
    shares = _wanted(latency, supernet, functools.partial(torch.softmax, dim=-1))
    if isinstance(latency, BlockCosts):
        return latency.choose(shares, limit)  # type: ignore[arg-type]
    if limit is not None:
        raise InvalidValueError("limit", limit, "leave it out; LatencyLoss(target=...) has its own")
    return latency.choose(shares)


def _wanted(latency: LatencyLoss | BlockCosts, supernet: nn.Module, softmax: Softmax | None) -> dict[str, Tensor]:
    """The probabilities of the decisions or blocks of a term, in the order of its options."""
    shares = nni_probabilities(supernet, softmax=softmax)
    wanted: Mapping[str, Sequence[Hashable]]
    wanted = latency.candidates if isinstance(latency, BlockCosts) else latency.network.options
    for label, options in wanted.items():
        if label not in shares:
            raise InvalidValueError("the model", label, map(str, shares), form=unknown("decision or block"))
        if set(options) != set(shares[label]):
            raise InvalidValueError(f"options[{label!r}]", tuple(options), f"those of NNI: {tuple(shares[label])}")
    return {label: torch.stack([shares[label][o] for o in opts]) for label, opts in wanted.items()}


def nni_penalty(
    cycles: Callable[[], Tensor],
    *,
    baseline: float | None = None,
    scale: float = 1.0,
    target: TargetWeight | None = None,
    **options: Any,
) -> Any:
    """The penalty of an NNI 3.0 strategy, with a gradient.

    NNI computes its own from ``export_probs``, whose probabilities are floats: the loss grows and no alpha moves. This
    one takes its place as ``DARTS(penalty=...)`` and calls ``cycles`` in each step::

        penalty = nni_penalty(functools.partial(nni_cycles, latency, model_space), baseline=latency.reference)

    Args:
        cycles: called without arguments in each architecture step.
        baseline, scale, options: as for NNI's ``ExpectationProfilerPenalty``, of which it is a subclass:
            loss + scale * (cycles / baseline - 1) by default.
        target: the weight that takes the place of ``scale`` and moves in each step until the cycles are at its target,
            as ``latency.target_weight`` of a term with a limit. Its reference is then the baseline.

    Raises:
        InvalidValueError: neither a baseline nor a target, or both.
        ImportError: nni 3.0 is not installed.
    """
    if (baseline is None) == (target is None):
        raise InvalidValueError("baseline", baseline, "cycles, or a target in place of it")

    from nni.nas.oneshot.pytorch.profiler import ExpectationProfilerPenalty  # type: ignore[import-not-found]

    class Penalty(ExpectationProfilerPenalty):  # type: ignore[misc]
        """Cycles with a gradient, whatever the exported probabilities are."""

        def profile(self, sample: object) -> Tensor:
            """Ignores the probabilities that NNI exports, which have no gradient."""
            now = cycles()
            if target is not None:
                self.scale = target.step(now)
            return now

    return Penalty(None, baseline=baseline if target is None else target.reference, scale=scale, **options)
