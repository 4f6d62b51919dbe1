"""Modules that are cut compute what they compute with the other channels masked: on real architectures.

    pip install "hwcost[models]"
    python benchmarks/masked.py

For each architecture, random channels of every width stay (half or three quarters of them, equally many of each group),
and the outputs of the cut module and of the masked one are compared on random inputs, in evaluation mode. Batch
norms get random statistics, and parameters that are 0 random values, so that nothing hides. Left out are widths that a
norm over channels follows (a layer norm sees the masked zeros) and those that meet weights which are standardised.
"""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from common import real_models, side_by_side
from common.progress import tell
from hwcost import from_torch
from hwcost.importers.torch.resize import resized
from hwcost.network.network import Network

SEED, MOST = 0, 1e-5
LIBRARIES = ("torch", "torchvision", "timm", "transformers")


def prepared(real: real_models.RealModel) -> nn.Module:
    """The architecture with weights and statistics that are not those of its constructor."""
    torch.manual_seed(SEED)
    model = real.module(with_data=True)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        elif isinstance(module, nn.Embedding) and module.padding_idx is not None:
            module.weight.data[module.padding_idx].normal_(0, 0.1)
    for parameter in model.parameters():
        if parameter.is_floating_point() and not parameter.any():
            parameter.data.normal_(0, 0.1)
    return model


def left_out(model: nn.Module, network: Network) -> set[str]:
    """Widths that a norm over channels follows, or whose weights are standardised."""
    found = set()
    for path, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, nn.modules.batchnorm._BatchNorm) or not ("Norm" in kind or "Std" in kind):
            continue
        for name in (f"{path}.{own}" if path else own for own, _ in module.named_parameters(recurse=False)):
            found.update(width for rule in network.parameters.get(name, ()) for width, _ in rule)
    return found


def channels(model: nn.Module, network: Network) -> dict[str, Any]:
    """Random channels that stay."""
    random, out, kept = np.random.default_rng(SEED), left_out(model, network), {}
    followed = {width for each in network.priced.values() for width in each.widths}
    for name, width in network.widths.items():
        if name in followed and name not in out and not width.fixed:
            parts = np.arange(width.size).reshape(width.multiple, -1)
            count = max(1, int(parts.shape[1] * random.choice([0.5, 0.75])))
            kept[name] = np.concatenate([random.permutation(part)[:count] for part in parts])
    return kept


def row(name: str) -> dict[str, Any]:
    """How far both outputs are apart, over the largest element."""
    real = real_models.MODELS[name]
    model = prepared(real)
    network = from_torch(model, **real.arguments())
    kept = channels(model, network)
    grouped = sum(isinstance(each, nn.Conv2d) and 1 < each.groups < each.in_channels for each in model.modules())
    found = {"model": name, "library": real.library, "widths": len(kept), "grouped": grouped}
    if not kept:
        return found | {"apart": None}
    args, kwargs = real.called_with("cpu")
    with torch.no_grad():
        outputs = [
            torch.cat([each.flatten() for each in tree_leaves(module(*args, **kwargs)) if _counts(each)])
            for module in (network.masked(model, kept), resized(model, network, keep=kept))
        ]
    masked, cut = outputs
    return found | {"apart": float((masked - cut).abs().max() / masked.abs().max())}


def _counts(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.is_floating_point()


def main() -> int:
    """Compares all architectures, prints the table and writes the file."""
    torch.set_num_threads(1)
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, real in real_models.MODELS.items():
            if real.library in LIBRARIES:
                rows.append(row(name))
                apart = rows[-1]["apart"]
                text = "no width" if apart is None else f"{apart:.1e}"
                tell(f"{name:30} {rows[-1]['widths']:>4} widths  {text}")
    tried = [each for each in rows if each["apart"] is not None]
    met = side_by_side.report(
        "masked",
        {"seed": SEED},
        {
            "architectures": len(tried),
            "of these with grouped convolutions": sum(each["grouped"] > 0 for each in tried),
            "without a width to cut": len(rows) - len(tried),
            "largest difference, over the largest output": max(
                math.inf if math.isnan(each["apart"]) else each["apart"] for each in tried
            ),
        },
        {"largest difference, over the largest output": ("<=", MOST), "architectures": (">=", 41)},
        more={"rows": rows},
        packages=("torchvision", "timm", "transformers"),
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
