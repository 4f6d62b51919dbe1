"""Networks are the sums of their layers, however their sizes are given."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import machines
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trying import tried

from hwcost import (
    RELAXATIONS,
    Conv2d,
    Cost,
    Gemm,
    InvalidValueError,
    Linear,
    MatMul,
    Network,
    Operation,
    Relaxation,
    SystolicArray,
    layer_cost,
    network_cost,
)
from hwcost.relaxation import SmoothCeiling
from hwcost.reports import summarise

FIGURES = list(Cost().figures())


@dataclasses.dataclass(frozen=True)
class Attention:
    """A layer kind of somebody else's: two products, and that is all there is to write."""

    tokens: int
    width: int
    heads: int = 2

    def gemms(self):
        return (
            Gemm(m=self.tokens, n=self.tokens, k=self.width, count=self.heads),
            Gemm(m=self.tokens, n=self.width, k=self.tokens, count=self.heads),
        )


def network(*widths):
    a, b = widths
    return {
        "conv": Conv2d(3, a, 5, height=14, width=14, stride=2, padding=2),
        "depthwise": Conv2d(32, 32, 3, height=7, width=7, padding="same", groups=32),
        "attention": Attention(10, b),
        "point": Conv2d(a, b, 1, height=7, width=7),
        "scores": MatMul(m=9, n=9, k=b, batch=4),
        "fc": Linear(b, 10, batch=3),
    }


def agree(got, expected, rtol=1e-12):
    """Equal to rounding; in a sweep every layer has the shape of the network's."""
    for name in FIGURES:
        a, b = (np.asarray(getattr(cost, name), dtype=float) for cost in (got, expected))
        np.testing.assert_allclose(a, np.broadcast_to(b, a.shape), rtol=rtol, err_msg=name)


def by_layers(layers, array, relaxation="exact"):
    return {name: layer_cost(layer, array, relaxation=relaxation) for name, layer in layers.items()}


ARRAYS = list(machines.ALL.values())
over_arrays = pytest.mark.parametrize("array", ARRAYS, ids=list(machines.ALL))
over_relaxations = pytest.mark.parametrize("relaxation", RELAXATIONS)


# ---------------------------------------------------------------- sums


@over_arrays
@over_relaxations
def test_a_network_of_integers_is_the_sum_of_its_layers(array, relaxation):
    layers = network(24, 40)
    report, expected = network_cost(layers, array, relaxation=relaxation), by_layers(layers, array, relaxation)
    agree(report.total, with_run(report, expected))
    assert list(report.layers) == list(layers)
    for name, cost in report.layers.items():
        agree(cost, expected[name])
    assert report.unsupported == ()
    if relaxation == "exact":
        kind = int if array in machines.BARE.values() or array is machines.RICH["drained"] else float
        assert type(report.total.cycles) is type(report.layers["attention"].cycles) is kind
        if kind is int:
            assert report.total.cycles == sum(cost.cycles for cost in expected.values())


def with_run(report, expected):
    total = sum(expected.values())
    return total if report.run is None else total + report.run.cost


@over_arrays
@over_relaxations
def test_a_swept_network_is_the_sum_of_its_layers(array, relaxation):
    layers = network(np.arange(1, 60, 7), np.array([[8], [33], [64]]))
    report, expected = network_cost(layers, array, relaxation=relaxation), by_layers(layers, array, relaxation)
    assert report.total.cycles.shape == (3, 9)
    agree(report.total, with_run(report, expected))
    for name, cost in report.layers.items():
        agree(cost, expected[name])
    one = network_cost(network(29, 33), array, relaxation=relaxation).total
    assert report.total.cycles[1, 4] == pytest.approx(one.cycles, rel=1e-12)


@over_arrays
@over_relaxations
def test_a_network_of_soft_widths_is_the_sum_of_its_layers(array, relaxation):
    torch = pytest.importorskip("torch")
    a, b = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (24.3, 40.9))
    layers = network(a, b)
    report, expected = network_cost(layers, array, relaxation=relaxation), by_layers(layers, array, relaxation)
    total = with_run(report, expected)
    assert report.total.cycles.shape == ()
    for name in FIGURES:
        figure = torch.as_tensor(getattr(report.total, name)).double()
        torch.testing.assert_close(figure, torch.as_tensor(getattr(total, name)).double())
        for layer, cost in report.layers.items():
            figure = torch.as_tensor(getattr(expected[layer], name)).double()
            torch.testing.assert_close(torch.as_tensor(getattr(cost, name)).double(), figure)
    if total.cycles.requires_grad and report.total.cycles.requires_grad:
        stacked = torch.autograd.grad(report.total.cycles, (a, b), retain_graph=True)
        torch.testing.assert_close(stacked, torch.autograd.grad(total.cycles, (a, b)))


