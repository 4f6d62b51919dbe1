"""Which operation reads which result: in networks by hand, after edits, and the tensors that follow from it."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import SEARCHED, TREE
from refusals import refused

from hwcost import Conv2d, InvalidValueError, Linear, MatMul, Network, Operation, SystolicArray, network_cost
from hwcost.network.flow import Tensor, flow_without, liveness, tensors_of
from hwcost.network.operations import MemoryOnly, Unsupported
from hwcost.network.run import Ends

RESIDUAL = Network(
    "residual",
    {
        "stem": Operation(Linear(6, 8), {"out_features": "w"}, inputs=("",)),
        "a": Operation(Linear(8, 20), {"in_features": "w"}, inputs=("stem",)),
        "a:view": Operation(MemoryOnly("view"), inputs=("a",)),
        "b": Operation(Linear(20, 8), {"out_features": "w"}, inputs=("a:view",)),
        "add": Operation(MemoryOnly("add", 16, 8), {"reads": ("w", 2), "writes": "w"}, inputs=("stem", "b")),
        "head": Operation(Linear(8, 3), {"in_features": "w"}, inputs=("add",)),
    },
    outputs=("head",),
)
"""A residual connection around two layers, with a view between them."""


def shown(tensors):
    return {tensor.producer: (tensor.elements, tensor.consumers) for tensor in tensors}


# ---------------------------------------------------------------- tensors


def test_the_tensors_of_a_residual_network():
    assert tensors_of(RESIDUAL) == (
        Tensor("", 6, ("stem",), False),
        Tensor("stem", 8, ("a", "add"), False),
        Tensor("a", 20, ("b",), False),
        Tensor("b", 8, ("add",), False),
        Tensor("add", 8, ("head",), False),
        Tensor("head", 3, (), True),
    )
    alive = {name: [each.producer for each in tensors] for name, tensors in liveness(RESIDUAL).items()}
    assert alive == {
        "stem": ["", "stem"],
        "a": ["stem", "a"],
        "a:view": ["stem", "a"],
        "b": ["stem", "a", "b"],
        "add": ["stem", "b", "add"],
        "head": ["add", "head"],
    }


def test_elements_follow_widths():
    sizes = np.array([2, 8, 11])
    found = tensors_of(RESIDUAL.at({"w": sizes}))
    for index, size in enumerate(sizes):
        one = tensors_of(RESIDUAL.at({"w": int(size)}))
        assert [tensor.consumers for tensor in one] == [tensor.consumers for tensor in found]
        elements = [np.broadcast_to(tensor.elements, 3)[index] for tensor in found]
        assert elements == [tensor.elements for tensor in one] == [6, size, 20, size, size, 3]


def test_soft_widths_have_soft_elements():
    torch = pytest.importorskip("torch")
    width = torch.tensor(7.5, requires_grad=True)
    sum(tensor.elements for tensor in tensors_of(RESIDUAL.at({"w": width}))).backward()
    assert width.grad == 3


def test_what_is_returned_stays_alive_and_what_nobody_reads_does_not():
    operations = dict(RESIDUAL.operations)
    operations["aside"] = Operation(Linear(8, 5), inputs=("stem",))
    operations["last"] = Operation(Linear(3, 4), inputs=("head",))
    network = Network("net", operations, outputs=("a:view", "last"))
    assert [tensor.producer for tensor in tensors_of(network) if tensor.is_output] == ["a", "last"]
    alive = {name: [each.producer for each in tensors] for name, tensors in liveness(network).items()}
    assert alive["last"] == ["a", "head", "last"]
    assert alive["aside"] == ["stem", "a", "head", "aside"]


def test_the_inputs_are_those_that_the_network_states():
    network = dataclasses.replace(RESIDUAL, ends=Ends(99, 3))
    assert tensors_of(network)[0] == Tensor("", 99, ("stem",), False)


@pytest.mark.parametrize(
    "change",
    [
        {"a": {"inputs": None}},
        {"a": {"layer": MemoryOnly("topk", reads=8)}},
        {"a": {"layer": Unsupported("fft", "no products")}},
        {"head": {"layer": Unsupported("fft", "no products")}},
        None,
    ],
    ids=["an edge", "a size", "what is read", "what is returned", "outputs"],
)
def test_nothing_is_guessed(change):
    operations = dict(RESIDUAL.operations)
    for name, fields in (change or {}).items():
        operations[name] = dataclasses.replace(operations[name], sizes={}, **fields)
    network = Network("net", operations, outputs=None if change is None else ("head",))
    assert tensors_of(network) is liveness(network) is None


@pytest.mark.parametrize("layers", [TREE, SEARCHED, {"a": Linear(2, 3)}, TREE.at({}), {}])
def test_without_edges_there_are_no_tensors(layers):
    assert tensors_of(layers) is None


def test_a_part_of_the_layers_has_no_tensors():
    assert tensors_of(RESIDUAL.at({}).only(["a"])) is None


@given(st.data())
def test_tensors_are_alive_from_where_they_are_made_to_where_they_are_last_read(data):
    count = data.draw(st.integers(1, 8))
    names, operations = [f"op{index}" for index in range(count)], {}
    for index, name in enumerate(names):
        reads = data.draw(st.lists(st.sampled_from(["", *names[:index]]), unique=True, max_size=3))
        layer = data.draw(st.sampled_from([Linear(4, 3), MemoryOnly("add", 5, 2), MemoryOnly("view")]))
        operations[name] = Operation(layer, inputs=tuple(reads))
    outputs = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=2))
    network = Network("net", operations, ends=Ends(7, 1), outputs=tuple(outputs))

    def made_by(name):  # by walking back through views, edge by edge
        if not name or operations[name].layer != MemoryOnly("view"):
            return {name}
        return {each for source in operations[name].inputs for each in made_by(source)}

    makers = [name for name in ("", *names) if made_by(name) == {name}]
    readers = {
        maker: [
            name for name in names if name in makers and any(maker in made_by(each) for each in operations[name].inputs)
        ]
        for maker in makers
    }
    if not readers[""]:
        makers.remove("")
    kept = {each for name in outputs for each in made_by(name)}
    found = tensors_of(network)
    assert [tensor.producer for tensor in found] == makers
    for tensor in found:
        assert list(tensor.consumers) == readers[tensor.producer]
        assert tensor.is_output == (tensor.producer in kept)
    alive = liveness(network)
    for place, name in enumerate(names):
        assert [tensor.producer for tensor in alive[name]] == [
            maker
            for maker in makers
            if maker == "" or names.index(maker) <= place
            if maker == name
            or maker in kept
            or any(names.index(reader) >= place for reader in readers[maker])
            or (maker == "" and place == 0)
        ]


# ---------------------------------------------------------------- networks by hand


@pytest.mark.parametrize("inputs", [("later",), ("a",), ("nobody",)], ids=["later", "itself", "nobody"])
def test_an_operation_reads_what_ran_before_it(inputs):
    operations = {"first": Operation(Linear(2, 2), inputs=("",)), "a": Operation(Linear(2, 2), inputs=inputs)}
    operations["later"] = Operation(Linear(2, 2))
    with refused("what 'a' reads", inputs[0], "an operation before it") as caught:
        Network("net", operations)
    assert "first" in caught.value.names


def test_outputs_are_operations():
    with refused("Network.outputs", "heat", "an operation of the network") as caught:
        dataclasses.replace(RESIDUAL, outputs=("heat",))
    assert "head" in str(caught.value)  # the closest


@pytest.mark.parametrize("names", ["a", ("a", "a"), (1,), 3, {"a": 1}, ("a", None)])
def test_names_are_texts_each_once(names):
    with refused("Operation.inputs", names, "names of operations"):
        Operation(Linear(2, 2), inputs=names)
    with refused("Network.outputs", names, "names of operations"):
        Network("net", {"a": Operation(Linear(2, 2))}, outputs=names)


def test_lists_of_names_become_tuples():
    assert Operation(Linear(2, 2), inputs=["a", "b"]).inputs == ("a", "b")
    assert Operation(Linear(2, 2)) != Operation(Linear(2, 2), inputs=())


@pytest.mark.parametrize(
    "changed",
    [
        copy.copy,
        copy.deepcopy,
        lambda network: pickle.loads(pickle.dumps(network)),
        lambda network: network.space({"w": (4, 8)}),
        lambda network: network.space(step=4),
        lambda network: dataclasses.replace(network, name="other"),
    ],
)
def test_copies_keep_the_edges(changed):
    network = changed(RESIDUAL)
    assert network.flow == RESIDUAL.flow
    assert tensors_of(network) == tensors_of(RESIDUAL)


def test_an_open_kernel_keeps_the_edges():
    conv = Operation(Conv2d(3, 8, 3, height=4, width=4, padding=1), inputs=("",))
    network = Network("net", {"conv": conv}, outputs=("conv",)).space({"conv.kernel_size": (1, 3)})
    assert network.operations["conv"].inputs == ("",)
    assert [tensor.elements for tensor in tensors_of(network.at({"conv.kernel_size": 1}))] == [48, 128]


def test_edges_cost_nothing():
    array = SystolicArray(8, 8)
    without = {name: dataclasses.replace(each, inputs=None) for name, each in RESIDUAL.operations.items()}
    assert network_cost(RESIDUAL, array).total == network_cost(Network("net", without), array).total


# ---------------------------------------------------------------- chains


def test_a_chain_is_what_its_caller_says():
    layers = {"a": Conv2d(3, 8, 3, height=4, width=6, padding=1), "relu": MemoryOnly("relu", 192, 192)}
    layers["b"] = Linear(192, 5)
    assert tensors_of(Network.of_layers("net", layers)) is None
    network = Network.of_layers("net", layers, is_chain=True)
    assert shown(tensors_of(network)) == {
        "": (72, ("a",)), "a": (192, ("relu",)), "relu": (192, ("b",)), "b": (5, ())
    }  # fmt: skip
    assert network.outputs == ("b",)
    assert network.notes == ("no two layers share a width",)


def test_sizes_of_a_chain_may_be_arrays():
    sizes = np.array([4, 8])
    layers = {"a": Linear(3, sizes), "b": Linear(sizes, 2)}
    assert [list(np.ravel(each.elements)) for each in tensors_of(Network.of_layers("net", layers, is_chain=True))] == [
        [3], [4, 8], [2]
    ]  # fmt: skip
    with pytest.raises(InvalidValueError, match="the outputs of 'a'"):
        Network.of_layers("net", layers | {"b": Linear(np.array([4, 9]), 2)}, is_chain=True)


@pytest.mark.parametrize(
    ("layer", "field"),
    [
        (Linear(9, 2), "the elements that layer 'b' reads"),
        (MatMul(1, 2, 8), "layer 'b'"),
        (MemoryOnly("view"), "layer 'b'"),
        (Unsupported("fft", "why"), "layer 'b'"),
    ],
    ids=["other elements", "two results", "nothing", "unknown"],
)
def test_what_is_no_chain_is_refused(layer, field):
    with refused(field, allowed="leave out is_chain"):
        Network.of_layers("net", {"a": Linear(3, 8), "b": layer}, is_chain=True)


# ---------------------------------------------------------------- without some operations


def test_what_is_left_out_hands_on_what_it_read():
    flow = flow_without(RESIDUAL.flow, ["a", "a:view", "b", "add"])
    assert flow == ({"stem": ("",), "head": ("stem",)}, ("head",))


def test_what_read_several_results_hands_on_none_that_is_known():
    assert flow_without(RESIDUAL.flow, ["add"]).inputs["head"] is None
    assert flow_without(RESIDUAL.flow, ["a"]).inputs["b"] == ("a:view",)
    assert flow_without(RESIDUAL.flow, ["b", "add", "head"]).outputs is None


def test_unknown_edges_stay_unknown():
    operations = {"a": Operation(Linear(2, 2)), "b": Operation(Linear(2, 2), inputs=("a",))}
    flow = flow_without(Network("net", operations, outputs=("b",)).flow, ["a"])
    assert flow == ({"b": None}, ("b",))
