"""Architecture parameters: probabilities of the options of decisions, and Gumbel-softmax samples of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Alphas"]


class Alphas(nn.Module):
    """The architecture parameters, in one tensor (decisions, most options) with missing options masked out.

    All start at zero: no option is preferred. Probabilities and gates of all decisions form one row, so that each
    operation runs once for all of them; :meth:`split` returns them by decision.

    Args:
        options: the sizes of each decision.

    >>> alphas = Alphas({"width": (8, 16), "kernel": (3, 5, 7)})
    >>> {name: each.tolist() for name, each in alphas.split(alphas.probabilities()).items()}["width"]
    [0.5, 0.5]
    """

    absent: Tensor
    places: Tensor

    def __init__(self, options: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self.options = dict(options)
        self.alpha = nn.Parameter(torch.zeros(len(self.options), max(map(len, self.options.values()))))
        self.lengths = [len(own) for own in self.options.values()]
        present = torch.arange(self.alpha.shape[1]) < torch.tensor(self.lengths)[:, None]
        self.register_buffer("absent", ~present, persistent=False)
        self.register_buffer("places", present.flatten().nonzero()[:, 0], persistent=False)

    def _softmax(self, logits: Tensor) -> Tensor:
        shares = logits.masked_fill(self.absent, -math.inf).softmax(-1)
        return shares.flatten().index_select(0, self.places)

    def probabilities(self) -> Tensor:
        """softmax(alpha) for every decision, in a row, with gradient."""
        return self._softmax(self.alpha)

    def sample(self, tau: float, random: torch.Generator | None = None) -> Tensor:
        """Gumbel-softmax gates softmax((alpha + Gumbel noise) / tau), in a row, with gradient.

        The noise is drawn on the CPU, so that it is the same on every device. Source: Jang et al. and Maddison et al.,
        ICLR 2017; -log of an exponential variate is a Gumbel variate.
        """
        noise = -torch.empty(self.alpha.shape).exponential_(generator=random).log()
        return self._softmax((self.alpha + noise.to(self.alpha)) / tau)

    def split(self, row: Tensor) -> dict[str, Tensor]:
        """A row by decision."""
        return dict(zip(self.options, torch.split(row, self.lengths), strict=True))

    def choice(self) -> dict[str, int]:
        """The option with the largest alpha of every decision, the smaller one in a tie."""
        best = self.alpha.detach().masked_fill(self.absent, -math.inf).argmax(-1).tolist()
        return {name: options[index] for index, (name, options) in zip(best, self.options.items(), strict=True)}

    def entropy(self) -> float:
        """The mean entropy of the decisions' probabilities: 1 for undecided, 0 for decided."""
        rows = [row.detach() for row in self.split(self.probabilities()).values() if len(row) > 1]
        shares = [float(-(p * p.clamp_min(1e-30).log()).sum()) / math.log(len(p)) for p in rows]
        return sum(shares) / len(shares) if shares else 0.0
