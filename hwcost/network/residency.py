"""Activations that stay in the buffer between layers: which, and what that saves.

A result that stays is not written to DRAM by the layer that makes it, nor read by those that use it; it takes its bytes
from the buffer in all layers from the first to the last of these, and tiles have the rest. Of all choices the one is
taken that moves least, by dynamic programming over the layers in order:

    state   the results that are in the buffer, and which of them are in DRAM as well
    step    a layer makes its results: each goes to DRAM, stays, or both; one that is in DRAM may be dropped at any time
    cost    what the layer moves with the room that is left, and with the operands that are there

For a chain the state is one result, and the choice is exact. Branches (skip connections) have several alive at once;
beyond ``STATES`` states at a step the ones that moved most are given up.

An operation without products is part of the layer that makes the latest of its inputs, as compilers fuse it, unless
the machine has a ``vector_bytes_per_s``: then it is a step that reads and writes. What a fused operation reads in
addition (the other side of a residual sum) counts as read from DRAM unless it stays.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.fields import is_finite
from hwcost.model.layout import padded
from hwcost.model.least import tiling_of
from hwcost.network.flow import INPUT, Tensor, tensors_of
from hwcost.network.operations import MemoryOnly
from hwcost.relaxation import EXACT

__all__ = ["STATES", "Kept", "Plan", "Step", "plan_of", "program_of"]

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


# ---------------------------------------------------------------- layers and results


class _Result(NamedTuple):
    """A result: its bytes, the steps that make it and read it last, and whether the network returns it."""

    name: str
    bytes: float
    made: int
    last: int
    is_output: bool


class _Layer(NamedTuple):
    """A step of the program: its product, the results that are its operands, those that it reads besides, and makes."""

    name: str
    layer: Any
    operands: tuple[tuple[str, int], ...]
    besides: tuple[int, ...]
    makes: tuple[int, ...]


def program_of(layers: Mapping[str, Any], array: SystolicArray) -> tuple[list[_Layer], list[_Result]]:
    """The layers in order and their results, with operations without products fused where they take no time."""
    tensors = tensors_of(layers)
    if tensors is None:
        reason = "it is not known which layer reads what"
        allowed = "a network of an importer, or Network.of_layers(..., is_chain=True)"
        raise InvalidValueError("network", getattr(layers, "name", "layers"), allowed, reason=reason)
    is_fused = not is_finite(array.vector_bytes_per_s)
    by_producer = {tensor.producer: tensor for tensor in tensors}
    read_by: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        for name in tensor.consumers:
            read_by.setdefault(name, []).append(tensor)
    order = [name for name, layer in layers.items() if not (is_fused and isinstance(layer, MemoryOnly))]
    places = {name: place for place, name in enumerate(order)} | {INPUT: -1}
    for name in layers:  # fused ones run with what makes the latest of their inputs
        if name not in places:
            places[name] = max([places[each.producer] for each in read_by.get(name, ())], default=-1)
    size = float(array.bytes_per_element)
    results: list[_Result] = []
    numbers: dict[str, int] = {}
    for producer, tensor in by_producer.items():
        made = places[producer]
        readers = [places[name] for name in tensor.consumers if places[name] != made]
        if readers or (tensor.is_output and made >= 0):
            last = len(order) - 1 if tensor.is_output and not readers else max([made, *readers])
            numbers[producer] = len(results)
            results.append(_Result(producer, size * float(tensor.elements), made, last, tensor.is_output))
    program = []
    for place, name in enumerate(order):
        own = [numbers[each.producer] for each in read_by.get(name, ()) if each.producer in numbers]
        fused = [each for each, at in places.items() if at == place and each != name]
        besides = {
            numbers[each.producer]
            for other in fused
            for each in read_by.get(other, ())
            if each.producer in numbers and places[each.producer] != place
        }
        makes = tuple(number for number, result in enumerate(results) if result.made == place)
        operands = _operands(layers[name], own)
        besides |= set(own) - {number for _, number in operands}
        program.append(_Layer(name, layers[name], operands, tuple(sorted(besides)), makes))
    return program, results


def _operands(layer: Any, own: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """The results that a layer with one product has as inputs and weights."""
    if isinstance(layer, MemoryOnly) or len(layer.gemms()) != 1:
        return ()
    return tuple(zip(("inputs", "weights"), own, strict=False))[:2]


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
    best = _run(program, results, array, room, may_keep=True)
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
    program: Sequence[_Layer], results: Sequence[_Result], array: SystolicArray, room: float, *, may_keep: bool
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
            raise InvalidValueError(
                "SystolicArray.buffer_bytes", room, allowed, reason=f"no tile of {layer.name!r} fits"
            )
        ways = dict(sorted(ways.items(), key=lambda item: item[1].moved)[:STATES])
    return min(ways.values(), key=lambda way: way.moved)


def _droppings(state: _State) -> Iterator[_State]:
    """The state, and what is left if some of the results leave that DRAM has as well."""
    yield state
    written = [held for held in state if held[1]]
    for count in range(1, len(written) + 1 if len(written) <= 3 else 2):
        for gone in itertools.combinations(written, count):
            yield tuple(held for held in state if held not in gone)


def _makings(state: _State, layer: _Layer, results: Sequence[_Result], *, may_keep: bool) -> Iterator[_State]:
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
    layer: _Layer, results: Sequence[_Result], array: SystolicArray, room: float, states: Sequence[_State]
) -> Iterator[Step]:
    """A layer in each of some states; it moves infinite bytes where no tile fits."""
    settings = []
    for state in states:
        present = {number for number, _ in state}
        resident = sum(results[number].bytes for number in present)
        operands = tuple(name for name, number in layer.operands if number in present)
        settings.append((room - resident, operands))
    moved = _moved(layer, array, set(settings))
    size = float(array.effective("bytes_per_output"))
    wider = size / float(array.bytes_per_element)
    for state, (left, operands) in zip(states, settings, strict=True):
        held = dict(state)
        stays = [number for number in layer.makes if number in held]
        more = sum(results[number].bytes for number in layer.besides if number not in held)
        if stays:
            written = wider * sum(results[number].bytes for number in layer.makes if held.get(number, True))
        else:
            written = size * float(_outputs(layer.layer))
        is_written = not stays or any(held.get(number, True) for number in layer.makes)
        yield Step(
            layer.name, left, room - left, operands if is_written else (*operands, "outputs"), more,
            moved[left, operands] + more + written,
        )  # fmt: skip


def _outputs(layer: Any) -> Any:
    return layer.writes if isinstance(layer, MemoryOnly) else sum(gemm.elements("outputs") for gemm in layer.gemms())


def _moved(layer: _Layer, array: SystolicArray, settings: set[tuple[float, tuple[str, ...]]]) -> dict[Any, float]:
    """The bytes of inputs, weights and partial sums for each room and each choice of operands that are there."""
    found = {setting: math.inf if setting[0] <= 0 else 0.0 for setting in settings}
    if isinstance(layer.layer, MemoryOnly):
        return found
    size = float(array.bytes_per_element)
    for operands in {operands for _, operands in settings}:
        rooms = [left for left, own in settings if own == operands and left > 0]
        if not rooms:
            continue
        machine = dataclasses.replace(array, buffer_bytes=np.asarray(rooms))
        for own in layer.layer.gemms():
            gemm = padded(own, machine)
            tiling = tiling_of(gemm, machine, EXACT, operands, must_fit=False)
            moved = array.partial_bytes * tiling.partials
            if "inputs" not in operands:
                moved = moved + size * (tiling.inputs + tiling.inputs_again)
            if "weights" not in operands:
                moved = moved + size * (gemm.elements("weights") + tiling.weights_again)
            moved = np.where(np.isinf(tiling.weighed), math.inf, moved)
            for left, each in zip(rooms, np.broadcast_to(moved, (len(rooms),)), strict=True):
                found[left, operands] += float(each)
    return found
