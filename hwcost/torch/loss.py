"""Latency as a loss term in PyTorch.

There are two ways to a gradient. The expectation needs no smoothing: a choice among widths with probabilities p (of
what comes in) and q (of what goes out) costs p^T R q on average, R the table of exact costs, and that is
differentiable in p and q as it stands. The smooth cost takes the expected widths instead and prices them with relaxed
ceilings, as the author's search does. :class:`LatencyLoss` offers both over a :class:`hwcost.SearchSpace`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from hwcost.errors import InvalidValueError, NoGradientError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import layer_cycles
from hwcost.model.layers import Layer
from hwcost.network.pricing import Report, network_cost, network_cycles
from hwcost.network.search_space import SearchedLayer, SearchSpace
from hwcost.relaxation import EXACT, Relaxation, as_relaxation
from hwcost.torch.replay import recorded

__all__ = [
    "CostTable",
    "LatencyLoss",
    "cost_table",
    "expected_cost",
    "expected_sizes",
    "smooth_cost",
    "space_tables",
]


Probabilities: TypeAlias = Mapping[str, Tensor] | Tensor


class CostTable(NamedTuple):
    """Cycles of one layer for every combination of the decisions that it depends on.

    Attributes:
        values: float64, one axis a decision, as long as the decision has options.
        decisions: the names of the axes, in order.
    """

    values: Tensor
    decisions: tuple[str, ...]


def cost_table(
    layer: Layer,
    in_options: Sequence[int],
    out_options: Sequence[int],
    *,
    array: SystolicArray,
    relaxation: Relaxation | str = EXACT,
    decisions: tuple[str, str] = ("in", "out"),
) -> CostTable:
    """Cycles of a layer for every pair of an input and an output width, in one vectorised call.

    Args:
        layer: the template; its widths (channels, features) are replaced by the options.
        in_options, out_options: the widths to try.
        array: the accelerator.
        relaxation: exact by default.
        decisions: what the two axes are called; twice the same name is one shared decision (a residual add, a
            depthwise layer), whose table is the diagonal. The options must then be the same too.

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
    shared = decisions[0] == decisions[1]
    if shared and tuple(in_options) != tuple(out_options):
        raise InvalidValueError("out_options", out_options, f"those of the shared decision: {tuple(in_options)}")
    sizes = dict(zip(fields, decisions, strict=True))
    if shared and getattr(layer, "is_depthwise", False):
        sizes["groups"] = decisions[0]  # it stays depthwise at every width
    space = SearchSpace(
        dict(zip(decisions, (tuple(in_options), tuple(out_options)), strict=True)),
        {"layer": SearchedLayer(layer, sizes)},
    )
    return space_tables(space, array, relaxation=relaxation)["layer"]


def space_tables(
    space: SearchSpace, array: SystolicArray, *, relaxation: Relaxation | str = EXACT
) -> dict[str, CostTable]:
    """The table of every layer of a search space: one axis for each decision that the layer depends on."""
    relaxation = as_relaxation(relaxation)
    tables = {}
    for name, searched in space.layers.items():
        lengths = [len(space.decisions[decision]) for decision in searched.decisions]
        grid = np.ix_(*(np.asarray(space.decisions[decision], dtype=np.int64) for decision in searched.decisions))
        cycles = layer_cycles(searched.at(dict(zip(searched.decisions, grid, strict=True))), array, relaxation)
        values = np.broadcast_to(np.asarray(cycles, dtype=np.float64), lengths)
        tables[name] = CostTable(torch.from_numpy(values.copy()), searched.decisions)
    return tables


