"""The mixed-integer program that picks one option of each width."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hwcost.advice.tables import Figures
from hwcost.errors import require

__all__ = ["SolverResult", "Table", "load_solver", "pick"]


class Table(NamedTuple):
    """Cycles and MACs over the options of some widths, one axis per width."""

    widths: tuple[str, ...]
    cycles: Figures
    macs: Figures


class SolverResult(NamedTuple):
    """One option of each width, their MACs, and the relative gap to the best bound on the MACs."""

    sizes: dict[str, int]
    macs: float
    gap: float


def load_solver() -> Any:
    """``scipy.optimize``, which has the solver.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    require("scipy", "advice", "a budget")
    from scipy import optimize

    return optimize


def pick(tables: Sequence[Table], options: Mapping[str, Figures], limit: float, max_nodes: int) -> SolverResult | None:
    """The options of all widths with the most MACs within a limit of cycles.

    There is one variable per option, then one per entry of each table: 1 if it is taken. Only those of the options must
    be declared integers; the others follow.

    Args:
        tables: over the options of the widths that they name.
        options: of each width.
        limit: on the cycles of all tables together.
        max_nodes: of the search tree; then the best options so far are used. The solver counts its effort in steps, so
            that the result does not depend on the speed of the machine.

    Returns:
        None if the search tree ended before any options were found.
    """
    optimize = load_solver()
    from scipy import sparse

    rows = list(_rows(tables, options))
    count = sum(map(len, options.values())) + sum(table.cycles.size for table in tables)
    columns, values, row_of = (
        np.concatenate([row[0] for row in rows]),
        np.concatenate([row[1] for row in rows]),
        np.repeat(np.arange(len(rows)), [len(row[0]) for row in rows]),
    )
    picks_one = sparse.csr_array((values, (row_of, columns)), shape=(len(rows), count))
    right = np.array([row[2] for row in rows])
    of_options = np.zeros(sum(map(len, options.values())))
    cycles, macs = (
        np.concatenate([of_options, *(getattr(table, name).ravel() for table in tables)]) for name in ("cycles", "macs")
    )
    slack = 0.0
    for _ in range(4):  # the solver's tolerance may exceed the limit by a hair; then the limit is tightened
        result = optimize.milp(
            -macs / macs.max(),
            constraints=[
                optimize.LinearConstraint(picks_one, right, right),
                optimize.LinearConstraint(sparse.csr_array(1000 / limit * cycles[np.newaxis]), ub=1000 * (1 - slack)),
            ],
            integrality=np.append(np.ones(len(of_options)), np.zeros(count - len(of_options))),
            bounds=optimize.Bounds(0, 1),
            options={"node_limit": max_nodes, "mip_rel_gap": 0.0},
        )
        if result.x is None:
            return None
        found = _found(result, tables, options, limit)
        if found is not None:
            return found
        slack = 2 * slack + 1e-6
    return None


def _starts(options: Mapping[str, Figures]) -> dict[str, int]:
    """The index of the variable of each width's first option."""
    return dict(zip(options, itertools.accumulate(map(len, options.values()), initial=0), strict=False))


def _rows(tables: Sequence[Table], options: Mapping[str, Figures]) -> Iterator[tuple[Figures, Figures, float]]:
    """The equations: variables, coefficients, right-hand side."""
    first = _starts(options)
    for name, sizes in options.items():
        yield first[name] + np.arange(len(sizes)), np.ones(len(sizes)), 1.0
    start = sum(map(len, options.values()))
    for table in tables:
        entries = start + np.arange(table.cycles.size).reshape(table.cycles.shape)
        start += table.cycles.size
        if not table.widths:
            yield entries.ravel(), np.ones(entries.size), 1.0
        for axis, name in enumerate(table.widths):
            for index in range(len(options[name])):  # an entry with this option is taken if and only if the option is
                with_it = entries.take(index, axis=axis).ravel()
                yield np.append(with_it, first[name] + index), np.append(np.ones(len(with_it)), -1.0), 0.0


def _found(result: Any, tables: Sequence[Table], options: Mapping[str, Figures], limit: float) -> SolverResult | None:
    """The options that the solver's variables pick, counted exactly; None if they exceed the limit."""
    first = _starts(options)
    picked = {name: int(np.argmax(result.x[first[name] : first[name] + len(sizes)])) for name, sizes in options.items()}
    at = [tuple(picked[name] for name in table.widths) for table in tables]
    cycles, macs = (
        sum(float(getattr(table, name)[index]) for table, index in zip(tables, at, strict=True))
        for name in ("cycles", "macs")
    )
    if cycles > limit:
        return None
    return SolverResult({name: int(options[name][index]) for name, index in picked.items()}, macs, _gap(result))


def _gap(result: Any) -> float:
    """0 if the solver proved its result optimal."""
    return 0.0 if result.status == 0 else max(0.0, float(result.mip_gap))
