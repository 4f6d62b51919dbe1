"""Everything that a search depends on, as one frozen value that goes into the run folder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hwcost import InvalidValueError
from hwcost.errors import check_one_of
from hwcost.machine.fields import SWITCH, Kind, plain
from hwcost.machine.rows import resolved, row_of
from hwcost.network.limits import Target
from nas_plugin.methods.table import LATENCIES, METHODS, Latency, Method

__all__ = ["ROWS", "SearchSettings", "check_used"]

_LARGE = {"alpha_lr": 0.03, "train_epochs": 15, "weight_only_epochs": 1}
"""Known to work for 20,000 training images and more."""


def _kind(allowed: str, check: Callable[[Any], bool]) -> Kind:
    """The numbers that a setting takes, or None if that is its default."""

    def checked(value: Any, place: str, default: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (is_number and check(value)) and (value is not None or default is not None):
            raise InvalidValueError(place, value, allowed)
        return value

    return Kind(checked)


def _integer(least: int) -> Kind:
    return _kind(f"an integer of at least {least}, below 2**63", lambda v: type(v) is int and least <= v < 2**63)


_COUNT = _integer(1)
_ABOVE_0 = _kind("a finite number above 0", lambda v: 0 < v < math.inf)
_FROM_0 = _kind("a finite number of at least 0", lambda v: 0 <= v < math.inf)
_WEIGHT = _kind("a finite number of at least 0, up to 1e9", lambda v: 0 <= v <= 1e9)
_SHARE = _kind("a number between 0 and 1", lambda v: 0 < v < 1)
_METHOD, _LATENCY = row_of(METHODS, Method), row_of(LATENCIES, Latency)
_THREADS = _kind("an integer from 1 to 1024", lambda v: type(v) is int and 1 <= v <= 1024)
_TARGET = Kind(lambda value, *_: None if value is None else str(Target.parse(value)))


def _setting(default: Any, words: str, kind: Kind) -> Any:
    """A field with its meaning, and the values that it takes."""
    return dataclasses.field(default=default, metadata={"words": words, "kind": kind})


@dataclass(frozen=True)
class SearchSettings:
    """How a search and the trainings after it run.

    Attributes:
        data: the source of the images, as ``--data`` or the architecture file names it.
        {settings}
    """

    data: str
    images: int | None = _setting(None, "size of a fixed sample of the training images; None takes all", _integer(2))
    method: str | Method = _setting("prune", "in :data:`nas_plugin.METHODS`, or your own", _METHOD)  # noqa: RUF009
    latency: str | Latency = _setting("expectation", "in :data:`nas_plugin.LATENCIES`, or yours", _LATENCY)  # noqa: RUF009
    weight: float = _setting(0.1, "lambda, in units of the reference's cycles; moved to meet a target", _WEIGHT)
    target: str | None = _setting(None, "limit on cycles, read by :class:`hwcost.network.limits.Target`", _TARGET)
    utilization: float = _setting(0.0, 'mu, the weight of 1 - utilization in the loss of "darts"', _WEIGHT)
    snaps: bool = _setting(True, "whether exact cycles decide the winner, and its widths grow at equal cycles", SWITCH)
    seed: int = _setting(0, "of everything random", _integer(0))
    epochs: int = _setting(30, "of the search, weight-only ones included", _COUNT)
    weight_only_epochs: int = _setting(2, 'epochs at the start of "darts" that leave alpha alone', _integer(0))
    candidates: int = _setting(100, 'networks that "prune" and "one-shot" score as they are cut', _COUNT)
    finalists: int = _setting(8, "the best of them, which are fine-tuned and scored again; 1 for no finals", _COUNT)
    finalist_epochs: int = _setting(3, 'of fine-tuning, and of each training of "random"', _COUNT)
    train_epochs: int = _setting(30, 'of the winner, the reference, and the last finalists of "one-shot"', _COUNT)
    batch: int = _setting(128, "images in a step of the weights", _COUNT)
    alpha_batch: int = _setting(64, "images in a step of alpha", _COUNT)
    lr: float = _setting(0.05, "of SGD at its start; it falls to 0 along a cosine", _ABOVE_0)
    momentum: float = _setting(0.9, "of SGD", _FROM_0)
    weight_decay: float = _setting(5e-4, "of SGD", _FROM_0)
    clip: float = _setting(5.0, "the largest norm of a gradient of the weights", _ABOVE_0)
    alpha_lr: float = _setting(0.1, "of Adam", _ABOVE_0)
    tau_first: float = _setting(2.0, "Gumbel temperature at the start, from which it falls geometrically", _ABOVE_0)
    tau_last: float = _setting(0.5, "Gumbel temperature at the end", _ABOVE_0)
    share: float = _setting(0.8, "of the training images that train the weights; the rest trains alpha", _SHARE)
    threads: int = _setting(1, "that torch may use", _THREADS)

    def __post_init__(self) -> None:
        for f in _DECLARED:
            object.__setattr__(self, f.name, f.metadata["kind"].check(getattr(self, f.name), f.name, f.default))
        row, values = self.method_row, ((f, getattr(self, f.name)) for f in _DECLARED)
        check_used({f.name: value for f, value in values if value != f.default}, {row.name: row}, METHODS)
        if "weight_only_epochs" in row.uses and self.weight_only_epochs >= self.epochs:
            allowed = f"fewer than epochs ({self.epochs}), so that alpha is trained at all"
            raise InvalidValueError("weight_only_epochs", self.weight_only_epochs, allowed)

    @property
    def method_row(self) -> Method:
        """The method as a row."""
        return resolved(METHODS, self.method)

    @property
    def latency_row(self) -> Latency:
        """The latency term as a row."""
        return resolved(LATENCIES, self.latency)

    @classmethod
    def for_size(cls, count: int, /, **given: Any) -> SearchSettings:
        """The settings known to work for ``count`` training images, overridden by each ``given`` one that is not None.

        Without a method, a setting that the default one does not use selects the first that does. Raises
        InvalidValueError for a setting that is unknown or that the method does not use, or a value that is not allowed.

        >>> SearchSettings.for_size(4_000, data="fashion-mnist-cut", latency="shifted").method
        'darts'
        """
        for name in given:
            check_one_of("the settings", name, [f.name for f in dataclasses.fields(cls)], what="setting")
        given = {name: value for name, value in given.items() if value is not None}
        row = resolved(METHODS, _METHOD.check(given.setdefault("method", _method_for(given)), "method", ""))
        check_used(given, {row.name: row}, METHODS)
        is_large = count >= 20_000
        known: dict[str, Any] = {"epochs": row.epochs[is_large]} | (_LARGE if is_large else {})
        chosen = {name: value for name, value in known.items() if row.reads(name, given)} | given
        epochs = chosen.get("epochs")
        if isinstance(epochs, int) and "weight_only_epochs" not in given and row.reads("weight_only_epochs", given):
            chosen["weight_only_epochs"] = min(chosen.get("weight_only_epochs", 2), max(epochs - 1, 0))
        return cls(**chosen)

    @property
    def limit(self) -> str:
        """The target, or lambda, in words."""
        return f"lambda {self.weight:g}" if self.target is None else self.target

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
        """Every setting by name, for JSON; rows of your own by their names."""
        return {name: plain(value) for name, value in vars(self).items()}


_DECLARED = [f for f in dataclasses.fields(SearchSettings) if f.metadata]
ROWS: dict[str, Kind] = {f.name: f.metadata["kind"] for f in _DECLARED if f.metadata["kind"].rows}
"""The settings that may hold a row of your own, and what they take."""
_TEXTS = (f"{f.name}: {f.metadata['words']}." for f in _DECLARED)
SearchSettings.__doc__ = (SearchSettings.__doc__ or "").replace("{settings}", "\n        ".join(_TEXTS))


def _method_for(given: Mapping[str, Any]) -> str:
    """The method if none is named."""
    default = METHODS[str(SearchSettings.method)]
    unused = (name for name in given if name not in default.uses)
    return next((row.name for name in unused for row in METHODS.values() if name in row.uses), default.name)


def check_used(given: Mapping[str, Any], chosen: Mapping[str, Method], known: Mapping[str, Method]) -> None:
    """Refuses a setting that none of the chosen methods uses.

    Raises InvalidValueError with those of the ``known`` methods that use it. All methods are by the names to show.
    """
    for name, value in given.items():
        if value is None or any(row.reads(name, given) for row in chosen.values()):
            continue
        users = ", ".join(label for label, row in known.items() if row.reads(name, given))
        advice = f"leave it out, or choose {' or '.join(users.rsplit(', ', 1))}" if users else "leave it out"
        reason = f"{' and '.join(chosen)} {'does' if len(chosen) == 1 else 'do'} not use it"
        reason += " with a target" if name == "weight" else ""
        raise InvalidValueError(name, value, advice, reason=reason)
