"""ONNX's recurrent operators: the products with all inputs at once, and those with the state, one step at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from hwcost.importers.onnx.calls import Call, CannotPriceError, LoweredLayer, ProductHandler
from hwcost.model.layers import Gemm, Linear

__all__ = ["RECURRENT"]


def _recurrent(gates: int) -> ProductHandler:
    """A net of so many gates, in one direction or in both."""

    def handler(call: Call) -> Iterator[LoweredLayer]:
        x, weight, state = call[0], call[1], call[2]
        steps, batch, features = call.shape(x, 3)[:3]
        if call.attributes.get("layout", 0):
            steps, batch = batch, steps
        directions, rows, inner = call.shape(weight, 3)[:3]
        hidden = call.shape(state, 3)[2]
        if inner != features or rows != gates * hidden:
            raise CannotPriceError(f"its weights {weight.shape} do not go with {gates} gates and {features} features")
        call.fix_all()
        # a state that one gate is multiplied into first has its product after those of the gates
        apart = gates == _GRU and not call.attributes.get("linear_before_reset", 0)
        parts = (gates - 1, 1) if apart else (gates,)
        for _ in range(directions):
            linear = Linear(features, rows, batch=steps * batch)
            yield LoweredLayer(linear, f"{call.kind} input", {}, weight, part="input")
            for part in parts:
                gemm = Gemm(m=batch, n=part * hidden, k=hidden, count=steps)
                yield LoweredLayer(gemm, f"{call.kind} state", {}, state, part="state")

    return handler


_GRU = 3

RECURRENT: Mapping[tuple[str, str], ProductHandler] = MappingProxyType(
    {("", "RNN"): _recurrent(1), ("", "GRU"): _recurrent(_GRU), ("", "LSTM"): _recurrent(4)}
)
"""The recurrent operators, by domain and name."""
