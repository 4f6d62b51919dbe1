"""The accelerator, as a value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

from hwcost.arrays import Size, as_quantity, as_size, is_number, is_plain, is_real, product, true_divide
from hwcost.errors import InvalidValueError
from hwcost.machine.dataflow import DATAFLOWS, FOLD_TIMINGS, LOWERINGS, Dataflow, FoldTiming, Lowering
from hwcost.machine.terms import Term

__all__ = ["SystolicArray"]

_NAMES = {"dataflow": DATAFLOWS, "fold_timing": FOLD_TIMINGS, "lowering": LOWERINGS}
_COUNTS = ("rows", "cols", "max_streamed", "accumulators")
_SWITCHES = ("drains_outputs", "starts_up", "counts_last_fold", "rereads_inputs")
_BANDWIDTHS = ("weight_bytes_per_s", "input_bytes_per_s", "output_bytes_per_s")
_ABOVE_0 = {"clock_hz": "hertz", "cycles_per_row": "cycles", "bytes_per_element": "bytes"}
_UP_TO_INFINITY = {"dram_bytes_per_s": "bytes a second", "filter_block": "filters"}
_UP_TO_INFINITY |= dict.fromkeys((*_BANDWIDTHS, "reread_bytes_per_s"), "bytes a second")
_FROM_0 = dict.fromkeys(("cycles_per_fold", "cycles_per_layer", "cycles_per_block"), "cycles") | {
    "min_streamed": "rows"
}
_SHARES = ("row_stairs", "col_stairs", "overlap")


@dataclass(frozen=True)
class SystolicArray:
    """A rows x cols array of processing elements (PE), each doing one multiply-accumulate (MAC) a cycle.

    The first five say what the array is. All others default to a machine that does nothing but the author's formula;
    what they add is told term by term in :mod:`hwcost.model.formula`.

    Args:
        rows: height of the array in PEs, s1 in the author's formula; an integer, or an array for a sweep.
        cols: width of the array in PEs, s2.
        clock_hz: cycles a second. The default, 1 GHz, makes a cycle a nanosecond.
        dataflow: a name in :data:`hwcost.DATAFLOWS`: "ws", "os" or "is".
        fold_timing: a name in :data:`hwcost.FOLD_TIMINGS`: "ideal", "serial" or "double-buffered".
        lowering: a name in :data:`hwcost.LOWERINGS`: "im2col" or "kernel-position".
        row_stairs, col_stairs: how much of the stair is felt along rows and along columns, from 0 (none) to 1 (all).
        max_streamed: rows of the stream that go into one fold at most, where buffers set a limit.
        min_streamed: rows that a fold takes the time of at least, however few it streams: the next one has to load.
        drains_outputs: whether stationary outputs are shifted out after each fold, one more crossing of the rows.
        starts_up: whether a layer waits until the operand of its first fold has arrived and is loaded.
        counts_last_fold: False leaves one fold out, as full as the first: some simulators' records end before the last
            fold has streamed.
        cycles_per_row: cycles that a streamed row takes.
        cycles_per_fold: cycles that each fold adds.
        cycles_per_layer: cycles that each layer adds; a layer of several products pays them for each.
        accumulators: outputs that are held on chip at once, in whole blocks of rows x cols.
        cycles_per_block: cycles that each block of outputs adds, as large as the accumulators hold; a whole product is
            one block where they are not said.
        rereads_inputs: whether inputs are read again for as many filters as the accumulators leave room for.
        bytes_per_element: bytes of a weight, an input and an output.
        dram_bytes_per_s: bandwidth to memory, shared by weights, inputs and outputs.
        weight_bytes_per_s, input_bytes_per_s, output_bytes_per_s: the same for one of the three, where they differ.
        reread_bytes_per_s: bandwidth of inputs that are read again, where a nearer memory has kept them.
        filter_block: filters that are worked on at once; inputs are read again for each such block.
        overlap: how much of the shorter of compute and memory adds to the longer, from 0 (none: they overlap wholly)
            to 1 (all of it: one waits for the other).
        terms: terms of your own, on top of those that ship.

    Every number but the clock may be an array for a sweep.

    Raises:
        InvalidValueError: a size that is not a positive integer, a quantity out of its range, an unknown name.

    >>> SystolicArray(8, 8)
    SystolicArray(rows=8, cols=8, clock_hz=1000000000.0, dataflow='ws', fold_timing='ideal')
    >>> SystolicArray(16, 16, dataflow="os").pes
    256
    >>> SystolicArray(16, 16, dram_bytes_per_s=16e9, overlap=0.3)
    SystolicArray(rows=16, cols=16, clock_hz=1000000000.0, dataflow='ws', fold_timing='ideal',
                  dram_bytes_per_s=16000000000.0, overlap=0.3)
    """

    rows: Size
    cols: Size
    clock_hz: float = 1e9
    dataflow: str = "ws"
    fold_timing: str = "ideal"
    _: KW_ONLY
    lowering: str = "im2col"
    row_stairs: Size = 1.0
    col_stairs: Size = 1.0
    max_streamed: Size | None = None
    min_streamed: Size = 0.0
    drains_outputs: bool = False
    starts_up: bool = False
    counts_last_fold: bool = True
    cycles_per_row: Size = 1.0
    cycles_per_fold: Size = 0.0
    cycles_per_layer: Size = 0.0
    accumulators: Size | None = None
    cycles_per_block: Size = 0.0
    rereads_inputs: bool = False
    bytes_per_element: Size = 1.0
    dram_bytes_per_s: Size = math.inf
    weight_bytes_per_s: Size | None = None
    input_bytes_per_s: Size | None = None
    output_bytes_per_s: Size | None = None
    reread_bytes_per_s: Size | None = None
    filter_block: Size = math.inf
    overlap: Size = 0.0
    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        for name, value in self._given():
            field = f"SystolicArray.{name}"
            if name in _NAMES:
                if not isinstance(value, str) or value not in _NAMES[name]:
                    raise InvalidValueError(field, value, f"one of: {', '.join(_NAMES[name])}")
            elif name in _SWITCHES:
                if not isinstance(value, bool):
                    raise InvalidValueError(field, value, "True or False")
            elif name == "terms":
                object.__setattr__(self, name, _terms(value, field))
            else:
                object.__setattr__(self, name, _number(name, value, field))
        if self.rereads_inputs and self.accumulators is None:
            raise InvalidValueError("SystolicArray.rereads_inputs", True, "False where accumulators are not given")

    def _given(self) -> Iterator[tuple[str, Size]]:
        """The fields that differ from their default, rows and columns among them."""
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if not (value is default or (type(value) is type(default) and is_plain(value) and value == default)):
                yield name, value

    def __repr__(self) -> str:
        return f"SystolicArray({', '.join(f'{name}={value!r}' for name, value in self.as_dict().items())})"

    def as_dict(self) -> dict[str, Size]:
        """The first five fields and all others that are not left at their default, by name.

        >>> SystolicArray(8, 16, overlap=0.5).as_dict()
        {'rows': 8, 'cols': 16, 'clock_hz': 1000000000.0, 'dataflow': 'ws', 'fold_timing': 'ideal', 'overlap': 0.5}
        """
        given = {name: getattr(self, name) for name in _PRIMARY} | dict(self._given())
        return given | ({"terms": tuple(term.name for term in self.terms)} if self.terms else {})

    @property
    def pes(self) -> Size:
        """The number of processing elements."""
        return product(self.rows, self.cols, what="the number of PEs")

    @property
    def dataflow_row(self) -> Dataflow:
        """The row of :data:`hwcost.DATAFLOWS` that is named; one that drains its outputs where the array does."""
        row = DATAFLOWS[self.dataflow]
        return row.drained() if self.drains_outputs else row

    @property
    def fold_timing_row(self) -> FoldTiming:
        """The row of :data:`hwcost.FOLD_TIMINGS` that is named."""
        return FOLD_TIMINGS[self.fold_timing]

    @property
    def lowering_row(self) -> Lowering:
        """The row of :data:`hwcost.LOWERINGS` that is named."""
        return LOWERINGS[self.lowering]

    @property
    def bytes_per_cycle(self) -> tuple[Size, Size, Size]:
        """What memory delivers of weights and inputs and takes of outputs in a cycle; infinite where nothing limits it.

        >>> SystolicArray(16, 16, clock_hz=2e9, dram_bytes_per_s=16e9, output_bytes_per_s=4e9).bytes_per_cycle
        (8.0, 8.0, 2.0)
        """
        weights, inputs, outputs = (
            true_divide(self.dram_bytes_per_s if own is None else own, self.clock_hz)
            for own in (self.weight_bytes_per_s, self.input_bytes_per_s, self.output_bytes_per_s)
        )
        return weights, inputs, outputs

    @property
    def has_memory_limit(self) -> bool:
        """Whether any bandwidth is finite, or a term of kind "memory" is given."""
        if any(term.kind == "memory" for term in self.terms):
            return True
        own = (getattr(self, name) for name in (*_BANDWIDTHS, "reread_bytes_per_s"))
        rates = (self.dram_bytes_per_s if rate is None else rate for rate in own)
        return any(not is_number(rate) or rate != math.inf for rate in rates)

    @property
    def sweeps(self) -> tuple[Size, ...]:
        """The fields that hold arrays, of which each entry is a machine."""
        return tuple(value for name, value in self._given() if name != "terms" and not is_plain(value))


def _terms(value: object, field: str) -> tuple[Term, ...]:
    if not isinstance(value, (tuple, list)) or not all(isinstance(term, Term) for term in value):
        raise InvalidValueError(field, value, "a tuple of Term")
    names = [term.name for term in value]
    if len(set(names)) < len(names):
        raise InvalidValueError(field, ", ".join(names), "terms whose names differ")
    return tuple(value)


def _number(name: str, value: Size, field: str) -> Size:
    if value is None and _DEFAULTS[name] is None:
        return None
    if name in _COUNTS:
        return as_size(value, field)
    if name in _SHARES:
        return as_quantity(value, field, at_most=1.0)
    if name in _FROM_0:
        return as_quantity(value, field, unit=_FROM_0[name])
    if name == "clock_hz" and not is_real(value):
        raise InvalidValueError(field, value, "a finite number of hertz above 0")
    unit = (_ABOVE_0 | _UP_TO_INFINITY)[name]
    return as_quantity(value, field, unit=unit, above_0=True, may_be_infinite=name in _UP_TO_INFINITY)


_DEFAULTS = {f.name: f.default for f in dataclasses.fields(SystolicArray)}
_PRIMARY = ("rows", "cols", "clock_hz", "dataflow", "fold_timing")
