"""A network on an array as one value: a row for every operation, with its cost, breakdown and traffic."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwcost.arrays import Size, Value, true_divide
from hwcost.devices import DeviceFile, ExtrapolationWarning, read_device
from hwcost.devices.measured import legend, withheld
from hwcost.errors import InvalidValueError, check_one_of, shorten
from hwcost.machine.array import SystolicArray
from hwcost.machine.energies import without_energy
from hwcost.machine.fields import is_finite
from hwcost.model.breakdown import CycleBreakdown, breakdown
from hwcost.model.cost import BYTES, ENERGY, JOULES, PARTS, Cost
from hwcost.model.layers import is_layer
from hwcost.model.pricing import Pricing
from hwcost.model.shapes import layer_shape
from hwcost.model.traffic import Traffic
from hwcost.network.flow import tensors_of
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Operation, Unsupported
from hwcost.network.peak import Peak, peak_of
from hwcost.network.pricing import Layers, moves_by_layer, price_network
from hwcost.network.residency import Plan, plan_of
from hwcost.network.run import RUN, SPILLED, Ends, RunLayers, Spilled, run_of
from hwcost.reports.measured import share_beyond, without_total
from hwcost.reports.run import run_rows, waiting_of
from hwcost.reports.shown import document_of
from hwcost.reports.tree import Module, Row, module_tree
from hwcost.tables import Document, Records
from hwcost.units import TIMES, in_unit, number, percent, plural, shortlist

__all__ = ["Summary", "summarise", "with_device"]

_WORDS = ("name", "path", "kind", "state", "shape")
NAMED = 5
"""Operations that an error names."""


@dataclass(frozen=True, eq=False, repr=False)
class Summary(Value, Records):
    """A network on an array: prints as the table of ``hwcost model``, and iterates over its rows.

    Attributes:
        name: of the network.
        array: the accelerator.
        rows: every operation, in the order in which they run.
        cost: the total, as :func:`hwcost.network_cost` gives it.
        breakdown: the PE-cycles of all that is priced.
        notes: remarks of the importer.
        seconds_90: the ends between which the latency lies with 90 %, if the array is a calibrated device as it was
            fitted.
        measured: the name of the calibrated device; empty for an array that was not fitted to measurements.
        extrapolate: whether totals of which more than half is beyond what was measured are among the figures.
        plan: the activations that stay in the buffer; None unless they were asked to.
        peak: the memory that the network needs at once, on a machine with a buffer or on a chip that states its memory,
            if it is known which layer reads what.
        label: the machine in words.
        device: the name of the device; empty for an array that is none.
    """

    name: str
    array: SystolicArray
    rows: tuple[Row, ...]
    cost: Cost
    breakdown: CycleBreakdown
    notes: tuple[str, ...] = ()
    seconds_90: tuple[float, float] | None = None
    measured: str = ""
    extrapolate: bool = False
    plan: Plan | None = None
    peak: Peak | None = None
    label: str = ""
    device: str = ""

    def document(self) -> Document:
        """The table of ``hwcost model``."""
        return document_of(self)

    @property
    def in_words(self) -> str:
        """Network, machine and totals on one line."""
        cost = self.cost
        if self.is_withheld():
            return f"{self.name} on {self.label}, no total: {self.withheld}"
        return (
            f"{self.name} on {self.label}: {plural(len(self.of('priced')), 'layer')}, {number(cost.cycles)} cycles, "
            f"{in_unit(cost.seconds, TIMES)}, {percent(cost.utilization)} % utilization"
        )

    def records(self) -> list[dict[str, Any]]:
        """A row for each operation, as ``hwcost model --csv`` has them."""
        array = self.array
        head = {"network": self.name, "device": self.device or None}
        head |= {name: getattr(array, name) for name in ("rows", "cols", "dataflow", "fold_timing", "clock_hz")}
        names = (*head, *_WORDS, "reason", *flattened(self.figures()), "extrapolated")
        found = (head | flattened(self.row_dict(row)) for row in self.rows)
        return [{name: each.get(name) for name in names} for each in found]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, name: str) -> Row:
        found = {row.name: row for row in self.rows}
        check_one_of("the report", name, found, what="operation")
        return found[name]

    def of(self, state: str) -> tuple[Row, ...]:
        """The rows of one state."""
        return tuple(row for row in self.rows if row.state == state)

    @functools.cached_property
    def tree(self) -> Module:
        """The rows as a tree of modules."""
        return module_tree(self.rows)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of operations that are missing in the totals."""
        return tuple(row.name for row in self.of("unsupported"))

    def share(self, part: Row | Module) -> float:
        """The share of all cycles that a row or module takes."""
        share: float = true_divide(part.cost.cycles, self.cost.cycles) if self.cost.cycles else 0.0
        return share

    @functools.cached_property
    def seconds_by_bound(self) -> dict[str, float]:
        """Seconds of all that is bound by compute, by memory and by overhead."""
        found = dict.fromkeys(PARTS, 0.0)
        for row in self.rows:
            if row.cost.cycles:
                found[row.cost.bound] += row.cost.seconds
        return found

    @property
    def mostly_bound(self) -> str:
        """The part that bounds the layers that take most of the time."""
        return max(self.seconds_by_bound, key=lambda name: self.seconds_by_bound[name])

    @property
    def extrapolated_share(self) -> float | None:
        """The share of the time that is beyond what the device was measured with; None if it was not measured."""
        return self.share_beyond(self.tree)

    def share_beyond(self, part: Row | Module) -> float | None:
        """The same of a row or module."""
        if not self.measured:
            return None
        return share_beyond(part.rows) if isinstance(part, Module) else float(bool(part.beyond))

    def is_withheld(self, part: Module | Row | None = None) -> bool:
        """Whether the total, or a subtotal, is no figure to go by: more than half of it is beyond what was measured."""
        if self.extrapolate or isinstance(part, Row):
            return False
        return bool(withheld(self.share_beyond(self.tree if part is None else part)))

    @property
    def withheld(self) -> str:
        """Why there is no total; empty if there is one."""
        return "" if self.extrapolate else withheld(self.extrapolated_share)

    @property
    def legend(self) -> str:
        """What is beyond what the device was measured with, in words; empty if nothing is."""
        judged = [row for row in self.rows if row.state == "priced" or row.beyond]
        return legend(self.measured, len(judged), {row.name: row.beyond for row in judged if row.beyond})

    def fused_bytes(self, part: Row | Module | None = None) -> Size:
        """Bytes that operations without products would move if each were a pass of its own; they are none of DRAM's.

        On a machine with a ``vector_bytes_per_s`` each is one, and its bytes are among those of its cost.
        """
        rows = self.rows if part is None else part.rows if isinstance(part, Module) else (part,)
        return sum(row.traffic.bytes() for row in rows if row.state == "memory-only" and not row.cost.cycles)

    def figures(self, part: Row | Module | None = None) -> dict[str, Any]:
        """The figures of a row or module, or of the whole network, by name."""
        whole = self.tree if part is None else part
        cost, breakdown = (self.cost, self.breakdown) if part is None else (whole.cost, whole.breakdown)
        found = {
            "macs": cost.macs,
            "cycles": cost.cycles,
            "seconds": cost.seconds,
            "share": 1.0 if part is None else None if self.is_withheld() else self.share(part),
            "utilization": cost.utilization,
            "bound": cost.bound if cost.cycles else "",
            "folds": cost.folds,
            **{f"{name}_cycles": getattr(cost, f"{name}_cycles") for name in (*PARTS, "waiting")},
            "pe_cycles": dict(breakdown.figures()),
            "bytes": {kind: getattr(cost, f"dram_{kind}_bytes") for kind in BYTES},
            "dram_bytes": cost.dram_bytes,
            "sram_bytes": cost.sram_bytes,
            **{f"sram_{kind}_bytes": getattr(cost, f"sram_{kind}_bytes") for kind in BYTES},
            "reread_bytes": whole.traffic.bytes(level="reread"),
            "fused_bytes": self.fused_bytes(part),
            **{name: getattr(cost, name) for name in (*ENERGY, *(f"{each}_joules" for each in JOULES))},
            "extrapolated_share": self.share_beyond(whole),
        }
        return without_total(found) if self.is_withheld(part) else found

    def of_total(self) -> dict[str, Any]:
        """Figures that only the whole network has."""
        if self.is_withheld():
            return {"seconds_by_bound": None, "seconds_90": None}
        return {"seconds_by_bound": dict(self.seconds_by_bound), "seconds_90": self.seconds_90}

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain data: totals, missing operations, all rows, all modules with their subtotals.

        >>> from hwcost import Linear
        >>> summarise({"fc": Linear(8, 8)}, SystolicArray(8, 8)).as_dict()["total"]["pe_cycles"]["useful"]
        64
        """
        modules = [entry for _, _, entry in self.tree.walk() if isinstance(entry, Module)]
        return {
            "network": self.name,
            "notes": list(self.notes),
            "total": None if self.is_withheld() else self.figures() | self.of_total(),
            "total_withheld": self.withheld or None,
            "extrapolated_share": self.extrapolated_share,
            "missing": [self.row_dict(row) for row in self.of("unsupported")],
            "rows": [self.row_dict(row) for row in self.rows],
            "memory": self.memory,
            "modules": [{"path": each.path, "rows": len(each.rows)} | self.figures(each) for each in modules],
        }

    @property
    def memory(self) -> dict[str, Any] | None:
        """What stays in the buffer, and what the network needs at once, as plain data; None if it is not known."""
        if self.peak is None:
            return None
        found: dict[str, Any] = {
            "peak_bytes": self.peak.bytes, "peak_layer": self.peak.layer, "weight_bytes": self.peak.weights,
            "buffer_bytes": self.peak.buffer if is_finite(self.peak.buffer) else None,
            "of_the_chip": self.peak.is_stated,
            "fits": self.peak.fits,
        }  # fmt: skip
        if self.plan is not None:
            found["kept"] = [dataclasses.asdict(each) for each in self.plan.kept]
            found["saved"] = self.plan.saved
        return found

    def row_dict(self, row: Row) -> dict[str, Any]:
        """One row, as plain data."""
        words = {name: getattr(row, name) for name in _WORDS}
        if row.state == "unsupported":
            return words | {"reason": row.reason}
        return words | self.figures(row) | {"extrapolated": bool(row.beyond) if self.measured else None}


def summarise(
    network: Layers,
    array: SystolicArray | DeviceFile | str,
    *,
    skip_unsupported: bool = False,
    extrapolate: bool = False,
    keep_activations: bool = False,
) -> Summary:
    """The cost of a network on an array, operation by operation.

    Args:
        network: of an importer, or any mapping from names to layers; points in its names make modules.
        array: the accelerator, with one number in every field; or a device by name, path or
            :func:`hwcost.devices.read_device`, of which the summary then also knows what it was measured with.
        skip_unsupported: leave out what cannot be priced, and name it, instead of raising.
        extrapolate: give figures of totals of which more than half is beyond what the device was measured with.
        keep_activations: results stay in the buffer between layers where that moves less.

    Raises:
        InvalidValueError: nothing to price, an operation that is not supported, sizes that are arrays, activations that
            cannot be kept.

    Warns:
        ExtrapolationWarning: more than half of the total is beyond what the device was measured with.

    >>> from hwcost import Linear
    >>> summary = summarise({"a": Linear(64, 40), "b": Linear(40, 8)}, SystolicArray(8, 8))
    >>> summary.cost.cycles, summary.breakdown.idle, summary.missing
    (45, 0, ())
    """
    network = _as_network(network)
    if not isinstance(array, SystolicArray):
        device = _as_device(array)
        summary = summarise(network, device.array, skip_unsupported=skip_unsupported, keep_activations=keep_activations)
        summary = with_device(summary, device, network, extrapolate=extrapolate)
        if summary.withheld:
            warnings.warn(f"no total: {summary.withheld}; {summary.legend}", ExtrapolationWarning, stacklevel=2)
        return summary
    missing = [f"{name}: {each.layer}" for name, each in network.unsupported.items()]
    if missing and not skip_unsupported:
        raise InvalidValueError(
            "the number of operations that are not supported",
            len(missing),
            f"0, or skip_unsupported=True, which leaves them out of all totals ({shortlist(missing, NAMED, ';')})",
        )
    plan = plan_of(network, array) if keep_activations else None
    priced = price_network(network, array, skip_unsupported=skip_unsupported, plan=plan)
    costs = {name: [each.cost for each in products] for name, products in priced.items()}
    layers = RunLayers.like(network, ((name, each.layer) for name, each in network.operations.items()))
    moved, run = moves_by_layer(layers, array, network, plan), run_of(layers, array)
    total = itertools.chain(*costs.values(), moved.values(), () if run is None else (run.cost,))
    cost = sum(total, start=Cost())  # in the order of network_cost
    for name, each in moved.items():
        costs[name] = [*costs.get(name, ()), each]
    named = network.operations.items()
    rows = tuple(_row(name, each, array, priced.get(name, ()), costs.get(name, ())) for name, each in named)
    rows += tuple(run_rows(layers, array))
    return Summary(
        name=network.name,
        array=array,
        rows=rows,
        cost=cost,
        breakdown=sum((row.breakdown for row in rows), start=CycleBreakdown()),
        notes=network.notes,
        plan=plan,
        peak=peak_of(network, array) if array.has_buffers and tensors_of(network) is not None else None,
        label=array.in_words,
    )


def flattened(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with those of their parts next to them, as the columns of a table."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if name == "pe_cycles":
            flat |= {f"pe_cycles_{kind}": each for kind, each in value.items()}
        elif name == "bytes":
            flat |= {f"{kind}_bytes": each for kind, each in value.items()}
        else:
            flat[name] = value
    return flat


def _as_device(given: object) -> DeviceFile:
    if isinstance(given, DeviceFile):
        return given
    if isinstance(given, (str, os.PathLike)):
        return read_device(given, field="array")
    raise InvalidValueError("array", given, "a DeviceFile, a SystolicArray, or the name of a device")


def with_device(summary: Summary, device: DeviceFile, network: Mapping[str, Any], *, extrapolate: bool) -> Summary:
    """A summary with what is known from the measurements that a device was fitted to.

    Args:
        summary: of the array of the device, or of one with another clock, size or dataflow.
        device: the device.
        network: the layers by the names of the rows.
        extrapolate: give totals of which more than half is beyond what was measured.
    """
    summary = dataclasses.replace(summary, device=device.name, label=f"{device.name}: {summary.array.in_words}")
    if summary.peak is None and device.memory_bytes is not None and tensors_of(network) is not None:
        summary = dataclasses.replace(summary, peak=peak_of(network, summary.array, device.memory_bytes))
    if device.fit is None:
        return summary
    layers = {**network, RUN: Ends(0, 0), SPILLED: Spilled(0)}
    priced = [(layers[row.name], row.cost.seconds) for row in summary.rows if row.cost.cycles]
    rows = (
        dataclasses.replace(row, beyond=tuple(device.beyond(layers[row.name])))
        if row.cost.cycles or row.state == "priced"
        else row
        for row in summary.rows
    )
    return dataclasses.replace(
        summary,
        rows=tuple(rows),
        seconds_90=device.interval(priced) if without_energy(device.array) == without_energy(summary.array) else None,
        measured=device.name,
        extrapolate=extrapolate,
    )


def _as_network(layers: Layers) -> Network:
    if isinstance(layers, Network):
        return layers
    named = layers.items() if isinstance(layers, Mapping) else enumerate(layers)
    return Network("network", {str(name): Operation(_known(layer)) for name, layer in named})


def _known(layer: Any) -> Any:
    known = is_layer(layer) or isinstance(layer, Unsupported)
    return layer if known else Unsupported(shorten(layer), "not a layer")


def _row(
    name: str, operation: Operation, array: SystolicArray, products: Sequence[Pricing], costs: Sequence[Cost]
) -> Row:
    layer, size = operation.layer, array.bytes_per_element
    row = functools.partial(Row, name, operation.path, operation.kind)
    if isinstance(layer, MemoryOnly):
        moved = {("dram", "inputs"): layer.reads, ("dram", "outputs"): layer.writes}
        cost = sum(costs, start=Cost())
        return row("memory-only", "", cost, waiting_of(cost), Traffic(moved, size))
    if not is_layer(layer):
        return row("unsupported", "", Cost(), CycleBreakdown(), Traffic({}, size), reason=str(layer))
    transfers = [each.moved for each in products]
    return row(
        "priced",
        layer_shape(layer),
        sum(costs, start=Cost()),
        sum(map(breakdown, products), start=CycleBreakdown()),
        sum((each.traffic for each in products), start=Traffic({}, size)),
        {name: sum(each.get(name, 0) for each in transfers) for name in itertools.chain(*transfers)},
    )
