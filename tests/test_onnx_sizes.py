"""ONNX graphs in which something has no elements, and products with vectors."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")

from graphs import build, network_of, node, numbers, tensor  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from hwcost import Conv2d, Linear, MatMul, SystolicArray, network_cost  # noqa: E402
from hwcost.network.operations import MemoryOnly  # noqa: E402

# ---------------------------------------------------------------- sizes of 0

NONE = {"from": [0], "to": [0], "axis": [1], "large": [2**63 - 1], "all": [8]}
LISTS = [numbers(name, each) for name, each in NONE.items()]
EMPTY = {
    "a slice": [node("Slice", ["a", "from", "to", "axis"], ["e"])],
    "a slice behind the end": [node("Slice", ["a", "all", "large", "axis"], ["e"])],
    "zeros": [node("ConstantOfShape", ["shape"], ["e"])],
    "a split": [node("Split", ["a", "parts"], ["b", "e"], axis=1)],
    "a product": [node("Gather", ["a", "nowhere"], ["e"], axis=1)],
}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("nodes", EMPTY.values(), ids=list(EMPTY))
def test_an_empty_part_of_a_concatenation_is_nothing(nodes, first):
    parts = ["e", "a"] if first else ["a", "e"]
    nodes = [
        node("Conv", ["x", "w1"], ["a"], name="first"),
        *nodes,
        node("Concat", parts, ["c"], axis=1),
        node("Conv", ["c", "w2"], ["y"], name="second"),
    ]
    weights = [*LISTS, numbers("shape", [1, 0, 16, 16]), numbers("parts", [8, 0]), numbers("nowhere", [])]
    weights += [tensor("w1", (8, 3, 1, 1)), tensor("w2", (4, 8, 3, 3))]
    network = network_of(build(nodes, {"x": [(1, 3, 16, 16)]}, weights))
    assert network["second"] == Conv2d(8, 4, 3, 16, 16)
    assert not network.unsupported
    assert network_cost(network, SystolicArray(8, 8)).total.macs == network.macs
    assert dict(network.at({})) == dict(network)


def test_a_past_that_starts_empty():
    nodes = [
        node("Concat", ["past", "k"], ["keys"], axis=2),
        node("Transpose", ["keys"], ["turned"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "turned"], ["y"], name="scores"),
        node("MatMul", ["q", "past.t"], ["z"], name="old"),
    ]
    inputs = {"q": [(1, 4, 3, 16)], "k": [(1, 4, 3, 16)], "past": [(1, 4, "past", 16)], "past.t": [(1, 4, 16, "past")]}
    full, empty = (network_of(build(nodes, inputs), dims={"past": past}) for past in (5, 0))
    assert (full["scores"], full["old"]) == (MatMul(3, 8, 16, 4), MatMul(3, 5, 16, 4))
    assert (empty["scores"], empty["old"]) == (MatMul(3, 3, 16, 4), MemoryOnly("MatMul", 192, 0))


@pytest.mark.parametrize(
    ("kind", "inputs", "stated"),
    [
        ("MatMul", {"a": [(3, 0)], "b": [(0, 5)]}, {}),
        ("Gemm", {"a": [(0, 4)], "b": [(4, 5)]}, {}),
        ("Conv", {"a": [(0, 3, 8, 8)], "b": [(4, 3, 3, 3)]}, {}),
        ("Einsum", {"a": [(2, 3, 0)], "b": [(2, 0, 4)]}, {"equation": "bij,bjk->bik"}),
        ("Attention", {"a": [(1, 4, 0, 16)], "b": [(1, 4, 7, 16)], "c": [(1, 4, 7, 16)]}, {}),
        ("RNN", {"a": [(0, 2, 4)], "b": [(1, 5, 4)], "c": [(1, 5, 5)]}, {"hidden_size": 5}),
    ],
)
def test_nothing_times_something_is_free(kind, inputs, stated):
    nodes = [node(kind, list(inputs), ["y"], name="none", **stated), node("MatMul", ["x", "w"], ["z"], name="fc")]
    network = network_of(build(nodes, inputs | {"x": [(2, 3)]}, [tensor("w", (3, 4))], opset=23))
    assert isinstance(network["none"], MemoryOnly)
    assert dict(network.priced).keys() == {"fc"}


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.booleans(),
)
def test_products_of_any_sizes(left, right, is_weight):
    """What numpy multiplies has as many MACs as its result has elements, times the length of the sums."""
    a, b = left, right
    inner = a[-1]
    b[max(0, len(b) - 2)] = inner
    import numpy as np

    try:
        shape = np.matmul(np.zeros(a), np.zeros(b)).shape
    except ValueError:
        return
    behind = node("Gemm", ["g", "v"], ["z"], name="fc")
    inputs = {"a": [a], "g": [(2, 3)]} | ({} if is_weight else {"b": [b]})
    weights = [tensor("v", (3, 4)), *([tensor("b", b)] if is_weight else [])]
    network = network_of(build([node("MatMul", ["a", "b"], ["y"], name="it"), behind], inputs, weights))
    macs = sum(gemm.macs for gemm in network["it"].gemms())
    assert macs == int(np.prod(shape)) * inner
    assert not network.unsupported


# ---------------------------------------------------------------- vectors


@pytest.mark.parametrize("shape", [(64,), (10, 64), (2, 5, 64), (2, 3, 5, 64)])
@pytest.mark.parametrize("how", ["MatMul", "MatMul of a column", "Einsum", "Gemm"])
def test_a_vector_of_weights_is_a_linear_layer(shape, how):
    rows = 1
    for each in shape[:-1]:
        rows *= each
    if how == "Gemm" and len(shape) != 2:
        return
    letters = "abcd"[: len(shape) - 1]
    nodes, v = {
        "MatMul": (node("MatMul", ["x", "v"], ["y"]), (64,)),
        "MatMul of a column": (node("MatMul", ["x", "v"], ["y"]), (64, 1)),
        "Einsum": (node("Einsum", ["x", "v"], ["y"], equation=f"{letters}z,z->{letters}"), (64,)),
        "Gemm": (node("Gemm", ["x", "v"], ["y"]), (64, 1)),
    }[how]
    network = network_of(build([nodes], {"x": [shape]}, [tensor("v", v)]))
    assert [each.layer for each in network.priced.values()] == [Linear(64, 1, batch=rows)]


@pytest.mark.parametrize("shape", [(64,), (64, 10), (2, 64, 5)])
def test_a_vector_of_weights_on_the_left_is_one_too(shape):
    rows = 1
    for each in (*shape[:-2], *shape[-1:]) if len(shape) > 1 else ():
        rows *= each
    network = network_of(build([node("MatMul", ["v", "x"], ["y"])], {"x": [shape]}, [tensor("v", (64,))]))
    assert [each.layer for each in network.priced.values()] == [Linear(64, 1, batch=rows)]


@pytest.mark.parametrize(("shape", "rows"), [((64,), 1), ((64, 10), 10), ((1, 64, 10), 10)])
def test_matrices_of_weights_times_the_same_are_one_linear_layer(shape, rows):
    graph = build([node("MatMul", ["w", "x"], ["y"])], {"x": [shape]}, [tensor("w", (2, 3, 64))])
    network = network_of(graph)
    assert [each.layer for each in network.priced.values()] == [Linear(64, 6, batch=rows)]
    assert network.at({}) == dict(network)


def test_a_vector_of_activations():
    network = network_of(build([node("MatMul", ["x", "v"], ["y"], name="it")], {"x": [(2, 10, 64)], "v": [(64,)]}))
    assert network["it"] == MatMul(20, 1, 64)
