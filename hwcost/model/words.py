"""Bytes and joules of a cost, folds of a machine, and what times and totals lack, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hwcost.machine.array import SystolicArray
from hwcost.machine.folds import FOLD_TIMINGS
from hwcost.machine.memory import Memory
from hwcost.machine.terms import Term
from hwcost.model.cost import AS_WEIGHTS, JOULES, MOVED
from hwcost.units import BYTES, ENERGIES, POWERS, in_unit, printable, shortlist

__all__ = [
    "CHARGES", "FREE", "bytes_text", "energy_text", "lower_bound", "missing_text", "not_counted_text", "padding_text",
    "partial_folds", "uncharged",
]  # fmt: skip

_NAMED = 10
FREE = {
    "memory": "without a bandwidth memory takes no time",
    "fill and drain": "ideal folds fill and drain for free",
}
"""What times may leave out, in words."""
CHARGES = frozenset(
    name for name, declared in SystolicArray.declarations.items()
    if name == "fold_timing" or declared.unit == "B/s"
    or (declared.unit in ("cycle", "row") and name not in Memory.declarations)
)  # fmt: skip
"""Fields of a machine that charge time for memory, or for folds, blocks, layers and runs on top of streaming."""
_SPENT = {"mac": "of MACs", "sram": "next to the array", "dram": "for DRAM", "idle": "at all times"}


def bytes_text(figures: Mapping[str, Any], as_weights: Any = 0) -> str:
    """Bytes that cross DRAM, by what moves, and those next to the array.

    Args:
        figures: as :attr:`hwcost.Cost.memory_figures` gives them.
        as_weights: of the bytes of weights those of activations in their place.

    >>> from hwcost import Linear, SystolicArray, layer_cost
    >>> bytes_text(layer_cost(Linear(400, 120), SystolicArray(8, 8)).memory_figures)
    '48.52 kB to and from DRAM: weights 48 kB, inputs 400 B, outputs 120 B; 149.7 kB next to the array'
    """
    parts = {words: figures[f"dram_{kind}_bytes"] for kind, words in MOVED.items()}
    parts |= {"weights": parts["weights"] - as_weights, AS_WEIGHTS: as_weights}
    by_kind = ", ".join(f"{name} {in_unit(size, BYTES, 4)}" for name, size in parts.items() if size)
    whole, near = (in_unit(figures[f"{level}_bytes"], BYTES, 4) for level in ("dram", "sram"))
    return f"{whole} to and from DRAM{': ' if by_kind else ''}{by_kind}; {near} next to the array"


def not_counted_text(gaps: Any, at_hand: Any = 0) -> str:
    """Bytes that are not among those of a cost on a machine without buffers; empty if there are none.

    Args:
        gaps: of inputs that strides leave out, and that take memory cycles.
        at_hand: that skip connections read.

    >>> not_counted_text(15360, 0), not_counted_text(0, 0)
    ('15.36 kB of inputs that strides leave out, which take memory cycles', '')
    """
    left_out = {
        "that skip connections read, which count with a buffer": at_hand,
        "of inputs that strides leave out, which take memory cycles": gaps,
    }
    return "; ".join(f"{in_unit(size, BYTES, 4)} {words}" for words, size in left_out.items() if size)


def energy_text(figures: Mapping[str, Any]) -> str:
    """Energy and its parts, power, and energy times latency.

    >>> from hwcost import Cost
    >>> joules = {"mac_joules": 2e-6, "sram_joules": 1e-6, "dram_joules": 1e-6, "idle_joules": 0.0}
    >>> energy_text(Cost(cycles=1, seconds=1e-3, **joules).memory_figures)
    '4 uJ: 2 uJ of MACs, 1 uJ next to the array, 1 uJ for DRAM; 4 mW on average, energy times delay 4e-09 J s'
    """
    parts = {_SPENT[part]: figures[f"{part}_joules"] for part in JOULES}
    by_part = ", ".join(f"{in_unit(size, ENERGIES, 4)} {name}" for name, size in parts.items() if size)
    watts = figures["average_watts"]
    power = "" if watts is None else f"{in_unit(watts, POWERS, 4)} on average, "
    energy = in_unit(figures["energy_joules"], ENERGIES, 4)
    return f"{energy}: {by_part}; {power}energy times delay {figures['energy_delay']:.4g} J s"


def partial_folds(array: SystolicArray) -> str:
    """Why the folds of an array may be no whole numbers, in words; empty if they are.

    >>> partial_folds(SystolicArray(8, 8, row_stairs=0.5))
    'in part: row_stairs hides 50 % of a step'
    >>> partial_folds(SystolicArray(8, 8))
    ''
    """
    hidden = [f"{name} hides {100 * (1 - share):.3g} % of a step"
              for name in ("row_stairs", "col_stairs") if (share := getattr(array, name)) < 1]  # fmt: skip
    hidden += ["col_table states them along columns"] if array.col_table else []
    return f"in part: {', '.join(hidden)}" if hidden else ""


def padding_text(array: SystolicArray) -> str:
    """How weights are stored that are larger than those of the network; empty if they are not.

    >>> stores = SystolicArray(8, 8, filter_multiple=64, weight_capacity_bytes=1e6, spill_bytes_per_s=1e8)
    >>> padding_text(stores), padding_text(SystolicArray(8, 8))
    (' with filters padded to a multiple of 64', '')
    """
    multiple = array.filter_multiple
    return f" with filters padded to a multiple of {multiple}" if multiple > 1 else ""


def uncharged(array: SystolicArray) -> tuple[str, ...]:
    """What the times of an array leave out, so that they are lower bounds: "memory", "fill and drain".

    >>> uncharged(SystolicArray(8, 8)), uncharged(SystolicArray(8, 8, dram_bytes_per_s=16e9, fold_timing="serial"))
    (('memory', 'fill and drain'), ())

    Overheads in cycles, as a fit finds them, may stand for filling and draining:

    >>> uncharged(SystolicArray(8, 8, dram_bytes_per_s=16e9, cycles_per_fold=20.0))
    ()
    """
    units = {array.declarations[name].unit for name in array.stated_names if name in CHARGES}
    is_free = {
        "memory": not array.has_memory_limit and "B/s" not in units,
        "fill and drain": array.fold_timing_row is FOLD_TIMINGS["ideal"]
        and not any(isinstance(term, Term) for term in array.terms) and units.isdisjoint(("cycle", "row")),
    }  # fmt: skip
    return tuple(name for name, free in is_free.items() if free)


def lower_bound(left_out: Iterable[str]) -> str:
    """Why times are lower bounds, in words, from what they leave out; empty if they leave nothing out.

    >>> lower_bound(uncharged(SystolicArray(8, 8)))
    'without a bandwidth memory takes no time; ideal folds fill and drain for free'
    """
    return "; ".join(FREE[name] for name in left_out)


def missing_text(reasons: Mapping[str, str]) -> str:
    """The operations that are not in the totals, each with the reason.

    >>> missing_text({"fft": "aten::fft (no product)"})
    '1 operation is not in these totals: fft: aten::fft (no product)'
    """
    named = shortlist([f"{printable(name)}: {printable(reason)}" for name, reason in reasons.items()], _NAMED, ";")
    count = "1 operation is" if len(reasons) == 1 else f"{len(reasons)} operations are"
    return f"{count} not in these totals: {named}"
