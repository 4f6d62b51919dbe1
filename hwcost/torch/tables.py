"""Cost tables of a network with open widths, and the exact expectation over them.

A layer with input widths of probabilities p and output widths of probabilities q costs p^T R q on average, where R is
the table of its exact cycles. That is differentiable in p and q without any smoothing. A sum of several widths, as
behind a concatenation, has one axis too: its possible values, whose probabilities are a convolution of those of the
widths. Tables and expectation therefore grow with the number of sums, not with the number of combinations.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hwcost import arrays
from hwcost.arrays import Size
from hwcost.errors import MISSING, InvalidValueError, unknown
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import layer_figure
from hwcost.model.layers import Layer
from hwcost.network.besides import read_besides, reading_figure
from hwcost.network.network import Network
from hwcost.network.operations import Operation, Width
from hwcost.network.pricing import check_network
from hwcost.network.space import check_options
from hwcost.relaxation import EXACT, Relaxation, as_relaxation
from hwcost.tables import Column, Document, Shown, even
from hwcost.torch.sums import Axis, SumAxis, Sums, axis_groups
from hwcost.units import number, plural, printable

__all__ = ["CostTable", "SumAxis", "cost_table", "expected_cost", "expected_sizes", "space_tables"]

_ROUNDING = 1e-2


class CostTable(NamedTuple):
    """Cycles of one or several layers for all combinations of the decisions that they depend on.

    Attributes:
        values: float64, one axis for each entry of ``axes``.
        axes: the name of a decision, whose options are the entries; or a :class:`SumAxis` over several decisions.
    """

    values: Tensor
    axes: tuple[Axis, ...]

    @property
    def decisions(self) -> tuple[str, ...]:
        """The names of the decisions in the order of the axes, each once."""
        names = ((axis,) if not isinstance(axis, SumAxis) else axis.decisions for axis in self.axes)
        return tuple(dict.fromkeys(name for own in names for name in own))


class CostTables(Shown, dict[str, CostTable]):
    """The tables of a network by the name of a layer: a dictionary that prints as a row for each."""

    @property
    def in_words(self) -> str:
        """How many tables there are, and how many costs they have, on one line."""
        entries = sum(each.values.numel() for each in self.values())
        return f"{plural(len(self), 'table')}, {number(entries)} costs"

    def document(self) -> Document:
        """For each table the decisions that it depends on, and the least and the largest cost."""
        least = even(float(each.values.min()) for each in self.values())
        most = even(float(each.values.max()) for each in self.values())
        columns = [
            Column[str]("layer", printable, to_the_left=True),
            Column[str]("decisions", lambda name: ", ".join(map(printable, self[name].decisions)), to_the_left=True),
            Column[str]("options", lambda name: " x ".join(map(str, self[name].values.shape))),
            Column[str]("least", lambda name: least(float(self[name].values.min()))),
            Column[str]("most", lambda name: most(float(self[name].values.max()))),
        ]
        return Document(self.in_words, columns, list(self))


def cost_table(
    layer: Layer,
    in_options: Sequence[int],
    out_options: Sequence[int],
    *,
    array: SystolicArray | str,
    relaxation: Relaxation | str = EXACT,
    decisions: tuple[str, str] = ("in", "out"),
) -> CostTable:
    """Cycles of a layer for every pair of an input and an output width, in one vectorised call.

    Args:
        layer: the template; its widths (channels, features) are replaced by the options.
        in_options, out_options: the widths to try.
        array: the accelerator, or the name of a device.
        relaxation: exact by default.
        decisions: the names of the two axes. Twice the same name is one shared decision (a residual add, a depthwise
            layer), whose table is the diagonal; the options must then be the same too.

    Returns:
        A table of shape (len(in_options), len(out_options)), or (len(in_options),) for a shared decision.

    Raises:
        InvalidValueError: a layer without widths, an option that is not a positive integer, shared options that differ.

    >>> from hwcost import Linear
    >>> cost_table(Linear(8, 8), [8, 16], [8, 9, 17], array=SystolicArray(8, 8)).values
    tensor([[1., 2., 3.],
            [2., 4., 6.]], dtype=torch.float64)
    """
    fields = getattr(layer, "WIDTHS", None)
    if fields is None:
        raise InvalidValueError("layer", layer, "a layer with WIDTHS, like Conv2d, Linear or MatMul")
    if decisions[0] == decisions[1] and tuple(in_options) != tuple(out_options):
        raise InvalidValueError("out_options", out_options, f"those of the shared decision: {tuple(in_options)}")
    pairs = zip(decisions, (in_options, out_options), strict=True)
    options = {name: check_options(name, tuple(sizes), {name: Width(1)}) for name, sizes in pairs}
    follows: dict[str, Any] = dict(zip(fields, decisions, strict=True))
    if len(options) == 1 and getattr(layer, "is_depthwise", False):
        follows["groups"] = decisions[0]  # it stays depthwise at every width
    today = {field: options[name][0] for field, name in follows.items()}  # any option serves as today's size
    operation = Operation(dataclasses.replace(layer, **today), follows)  # type: ignore[type-var]
    return space_tables(Network("layer", {"layer": operation}).space(options), array, relaxation=relaxation)["layer"]


def space_tables(
    network: Network,
    array: SystolicArray | str,
    *,
    relaxation: Relaxation | str = EXACT,
    skip_unsupported: bool = False,
    cost: Callable[[Layer, SystolicArray], Size] | None = None,
    figure: str = "cycles",
) -> CostTables:
    """The table of every layer of a network with open widths that takes time.

    On a machine with terms of a run, :data:`hwcost.network.run.RUN` has a table too; weights that do not fit belong to
    no table.

    Args:
        network: with options, as :meth:`hwcost.network.network.Network.space` makes it.
        array: the accelerator, or the name of a device.
        relaxation: exact by default.
        skip_unsupported: leave out operations that cannot be priced instead of raising.
        cost: what counts, a function of a layer and the array, in place of a figure.
        figure: of :class:`hwcost.Cost`. With "energy_joules" there are tables of what is read besides operands, too.

    Raises:
        InvalidValueError: a network without options, an operation that cannot be priced, nothing to price.

    >>> from hwcost import Linear
    >>> layers = {
    ...     "a": Operation(Linear(4, 8), {"out_features": "a"}),
    ...     "b": Operation(Linear(4, 16), {"out_features": "b"}),
    ...     "both": Operation(Linear(24, 8), {"in_features": (("a", 1), ("b", 1))}),
    ... }
    >>> network = Network("sum", layers).space({"a": (8, 16), "b": (8, 16, 24)})
    >>> table = space_tables(network, SystolicArray(8, 8))["both"]
    >>> table.decisions, table.values.tolist()  # a + b is 16, 24, 32 or 40
    (('a', 'b'), [2.0, 3.0, 4.0, 5.0])
    """
    array = check_network(network, array, skip_unsupported=skip_unsupported, is_space=True)
    relaxation = as_relaxation(relaxation)
    sums = Sums(network)
    count = cost or (lambda layer, array: layer_figure(layer, array, relaxation, figure))
    found = CostTables((name, _table(each, sums, array, count)) for name, each in network.costing(array).items())
    if cost is not None or figure == "cycles":  # in which nothing is read besides operands
        return found
    reading = functools.partial(reading_figure, figure=figure)
    for name, others in read_besides(network, array).items():
        for index, each in enumerate(others):
            found[f"{name} (besides {index})"] = _table(each, sums, array, reading)
    return found


def _table(operation: Operation, sums: Sums, array: SystolicArray, count: Callable[..., Size]) -> CostTable:
    groups = axis_groups(operation.sizes, sums.options)
    axes: list[Axis] = []
    lengths: list[int] = []
    fields: dict[str, Any] = {}
    for index, rules in enumerate(groups):
        axis, sizes = sums.axis(tuple(rules.values()))
        axes.append(axis)
        lengths.append(len(sizes[0]))
        shape = (-1, *[1] * (len(groups) - index - 1))
        fields |= {field: each.reshape(shape) for field, each in zip(rules, sizes, strict=True)}
    layer = dataclasses.replace(operation.layer, **fields) if fields else operation.layer
    cycles = np.asarray(count(layer, array), dtype=np.float64)
    return CostTable(torch.from_numpy(np.broadcast_to(cycles, lengths).copy()), tuple(axes))


def expected_cost(
    tables: CostTable | Iterable[CostTable] | Mapping[str, CostTable], probs: Mapping[str, Tensor]
) -> Tensor:
    """The exact expectation of the cost, p^T R q for each table and summed over tables.

    Args:
        tables: one table or several, by name or not.
        probs: for each decision a vector of probabilities, as long as it has options; they may come from a softmax or a
            Gumbel sample. A decision that two tables share enters both.

    Returns:
        A scalar in the dtype of the probabilities (float32 if that is less), multilinear in them: differentiable
        without any smoothing.

    Raises:
        InvalidValueError: a decision without probabilities, or of another length than the axis; values on the CPU that
            are no probabilities, such as logits.

    >>> from hwcost import Linear
    >>> table = cost_table(Linear(8, 8), [8, 16], [8, 9, 17], array=SystolicArray(8, 8))
    >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.0, 0.5, 0.5])
    >>> expected_cost(table, {"in": p, "out": q})
    tensor(3.7500)
    """
    tables = tables.values() if isinstance(tables, Mapping) else tables
    tables = [tables] if isinstance(tables, CostTable) else list(tables)
    if not tables:
        raise InvalidValueError("tables", tables, "at least one table")
    cost = contracted(tables, probs)  # first, since it checks the shapes
    names = dict.fromkeys(name for table in tables for name in table.decisions)
    if names:
        check_shares({name: len(probs[name]) for name in names}, torch.cat([probs[name] for name in names]))
    return cost


def contracted(tables: Sequence[CostTable], probs: Mapping[str, Tensor]) -> Tensor:
    """:func:`expected_cost` of weights that need not be probabilities."""
    known: dict[Axis, Tensor] = {}
    costs = [_contract(table, probs, known) for table in tables]
    dtype = next((cost.dtype for table, cost in zip(tables, costs, strict=True) if table.axes), costs[0].dtype)
    return costs[0] if len(costs) == 1 else torch.stack([cost.to(dtype) for cost in costs]).sum()


def _contract(table: CostTable, probs: Any, known: dict[Axis, Tensor]) -> Tensor:
    values, axes = table
    vectors = {axis: _distribution(axis, n, probs, known) for axis, n in zip(axes, values.shape, strict=True)}
    if vectors:
        values = values.to(next(iter(vectors.values())).dtype)
    if len(vectors) < len(axes):  # axes of one decision move together
        letters = {axis: index for index, axis in enumerate(vectors)}
        own = [operand for axis, vector in vectors.items() for operand in (vector, [letters[axis]])]
        return torch.einsum(values, [letters[axis] for axis in axes], *own, [])
    for vector in vectors.values():
        rest = values.shape[1:]
        values = torch.mv(values.flatten(1).T, vector) if rest else torch.dot(vector, values)
        values = values.reshape(rest) if len(rest) > 1 else values
    return values


def _distribution(axis: Axis, length: int, probs: Any, known: dict[Axis, Tensor]) -> Tensor:
    """The probability of every entry of an axis."""
    if not isinstance(axis, SumAxis):
        return probability(probs, axis, length)
    if axis not in known:
        rows, options = axis.places.shape
        joint = torch.outer(
            _distribution(axis.first, rows, probs, known), probability(probs, axis.decision, options)
        ).flatten()
        places = axis.places.to(joint.device).flatten()
        known[axis] = joint.new_zeros(axis.length).index_add(0, places, joint)
    return known[axis]


def probability(probs: Mapping[str, Tensor], name: str, length: int) -> Tensor:
    """The probabilities of one decision, checked, in at least single precision."""
    if name not in probs:
        raise InvalidValueError(f"probs[{name!r}]", MISSING, f"a tensor of shape ({length},)")
    vector = probs[name]
    if not isinstance(vector, Tensor) or vector.shape != (length,):
        shape = tuple(vector.shape) if isinstance(vector, Tensor) else vector
        raise InvalidValueError(f"probs[{name!r}]", shape, f"a tensor of shape ({length},)")
    return vector if vector.dtype.itemsize >= 4 else vector.float()


def check_shares(lengths: Mapping[str, int], row: Tensor, *, waits: bool = False) -> None:
    """Raises unless the values of each decision, one after the other in ``row``, are at least 0 and sum to 1.

    The tolerance leaves room for half precision and for straight-through samples. Values that cannot be read, as under
    vmap or a compiler, pass; those on an accelerator, which has to wait for them, unless ``waits``.
    """
    if waits or row.device.type == "cpu":
        row = row.detach()
        values = arrays.if_concrete(row, lambda: row.float().cpu().numpy())
        starts = [0, *itertools.accumulate(lengths.values())]
        if values is not None and not _are_shares(values, starts[:-1]):
            for name, start, end in zip(lengths, starts, starts[1:], strict=False):
                if not _are_shares(values[start:end], [0]):
                    allowed = "probabilities: at least 0, with a sum of 1; pass softmax(logits)"
                    raise InvalidValueError(f"probs[{name!r}]", values[start:end].tolist(), allowed)


def _are_shares(values: Any, starts: list[int]) -> bool:
    return bool(values.min() > -_ROUNDING and np.abs(np.add.reduceat(values, starts) - 1).max() < _ROUNDING)


def as_row(options: Mapping[str, Sequence[int]], probs: Mapping[str, Tensor]) -> Tensor:
    """The probabilities of all decisions, checked, one after the other."""
    if not isinstance(probs, Mapping):
        raise InvalidValueError("probs", probs, "a vector of probabilities for each decision, by name")
    for name in probs:
        if name not in options:
            raise InvalidValueError("probs", name, options, form=unknown("decision"))
    return torch.cat([probability(probs, name, len(sizes)) for name, sizes in options.items()])


def expected_sizes(options: Mapping[str, Sequence[int]], probs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The expected size sum_i p_i * option_i of every decision, with gradient.

    Args:
        options: of every decision, as a network with open widths has them.
        probs: for each decision a vector of probabilities, as long as it has options.

    Raises:
        InvalidValueError: a decision is missing or unknown, or a vector is of another length; values on the CPU that
            are no probabilities, such as logits.

    The author's search minimises the cost at expected sizes, with every ceiling relaxed:

    >>> from hwcost import Linear, network_cost
    >>> network = Network("one", {"fc": Operation(Linear(8, 10), {"in_features": "width"})}).space({"width": (4, 8)})
    >>> sizes = expected_sizes(network.options, {"width": torch.tensor([0.25, 0.75])})
    >>> sizes
    {'width': tensor(7.)}
    >>> network_cost(network.at(sizes), SystolicArray(8, 8), relaxation="shifted").total.cycles
    tensor(1.5988)
    """
    row = as_row(options, probs)
    check_shares({name: len(sizes) for name, sizes in options.items()}, row)
    return dict(zip(options, torch.mv(options_matrix(options).to(row), row).unbind(), strict=True))


def options_matrix(options: Mapping[str, Sequence[int]]) -> Tensor:
    """One row per decision, one column per option: this times all probabilities in a column are all expected sizes."""
    rows = [torch.tensor(values, dtype=torch.float64)[None] for values in options.values()]
    matrix: Tensor = torch.block_diag(*rows)  # type: ignore[no-untyped-call]
    return matrix
