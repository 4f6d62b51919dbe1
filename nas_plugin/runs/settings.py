"""What a sweep compares, as one frozen value; a run is the smallest of them."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwcost import InvalidValueError
from hwcost.errors import MISSING
from hwcost.machine.fields import plain
from hwcost.machine.rows import Row, resolved, with_rows
from hwcost.network.limits import Target
from nas_plugin.methods.settings import ROWS, SearchSettings, check_used
from nas_plugin.methods.table import DEFAULT_METHODS, METHODS, SWEEP_METHODS, changes_of

__all__ = ["FILE", "SweepSettings", "another_folder", "check_list"]

FILE = "sweep.json"
"""The file in a folder that holds them."""

_OWN = ("data", "method", "latency", "snaps", "seed", "target")
"""Settings that a sweep sets for each of its searches."""


def another_folder(path: str | os.PathLike[str]) -> str:
    """What to do about a folder that holds something: what a search or sweep began can go on."""
    goes_on = os.path.isfile(os.path.join(path, FILE))
    return "choose another --out" + (", or resume what it holds with --resume" if goes_on else "")


def check_list(name: str, values: Sequence[Any]) -> None:
    """Raises InvalidValueError if there is no value, or one twice."""
    if not values or len(set(values)) != len(values):
        raise InvalidValueError(name, list(values), "at least one, each once")


@dataclass(frozen=True)
class SweepSettings:
    """What is compared.

    Attributes:
        data: the source of the images.
        count: the number of training images used.
        methods: the settings of each method, by its name.
        targets: limits on the winners' exact cost; or
        weights: lambdas, if there are no targets.
        seeds: of the searches.
        train_seeds: of the trainings of each winner, and of the reference.
        given: settings that all searches share and that were not left to their defaults.
    """

    data: str
    count: int
    methods: Mapping[str, Mapping[str, Any]]
    targets: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (0,)
    train_seeds: tuple[int, ...] = (0, 1, 2)
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_sweep(
        cls,
        data: str,
        count: int,
        methods: Sequence[Any] | None,
        *,
        train_seeds: int,
        given: Mapping[str, Any],
        **more: Any,
    ) -> SweepSettings:
        """A sweep of methods by name, or of rows of your own, with ``train_seeds`` trainings of each winner.

        Without methods it compares those of :data:`nas_plugin.methods.table.DEFAULT_METHODS` that need no target or
        have one; without targets and weights, the targets are 0.5 and 0.75.

        Raises InvalidValueError for an unknown method, a value outside of what is allowed, a setting that a sweep sets
        for each of its searches, or one that none of the methods uses.
        """
        if not more.get("targets") and not more.get("weights"):
            more["targets"] = ("0.5", "0.75")
        if methods is None:
            needs = {name: METHODS[SWEEP_METHODS[name]["method"]].needs_target for name in DEFAULT_METHODS}
            methods = [name for name in DEFAULT_METHODS if more.get("targets") or not needs[name]]
        rows = [changes_of(method) for method in methods]
        check_list("methods", [name for name, _ in rows])
        if type(train_seeds) is not int or not 1 <= train_seeds <= 100:
            raise InvalidValueError("train_seeds", train_seeds, "an integer from 1 to 100")
        for name in (name for name in (*_OWN, *(["weight"] if more.get("weights") else [])) if name in given):
            reason = "a sweep sets it for each of its searches"
            raise InvalidValueError(name, given[name], "leave it out", reason=reason)
        limited = {"target": more.get("targets") or None, **given}
        known = {name: METHODS[own["method"]] for name, own in SWEEP_METHODS.items()}
        check_used(limited, {name: resolved(METHODS, own["method"]) for name, own in rows}, known)
        more = {name: tuple(values) for name, values in more.items()} | {"train_seeds": tuple(range(train_seeds))}
        return cls(data, count, dict(rows), given=given, **more)

    @classmethod
    def of_run(cls, settings: SearchSettings, count: int) -> SweepSettings:
        """One search, and one training of its winner and of the reference with the search's seed."""
        given = {name: value for name, value in settings.as_dict().items() if name not in _OWN}
        more: dict[str, Any] = {"seeds": (settings.seed,), "train_seeds": (settings.seed,), "given": given}
        more |= {"weights": (given.pop("weight"),)} if settings.target is None else {"targets": (settings.target,)}
        own = {name: getattr(settings, name) for name in ("method", "latency", "snaps")}
        labels = [row.name for row in own.values() if isinstance(row, Row)]
        labels += [name for name, changes in SWEEP_METHODS.items() if changes.items() <= own.items()]
        return cls(settings.data, count, {labels[0]: own}, **more)

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(str(Target.parse(target)) for target in self.targets))
        for name in ("seeds", "train_seeds"):
            check_list(name, getattr(self, name))
        if not self.targets and not self.weights:
            raise InvalidValueError("targets", MISSING, "targets, or lambdas")
        if self.targets and self.weights:
            reason = "there are lambdas as well"
            raise InvalidValueError("targets", list(self.targets), "leave one of them out", reason=reason)
        check_list("targets" if self.targets else "weights", self.targets or self.weights)
        for seed in self.train_seeds:
            self.training(seed)  # raises for one that is not allowed
        for method, limit, seed in itertools.product(self.methods, self.limits, self.seeds):
            if self.search(method, limit, seed).method_row.needs_target and not self.targets:
                reason = f"{method!r} needs targets, and there are lambdas"
                raise InvalidValueError("methods", method, "leave it out, or give targets", reason=reason)

    @property
    def limits(self) -> tuple[dict[str, Any], ...]:
        """The targets, or the lambdas, as settings."""
        return tuple({"target": value} for value in self.targets) or tuple({"weight": value} for value in self.weights)

    def search(self, method: str, limit: Mapping[str, Any], seed: int) -> SearchSettings:
        """The settings of one search."""
        return self._settings(seed, **self.methods[method], **limit)

    def training(self, seed: int) -> SearchSettings:
        """The settings of one training, which no setting of a search method binds."""
        return self._settings(seed, method=SearchSettings.method)

    def _settings(self, seed: int, **own: Any) -> SearchSettings:
        given = dict(self.given) | own
        method = resolved(METHODS, ROWS["method"].check(given["method"], "method", ""))
        used = {name: value for name, value in given.items() if method.reads(name, given)}
        return SearchSettings.for_size(self.count, data=self.data, seed=seed, **used)

    def as_dict(self) -> dict[str, Any]:
        """By name, for JSON; rows of your own by their names."""
        methods = {method: {name: plain(value) for name, value in own.items()} for method, own in self.methods.items()}
        return vars(self) | {"methods": methods}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], rows: Sequence[Row] = ()) -> SweepSettings:
        """What :meth:`as_dict` gave, with ``rows`` of your own for the names that it holds."""
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        given["methods"] = {name: with_rows(own, ROWS, rows) for name, own in given["methods"].items()}
        return cls(**given)
