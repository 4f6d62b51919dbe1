"""Everything that a search depends on, as one frozen value that goes into the run folder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hwcost import InvalidValueError
from nas_plugin.space.targets import Target

__all__ = ["SearchSettings", "method_for"]

_Rule = tuple[str, Callable[[Any], bool]]
"""What is allowed, in words and as a check of a number."""


def _count(least: int) -> _Rule:
    return f"an integer of at least {least}, below 2**63", lambda value: type(value) is int and least <= value < 2**63


_ABOVE_0: _Rule = ("a finite number above 0", lambda value: 0 < value < math.inf)
_FROM_0: _Rule = ("a finite number of at least 0", lambda value: 0 <= value < math.inf)
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("epochs", "train_epochs", "batch", "alpha_batch", "candidates", "finalists"), _count(1)),
    "finalist_epochs": _count(1),
    "seed": _count(0),
    "weight_only_epochs": _count(0),
    "images": _count(2),
    "threads": ("an integer from 1 to 1024", lambda value: type(value) is int and 1 <= value <= 1024),
    **dict.fromkeys(("lr", "clip", "alpha_lr", "tau_first", "tau_last"), _ABOVE_0),
    **dict.fromkeys(("weight_decay", "momentum"), _FROM_0),
    **dict.fromkeys(("weight", "utilization"), ("a finite number of at least 0, up to 1e9", lambda v: 0 <= v <= 1e9)),
    "share": ("a number between 0 and 1", lambda value: 0 < value < 1),
}
_LARGE = {"alpha_lr": 0.03, "epochs": 12, "train_epochs": 15, "weight_only_epochs": 1}
"""Known to work for 20,000 training images and more."""
_BY_METHOD: dict[tuple[str, bool], dict[str, Any]] = {
    ("one-shot", True): {"epochs": 6},
    ("one-shot", False): {"epochs": 20},
}
"""Known to work by method, and by whether there are 20,000 training images."""


@dataclass(frozen=True)
class SearchSettings:
    """How a search and the trainings after it run.

    Attributes:
        data: the source of the images, as ``--data`` or the architecture file names it.
        images: size of a fixed sample of the training images; None takes all.
        method: a name in :data:`nas_plugin.methods.table.METHODS`, or a row of your own.
        latency: a name in :data:`nas_plugin.methods.latencies.LATENCIES`, or a row of your own; for method "darts".
        weight: lambda, the weight of the latency in units of the reference network's cycles. With a target, "darts"
            starts from it and moves it until the target is met.
        target: limit on the winner's cost, as :class:`nas_plugin.space.targets.Target` reads it; None for no limit.
        utilization: mu, the weight of 1 - utilization in the loss of "darts".
        snaps: whether the winner is chosen by exact cycles and its widths grow at equal cycles; False leaves it as the
            latency term sees it, like a search that does not know the array.
        seed: of everything random.
        epochs: of the search, weight-only ones included.
        weight_only_epochs: epochs at the start of "darts" that leave alpha alone.
        candidates: networks that "one-shot" scores with the super-network's weights.
        finalists: the best of them, which are fine-tuned for ``finalist_epochs`` and scored again; up to four of these
            are trained from scratch for ``train_epochs``. 1 for no finals.
        finalist_epochs: of each finalist's fine-tuning, and of the training of each network that "random" tries.
        train_epochs: of the training of the winner, of the reference, and of the last finalists of "one-shot".
        batch, alpha_batch: images in a step of the weights, and of alpha.
        lr: of SGD at its start; it falls to 0 along a cosine.
        momentum, weight_decay, clip: of SGD; the clip is the largest norm of a gradient.
        alpha_lr: of Adam.
        tau_first, tau_last: the Gumbel temperature falls geometrically from the first to the last.
        share: the share of the training images that trains the weights; the rest trains alpha.
        threads: that torch may use.
        own: rows of your own that ``method`` and ``latency`` name.
    """

    data: str
    images: int | None = None
    method: str = "one-shot"
    latency: str = "expectation"
    weight: float = 0.1
    target: str | None = None
    utilization: float = 0.0
    snaps: bool = True
    seed: int = 0
    epochs: int = 30
    weight_only_epochs: int = 2
    candidates: int = 100
    finalists: int = 8
    finalist_epochs: int = 3
    train_epochs: int = 30
    batch: int = 128
    alpha_batch: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip: float = 5.0
    alpha_lr: float = 0.1
    tau_first: float = 2.0
    tau_last: float = 0.5
    share: float = 0.8
    threads: int = 1
    own: tuple[Any, ...] = dataclasses.field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("method", "latency"):
            self._take_row(name)
        for name, (allowed, good) in _RULES.items():
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and good(value)) and not (name == "images" and value is None):
                raise InvalidValueError(name, value, allowed)
        if self.target is not None:
            object.__setattr__(self, "target", str(Target.parse(self.target)))
        if self.method == "darts" and self.weight_only_epochs >= self.epochs:
            allowed = f"fewer than epochs ({self.epochs}), so that alpha is trained at all"
            raise InvalidValueError("weight_only_epochs", self.weight_only_epochs, allowed)

    def _take_row(self, field: str) -> None:
        """Keeps the name of a row in its field, and the row in ``own``."""
        row = getattr(self, field)
        if not isinstance(row, str):
            if not isinstance(getattr(row, "name", None), str):
                raise InvalidValueError(field, row, "a name, or a row with a name")
            object.__setattr__(self, "own", (row, *self.own))
            object.__setattr__(self, field, row.name)

    @classmethod
    def for_size(cls, count: int, /, **given: Any) -> SearchSettings:
        """The settings known to work for ``count`` training images, overridden by each ``given`` one that is not None.

        A latency term or a utilization, which only the author's search uses, selects that method.

        >>> SearchSettings.for_size(4_000, data="fashion-mnist-cut").alpha_lr
        0.1
        >>> SearchSettings.for_size(60_000, data="fashion-mnist", epochs=5).alpha_lr
        0.03
        >>> SearchSettings.for_size(4_000, data="fashion-mnist-cut", latency="shifted").method
        'darts'
        """
        known: dict[str, Any] = {} if count < 20_000 else dict(_LARGE)
        known["method"] = method_for(given)
        known |= _BY_METHOD.get((given.get("method") or known["method"], count >= 20_000), {})
        names = [f.name for f in dataclasses.fields(cls)]
        for name in given:
            if name not in names:
                raise InvalidValueError("a setting", name, f"one of: {', '.join(names)}")
        chosen = known | {name: value for name, value in given.items() if value is not None}
        epochs = chosen.get("epochs")
        if isinstance(epochs, int) and "weight_only_epochs" not in given:
            chosen["weight_only_epochs"] = min(chosen.get("weight_only_epochs", 2), max(epochs - 1, 0))
        return cls(**chosen)

    def tau(self, epoch: int) -> float:
        """The Gumbel temperature of a search epoch (counted from 0).

        >>> settings = SearchSettings("fashion-mnist-cut", epochs=12, weight_only_epochs=2)
        >>> settings.tau(0), settings.tau(2), settings.tau(11)
        (2.0, 2.0, 0.5)
        """
        steps = self.epochs - self.weight_only_epochs - 1
        along = max(0, epoch - self.weight_only_epochs) / max(steps, 1)
        return float(self.tau_first * (self.tau_last / self.tau_first) ** along)

    def as_dict(self) -> dict[str, Any]:
        """Every setting by name, for JSON."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "own"}


def method_for(given: Mapping[str, Any]) -> str:
    """The method if none is named.

    >>> method_for({"target": 0.75}), method_for({"utilization": 0.1})
    ('one-shot', 'darts')
    """
    return "darts" if given.get("latency") is not None or given.get("utilization") else SearchSettings.method
