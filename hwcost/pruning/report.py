"""What a pruning did: before and after, layer by layer, and what was left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hwcost.devices import DeviceFile
from hwcost.model.cost import Cost
from hwcost.network.run import Spilled
from hwcost.pruning.batches import Measured
from hwcost.pruning.shown import document_of
from hwcost.tables import Documents, Records
from hwcost.units import percent

__all__ = ["Block", "Depth", "PrunedLayer", "PruningReport", "Stage", "Tried"]


class PrunedLayer(NamedTuple):
    """A priced layer before and after.

    Attributes:
        name: of the layer.
        before, after: its cost; nothing if it was dropped.
        shapes: both, in words.
        layers: both; None for a layer that was dropped.
        beyond: for both, why it is beyond what a calibrated device was measured with; empty if it is not.
    """

    name: str
    before: Cost
    after: Cost
    shapes: tuple[str, str]
    layers: tuple[Any, Any] = (None, None)
    beyond: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    def on(self, device: DeviceFile) -> PrunedLayer:
        """The same with what is beyond the measurements of a device."""
        first, second = (() if layer is None else tuple(device.beyond(layer)) for layer in self.layers)
        return self._replace(beyond=(first, second))


class Stage(NamedTuple):
    """Loss and accuracy on the held-out examples at one point of the work."""

    name: str
    measured: Measured


class Block(NamedTuple):
    """A block that gives back what it gets without its own branch.

    Attributes:
        name: of the module.
        cost: that of its layers, in cycles, or in seconds where costs were measured in seconds.
        added_loss: what dropping it alone adds to the held-out loss; None if that was not measured.
        stays: the reason why it is still there; empty if it was dropped.
        can_go: whether it could have been dropped.
    """

    name: str
    cost: float
    added_loss: float | None
    stays: str
    can_go: bool


class Tried(NamedTuple):
    """A set of blocks that was dropped, before widths were cut to the limit.

    Attributes:
        dropped: the names of the blocks.
        cost: of the network without them, with all of its widths.
        loss: on held-out examples, with widths cut to the limit.
    """

    dropped: tuple[str, ...]
    cost: float
    loss: float


class Depth(NamedTuple):
    """Which blocks were dropped, and why.

    Attributes:
        blocks: those of the module.
        tried: sets of them, of which the one with the lowest loss was taken.
    """

    blocks: tuple[Block, ...]
    tried: tuple[Tried, ...]

    @property
    def dropped(self) -> tuple[str, ...]:
        """The blocks that are not there any more."""
        return tuple(each.name for each in self.blocks if not each.stays)

    def after(self, earlier: Depth | None) -> Depth:
        """This one, with the blocks that earlier steps dropped."""
        gone = () if earlier is None else tuple(each for each in earlier.blocks if not each.stays)
        return self._replace(blocks=(*gone, *self.blocks))

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "dropped": list(self.dropped),
            "blocks": [each._asdict() for each in self.blocks],
            "tried": [{**each._asdict(), "dropped": list(each.dropped)} for each in self.tried],
        }


@dataclass(repr=False)
class PruningReport(Records):
    """What a pruning did.

    Attributes:
        name: of the network.
        array: the accelerator, in words.
        asked: the limit, as it was given.
        limit: in cycles, or in seconds if ``measure`` says so.
        floor: the same with every width at its least size, or at the cheapest sizes measured: what no widths can save.
        before, after: the cost of the network, the second one priced anew from the new module.
        parameters: the number of parameters before and after.
        sizes: for every width that changed its size before and after.
        layers: before and after.
        left_alone: the widths that did not change, each with the reason.
        stages: loss and accuracy on the held-out examples.
        gap: what any other sizes within the limit, or that use as much of it, could be worth in addition at most, as a
            share; by the values that were used, which are no accuracies. None if no bound is known.
        notes: what else to know.
        settings: of the pruning, with the version and the device.
        measure: what the limit is in: "cycles", or "seconds" where a table of measured costs has times.
        depth: the blocks of the module; None if none were looked for.
        measured: the name of the calibrated device; empty for an array that was not fitted to measurements.
        seconds_90: for the network before and after the ends between which its latency lies with 90 %, on a calibrated
            device as it was fitted.
    """

    name: str
    array: str
    asked: str
    limit: float
    floor: float
    before: Cost
    after: Cost
    parameters: tuple[int, int]
    sizes: Mapping[str, tuple[int, int]]
    layers: tuple[PrunedLayer, ...]
    left_alone: Mapping[str, str]
    gap: float | None
    stages: list[Stage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)
    measure: str = "cycles"
    depth: Depth | None = None
    measured: str = ""
    seconds_90: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)

    def on(self, device: DeviceFile, *, as_fitted: bool) -> None:
        """Names the device, and adds what is known from the measurements that it was fitted to.

        Args:
            device: the device.
            as_fitted: whether the array is that of the device, without changes.
        """
        self.array = f"{device.name}: {self.array}"
        if device.fit is None:
            return
        self.measured = device.name
        self.layers = tuple(each.on(device) for each in self.layers)
        if as_fitted:
            self.seconds_90 = self._interval(device, 0), self._interval(device, 1)

    def _interval(self, device: DeviceFile, which: int) -> tuple[float, float] | None:
        """The interval before (0) or after (1); what belongs to no layer is as uncertain as a measured one."""
        whole = float((self.before, self.after)[which].seconds)
        costs = [(each.layers[which], float((each.before, each.after)[which].seconds)) for each in self.layers]
        parts = [(layer, seconds) for layer, seconds in costs if layer is not None]
        return device.interval([*parts, (Spilled(0), whole - sum(seconds for _, seconds in parts))])

    @property
    def beyond(self) -> dict[str, tuple[str, ...]]:
        """For each layer beyond what the device was measured with, before or after, why."""
        return {each.name: both for each in self.layers if (both := each.beyond[0] or each.beyond[1])}

    @property
    def used(self) -> float:
        """The share of the limit that is used."""
        return self._figure(self.after) / self.limit

    @property
    def blocks_that_go(self) -> int:
        """The number of blocks that may be dropped, or are."""
        return sum(each.can_go for each in self.depth.blocks) if self.depth else 0

    def _figure(self, cost: Cost) -> float:
        return float(getattr(cost, self.measure))

    @property
    def in_words(self) -> str:
        """What was left of the cost on one line."""
        share = self._figure(self.after) / self._figure(self.before)
        macs = float(self.after.macs) / float(self.before.macs)
        return f"{self.name} on {self.array}: {percent(share)} % of the {self.measure}, {percent(macs)} % of the MACs"

    def document(self) -> Documents:
        """The report for people: what changed, layer by layer, and what did not and why."""
        return document_of(self)

    def lines(self) -> Iterator[str]:
        """The text."""
        return self.document().lines()

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each layer: its shape and its cost before and after."""
        names = ("macs", "cycles", "seconds", "utilization", "dram_bytes")
        return [
            {"name": each.name, "shape_before": each.shapes[0], "shape_after": each.shapes[1]}
            | {f"{name}_{when}": getattr(cost, name)
               for when, cost in (("before", each.before), ("after", each.after)) for name in names}
            for each in self.layers
        ]  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "network": self.name,
            "array": self.array,
            "asked": self.asked,
            "measure": self.measure,
            f"limit_{self.measure}": self.limit,
            f"floor_{self.measure}": self.floor,
            "used_share_of_limit": self.used,
            "before": self._whole(0),
            "after": self._whole(1),
            "widths": {name: {"before": old, "after": new} for name, (old, new) in self.sizes.items()},
            "layers": [
                {
                    "name": each.name,
                    "before": each.before.as_dict(),
                    "after": each.after.as_dict(),
                    "extrapolated": [bool(why) for why in each.beyond] if self.measured else None,
                }
                for each in self.layers
            ],
            "left_alone": dict(self.left_alone),
            "stages": [{"name": each.name, **each.measured._asdict()} for each in self.stages],
            "gap": self.gap,
            "depth": None if self.depth is None else self.depth.as_dict(),
            "notes": list(self.notes),
            "settings": dict(self.settings),
        }

    def _whole(self, which: int) -> dict[str, Any]:
        """The network before (0) or after (1), as plain data."""
        known = any(each.beyond[which] for each in self.layers) if self.measured else None
        of_both = {"parameters": self.parameters[which], "seconds_90": self.seconds_90[which], "extrapolated": known}
        return (self.before, self.after)[which].as_dict() | of_both