def expected_cost(
    tables: CostTable | Iterable[CostTable] | Mapping[str, CostTable] | Tensor,
    probs: Mapping[str, Tensor] | Sequence[Tensor],
) -> Tensor:
    """The exact expectation of the cost, p^T R q for each table and summed over tables.

    Args:
        tables: one table or several, by name or not. A bare tensor is a table whose axes are decided independently, in
            the order of ``probs``.
        probs: for each decision a vector of probabilities, as long as it has options; they may come from a softmax or a
            Gumbel sample. A decision that two tables share enters both.

    Returns:
        A scalar in the dtype of the probabilities (float32 where that is less), multilinear in them: differentiable
        without any smoothing.

    Raises:
        InvalidValueError: a decision without probabilities, or of another length than the axis.

    >>> from hwcost import Linear
    >>> table = cost_table(Linear(8, 8), [8, 16], [8, 9, 17], array=SystolicArray(8, 8))
    >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.0, 0.5, 0.5])
    >>> expected_cost(table, {"in": p, "out": q})
    tensor(3.7500)
    >>> expected_cost(table.values, [p, q])
    tensor(3.7500)
    """
    if isinstance(tables, Tensor):
        tables = [CostTable(tables, tuple(range(tables.ndim)))]  # type: ignore[arg-type]
    elif isinstance(tables, CostTable):
        tables = [tables]
    elif isinstance(tables, Mapping):
        tables = tables.values()
    tables = list(tables)
    if not tables:
        raise InvalidValueError("tables", tables, "at least one table")
    costs = [_contract(table, probs) for table in tables]
    dtype = next((cost.dtype for table, cost in zip(tables, costs, strict=True) if table.decisions), costs[0].dtype)
    return costs[0] if len(costs) == 1 else torch.stack([cost.to(dtype) for cost in costs]).sum()


def _contract(table: CostTable, probs: Any) -> Tensor:
    vectors = [
        _probability(probs, name, length) for name, length in zip(table.decisions, table.values.shape, strict=True)
    ]
    values = table.values if not vectors else table.values.to(vectors[0].dtype)
    names = list(table.decisions)
    for name in [name for index, name in enumerate(names) if name in names[:index]]:  # shared: its axes move together
        first = names.index(name)
        second = names.index(name, first + 1)
        values = values.diagonal(dim1=first, dim2=second)
        vectors.append(vectors[first])
        names.append(name)
        for axis in (second, first):
            del names[axis], vectors[axis]
    for vector in vectors:
        values = vector @ values if values.ndim < 3 else (vector @ values.flatten(1)).reshape(values.shape[1:])
    return values


def _probability(probs: Any, name: Any, length: int) -> Tensor:
    try:
        vector = probs[name]
    except (KeyError, IndexError):
        raise InvalidValueError("probs", name, "a vector of probabilities for each decision") from None
    if not isinstance(vector, Tensor) or vector.shape != (length,):
        shape = tuple(vector.shape) if isinstance(vector, Tensor) else vector
        raise InvalidValueError(f"probs[{name!r}]", shape, f"a tensor of shape ({length},)")
    return vector if vector.dtype.itemsize >= 4 else vector.float()


