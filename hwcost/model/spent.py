"""Bytes that cross DRAM and the memories next to the array, and the energy of a product.

A product whose inputs, weights and outputs have A, B and C elements passes F_C, F_B and F_R folds of the array: inputs
once for every fold along the filters, weights once for every time that they are loaded, sums once for every fold along
their length. Then the memories next to the array

    read     inputs F_C, weights F_B, partial sums (F_R - 1) C, and what leaves for DRAM
    write    what arrives from DRAM, partial sums (F_R - 1) C, and the outputs

    energy = e_mac * MACs + e_read * read + e_write * written + e_dram * DRAM bytes + idle watts * seconds

with partial sums of ``partial_bytes`` each. Registers count in e_mac. The k x n
operand of a product of two activations goes the way of weights, and its bytes are told apart as well.

Sources: the counts are those of SCALE-Sim (Samajdar et al., ISPASS 2020) on the side of the array. The sum over actions
is that of Accelergy (Wu et al., ICCAD 2019).
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from hwcost.arrays import Size, maximum, product, total, true_divide
from hwcost.model.layout import Work
from hwcost.model.strips import needed_inputs
from hwcost.model.sums import Sums
from hwcost.model.traffic import MOVED, bytes_of, sram_accesses, traffic_of

__all__ = ["Spent", "spent"]

_MOVING = frozenset(
    {"terms", "filter_block", "rereads_inputs", "tile_bytes", "bytes_per_output", "arrays", "buffer_bytes"}
    | {f"{operand}_buffer_bytes" for operand in ("weight", "input", "output")}
)
"""Fields of a machine with which operands may cross DRAM more than once, or with sizes of their own."""


@dataclass(frozen=True, eq=False)
class Spent(Sums):
    """Bytes and joules: figures of :class:`hwcost.Cost`, which documents them."""

    dram_weight_bytes: Size = 0
    dram_input_bytes: Size = 0
    dram_output_bytes: Size = 0
    dram_partial_bytes: Size = 0
    sram_weight_bytes: Size = 0
    sram_input_bytes: Size = 0
    sram_output_bytes: Size = 0
    sram_partial_bytes: Size = 0
    dram_activation_weight_bytes: Size = 0
    sram_activation_weight_bytes: Size = 0
    mac_joules: Size | None = None
    sram_joules: Size | None = None
    dram_joules: Size | None = None

    def figures(self) -> Mapping[str, Size]:
        """The figures by name; without those of energy on a machine that has none."""
        return {name: figure for name, figure in vars(self).items() if figure is not None}


_NUMBERS = frozenset({int, float})
_BYTES = [field.name for field in fields(Spent) if field.name.endswith("bytes")]


def spent(work: Work, moved: Mapping[str, Size] | None) -> Spent:
    """What a product moves, and what that takes on a machine with figures of energy.

    Args:
        work: the product on its array.
        moved: elements of each transfer by name; counted if it is None.
    """
    array, accesses, outputs = work.array, sram_accesses(work), work.padded.elements("outputs")
    own = work.parts if work.letter == "k" else 1  # arrays that share the sums have outputs of their own
    if work.letter:
        outputs = product(outputs, own)
    dram = _dram_bytes(work, moved, outputs)
    sizes = [array.bytes_per_element, array.effective("bytes_per_output"), array.partial_bytes]
    figures = [*dram, *accesses.values(), outputs, *sizes]
    are_numbers = _NUMBERS.issuperset(map(type, figures))
    # numbers need no function of this package for each operation, of which there are many
    add, mul = (operator.add, operator.mul) if are_numbers else (total, product)
    size, of_output, of_partial = [int(each) if are_numbers and each == int(each) else each for each in sizes]
    kept = maximum(add(accesses["outputs"], mul(-1, outputs)), 0)
    if work.tiling is not None:
        leaving = true_divide(product(work.tiling.partials, own), 2)
        kept = add(maximum(kept, leaving), leaving)
    kept, stored = mul(kept, of_partial), mul(outputs, of_output)
    read = [mul(accesses["weights"], size), mul(accesses["inputs"], size)]
    leaves = 0 if "outputs" in work.gemm.on_chip else stored
    sram = add(read[0], dram[0]), add(read[1], dram[1]), add(stored, leaves), add(kept, kept)
    of_activations = work.gemm.of_activations
    none_are = type(of_activations) in _NUMBERS and not of_activations
    no_weights = () if none_are else (mul(of_activations, dram[0]), mul(of_activations, sram[0]))
    found = Spent(**dict(zip(_BYTES, (*dram, *sram, *no_weights), strict=False)))
    return (
        _with_energy(found, work, sums=(add(leaves, kept), add(stored, kept)), read=read) if array.has_energy else found
    )


def _dram_bytes(work: Work, moved: Mapping[str, Size] | None, outputs: Size) -> list[Size]:
    """Bytes of weights, inputs, outputs and partial sums that cross DRAM."""
    array = work.array
    if (
        moved is None and not work.gemm.on_chip and array.stated_names.isdisjoint(_MOVING)
    ):  # a short way for most machines: everything once
        each = [work.padded.elements("weights"), needed_inputs(work.padded), outputs]
        size = array.bytes_per_element
        is_one = type(size) is float and size == 1.0
        return [*(each if is_one else [bytes_of(elements, size) for elements in each]), 0]
    traffic = traffic_of(work, moved)
    levels = ("dram",) if array.reread_bytes_per_s is not None else ("dram", "reread")
    return [total(0, *(traffic.bytes(operand, level) for level in levels)) for operand in MOVED]


def _with_energy(found: Spent, work: Work, *, sums: tuple[Size, Size], read: list[Size]) -> Spent:
    array, of_sums = work.array, work.array.joules_per_accumulator_byte
    reading, writing = array.joules_per_sram_byte, array.effective("joules_per_sram_byte_written")
    arriving = total(found.dram_weight_bytes, found.dram_input_bytes)
    return replace(
        found,
        mac_joules=product(work.gemm.macs, array.joules_per_mac),
        sram_joules=total(
            product(total(*read), reading),
            product(arriving, writing),
            product(sums[0], reading if of_sums is None else of_sums),
            product(sums[1], writing if of_sums is None else of_sums),
        ),
        dram_joules=product(
            total(arriving, found.dram_output_bytes, found.dram_partial_bytes), array.joules_per_dram_byte
        ),
    )
