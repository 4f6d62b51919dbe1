"""The latency in other NAS code: each function takes the values that such a host holds and returns what it expects.

    the host holds                              here                       as in
    a vector of logits for each decision        relaxed_latency            DARTS, FBNetV2
    weights over the candidates of each block   BlockCosts                 ProxylessNAS, FBNet
    soft widths, layer by layer                 effective_cost             U-Boost NAS
    a specification of each layer               plinio_costs               PLiNIO
    modules with alphas by label                nni_cycles, nni_penalty    NNI 3.0

A :class:`hwcost.torch.TargetWeight` moves the weight of any of these terms until it meets a limit. ``relaxed_choice``,
``BlockCosts.choose`` and ``nni_choice`` give the most probable network within it.

No host is imported before its own adapter is used. :func:`hwcost.torch.check_gradient` shows whether a term still
reaches the host's parameters.
"""

from __future__ import annotations

from hwcost.torch.adapters.blocks import BlockCosts
from hwcost.torch.adapters.darts import relaxed_choice, relaxed_latency, relaxed_penalty
from hwcost.torch.adapters.nni import nni_choice, nni_cycles, nni_penalty, nni_probabilities
from hwcost.torch.adapters.plinio import PLINIO_LAYERS, plinio_costs
from hwcost.torch.adapters.uboost import FREE_MODULES, UBOOST_LAYERS, effective_cost

__all__ = [
    "FREE_MODULES", "PLINIO_LAYERS", "UBOOST_LAYERS", "BlockCosts", "effective_cost", "nni_choice", "nni_cycles",
    "nni_penalty", "nni_probabilities", "plinio_costs", "relaxed_choice", "relaxed_latency", "relaxed_penalty",
]  # fmt: skip

__dir__ = __all__.copy  # what tab completion offers
