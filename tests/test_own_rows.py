"""Rows of the caller's own, for operators and modules: what they see, and whose fault an error is."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
from onnx import helper  # noqa: E402
from torch import nn  # noqa: E402

from hwcost import InvalidValueError, Linear, from_torch, network_cost  # noqa: E402
from hwcost.errors import UnusedRowWarning  # noqa: E402
from hwcost.importers import from_onnx, rules  # noqa: E402
from hwcost.machine.array import SystolicArray  # noqa: E402
from hwcost.network.operations import MemoryOnly, Unsupported  # noqa: E402


class Block(nn.Linear):
    def forward(self, x, scale=2.0, *, mask=None):
        return scale * super().forward(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.block = nn.Linear(4, 8), Block(8, 8)

    def forward(self, x):
        return self.block(self.first(x), mask=x)


def of_operators(row, key="aten::addmm"):
    return from_torch(Net(), (2, 4), operators={key: row})


def of_modules(row, key=Block):
    return from_torch(Net(), (2, 4), modules={key: row})


@pytest.fixture
def of_nodes(tmp_path):
    x, y = helper.make_tensor_value_info("x", 1, [5, 8]), helper.make_tensor_value_info("y", 1, None)
    node = helper.make_node("Fast", ["x"], ["y"], name="fast", domain="my.domain")
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("my.domain", 1)]
    path = tmp_path / "net.onnx"
    path.write_bytes(
        helper.make_model(helper.make_graph([node], "net", [x], [y]), opset_imports=opsets).SerializeToString()
    )
    return lambda row, key="my.domain::Fast": from_onnx(path, operators={key: row})


@pytest.fixture(params=["operators", "modules", "nodes"])
def reader(request, of_nodes):
    """Reads a network with one row, and the field of errors about it."""
    return {
        "operators": (of_operators, "operators['aten::addmm']"),
        "modules": (of_modules, "modules[Block]"),
        "nodes": (of_nodes, "operators['my.domain::Fast']"),
    }[request.param]


def divides(call):
    return 1 // 0


def generates(call):
    yield rules.LoweredLayer(Linear(2, 2), "one")
    raise LookupError("after the first")


def looks_up(call):
    return call["no such argument"]


def takes_nothing():
    return ()


def of_no_size(call):
    return [rules.LoweredLayer(Linear(0, 2), "none")]


def of_no_layer(call):
    return [rules.LoweredLayer("a layer", "none")]


@pytest.mark.parametrize("row", [divides, generates, looks_up, takes_nothing, of_no_size, of_no_layer])
def test_an_error_in_a_row_names_the_row(reader, row):
    read, field = reader
    with pytest.raises(InvalidValueError) as caught:
        read(row)
    assert (caught.value.field, caught.value.value) == (field, row)
    assert type(caught.value.__cause__).__name__ in caught.value.reason


@pytest.mark.parametrize("returned", [3, Linear(2, 2), [Linear(2, 2)], "layers"])
def test_a_row_returns_lowered_layers(reader, returned):
    read, field = reader
    with pytest.raises(InvalidValueError) as caught:
        read(lambda call: returned)
    assert caught.value.field == f"the result of {field}"


def test_a_row_may_refuse_to_price(reader):
    def refuses(call):
        raise rules.CannotPriceError("too odd")

    network = reader[0](refuses)
    assert {each.layer.reason for each in network.unsupported.values()} == {"too odd"}
    with pytest.raises(InvalidValueError, match="too odd"):
        network_cost(network, SystolicArray(8, 8))


def test_modules_give_their_arguments_by_name_as_operators_do():
    seen = []

    def row(call):
        seen.append((tuple(call["x"].shape), call["scale"], tuple(call["mask"].shape), len(call.inputs)))
        rules.free(call)

    assert isinstance(of_modules(row)["block"], MemoryOnly)
    assert seen == [((2, 8), 2.0, (2, 4), 2)]
    of_operators(lambda call: rules.matmul(call, call["mat1"], call["mat2"], call["self"]))
    for read, known in ((of_operators, "mat1"), (of_modules, "mask")):
        with pytest.raises(InvalidValueError, match=known):
            read(lambda call: call["mats"])


MISSPELT = {
    "operators": (of_operators, "aten::adddmm", "did you mean 'aten::addmm'"),
    "other library": (of_operators, "mylib::addmm", "did you mean 'aten::addmm'"),
    "not called": (of_operators, "mylib::fast", "it calls .*aten::addmm"),
    "modules": (of_modules, nn.Conv2d, "it calls .*Block"),
}


@pytest.mark.parametrize("case", MISSPELT)
def test_a_row_that_nothing_calls_is_warned_of(case):
    read, key, words = MISSPELT[case]
    with pytest.warns(UnusedRowWarning, match=words) as caught:
        read(rules.free, key)
    assert caught[0].filename == __file__


def test_a_node_that_is_not_there_is_warned_of(of_nodes):
    with pytest.warns(UnusedRowWarning, match="did you mean 'my.domain::Fast'"):
        assert isinstance(of_nodes(rules.free, "my.domain::fast")["fast"], Unsupported)


def test_a_table_for_several_models_can_be_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedRowWarning)
        assert of_operators(rules.free, "mylib::fast").macs == from_torch(Net(), (2, 4)).macs


def test_a_row_within_a_module_with_a_row_is_used():
    row = {"aten::addmm": lambda call: rules.matmul(call, call["mat1"], call["mat2"], call["self"])}
    network = from_torch(Net().block, (2, 8), modules={Block: lambda call: [rules.LoweredLayer(Linear(8, 8), "block")]}, operators=row)  # fmt: skip  # noqa: E501
    assert network.macs == 64


@pytest.mark.parametrize("given", [(), (4, 4, 4)])
def test_axes_are_as_many_as_the_tensor_has(given):
    def row(call):
        call.give(call.out, call.fixed(given))

    with pytest.raises(InvalidValueError) as caught:
        of_operators(row)
    cause = caught.value.__cause__
    assert (caught.value.field, cause.value) == ("operators['aten::addmm']", len(given))
    assert cause.allowed.startswith("2")


@pytest.mark.parametrize(("shape", "hints"), [((3, 8, 8), True), ((8, 8), False), ((1, 4, 8, 8), False)])
def test_a_missing_batch_size_is_hinted_at(shape, hints):
    with pytest.raises(InvalidValueError) as caught:
        from_torch(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), shape)
    assert ("1,3,8,8" in caught.value.allowed) is hints
