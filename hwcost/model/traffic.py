"""What crosses the memory: elements of each operand at each level, computed once for a product on a machine.

    dram     every operand once; one that several products share counts once for all of them
    reread   inputs that are read again for every further block of filters that is worked on at once, from DRAM or,
             with a ``reread_bytes_per_s``, from a nearer memory
    sram     what goes between the array and the memories next to it, partial sums included

Memory cycles are bytes over bandwidths (:func:`memory_cycles`); reports, the roofline and SCALE-Sim's tables read the
same elements.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hwcost.arrays import Size, frozen, is_number, maximum, product, total, true_divide
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.dataflow import REUSE_LETTER, Operand
from hwcost.machine.rows import figure
from hwcost.machine.terms import AGAIN, PARTIAL_SUMS, WEIGHTS_AGAIN, Transfer
from hwcost.model.gemm import Gemm
from hwcost.model.layout import Work, is_depthwise, is_zero, lowered, partly
from hwcost.model.strips import needed_inputs
from hwcost.model.sums import Sums, where
from hwcost.model.tiles import Tile

__all__ = [
    "MEMORY", "MOVED", "OPERANDS", "Traffic", "memory_cycles", "moved_elements", "skipped_inputs", "sram_accesses",
    "transfers_of",
]  # fmt: skip

OPERANDS: tuple[Operand, ...] = ("weights", "inputs", "outputs")
"""The operands of a product."""
MOVED = (*OPERANDS, "partials")
"""What crosses the memory: the operands, and partial sums that leave and come back."""
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Traffic(Sums):
    """Elements by level and operand; each a number, or an array for a sweep. Sums add and scale, like costs.

    Attributes:
        elements: by pairs of a level ("dram", "reread", "sram", or one of a caller's own terms) and an operand.
        bytes_per_element: bytes of an element.
        sizes: the same by operand, for those whose elements are wider or narrower.

    >>> one = Traffic({("dram", "inputs"): 10, ("reread", "inputs"): 30, ("sram", "inputs"): 400}, 2.0)
    >>> (one + one).bytes("inputs"), one.bytes(level="reread"), (3 * one).bytes()
    (160, 60, 240)
    """

    elements: Mapping[tuple[str, str], Size] = field(default_factory=dict)
    bytes_per_element: Size = 1.0
    sizes: Mapping[str, Size] = field(default_factory=dict)

    def __post_init__(self) -> None:
        elements = {key: frozen(size) for key, size in self.elements.items()}
        object.__setattr__(self, "elements", MappingProxyType(elements))
        object.__setattr__(self, "sizes", MappingProxyType(dict(self.sizes)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Traffic, (dict(self.elements), self.bytes_per_element, dict(self.sizes))

    @classmethod
    def on(cls, array: SystolicArray, elements: Mapping[tuple[str, str], Size]) -> Traffic:
        """Elements on a machine, with the bytes that they have there."""
        return cls(elements, array.bytes_per_element, _sizes_on(array))

    def figures(self) -> Mapping[Any, Size]:
        """The elements."""
        return self.elements

    def of(self, figures: Mapping[Any, Size]) -> Traffic:
        """Traffic of other elements, as large as these."""
        return Traffic(figures, self.bytes_per_element, self.sizes)

    def __add__(self, other: object) -> Traffic:
        if isinstance(other, Traffic) and not self.elements:
            return other
        if isinstance(other, Traffic) and other.elements and other.bytes_per_element is not self.bytes_per_element:
            allowed = f"{self.bytes_per_element}, as in what it is added to"
            if is_number(other.bytes_per_element) and other.bytes_per_element != self.bytes_per_element:
                raise InvalidValueError("Traffic.bytes_per_element", other.bytes_per_element, allowed)
        return super().__add__(other)

    def bytes(self, operand: str | None = None, level: str | None = None) -> Any:
        """Bytes of an operand, or of all, at a level, or at all levels of the memory (all but "sram").

        An integer if elements are whole numbers of bytes.
        """
        found: dict[str, list[Size]] = {}
        for (at, what), elements in self.elements.items():
            if operand in (None, what) and (at == level if level else at != "sram"):
                found.setdefault(what if what in self.sizes else "", []).append(elements)
        sizes = {"": self.bytes_per_element, **self.sizes}
        whole = [bytes_of(total(*own, what="the elements"), sizes[what]) for what, own in found.items()]
        return total(0, *whole, what="the bytes")


def bytes_of(elements: Size, size: Size) -> Size:
    """Bytes of elements of a size; an integer if both are."""
    return product(elements, int(size) if is_number(size) and size == int(size) else size, what="the bytes")


def _sizes_on(array: SystolicArray) -> dict[str, Size]:
    """Bytes of the elements whose size is not that of the others."""
    found = {}
    if array.bytes_per_output is not None:
        found["outputs"] = array.bytes_per_output
    found["partials"] = array.partial_bytes
    return found


# ---------------------------------------------------------------- memory


def _once(operand: Operand) -> Transfer:
    field = f"{operand.removesuffix('s')}_bytes_per_s"
    size = "bytes_per_output" if operand == "outputs" else "bytes_per_element"

    def elements(work: Work) -> Size:
        if operand in work.gemm.on_chip:
            return 0
        is_cut = work.tiling is not None and operand == "inputs"
        return work.tiling.inputs if is_cut else work.padded.elements(operand)  # type: ignore[union-attr]

    return Transfer(operand, elements, lambda array: array.effective(field), "once", operand, size=size)


def _again(work: Work) -> Size:
    """The further readings of the inputs; products that share inputs read them together, block of filters by block."""
    if "inputs" in work.gemm.on_chip:
        return 0
    if work.tiling is not None:
        return work.tiling.inputs_again
    gemm, array, larger = work.padded, work.array, work.relaxation.maximum
    filters = product(work.part.n, gemm.inputs_shared_by)
    blocks = [] if is_unlimited(array.filter_block) else [array.filter_block]
    if array.rereads_inputs:
        held = array.accumulators
        blocks.append(array.cols if held is None else larger(true_divide(held, work.part.m), array.cols))
    of_tiles = _of_tiles(work)
    if not blocks:
        return of_tiles
    stairs = array.reread_stairs
    readings = [
        true_divide(filters, block)
        if is_zero(stairs)
        else partly(work.relaxation.ceil_div(filters, block), filters, block, stairs)
        for block in blocks
    ]
    again = product(gemm.elements("inputs"), total(functools.reduce(larger, readings, 1), -1))
    return again if work.tile is None else maximum(again, of_tiles)


def _of_tiles(work: Work) -> Size:
    """The further readings of the inputs by tiles, whose inputs overlap."""
    if work.tile is None:
        return 0
    return product(work.padded.elements("inputs"), total(work.tile.readings, -1))


def _weights_again(work: Work) -> Size:
    """The further readings of the weights, for each further tile that uses them."""
    if "weights" in work.gemm.on_chip:
        return 0
    if work.tiling is not None:
        return work.tiling.weights_again
    if work.tile is None or not work.array.weights_apart:
        return 0
    uses = where(work.tile.positions > 1, work.tile.positions, 0)
    return product(work.padded.elements("weights"), uses, what="the weights")


def _partials(work: Work) -> Size:
    """Partial sums that leave the buffer and come back."""
    return 0 if work.tiling is None else work.tiling.partials


def _weight_rate(array: SystolicArray) -> Size:
    rate: Size = array.effective("weight_bytes_per_s" if array.has_buffers else "input_bytes_per_s")
    return rate


MEMORY = (
    _once("weights"),
    Transfer(
        WEIGHTS_AGAIN, _weights_again, _weight_rate,
        "for every further tile that uses them; tiles of the image take them from the memory of the inputs", "weights",
        "reread",
    ),
    _once("inputs"),
    Transfer(
        AGAIN, _again, lambda array: array.effective("reread_bytes_per_s"),
        "for every further block of filters that is worked on at once", "inputs", "reread",
    ),
    _once("outputs"),
    Transfer(
        PARTIAL_SUMS, _partials, lambda array: array.effective("output_bytes_per_s"),
        "sums that leave the buffer before they are complete, and come back", "partials", size="partial_bytes",
    ),
)  # fmt: skip
"""The transfers that ship; they follow one another. A machine takes more of them as ``terms``."""


def transfers_of(array: SystolicArray) -> tuple[Transfer, ...]:
    """The transfers that ship, and the machine's own."""
    return (*MEMORY, *(term for term in array.terms if isinstance(term, Transfer))) if array.terms else MEMORY


def moved_elements(work: Work) -> dict[str, Size]:
    """The elements of each transfer of a product, by name; those that do not occur are left out."""
    found = {}
    for transfer in transfers_of(work.array):
        own = work.array.terms
        elements = figure(transfer, "elements", work) if own else transfer.elements(work)
        found[transfer.name] = product(elements, _crossings(transfer, work)) if work.letter else elements
    return {name: elements for name, elements in found.items() if not is_zero(elements)}


def _crossings(transfer: Transfer, work: Work) -> Size:
    """How often an operand crosses the memory if several arrays share the product.

    Each of them has outputs of its own if they share the sums. Other operands that all of them need are sent to all at
    once, unless each has a memory of its own.
    """
    operand: Operand = "outputs" if transfer.operand == "partials" else transfer.operand
    is_needed_by_all = REUSE_LETTER[operand] == work.letter
    is_sent_once = operand != "outputs" and not work.array.bandwidth_per_array
    return work.parts if is_needed_by_all and not is_sent_once else 1


def memory_cycles(
    moved: Mapping[str, Size], array: SystolicArray, tile: Tile | None = None, gemm: Gemm | None = None
) -> dict[str, Size]:
    """The cycles of each transfer: bytes over bandwidth. Transfers without a limit are left out.

    Args:
        moved: elements of each transfer by name.
        array: the machine.
        tile: whose runs are shorter than bursts.
        gemm: whose outputs may be a single block along one side.

    >>> array = SystolicArray(16, 16, clock_hz=2e9, dram_bytes_per_s=16e9)
    >>> memory_cycles({"weights": 800, "outputs": 80}, array)
    {'weights': 100.0, 'outputs': 10.0}
    """
    cycles = {}
    for transfer in transfers_of(array):
        per_s = transfer.bytes_per_s(array)
        if transfer.name not in moved or is_unlimited(per_s):
            continue
        rate = true_divide(per_s, array.clock_hz)
        if not is_unlimited(rate):
            slower = *_bursts(transfer.name, array, tile), *_single(transfer.operand, array, gemm)
            moving = product(array.effective(transfer.size), moved[transfer.name], *slower)
            # a rate below all numbers is 0
            cycles[transfer.name] = math.inf if is_zero(rate) else true_divide(moving, rate)
    return cycles


_RUNS = {"inputs": "read_run", AGAIN: "read_run", "outputs": "write_run"}


def _bursts(name: str, array: SystolicArray, tile: Tile | None) -> tuple[Size, ...]:
    """The factor by which runs shorter than a burst are slower, if there is one."""
    if tile is None or name not in _RUNS or is_zero(array.burst_bytes):
        return ()
    run = product(getattr(tile, _RUNS[name]), array.bytes_per_element)
    return (maximum(true_divide(array.burst_bytes, run), 1),)


def _single(operand: str, array: SystolicArray, gemm: Gemm | None) -> tuple[Size, ...]:
    """The factor by which an operand is slower that one of several readers has to read alone."""
    if gemm is None or array.single_block is None or operand in ("outputs", "partials"):
        return ()
    own, other = (gemm.m, gemm.n) if operand == "inputs" else (gemm.n, gemm.m)
    return (where((own <= array.single_block) & (other > array.single_block), array.readers, 1),)


def moving_cycles(cycles: Mapping[str, Size], work: Work) -> Size:
    """The cycles of all transfers: their sum or, if they have channels of their own, the longest."""
    array = work.array
    channels: dict[str, list[Size]] = {}
    operands = {transfer.name: transfer.operand for transfer in transfers_of(array)}
    for name, each in cycles.items():
        apart = (
            operands[name].replace("partials", "outputs")
            if array.parallel_operands
            else "weights" * (array.weights_apart and name == "weights")
        )
        channels.setdefault(apart, []).append(each)
    sums = [total(*own, what="the memory cycles") for own in channels.values()]
    return functools.reduce(work.relaxation.maximum, sums)


def is_unlimited(rate: Size) -> bool:
    """Whether a bandwidth, or a block, is the number infinity."""
    return is_number(rate) and rate == math.inf


# ---------------------------------------------------------------- SRAM


def sram_accesses(work: Work) -> dict[Operand, Size]:
    """Elements of each operand that go between the array and the memories next to it, for all products.

    An operand lacks one letter of the product. It passes once for every fold along the dimension that carries this
    letter:

        accesses = elements of the operand in one product * count * folds along the letter that it lacks

    and, if several arrays share the product, once for each of them if they share this letter. The folds are those of
    the array with the longest part. Inputs are the m x k elements of the product, however often windows of a
    convolution repeat them.

    >>> from hwcost import Gemm
    >>> sram_accesses(Work.of(Gemm(m=100, n=16, k=150), SystolicArray(8, 8)))
    {'weights': 2400, 'inputs': 30000, 'outputs': 30400}
    """
    folds, laid = work.folds, lowered(work.padded, work.array)
    flow = folds.dataflow
    times = {flow.rows: folds.along_rows, flow.cols: folds.along_cols, flow.time: folds.in_time}
    accesses = {}
    extents: dict[Operand, tuple[Size, Size]] = {
        "weights": (laid.n, laid.k), "inputs": (laid.m, laid.k), "outputs": (laid.m, laid.n),
    }  # fmt: skip
    for operand, sizes in extents.items():
        letter = REUSE_LETTER[operand]
        passes: list[Size] = [times[letter], work.parts if letter == work.letter else 1]
        if work.tiling is not None and operand == "weights" == flow.stationary:
            passes.append(work.tiling.reloads)
        accesses[operand] = product(laid.count, *sizes, *passes, what=f"accesses of {operand}")
    if work.tiling is not None:  # what arrives again is loaded again
        tiling = work.tiling
        arrived = {
            "weights": total(work.padded.elements("weights"), tiling.weights_again),
            "inputs": total(tiling.inputs, tiling.inputs_again),
        }
        for operand in ("weights", "inputs"):
            accesses[operand] = maximum(accesses[operand], arrived[operand])
    if work.array.depthwise_columns:  # a column has a channel of its own
        own = product(laid.m, laid.n, laid.k, laid.count, what="accesses of inputs")
        accesses["inputs"] = where(is_depthwise(work.padded), own, accesses["inputs"])
    return accesses


def traffic_of(work: Work, moved: Mapping[str, Size] | None = None) -> Traffic:
    """The traffic of a product; its :func:`moved_elements` are counted unless they are given.

    Pixels of the inputs that strides leave out are not part of it. They are part of what takes cycles on a machine
    without buffers, whose bandwidths were fitted to whole tensors.
    """
    moved = moved_elements(work) if moved is None else moved
    elements: dict[tuple[str, str], Size] = {}
    for transfer in transfers_of(work.array):
        if transfer.name in moved:
            key = (transfer.level, transfer.operand)
            elements[key] = total(elements[key], moved[transfer.name]) if key in elements else moved[transfer.name]
    if work.tiling is None:
        elements |= _without_gaps(elements, work.padded)
    sram = {("sram", operand): size for operand, size in sram_accesses(work).items()}
    return Traffic.on(work.array, elements | sram)


def skipped_inputs(moved: Mapping[str, Size], traffic: Traffic, array: SystolicArray) -> dict[str, Size]:
    """Elements of inputs by level that take memory cycles, and that strides leave out of the traffic.

    Args:
        moved: elements of each transfer by name, each a number.
        traffic: of the same products.
        array: the machine.

    >>> from hwcost import Conv2d
    >>> from hwcost.model.formula import price
    >>> (gemm,) = Conv2d(20, 36, 1, height=32, width=32, stride=2).gemms()
    >>> array = SystolicArray(16, 16, dram_bytes_per_s=16e9)
    >>> skipped_inputs(price(gemm, array).moved, price(gemm, array).traffic, array)
    {'dram': 15360}
    """
    charged: dict[str, Size] = {}
    for each in transfers_of(array):
        if each.operand == "inputs" and each.name in moved and not is_unlimited(each.bytes_per_s(array)):
            charged[each.level] = charged.get(each.level, 0) + moved[each.name]
    left_out = {level: whole - traffic.elements[level, "inputs"] for level, whole in charged.items()}
    return {level: size for level, size in left_out.items() if size > _ROUNDING * charged[level]}


def _without_gaps(elements: Mapping[tuple[str, str], Size], gemm: Gemm) -> dict[tuple[str, str], Size]:
    """The inputs among some elements, without the pixels that strides leave out."""
    whole, needed, found = gemm.elements("inputs"), needed_inputs(gemm), {}
    if is_number(whole) and is_number(needed) and whole == needed:
        return {}
    for key in (("dram", "inputs"), ("reread", "inputs")):
        if key in elements:
            size = elements[key]
            is_once = is_number(size) and is_number(whole) and size == whole
            found[key] = needed if is_once else true_divide(product(size, needed), whole)
    return found
