"""What the rows of a comparison are called, so that no two of them look the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.words import differences
from hwcost.model.layers import is_layer
from hwcost.network.network import Network
from hwcost.network.operations import Unsupported
from hwcost.reports.rows import Summary
from hwcost.units import plural

__all__ = ["networks_by_name", "told_apart"]


def networks_by_name(given: Any, name: str | Sequence[str] | None = None) -> list[tuple[str, Any]]:
    """Networks with the names that the caller gives them, "" for none: one, several in a list, or by name.

    Raises:
        InvalidValueError: another number of names, names for networks that have them.

    >>> [name for name, _ in networks_by_name({"a": "small.csv", "b": "large.csv"})]
    ['a', 'b']
    >>> networks_by_name("small.csv", "small")
    [('small', 'small.csv')]
    """
    names = () if name is None else (name,) if isinstance(name, str) else tuple(name)
    if _are_several(given):
        if names:
            raise InvalidValueError("name", name, "leave it out", reason="the networks are given by name")
        return [(str(own), each) for own, each in given.items()]
    networks = given if isinstance(given, (list, tuple)) else [given]
    if names and (len(names) != len(networks) or not all(isinstance(each, str) and each for each in names)):
        raise InvalidValueError("name", name, f"a name for each of {plural(len(networks), 'network')}, in order")
    return list(zip(names or [""] * len(networks), networks, strict=True))


def _are_several(given: Any) -> bool:
    """Whether something is networks by name, rather than the layers of one."""
    if not isinstance(given, Mapping) or isinstance(given, Network):
        return False
    return not any(is_layer(each) or isinstance(each, Unsupported) for each in given.values())


def told_apart(summaries: Sequence[Summary]) -> list[Summary]:
    """Reports with other names for networks that share one, and other labels for machines that share one.

    A network is told by its source, or by its number; a machine by the fields that differ.

    >>> from hwcost import Linear
    >>> from hwcost.reports import summarise
    >>> slow, fast = (SystolicArray(8, 8, clock_hz=clock) for clock in (1e9, 2e9))
    >>> [each.label for each in told_apart([summarise({"fc": Linear(8, 8)}, array) for array in (slow, fast)])]
    ['8 x 8, weight stationary, ideal folds, clock 1 GHz', '8 x 8, weight stationary, ideal folds, clock 2 GHz']
    """
    names = _distinct([each.name for each in summaries], list(map(_network, summaries)), _by_source)
    labels = _distinct([each.label for each in summaries], [each.array for each in summaries], _by_fields)
    return [
        dataclasses.replace(each, name=name, label=label)
        for each, name, label in zip(summaries, names, labels, strict=True)
    ]


def _distinct(names: Sequence[str], values: Sequence[Any], more: Callable[[Sequence[Any]], Sequence[str]]) -> list[str]:
    """Names, with ``more`` behind those that several values have."""
    found: dict[str, list[Any]] = {}
    for name, value in zip(names, values, strict=True):
        own = found.setdefault(name, [])
        if value not in own:
            own.append(value)
    ends = {name: more(own) if len(own) > 1 else [""] for name, own in found.items()}
    return [f"{name}{ends[name][found[name].index(value)]}" for name, value in zip(names, values, strict=True)]


def _network(summary: Summary) -> tuple[Any, ...]:
    """What makes a network another one of the same name: its source, and its operations."""
    return (summary.source, *((row.name, row.kind, row.shape) for row in summary.rows if row.state != "run"))


def _by_source(networks: Sequence[tuple[Any, ...]]) -> list[str]:
    sources = [source for source, *_ in networks]
    is_told = len(set(sources)) == len(sources) and all(sources)
    return [f" ({source if is_told else index})" for index, source in enumerate(sources, 1)]


def _by_fields(arrays: Sequence[SystolicArray]) -> list[str]:
    return [f", {text}" for text in differences(arrays)]