def expected_sizes(options: Mapping[str, Sequence[int]], probs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The expected size sum_i p_i * option_i of every decision, with gradient.

    >>> expected_sizes({"width": (4, 8)}, {"width": torch.tensor([0.25, 0.75])})
    {'width': tensor(7.)}
    """
    row = torch.cat([_probability(probs, name, len(values)) for name, values in options.items()])
    return dict(zip(options, torch.mv(_options_matrix(options).to(row), row).unbind(), strict=True))


def _options_matrix(options: Mapping[str, Sequence[int]]) -> Tensor:
    """One row a decision, one column an option: this times all probabilities in a column are all expected sizes."""
    rows = [torch.tensor(values, dtype=torch.float64)[None] for values in options.values()]
    matrix: Tensor = torch.block_diag(*rows)  # type: ignore[no-untyped-call]
    return matrix


def smooth_cost(
    space: SearchSpace,
    probs: Mapping[str, Tensor],
    *,
    array: SystolicArray,
    relaxation: Relaxation | str = "shifted",
) -> Report:
    """The cost at the expected sizes, every ceiling relaxed: what the author's search minimises.

    Args:
        space: the network with its open decisions.
        probs: for each decision a vector of probabilities, as long as it has options.
        array: the accelerator.
        relaxation: what stands in for the ceilings.

    Returns:
        A report whose figures are scalars with gradient.

    >>> from hwcost import Linear
    >>> space = SearchSpace({"width": (4, 8)}, {"fc": SearchedLayer(Linear(4, 10), {"in_features": "width"})})
    >>> smooth_cost(space, {"width": torch.tensor([0.0, 1.0])}, array=SystolicArray(8, 8)).total.cycles
    tensor(1.6133)
    """
    space.check_names(probs)
    return network_cost(space.at(expected_sizes(space.decisions, probs)), array, relaxation=relaxation)


class _Recording(NamedTuple):
    """A recorded function, and what it was recorded for: dtype, device, and the buffers as they were."""

    kind: tuple[torch.dtype, torch.device]
    buffers: list[Tensor | None]
    versions: list[int]
    function: Callable[[Tensor], Tensor]


class LatencyLoss(nn.Module):
    """L = L_data + weight * latency / reference, the latency as a function of architecture probabilities.

    Args:
        space: the network with its open decisions.
        array: the accelerator.
        relaxation: how the latency is made differentiable. None: the exact expectation over the probabilities. A
            relaxation: the smooth cost at the expected widths.
        reference: cycles that count as a latency of 1, so that ``weight`` has no unit; or the sizes of a reference
            network, by decision, whose exact cycles are taken.
        weight: lambda.

    Raises:
        InvalidValueError: a reference or weight that is no positive number, and whatever the parts do not allow.

    >>> from hwcost import Conv2d
    >>> conv = SearchedLayer(Conv2d(1, 8, 5, height=28, width=28, padding="same"), {"out_channels": "width"})
    >>> space = SearchSpace({"width": (4, 8, 16)}, {"conv": conv})
    >>> loss = LatencyLoss(space, SystolicArray(8, 8), reference={"width": 8}, weight=0.1)
    >>> probs = {"width": torch.tensor([0.0, 0.5, 0.5], requires_grad=True)}
    >>> round(loss(probs).item(), 3)
    1.5
    >>> total, details = loss.penalise(torch.tensor(2.0), probs)
    >>> round(total.item(), 3), round(details["latency"].item(), 3)
    (2.15, 1.5)
    >>> loss.exact({"width": 8}).total.cycles
    3136
    """

    def __init__(
        self,
        space: SearchSpace,
        array: SystolicArray,
        *,
        relaxation: Relaxation | str | None = None,
        reference: float | Mapping[str, int],
        weight: float = 0.1,
    ) -> None:
        super().__init__()
        self.space, self.array = space, array
        self.relaxation = None if relaxation is None else as_relaxation(relaxation)
        self.reference = self._reference_cycles(reference)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1e9:
            raise InvalidValueError("weight", weight, "a number from 0 to 1e9")
        self.weight = float(weight)
        self._decisions_of: dict[str, tuple[str, ...]] = {}
        self._recording: _Recording | None = None
        for index, (name, table) in enumerate(space_tables(space, array).items()):
            self.register_buffer(f"table_{index}", table.values)
            self._decisions_of[name] = table.decisions
        self.register_buffer("options", _options_matrix(space.decisions))

    def _reference_cycles(self, reference: float | Mapping[str, int]) -> float:
        if isinstance(reference, Mapping):
            return float(self.exact(reference).total.cycles)
        if isinstance(reference, bool) or not isinstance(reference, (int, float)) or not 0 < reference < float("inf"):
            raise InvalidValueError("reference", reference, "cycles above 0, or the sizes of a reference network")
        return float(reference)

    @property
    def tables(self) -> dict[str, CostTable]:
        """The exact cycles of every layer by decision (the buffers of this module)."""
        named = enumerate(self._decisions_of.items())
        return {name: CostTable(self.get_buffer(f"table_{i}"), decisions) for i, (name, decisions) in named}

    def forward(self, probs: Probabilities) -> Tensor:
        """The latency in units of the reference: a scalar, differentiable in the probabilities.

        Args:
            probs: for each decision a vector of probabilities, or all of them in a row, in the order of the space's
                decisions (which saves a search's inner loop some time).

        Raises:
            NoGradientError: in training mode no probability carries a gradient, so that the term would train nothing.
            InvalidValueError: a decision is missing or unknown, or a vector is of another length.
        """
        return self.cycles(probs) / self.reference

    def cycles(self, probs: Probabilities) -> Tensor:
        """The latency in cycles: as :meth:`forward`, not divided by the reference."""
        if not self.space.decisions:
            return torch.tensor(float(self.exact({}).total.cycles))
        row = self._row(probs)
        if self.training and torch.is_grad_enabled() and not row.requires_grad:
            raise NoGradientError(
                "none of the probabilities carries a gradient, so that the latency would train nothing; pass them as "
                "they come out of the softmax (not detached, not an argmax), or call eval() on the loss to just look"
            )
        if torch.is_autocast_enabled(row.device.type):  # it would multiply in half precision, which blurs the stairs
            with torch.autocast(row.device.type, enabled=False):
                return self._replayed(row)
        return self._replayed(row)

    def _replayed(self, row: Tensor) -> Tensor:
        """The cycles by the operations recorded of :meth:`_cycles`, recorded anew where those no longer fit."""
        if torch.compiler.is_compiling():
            return self._cycles(row)
        kept, kind, buffers = self._recording, (row.dtype, row.device), list(self._buffers.values())
        versions = [buffer._version for buffer in buffers if buffer is not None]
        same = kept is not None and kept.kind == kind and all(map(operator.is_, kept.buffers, buffers))
        if kept is None or not same or kept.versions != versions:
            kept = self._recording = _Recording(kind, buffers, versions, recorded(self._cycles, row))
        return kept.function(row)

    def _row(self, probs: Probabilities) -> Tensor:
        if isinstance(probs, Tensor):
            return _probability([probs], 0, self.get_buffer("options").shape[1])
        self.space.check_names(probs)
        return torch.cat([_probability(probs, name, len(options)) for name, options in self.space.decisions.items()])

    def _cycles(self, row: Tensor) -> Tensor:
        """The cycles for all probabilities in a row."""
        if self.relaxation is None:
            vectors = torch.split(row, [len(options) for options in self.space.decisions.values()])
            return expected_cost(self.tables, dict(zip(self.space.decisions, vectors, strict=True)))
        sizes = torch.mv(self.get_buffer("options").to(row), row).unbind()
        layers = self.space.at(dict(zip(self.space.decisions, sizes, strict=True)))
        cycles: Tensor = network_cycles(layers, self.array, self.relaxation)
        return cycles

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_recording": None}

    def penalise(self, task_loss: Tensor, probs: Probabilities) -> tuple[Tensor, dict[str, Tensor]]:
        """``task_loss + weight * latency``, and the parts for a log.

        Returns:
            The total, and ``{"task_loss", "latency", "penalty"}`` as scalars without gradient: still tensors, since a
            conversion to numbers would make an accelerator wait.

        Raises:
            NoGradientError: as :meth:`forward`.
        """
        cycles = self.cycles(probs)
        latency = cycles.detach() / self.reference
        details = {"task_loss": task_loss.detach(), "latency": latency, "penalty": self.weight * latency}
        return torch.add(task_loss, cycles, alpha=self.weight / self.reference), details

    def exact(self, choice: Mapping[str, int]) -> Report:
        """The exact cost of one choice of sizes, by decision: integers, layer by layer and in total."""
        return network_cost(self.space.at(choice), self.array)
