"""What a sweep compares, as one frozen value; a run is the smallest of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwcost import InvalidValueError
from hwcost.errors import MISSING
from hwcost.machine.fields import plain
from hwcost.machine.rows import Row
from nas_plugin.methods.finding import method_of
from nas_plugin.methods.latencies import Latency
from nas_plugin.methods.settings import SearchSettings, Target
from nas_plugin.methods.table import Method, changes_of

__all__ = ["SweepSettings", "check_list"]

_OWN = ("data", "method", "latency", "snaps", "seed", "target")
"""Settings that a sweep sets for each of its searches."""


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
        methods: the settings that each method stands for, by its name.
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
        cls, data: str, count: int, methods: Sequence[Any], *, train_seeds: int, given: Mapping[str, Any], **more: Any
    ) -> SweepSettings:
        """A sweep of methods by name, or of rows of your own, with ``train_seeds`` trainings of each winner.

        Raises InvalidValueError for an unknown method, a value outside of what is allowed, or a setting that a sweep
        sets for each of its searches.
        """
        rows = [changes_of(method) for method in methods]
        check_list("methods", [name for name, _ in rows])
        if type(train_seeds) is not int or not 1 <= train_seeds <= 100:
            raise InvalidValueError("train_seeds", train_seeds, "an integer from 1 to 100")
        for name in (name for name in _OWN if name in given):
            reason = "a sweep sets it for each of its searches"
            raise InvalidValueError(name, given[name], "leave it out", reason=reason)
        more = {name: tuple(values) for name, values in more.items()} | {"train_seeds": tuple(range(train_seeds))}
        return cls(data, count, dict(rows), given=given, **more)

    @classmethod
    def of_run(cls, settings: SearchSettings, count: int) -> SweepSettings:
        """One search, and one training of its winner and of the reference with the search's seed."""
        given = {name: value for name, value in settings.as_dict().items() if name not in _OWN}
        more: dict[str, Any] = {"seeds": (settings.seed,), "train_seeds": (settings.seed,), "given": given}
        more |= {"weights": (given.pop("weight"),)} if settings.target is None else {"targets": (settings.target,)}
        label = str(settings.latency if settings.method == "darts" else settings.method)
        own = {name: getattr(settings, name) for name in ("method", "latency", "snaps")}
        return cls(settings.data, count, {label: own}, **more)

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(str(Target.parse(target)) for target in self.targets))
        check_list("seeds", self.seeds)
        if not self.targets and not self.weights:
            raise InvalidValueError("targets", MISSING, "targets, or lambdas")
        if self.targets and self.weights:
            reason = "there are lambdas as well"
            raise InvalidValueError("targets", list(self.targets), "leave one of them out", reason=reason)
        check_list("targets" if self.targets else "weights", self.targets or self.weights)
        for method, limit, seed in itertools.product(self.methods, self.limits, self.seeds):
            if method_of(self.search(method, limit, seed)).needs_target and not self.targets:
                reason = f"{method!r} needs targets, and there are lambdas"
                raise InvalidValueError("methods", method, "leave it out, or give targets", reason=reason)

    @property
    def limits(self) -> tuple[dict[str, Any], ...]:
        """The targets, or the lambdas, as settings."""
        return tuple({"target": value} for value in self.targets) or tuple({"weight": value} for value in self.weights)

    @property
    def takers(self) -> list[SearchSettings]:
        """For each method that takes the weights of a super-network the settings of one search."""
        each = (self.search(method, self.limits[0], self.seeds[0]) for method in self.methods)
        return [settings for settings in each if method_of(settings).takes_weights]

    def search(self, method: str, limit: Mapping[str, Any], seed: int) -> SearchSettings:
        """The settings of one search."""
        return self._settings(seed, **self.methods[method], **limit)

    def training(self, seed: int) -> SearchSettings:
        """The settings of one training, which no setting of a search method binds."""
        return self._settings(seed, method="one-shot")

    def _settings(self, seed: int, **own: Any) -> SearchSettings:
        return SearchSettings.for_size(self.count, data=self.data, seed=seed, **(dict(self.given) | own))

    def as_dict(self) -> dict[str, Any]:
        """By name, for JSON; rows of your own by their names."""
        methods = {method: {name: plain(value) for name, value in own.items()} for method, own in self.methods.items()}
        return vars(self) | {"methods": methods}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], rows: Sequence[Row] = ()) -> SweepSettings:
        """What :meth:`as_dict` gave, with ``rows`` of your own for the names that it holds."""
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        kinds = {"method": Method, "latency": Latency}
        given["methods"] = {name: with_rows(own, kinds, rows) for name, own in given["methods"].items()}
        return cls(**given)


def with_rows(content: Mapping[str, Any], kinds: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Values by field; where ``rows`` has one of the field's kind, the row takes the place of its name.

    >>> with_rows({"method": "mine", "snaps": True}, {"method": Method}, [Method("mine", "in one line", print)])
    {'method': Method(name='mine', summary='in one line', make=<built-in function print>, ...), 'snaps': True}
    """
    found = dict(content)
    for field in kinds.keys() & found.keys():
        known = {row.name: row for row in rows if isinstance(row, kinds[field])}
        value = found[field]
        found[field] = tuple(known.get(v, v) for v in value) if isinstance(value, list) else known.get(value, value)
    return found
