"""Every recipe of CONTRIBUTING.md, followed to the letter in a test that is named after its heading."""

from __future__ import annotations

import pytest

from hwcost import Conv2d, Linear, SystolicArray, layer_cost, network_cost


def test_an_adapter():
    """A host that holds, for each layer, logits over its output widths."""
    torch = pytest.importorskip("torch")
    from hwcost.torch import check_gradient, cost_table, expected_cost

    array = SystolicArray(8, 8)
    layers = {"conv": Conv2d(3, 8, 3, height=8, width=8, padding=1), "head": Linear(8, 10)}
    widths = [4, 8, 12]

    def latency_of_logits(logits, reference):
        """Cycles of all layers in units of a reference, from one vector of logits for each layer."""
        total, inputs, sizes = 0.0, torch.ones(1), None
        for name, layer in layers.items():
            table = cost_table(layer, sizes or [getattr(layer, layer.WIDTHS[0])], widths, array=array)
            outputs = logits[name].softmax(0)
            total = total + expected_cost(table, {"in": inputs, "out": outputs})
            inputs, sizes = outputs, widths
        return total / reference

    reference = network_cost(layers, array).total.cycles
    logits = {name: torch.zeros(3, requires_grad=True) for name in layers}
    assert check_gradient(latency_of_logits(logits, reference), logits)

    one_hot = {name: torch.tensor([-1e9, -1e9, 0.0]) for name in layers}
    found = latency_of_logits(one_hot, 1.0).item()
    twelve = layer_cost(Conv2d(3, 12, 3, height=8, width=8, padding=1), array).cycles
    assert found == twelve + layer_cost(Linear(12, 12), array).cycles