@given(st.lists(st.tuples(*[st.integers(1, 200)] * 3), min_size=1, max_size=6), st.sampled_from(ARRAYS))
@tried(60)
def test_any_products(sizes, array):
    layers = [Gemm(*size) for size in sizes]
    total = sum(layer_cost(layer, array) for layer in layers)
    assert network_cost(layers, array).total == total
    swept = network_cost([Gemm(np.array([m, m]), n, k) for m, n, k in sizes], array).total
    assert swept.cycles.tolist() == [total.cycles] * 2
    assert swept.macs.tolist() == [total.macs] * 2


SHAPES = [(), (1,), (3,), (3, 3), (3, 1), (2, 3, 1)]


@pytest.mark.parametrize("first", SHAPES)
@pytest.mark.parametrize("second", SHAPES)
@pytest.mark.parametrize("rows", SHAPES)
def test_sweeps_of_layers_and_arrays_broadcast_as_in_one_layer(first, second, rows):
    """Three layers, so that an axis that is taken for that of the layers would be noticed."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)

    def draw(shape):
        return torch.from_numpy(np.asarray(rng.integers(1, 90, shape), dtype=np.float64).reshape(shape))

    layers = [Linear(draw(first), draw(second)), Linear(30, draw(second)), Linear(17, 20, batch=2)]
    array = SystolicArray(draw(rows), 8, fold_timing="serial")
    report, expected = network_cost(layers, array), [layer_cost(layer, array) for layer in layers]
    total = sum(expected)
    for name in FIGURES:
        shape = torch.broadcast_shapes(first, second, rows)
        pairs = [(report.total, total), *((report.layers[str(i)], cost) for i, cost in enumerate(expected))]
        for pair in pairs:
            got, wanted = (torch.as_tensor(getattr(cost, name)).double().broadcast_to(shape) for cost in pair)
            torch.testing.assert_close(got, wanted)


def test_a_sweep_of_arrays_over_layers_that_share_their_sizes():
    """The folds depend on nothing that differs from layer to layer, and yet count once a layer."""
    layers = [Linear(30, 20, batch=np.array([5, 6])), Linear(30, 20, batch=7), Linear(30, 20)]
    array = SystolicArray(np.array([4, 16]), 8)
    report, expected = network_cost(layers, array), [layer_cost(layer, array) for layer in layers]
    agree(report.total, sum(expected))
    for cost, one in zip(report.layers.values(), expected, strict=True):
        agree(cost, one)


def test_a_sweep_of_arrays_over_integer_layers():
    array = SystolicArray(np.array([4, 8, 16]), np.array([[8], [32]]))
    layers = network(24, 40)
    agree(network_cost(layers, array).total, sum(by_layers(layers, array).values()))
    assert network_cost(layers, array).total.cycles.shape == (2, 3)


def counting(name="logistic"):
    """A relaxation that notes the shapes it is asked for: a new one is a function and a value."""
    row, shapes = RELAXATIONS[name], []

    def make():
        return SmoothCeiling(lambda x: (shapes.append(tuple(x.shape)), row.value(x))[1], row.slope, row.maximum)

    return Relaxation("counting", "notes its calls", make), shapes


@pytest.mark.parametrize(
    "array",
    [pytest.param(array, id=name) for name, array in machines.ALL.items() if not array.may_spill],
)  # where weights may not fit, the filters of each layer are padded apart
def test_all_layers_are_priced_in_one_call(array):
    torch = pytest.importorskip("torch")
    relaxation, shapes = counting()
    layers = network(torch.tensor(24.3), torch.tensor(40.9))
    gemms = sum(len(layer.gemms()) for layer in layers.values())
    report = network_cost(layers, array, relaxation=relaxation)
    ways = 1 if array.arrays == 1 else 3 + array.arrays.bit_length()
    terms = (array.max_streamed, array.accumulators, array.reread_stairs, array.channel_multiple > 1, ways > 1)
    assert shapes == [(gemms,)] * len(shapes)
    assert len(shapes) == 2 or any(terms) or array.has_tiles or array.col_table
    assert len(shapes) <= (9 if array.has_tiles or array.col_table else 6) * ways
    calls = len(shapes)
    report.layers  # noqa: B018
    assert len(shapes) == calls
    agree(report.total, network_cost(layers, array, relaxation="logistic").total)
    shapes.clear()
    network_cost(network(np.arange(1.0, 6.0), np.arange(1.0, 6.0)), array, relaxation=relaxation)
    assert len(shapes) == calls
    assert {shape[0] for shape in shapes} == {gemms}
    assert (gemms, 5) in shapes


# ---------------------------------------------------------------- arguments


def test_a_layer_of_several_products():
    array = SystolicArray(8, 8)
    cost = layer_cost(Attention(10, 16), array)
    assert cost == layer_cost(Gemm(10, 10, 16, 2), array) + layer_cost(Gemm(10, 16, 10, 2), array)
    assert network_cost([Attention(10, 16)], array).layers["0"] == cost


def test_iterables_are_named_by_their_position():
    layers = [Linear(8, 8), Linear(8, 9)]
    for given_layers in (layers, tuple(layers), iter(layers), (layer for layer in layers)):
        assert list(network_cost(given_layers, SystolicArray(8, 8)).layers) == ["0", "1"]


@pytest.mark.parametrize("what", ["relu", None, 3, Linear, object()])
def test_objects_that_are_no_layers_are_named(what):
    layers = {"fc": Linear(8, 8), "odd one": what}
    for price in (network_cost, summarise):
        with pytest.raises(InvalidValueError, match=r"layer 'odd one' is .*hwcost\.Conv2d") as caught:
            price(layers, SystolicArray(8, 8))
        assert "skip_unsupported" not in str(caught.value)  # it is no operation that a network has
    report = network_cost(layers, SystolicArray(8, 8), skip_unsupported=True)
    assert report.unsupported == ("odd one",)
    assert list(report.layers) == ["fc"]
    assert report.total == layer_cost(Linear(8, 8), SystolicArray(8, 8))
    assert network_cost([what, Linear(8, 8)], SystolicArray(8, 8), skip_unsupported=True).unsupported == ("0",)


@pytest.mark.parametrize("nothing", [{}, [], iter(())])
def test_an_empty_network_is_an_error(nothing):
    with pytest.raises(InvalidValueError, match="at least one layer"):
        network_cost(nothing, SystolicArray(8, 8))
    with pytest.raises(InvalidValueError, match="relu"):
        network_cost({"relu": "relu"}, SystolicArray(8, 8), skip_unsupported=True)


def test_the_other_arguments_are_checked():
    with pytest.raises(InvalidValueError, match=r"array is '8x8'; allowed: one of: .*gemmini"):
        network_cost([Linear(8, 8)], "8x8")
    with pytest.raises(InvalidValueError, match="relaxation"):
        network_cost([Linear(8, 8)], SystolicArray(8, 8), relaxation="nope")


def test_reports_are_values():
    report = network_cost(network(24, 40), SystolicArray(8, 8))
    with pytest.raises(AttributeError):
        report.total = None
    with pytest.raises(TypeError):
        report.layers["conv"] = None
    for copied in (copy.deepcopy(report), pickle.loads(pickle.dumps(report))):
        assert copied.total == report.total
        assert dict(copied.layers) == dict(report.layers)


def test_a_report_warns_of_unsupported_operations():
    report = network_cost([Linear(8, 8), "x"], SystolicArray(8, 8), skip_unsupported=True)
    assert "not in these totals: 1" in str(report)
    assert repr(report) == "<Report: 1 layer: 1 cycles, 1 ns, 100 % utilization>"


def test_class_variables_of_a_layer_follow_no_width():
    with pytest.raises(InvalidValueError) as caught:
        Operation(Linear(3, 4), {"WIDTHS": "w"})
    assert caught.value.value == "WIDTHS"
    assert caught.value.allowed == "one of: in_features, out_features, batch"


def test_a_network_holds_operations():
    with pytest.raises(InvalidValueError) as caught:
        Network("x", {"a": Linear(3, 4)})
    assert caught.value.field == "Network.operations"
    assert "of_layers" in caught.value.allowed


@pytest.mark.parametrize("layers", [3, None, object()])
def test_what_holds_no_layers(layers):
    with pytest.raises(InvalidValueError) as caught:
        network_cost(layers, SystolicArray(8, 8))
    assert caught.value.field == "layers"
