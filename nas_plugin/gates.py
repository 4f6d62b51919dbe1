"""The architecture parameters alpha, and the gates that are drawn from them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nas_plugin.arch_def import ArchDef

__all__ = ["Alphas"]


class Alphas(nn.Module):
    """alpha for every decision, in one tensor (decisions, most options); what a decision does not have is masked out.

    All start at zero: no option is preferred.
    """

    def __init__(self, arch: ArchDef) -> None:
        super().__init__()
        self.options = arch.decisions
        self.alpha = nn.Parameter(torch.zeros(len(self.options), max(map(len, self.options.values()))))
        lengths = torch.tensor([len(options) for options in self.options.values()])
        self.register_buffer("absent", torch.arange(self.alpha.shape[1]) >= lengths[:, None], persistent=False)

    def _softmax(self, logits: Tensor) -> dict[str, Tensor]:
        rows = logits.masked_fill(self.get_buffer("absent"), -math.inf).softmax(-1).unbind()
        return {name: row[: len(options)] for row, (name, options) in zip(rows, self.options.items(), strict=True)}

    def probabilities(self) -> dict[str, Tensor]:
        """softmax(alpha) for every decision, with gradient."""
        return self._softmax(self.alpha)

    def sample(self, tau: float, random: torch.Generator) -> dict[str, Tensor]:
        """Gumbel-softmax gates softmax((alpha + Gumbel noise) / tau), with gradient.

        Source: Jang et al. and Maddison et al., ICLR 2017; -log of an exponential variate is a Gumbel variate.
        """
        noise = -torch.empty_like(self.alpha).exponential_(generator=random).log()
        return self._softmax((self.alpha + noise) / tau)

    def choice(self) -> dict[str, int]:
        """The option with the largest alpha of every decision; the smaller one of equals."""
        best = self.alpha.detach().masked_fill(self.get_buffer("absent"), -math.inf).argmax(-1).tolist()
        return {name: options[index] for index, (name, options) in zip(best, self.options.items(), strict=True)}

    def entropy(self) -> float:
        """The mean over decisions of the entropy of their probabilities, 1 for undecided and 0 for decided."""
        shares = []
        for row in self.probabilities().values():
            if len(row) > 1:
                p = row.detach()
                shares.append(float(-(p * p.clamp_min(1e-30).log()).sum()) / math.log(len(p)))
        return sum(shares) / len(shares) if shares else 0.0
