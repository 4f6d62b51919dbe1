"""The architecture parameters alpha, and the gates that are drawn from them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nas_plugin.space.arch_def import ArchDef

__all__ = ["Alphas"]


class Alphas(nn.Module):
    """alpha for every decision, in one tensor (decisions, most options) with missing options masked out.

    All start at zero: no option is preferred. Probabilities and gates of all decisions form one row, so that each
    operation runs once for all of them; :meth:`split` returns them by decision.
    """

    def __init__(self, arch: ArchDef) -> None:
        super().__init__()
        self.options = arch.decisions
        self.alpha = nn.Parameter(torch.zeros(len(self.options), max(map(len, self.options.values()))))
        self.lengths = [len(options) for options in self.options.values()]
        present = torch.arange(self.alpha.shape[1]) < torch.tensor(self.lengths)[:, None]
        self.register_buffer("absent", ~present, persistent=False)
        self.register_buffer("places", present.flatten().nonzero()[:, 0], persistent=False)

    def _softmax(self, logits: Tensor) -> Tensor:
        shares = logits.masked_fill(self.get_buffer("absent"), -math.inf).softmax(-1)
        return shares.flatten().index_select(0, self.get_buffer("places"))

    def probabilities(self) -> Tensor:
        """softmax(alpha) for every decision, in a row, with gradient."""
        return self._softmax(self.alpha)

    def sample(self, tau: float, random: torch.Generator) -> Tensor:
        """Gumbel-softmax gates softmax((alpha + Gumbel noise) / tau), in a row, with gradient.

        Source: Jang et al. and Maddison et al., ICLR 2017; -log of an exponential variate is a Gumbel variate.
        """
        noise = -torch.empty_like(self.alpha).exponential_(generator=random).log()
        return self._softmax((self.alpha + noise) / tau)

    def split(self, row: Tensor) -> dict[str, Tensor]:
        """A row by decision."""
        return dict(zip(self.options, torch.split(row, self.lengths), strict=True))

    def choice(self) -> dict[str, int]:
        """The option with the largest alpha of every decision, the smaller one in a tie."""
        best = self.alpha.detach().masked_fill(self.get_buffer("absent"), -math.inf).argmax(-1).tolist()
        return {name: options[index] for index, (name, options) in zip(best, self.options.items(), strict=True)}

    def entropy(self) -> float:
        """The mean entropy of the decisions' probabilities: 1 for undecided, 0 for decided."""
        shares = []
        for row in self.split(self.probabilities()).values():
            if len(row) > 1:
                p = row.detach()
                shares.append(float(-(p * p.clamp_min(1e-30).log()).sum()) / math.log(len(p)))
        return sum(shares) / len(shares) if shares else 0.0
