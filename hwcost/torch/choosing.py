"""The most probable network within a limit of cycles, exactly, from cost tables and probabilities."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from hwcost.elimination.aside import best_with_aside
from hwcost.elimination.factors import Figures, elimination_order
from hwcost.elimination.prices import Costs, Program
from hwcost.elimination.window import best_between
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.network.limits import FILL
from hwcost.network.network import Network
from hwcost.network.run import cost_if_spilled, cost_of_room, spill_cost, tied_layers
from hwcost.torch.sums import Axis, SumAxis
from hwcost.torch.tables import CostTable, contracted, space_tables

__all__ = ["fewest_cycles", "joint_spill", "most_probable", "most_probable_with_spill"]

LEAST_SHARE = 1e-30
MOST_ENTRIES = 2e8


def most_probable(
    tables: Iterable[CostTable], probs: Mapping[str, Tensor], limit: float, *, fill: float = FILL
) -> dict[str, int] | None:
    """The option of each decision of the most probable network whose cycles are within a limit.

    Args:
        tables: of all layers.
        probs: for each decision a vector of probabilities, or of weights of any sum.
        limit: in cycles; infinity for none.
        fill: a share of the limit; of networks that reach it, if there are any, the most probable one is taken.

    Returns:
        The index of the option of each decision; None if no network is within the limit.

    Raises:
        InvalidValueError: more options than there is room for.
    """
    rows = {name: vector.detach().cpu().double().clamp_min(LEAST_SHARE) for name, vector in probs.items()}
    scores = {name: row.log().numpy() for name, row in rows.items()}
    program = _program(tables, scores, limit)
    found = None
    for least in (fill * limit, -np.inf) if limit < np.inf else (-np.inf,):
        found = found or best_between(program, least).choice
    return None if found is None else {name: found[name] for name in probs}


def most_probable_with_spill(
    network: Network,
    array: SystolicArray,
    tables: Sequence[CostTable],
    probs: Mapping[str, Tensor],
    limit: float,
    figure: str = "cycles",
) -> dict[str, int] | None:
    """The sizes of the most probable network found within a limit where weights may not fit, which no table has.

    It is looked for in both ways of :mod:`hwcost.advice.spilling`, and the network of the smallest sizes is tried.
    """
    options = network.options
    smallest = {name: min(sizes) for name, sizes in options.items()}
    tied, stored = (
        tied_layers(network),
        space_tables(network, array, cost=functools.partial(cost_if_spilled, figure=figure)),
    )
    own = [table for name, table in stored.items() if name not in tied]

    def cost(tables: Sequence[CostTable], choice: Mapping[str, int]) -> float:
        chosen = {name: torch.tensor([each == choice[name] for each in own]) for name, own in options.items()}
        return float(contracted(tables, {name: each.double() for name, each in chosen.items()}))

    def total(choice: Mapping[str, int]) -> float:
        return cost(tables, choice) + float(spill_cost(network.at(choice), array, figure=figure))

    def worth(choice: Mapping[str, int]) -> float:
        places = {name: options[name].index(size) for name, size in choice.items()}
        return sum(float(probs[name][place].clamp_min(LEAST_SHARE).log()) for name, place in places.items())

    def within(tables: Sequence[CostTable], room: float) -> dict[str, int] | None:
        def search(limit: float) -> dict[str, int] | None:
            found = most_probable(tables, probs, limit + room, fill=0.0)
            return None if found is None else {name: options[name][index] for name, index in found.items()}

        return best_with_aside(search, limit, lambda choice: total(choice) - cost(tables, choice) + room, worth)

    found = [
        smallest if total(smallest) <= limit else None,
        within(tables, 0.0),
        within((*tables, *own), cost_of_room(array, figure)),
    ]
    return max(filter(None, found), key=worth, default=None)


def joint_spill(network: Network, array: SystolicArray, figure: str = "cycles") -> CostTable:
    """The cycles, or another figure, of weights that do not fit, over all decisions of a network together."""
    shape = tuple(map(len, network.options.values()))
    sizes = {
        name: np.array(own).reshape(-1, *[1] * (len(shape) - index - 1))
        for index, (name, own) in enumerate(network.options.items())
    }
    values = np.broadcast_to(np.asarray(spill_cost(network.at(sizes), array, figure=figure), dtype=np.float64), shape)
    return CostTable(torch.from_numpy(values.copy()), tuple(network.options))


def fewest_cycles(tables: Iterable[CostTable], lengths: Mapping[str, int]) -> float:
    """The cycles of the cheapest network, given the number of options of each decision."""
    return -_program(tables, {name: np.zeros(length) for name, length in lengths.items()}, np.inf).of_cycles(-1.0).value


def _program(tables: Iterable[CostTable], scores: Mapping[str, Figures], limit: float) -> Program:
    """Tables as the costs, and the logarithms of probabilities as the worth. A sum of decisions is a variable too."""
    costs = [Costs((name,), np.zeros(len(score)), score) for name, score in scores.items()]
    counts = {name: len(score) for name, score in scores.items()}
    names: dict[Axis, str] = {name: name for name in scores}

    def named(axis: Axis) -> str:
        if isinstance(axis, SumAxis) and axis not in names:
            terms = named(axis.first), axis.decision
            names[axis] = name = f"{len(names)}: {' + '.join(terms)}"
            counts[name] = axis.length
            if axis.places.numel() * axis.length > MOST_ENTRIES:
                _refuse(axis.places.numel() * axis.length)
            link = np.full((*axis.places.shape, axis.length), -np.inf)
            np.put_along_axis(link, axis.places.cpu().numpy()[..., None], 0.0, axis=-1)
            costs.append(Costs((*terms, name), np.zeros(link.shape), link))
        return names[axis]

    for values, axes in tables:
        place = {name: index for index, name in enumerate(dict.fromkeys(map(named, axes)))}
        own = torch.einsum(values.cpu(), [place[named(axis)] for axis in axes], list(place.values())).numpy()
        costs.append(Costs(tuple(place), own, np.zeros(own.shape)))
    order, entries = elimination_order((each.widths for each in costs), counts)
    if entries > MOST_ENTRIES:
        _refuse(entries)
    return Program(costs, counts, limit, order)


def _refuse(entries: float) -> None:
    reason = f"the tables over all combinations that matter have {entries:.3g} entries"
    raise InvalidValueError("the number of options", entries, "fewer options of each decision", reason=reason)
