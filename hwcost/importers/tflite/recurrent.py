"""TFLite's recurrent operators: the products with all inputs at once, and those with the state step by step.

Sizes and places of inputs are those of the operators' reference kernels (tensorflow/lite/kernels). Nothing about their
tensors can change.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hwcost.importers.rules import CannotPriceError, Handler, LoweredLayer
from hwcost.importers.tflite.calls import OperatorCall, Value
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Linear

__all__ = ["RECURRENT"]

_BASIC = 1
"""The kind of an LSTM whose weights are one matrix."""


def _run(call: OperatorCall, in_sequence: bool, time_major: bool) -> tuple[int, int, int]:
    """The number of steps, that of sequences, and the features of each."""
    shape = call.shape(call[0], 3 if in_sequence else 2)
    if not in_sequence:
        return 1, shape[0], shape[-1]
    return (*(shape[:2] if time_major else shape[1::-1]), shape[2])  # type: ignore[return-value]


def _matrix(call: OperatorCall, index: int, rows: int | None, columns: int | None) -> tuple[Value, int, int]:
    """Weights, whose sizes have to be these if they are known."""
    value = call[index]
    shape = call.shape(value, 2)
    for size, wanted in zip(shape, (rows, columns), strict=True):
        if wanted is not None and size != wanted:
            raise CannotPriceError(f"its weights {value.name!r} are {shape[0]} x {shape[1]}, not {rows} x {columns}")
    return value, shape[0], shape[1]


def _lstm(call: OperatorCall, steps: int, batch: int, features: int, start: int, projection: int) -> list[LoweredLayer]:
    """One direction: weights of four gates from ``start`` on, then those of the state; the first gate may be left out.

    A ``projection`` is a matrix from the cells to the state.
    """
    first = 0 if call.get(start) is not None else 1
    weight, cells, _ = _matrix(call, start + first, None, features)
    state, _, width = _matrix(call, start + 4 + first, cells, None)
    for gate in range(first, 4):
        _matrix(call, start + gate, cells, features)
        _matrix(call, start + 4 + gate, cells, width)
    gates = 4 - first
    layers = _products(call, weight, state, (steps, batch, features), gates * cells, width)
    if call.get(projection) is not None:
        own, _, _ = _matrix(call, projection, width, cells)
        gemm = Gemm(m=batch, n=width, k=cells, count=steps)
        layers.append(LoweredLayer(gemm, f"{call.kind} projection", {}, own, part="projection"))
    return layers


def _products(
    call: OperatorCall, weight: Value, state: Value, run: tuple[int, int, int], columns: int, width: int
) -> list[LoweredLayer]:
    steps, batch, features = run
    linear, gemm = Linear(features, columns, batch=steps * batch), Gemm(m=batch, n=columns, k=width, count=steps)
    return [
        LoweredLayer(linear, f"{call.kind} input", {}, weight, part="input", reads=call.inputs),
        LoweredLayer(gemm, f"{call.kind} state", {}, state, part="state"),
    ]


def _one_lstm(in_sequence: bool) -> Handler:
    def handler(call: OperatorCall) -> list[LoweredLayer]:
        call.fix_all()
        run = _run(call, in_sequence, bool(call.option("TimeMajor")))
        if not in_sequence and call.option("KernelType") == _BASIC:
            return _basic_lstm(call)
        return _lstm(call, *run, start=1, projection=16)

    return handler


def _basic_lstm(call: OperatorCall) -> list[LoweredLayer]:
    """Inputs and state side by side times one matrix: the input, the state, the weights."""
    batch, features = call.shape(call[0], 2)
    width = call.shape(call[1], 2)[1]
    weight, columns, inner = _matrix(call, 2, 4 * width, features + width)
    return [LoweredLayer(Linear(inner, columns, batch=batch), call.kind, {}, weight)]


def _two_lstms(call: OperatorCall) -> list[LoweredLayer]:
    _without_second_input(call, 39)
    call.fix_all()
    run = _run(call, True, bool(call.option("TimeMajor", 1)))
    return [*_lstm(call, *run, start=1, projection=16), *_lstm(call, *run, start=18, projection=33)]


def _without_second_input(call: OperatorCall, index: int) -> None:
    if call.get(index) is not None:
        raise CannotPriceError("it has a second input")


def _rnn(call: OperatorCall, run: tuple[int, int, int], start: int) -> list[LoweredLayer]:
    weight, units, _ = _matrix(call, start, None, run[2])
    state, _, _ = _matrix(call, start + 1, units, units)
    return _products(call, weight, state, run, units, units)


def _one_rnn(in_sequence: bool) -> Handler:
    def handler(call: OperatorCall) -> list[LoweredLayer]:
        call.fix_all()
        return _rnn(call, _run(call, in_sequence, bool(call.option("TimeMajor"))), 1)

    return handler


def _two_rnns(call: OperatorCall) -> list[LoweredLayer]:
    _without_second_input(call, 9)
    call.fix_all()
    run = _run(call, True, bool(call.option("TimeMajor")))
    return [*_rnn(call, run, 1), *_rnn(call, run, 5)]


def _svdf(call: OperatorCall) -> list[LoweredLayer]:
    """Each filter is one of the features, and one of the last steps, whose results are kept."""
    call.fix_all()
    batch, features = call.shape(call[0], 2)
    weight, filters, _ = _matrix(call, 1, None, features)
    over_time, _, steps = _matrix(call, 2, filters, None)
    gemm = Gemm(m=batch, n=1, k=steps, count=filters)
    return [
        LoweredLayer(Linear(features, filters, batch=batch), f"{call.kind} features", {}, weight, part="features"),
        LoweredLayer(gemm, f"{call.kind} time", {}, over_time, part="time"),
    ]


RECURRENT: Mapping[str, Handler] = MappingProxyType(
    {
        "LSTM": _one_lstm(in_sequence=False),
        "UNIDIRECTIONAL_SEQUENCE_LSTM": _one_lstm(in_sequence=True),
        "BIDIRECTIONAL_SEQUENCE_LSTM": _two_lstms,
        "RNN": _one_rnn(in_sequence=False),
        "UNIDIRECTIONAL_SEQUENCE_RNN": _one_rnn(in_sequence=True),
        "BIDIRECTIONAL_SEQUENCE_RNN": _two_rnns,
        "SVDF": _svdf,
    }
)
"""The recurrent operators, by name."""
