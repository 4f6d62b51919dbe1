"""Activations that stay in the buffer between layers: which, and what that saves.

A result that stays is not written to DRAM by the layer that makes it, nor read by those that use it; it takes its bytes
from the buffer in all layers from the first to the last of these, and tiles have the rest. Of all choices the one is
taken that moves least, by dynamic programming over the layers in order:

    state   the results that are in the buffer, and which of them are in DRAM as well
    step    a layer makes its results: each goes to DRAM, stays, or both; one that is in DRAM may be dropped at any time
    cost    what the layer moves with the room that is left, and with the operands that are there

For a chain the state is one result, and the choice is exact. Branches (skip connections) have several alive at once;
beyond ``STATES`` states at a step the ones that moved most are given up.

:mod:`hwcost.network.program` has the layers and their results.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from hwcost.arrays import total
from hwcost.errors import InvalidValueError, NoTileError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import price
from hwcost.model.gemm import Gemm
from hwcost.model.layout import padded
from hwcost.model.least import tiling_of
from hwcost.network.operations import MemoryOnly
from hwcost.network.program import Place, Result, program_of
from hwcost.relaxation import EXACT

__all__ = ["STATES", "Kept", "Plan", "Step", "plan_of"]

STATES = 64
"""States that are followed from layer to layer."""


@dataclass(frozen=True)
class Kept:
    """A result that stays in the buffer.

    Attributes:
        name: the operation that makes it; "" for the inputs of the network.
        bytes: its size.
        until: the last layer that finds it in the buffer.
        is_written: whether DRAM has it as well.
    """

    name: str
    bytes: float
    until: str
    is_written: bool


@dataclass(frozen=True)
class Step:
    """A layer of a plan.

    Attributes:
        name: of the layer.
        room: bytes of the buffer that are left for its tiles.
        resident: bytes of results that are in the buffer while it runs.
        operands: its operands that do not cross DRAM: "inputs", "weights" or "outputs".
        more_bytes: bytes that operations fused with it read in addition.
        bytes: what it moves.
    """

    name: str
    room: float
    resident: float
    operands: tuple[str, ...]
    more_bytes: float
    bytes: float


@dataclass(frozen=True)
class Plan:
    """The results that stay, and what each layer moves then.

    Attributes:
        kept: the results, in order.
        steps: by layer, in order.
        bytes: that cross DRAM in all.
        bytes_alone: the same if nothing stays.
    """

    kept: tuple[Kept, ...]
    steps: Mapping[str, Step]
    bytes: float
    bytes_alone: float

    @property
    def saved(self) -> float:
        """The share of the bytes that do not cross DRAM."""
        return 1 - self.bytes / self.bytes_alone if self.bytes_alone else 0.0


# ---------------------------------------------------------------- the choice


_State: TypeAlias = tuple[tuple[int, bool], ...]
"""The results in the buffer, and whether DRAM has each as well."""


@dataclass(frozen=True)
class _Way:
    """The least that has moved up to a state, and how it came about."""

    moved: float
    before: _Way | None = None
    during: _State = ()
    step: Step | None = None


def plan_of(layers: Mapping[str, Any], array: SystolicArray) -> Plan:
    """The results of a network that stay in the buffer of a machine so that least crosses DRAM.

    Args:
        layers: a network whose edges are known, with numbers as sizes.
        array: with a ``buffer_bytes`` that inputs and outputs share.

    Raises:
        InvalidValueError: edges that are unknown, a machine without such a buffer, a layer for which no tile fits.

    >>> from hwcost import Conv2d, Network
    >>> layers = {"a": Conv2d(16, 32, 3, height=16, width=16), "b": Conv2d(32, 16, 3, height=14, width=14)}
    >>> plan = plan_of(Network.of_layers("two", layers, is_chain=True), SystolicArray(16, 16, buffer_bytes=32768.0))
    >>> [(kept.name, kept.bytes) for kept in plan.kept], plan.bytes, plan.bytes_alone
    ([('a', 6272.0)], 15616.0, 28160.0)
    """
    room = _room(array)
    program, results = program_of(layers, array)
    alone = _run(program, results, array, room, may_keep=False)
    # states that are given up may have been the way on which nothing stays
    best = min(_run(program, results, array, room, may_keep=True), alone, key=lambda way: way.moved)
    steps: list[Step] = []
    spans: dict[int, tuple[int, bool]] = {}
    way: _Way | None = best
    while way is not None and way.step is not None:
        steps.append(way.step)
        for number, is_written in way.during:
            spans.setdefault(number, (len(program) - len(steps), is_written))
        way = way.before
    kept = tuple(
        Kept(results[number].name, results[number].bytes, program[until].name, is_written)
        for number, (until, is_written) in sorted(spans.items())
        if until > results[number].made
    )
    return Plan(kept, {step.name: step for step in reversed(steps)}, best.moved, alone.moved)


def _room(array: SystolicArray) -> float:
    for room, operands in array.rooms:
        if "inputs" in operands and "outputs" in operands:
            return float(room)
    allowed = "a machine with a buffer_bytes that inputs and outputs share"
    raise InvalidValueError("array", array.size_in_words, allowed, reason="nothing can stay between layers")


def _run(
    program: Sequence[Place], results: Sequence[Result], array: SystolicArray, room: float, *, may_keep: bool
) -> _Way:
    """The way through all layers that moves least."""
    ways: dict[_State, _Way] = {(): _Way(0.0)}
    for place, layer in enumerate(program):
        tried = [
            (during, way)
            for state, way in ways.items()
            for kept in _droppings(state)
            for during in _makings(kept, layer, results, may_keep=may_keep)
        ]
        steps = _steps(layer, results, array, room, [during for during, _ in tried])
        ways = {}
        for (during, before), step in zip(tried, steps, strict=True):
            after = tuple(held for held in during if results[held[0]].last > place)
            moved = before.moved + step.bytes
            if moved < math.inf and (after not in ways or moved < ways[after].moved):
                ways[after] = _Way(moved, before, during, step)
        if not ways:
            allowed = "a larger buffer_bytes"
            raise NoTileError("SystolicArray.buffer_bytes", room, allowed, reason=f"no tile of {layer.name!r} fits")
        ways = dict(sorted(ways.items(), key=lambda item: item[1].moved)[:STATES])
    return min(ways.values(), key=lambda way: way.moved)


def _droppings(state: _State) -> Iterator[_State]:
    """The state, and what is left if some of the results leave that DRAM has as well."""
    yield state
    written = [held for held in state if held[1]]
    for count in range(1, len(written) + 1 if len(written) <= 3 else 2):
        for gone in itertools.combinations(written, count):
            yield tuple(held for held in state if held not in gone)


def _makings(state: _State, layer: Place, results: Sequence[Result], *, may_keep: bool) -> Iterator[_State]:
    """The states in which a layer runs: of each result that it makes, it keeps all, writes all, or both."""
    ways: list[tuple[_State, ...]] = []
    for number in layer.makes:
        result = results[number]
        both = (((number, True),),)
        alone = () if result.is_output else (((number, False),),)
        ways.append(((), *both, *alone) if may_keep and result.last > result.made else ((),))
    for choice in itertools.product(*ways):
        yield (*state, *itertools.chain(*choice))


def _steps(
    layer: Place, results: Sequence[Result], array: SystolicArray, room: float, states: Sequence[_State]
) -> Iterator[Step]:
    """A layer in each of some states; it moves infinite bytes where no tile fits."""
    settings, mores = [], []
    for state in states:
        held = dict(state)
        there = [name for name, number in layer.operands if number in held]
        if layer.makes and not any(held.get(number, True) for number in layer.makes):
            there.append("outputs")
        settings.append((room - sum(float(results[number].bytes) for number in held), tuple(there)))
        mores.append(_besides(layer, results, array, held))
    moved = _moved(layer.layer, array, set(settings))
    for setting, more in zip(settings, mores, strict=True):
        left, operands = setting
        yield Step(layer.name, left, room - left, operands, more, moved[setting] + more)


def _besides(layer: Place, results: Sequence[Result], array: SystolicArray, held: Mapping[int, bool]) -> float:
    """Bytes that a layer reads from DRAM on top of its operands."""
    there, others = (
        sum(float(results[number].bytes) for number in layer.besides if (number in held) is is_there)
        for is_there in (True, False)
    )
    if isinstance(layer.layer, MemoryOnly):  # whatever it reads of each: a lookup takes a part of its table
        return max(0.0, float(array.bytes_per_element * layer.layer.reads) - there)
    return others


def _moved(layer: Any, array: SystolicArray, settings: set[tuple[float, tuple[str, ...]]]) -> dict[Any, float]:
    """The bytes of a layer for each room and each choice of operands that are there, as they are priced."""
    found = dict.fromkeys(settings, math.inf)
    if isinstance(layer, MemoryOnly):
        written = float(array.bytes_per_element * layer.writes)
        for left, operands in settings:
            if left > 0:
                found[left, operands] = 0.0 if "outputs" in operands else written
        return found
    for operands in {operands for _, operands in settings}:
        gemms = [gemm.with_sizes(on_chip=operands) for gemm in layer.gemms()]
        rooms = np.asarray([left for left, own in settings if own == operands and left > 0])
        for gemm in gemms:
            rooms = rooms[_fits(gemm, dataclasses.replace(array, buffer_bytes=rooms))] if len(rooms) else rooms
        if len(rooms):
            machine = dataclasses.replace(array, buffer_bytes=rooms)
            moved = total(*(price(gemm, machine).cost.dram_bytes for gemm in gemms))
            for left, each in zip(rooms, np.broadcast_to(moved, rooms.shape), strict=True):
                found[float(left), operands] = float(each)
    return found


def _fits(gemm: Gemm, array: SystolicArray) -> Any:
    tiling = tiling_of(padded(gemm, array), array, EXACT, gemm.on_chip, must_fit=False)
    return np.isfinite(np.broadcast_to(tiling.weighed, array.buffer_bytes.shape))
