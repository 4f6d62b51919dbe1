"""ONNX's recurrent operators: the products with all inputs at once, and those with the state, one step at a time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hwcost.importers.onnx.calls import Node
from hwcost.importers.rules import CannotPriceError, Handler, LoweredLayer
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Linear

__all__ = ["RECURRENT"]

_GRU = 3


def _recurrent(gates: int) -> Handler:
    """A net with this number of gates, in one direction or in both."""

    def handler(call: Node) -> list[LoweredLayer]:
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
        linear = Linear(features, rows, batch=steps * batch)
        products = [Gemm(m=batch, n=n * hidden, k=hidden, count=steps) for n in ((gates - 1, 1) if apart else (gates,))]
        return directions * [
            LoweredLayer(linear, f"{call.kind} input", {}, weight, part="input"),
            *(LoweredLayer(gemm, f"{call.kind} state", {}, state, part="state") for gemm in products),
        ]

    return handler


RECURRENT: Mapping[str, Handler] = MappingProxyType(
    {"RNN": _recurrent(1), "GRU": _recurrent(_GRU), "LSTM": _recurrent(4)}
)
"""The recurrent operators, by name."""
