"""Networks whose widths and kernels are open to choice: written by hand, and read."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from fractions import Fraction

import numpy as np
import pytest

from hwcost import (
    Conv2d,
    InvalidValueError,
    Linear,
    MatMul,
    Network,
    Operation,
    SystolicArray,
    advise,
    from_torch,
    layer_cost,
    network_cost,
)
from hwcost.network.operations import MemoryOnly, Unsupported, Width

ARRAY = SystolicArray(8, 8)


def small():
    """A convolution, a fully connected layer on its flattened map, and one that follows nothing."""
    conv = Conv2d(1, 4, 5, height=28, width=28, padding="same")
    return Network(
        "small",
        {
            "conv": Operation(conv, {"out_channels": "width"}),
            "relu": Operation(MemoryOnly("relu", 10, 10)),
            "fc": Operation(Linear(4 * 784, 10), {"in_features": ("width", 784)}),
            "last": Operation(Linear(9, 9)),
        },
    )


# ---------------------------------------------------------------- operations


EXPRESSIONS = {
    "width": (("width", Fraction(1)),),
    ("width", 25): (("width", Fraction(25)),),
    ("width", Fraction(1, 2)): (("width", Fraction(1, 2)),),
    (("a", 1), ("b", 9)): (("a", Fraction(1)), ("b", Fraction(9))),
}


@pytest.mark.parametrize("short", EXPRESSIONS, ids=str)
def test_sizes_are_written_out(short):
    operation = Operation(Linear(8, 8), {"in_features": short})
    assert operation.sizes == {"in_features": EXPRESSIONS[short]}
    assert operation.kind == "Linear"
    assert pickle.loads(pickle.dumps(operation)) == operation


@pytest.mark.parametrize(
    "bad",
    [3, None, "", (), ("width",), ("width", 0), ("width", 2.5), ("width", -1), (25, "width"), ["width", 2], (("a",),)],
    ids=str,
)
def test_other_sizes_are_refused(bad):
    with pytest.raises(InvalidValueError, match="in_features") as raised:
        Operation(Linear(8, 8), {"in_features": bad})
    assert "name" in raised.value.allowed


class Plain:
    """A layer that is not a dataclass."""

    def gemms(self):
        return ()


@pytest.mark.parametrize(
    ("layer", "words"), [(Linear(8, 8), "in_features"), (Plain(), "dataclass"), (MemoryOnly("relu"), "kind")]
)
def test_a_size_is_a_field_of_the_layer(layer, words):
    with pytest.raises(InvalidValueError, match=words) as raised:
        Operation(layer, {"in_channels": "width"})
    assert raised.value.value == "in_channels"


FC = Operation(Linear(8, 8), {"out_features": "w"})
WRONG_TYPES = {
    "Operation.layer": [lambda bad=bad: Operation(bad) for bad in (3, None, Linear, "conv", object())],
    "Operation.sizes": [lambda bad=bad: Operation(Linear(8, 8), bad) for bad in ([], "w", None)],
    "Operation.kind": [lambda: Operation(Linear(8, 8), kind=3)],
    "Operation.path": [lambda: Operation(Linear(8, 8), path=3)],
    "MemoryOnly.kind": [lambda: MemoryOnly(3)],
    "MemoryOnly.reads": [lambda bad=bad: MemoryOnly("relu", reads=bad) for bad in (-1, "8", None)],
    "MemoryOnly.writes": [lambda: MemoryOnly("relu", writes=2.5)],
    "Unsupported.reason": [lambda: Unsupported("fft", None)],
    "Width.size": [lambda bad=bad: Width(bad) for bad in (0, "8", None, np.array([8]))],
    "Width.fixed": [lambda: Width(8, fixed=True)],
    "Network.name": [lambda: Network(3, {"fc": FC})],
    "Network.operations": [lambda bad=bad: Network("n", bad) for bad in (3, [FC], FC)],
    "Network.operations ": [lambda: Network("n", {"fc": Linear(8, 8)})],
    "Network.widths": [lambda: Network("n", {"fc": FC}, [Width(8)])],
    "Network.widths ": [lambda: Network("n", {"fc": FC}, {"w": 8})],
    "Network.parameters": [lambda: Network("n", {"fc": FC}, parameters=3)],
    "Network.options": [lambda: Network("n", {"fc": FC}, options=(4, 8))],
    "sizes": [lambda bad=bad: Network("n", {"fc": FC}).at(bad) for bad in (3, None, ["w"])],
    "layers": [lambda bad=bad: Network.of_layers("n", bad) for bad in (3, [Linear(8, 8)])],
}


@pytest.mark.parametrize(("field", "make"), [(field, make) for field, makes in WRONG_TYPES.items() for make in makes])
def test_values_of_a_wrong_type_are_refused(field, make):
    with pytest.raises(InvalidValueError) as raised:
        make()
    assert raised.value.field == field.strip()


# ---------------------------------------------------------------- networks written by hand


def test_widths_follow_from_the_layers():
    network = small()
    assert network.widths == {"width": Width(4)}
    assert network.operations["fc"].path == "fc"
    assert network.options == {}


def test_the_multiple_of_a_width_follows_from_its_layers():
    conv = Conv2d(12, 24, 3, height=8, width=8, groups=4)
    half = Operation(Linear(6, 3), {"in_features": ("a", Fraction(1, 2))})
    network = Network(
        "grouped", {"conv": Operation(conv, {"in_channels": "a", "out_channels": ("b", 6)}), "half": half}
    )
    assert network.widths == {"a": Width(12, multiple=4), "b": Width(4, multiple=2)}
    depthwise = dataclasses.replace(conv, in_channels=24, groups=24)
    fields = dict.fromkeys(("in_channels", "out_channels", "groups"), "w")
    assert Network("depthwise", {"dw": Operation(depthwise, fields)}).widths == {"w": Width(24)}


def test_one_unknown_width_of_a_sum_is_inferred():
    layers = {
        "sum": Operation(Linear(30, 8), {"in_features": (("a", 1), ("b", 2))}),
        "a": Operation(Linear(8, 10), {"out_features": "a"}),
    }
    assert Network("sum", layers).widths["b"].size == 10
    del layers["a"]
    with pytest.raises(InvalidValueError, match=r"sum\.in_features") as raised:
        Network("sum", layers)
    assert "'a' and 'b'" in raised.value.reason


@pytest.mark.parametrize(
    ("second", "wrong"),
    [
        ((Linear(5, 2), "w"), "'w' is 5"),
        ((Linear(6, 2), ("w", 4)), "4 times"),
        ((Linear(4, 2), (("w", 1), ("v", 1))), "'v'"),
    ],
)
def test_layers_that_contradict_each_other(second, wrong):
    layer, rule = second
    first = Operation(Linear(3, 4), {"out_features": "w"})
    with pytest.raises(InvalidValueError, match=wrong) as raised:
        Network("n", {"second": Operation(layer, {"in_features": rule}), "first": first})
    assert raised.value.field in ("first.out_features", "second.in_features")


# ---------------------------------------------------------------- options


def test_options_of_widths_by_name():
    space = small().space({"width": [12, 4, 8]})
    assert space.options == {"width": (12, 4, 8)}
    assert small().options == {}
    assert space.at({}) == dict(small()) == dict(space)
    layers = space.at({"width": 8})
    assert layers["conv"] == Conv2d(1, 8, 5, height=28, width=28, padding="same")
    assert layers["fc"] == Linear(8 * 784, 10)
    assert layers["last"] == Linear(9, 9)


def test_sweeps_and_soft_widths_are_filled_in():
    narrow = small().at({"width": np.array([100, 120], dtype=np.int8)})
    assert narrow["fc"].in_features.tolist() == [78400, 94080]
    torch = pytest.importorskip("torch")
    assert small().at({"width": torch.tensor(7.5)})["fc"].in_features.item() == 7.5 * 784


@pytest.mark.parametrize(
    ("size", "step", "least", "multiple", "options"),
    [
        (64, 16, 0.25, 1, (16, 32, 48, 64)),
        (64, 16, 0.3, 1, (32, 48, 64)),
        (60, 16, 0.25, 1, (16, 32, 48, 60)),
        (60, 16, 0, 1, (16, 32, 48, 60)),
        (60, 8, 0.5, 6, (48, 60)),
        (64, 16, 1, 1, None),
        (12, 16, 0.25, 1, None),
    ],
)
def test_options_by_step(size, step, least, multiple, options):
    layers = {"fc": Operation(Linear(8, size), {"out_features": "w"}), "other": Operation(Linear(16, 8), {"in_features": "v"})}  # fmt: skip  # noqa: E501
    widths = {"w": Width(size, multiple=multiple), "kept": Width(160), "fixed": Width(160, fixed="an output")}
    space = Network("n", layers, widths).space({"v": (3, 5)}, step=step, least=least)
    assert dict(space.options) == ({} if options is None else {"w": options}) | {"v": (3, 5)}


def test_opening_adds_to_the_open_widths():
    network = Network("n", {"fc": Operation(Linear(8, 16), {"in_features": "a", "out_features": "b"})})
    space = network.space({"a": (4, 8)}).space({"b": (8, 16)}).space({"a": (2, 8)})
    assert dict(space.options) == {"a": (2, 8), "b": (8, 16)}


@pytest.mark.parametrize("bad", [(), [], 8, "abc", None, (np.array([4, 8]),), (0, 1), (4, -1), (4, 4), (True,), (2.5,), ("8",), {4, 8}], ids=str)  # fmt: skip  # noqa: E501
def test_options_are_sizes_that_differ(bad):
    with pytest.raises(InvalidValueError, match=r"options\['width'\]"):
        small().space({"width": bad})


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "options or step"),
        ({"options": {}}, "options"),
        ({"options": 8}, "options"),
        ({"options": {"depth": (1, 2)}}, "the network"),
        ({"options": {"fixed": (1, 2)}}, "width 'fixed'"),
        ({"options": {"odd": (4, 7)}}, "options['odd']"),
        ({"options": {"odd": (4, 8)}, "least": 0.5}, "least"),
        ({"step": 0}, "step"),
        ({"step": 2.5}, "step"),
        ({"step": np.array([4])}, "step"),
        ({"step": 8, "least": 2}, "least"),
        ({"step": 1000}, "step"),
    ],
)
def test_unknown_and_fixed_widths_are_refused(asked, field):
    layer = Operation(Linear(8, 16), {"in_features": "odd", "out_features": "fixed"})
    network = Network("n", {"fc": layer}, {"odd": Width(8, multiple=4), "fixed": Width(16, fixed="an output")})
    with pytest.raises(InvalidValueError) as raised:
        network.space(**asked)
    assert raised.value.field == field


CONVS = Network("n", {
    "conv1": Operation(Conv2d(3, 8, 3, height=8, width=8, padding=1), {"out_channels": "conv1"}),
    "fc": Operation(Linear(8, 4), {"in_features": "conv1", "out_features": "fc"}),
}, {"fc": Width(4, fixed="an output")})  # fmt: skip
MISSPELT = {"conv": "conv1", "Conv1": "conv1", "conv1.kernel_sizes": "conv1.kernel_size", "con1.kernel_size": "conv1.kernel_size"}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(("name", "meant"), MISSPELT.items())
@pytest.mark.parametrize("use", [lambda name: CONVS.space({name: (4, 8)}), lambda name: CONVS.at({name: 4})])
def test_the_closest_name_is_offered(use, name, meant):
    with pytest.raises(InvalidValueError) as raised:
        use(name)
    assert raised.value.value == name
    assert f"did you mean {meant!r}" in str(raised.value)


@pytest.mark.parametrize(("name", "why"), [("fc", "an output"), ("conv1.kernel_size", "not open")])
def test_a_width_that_cannot_be_chosen_says_why(name, why):
    with pytest.raises(InvalidValueError) as raised:
        CONVS.at({name: 3})
    assert raised.value.field == f"width {name!r}"
    assert why in raised.value.reason


@pytest.mark.parametrize(
    "sizes", [{"depth": 8}, {"width": 0}, {"width": True}, {"width": "8"}, {"width": 2.5}], ids=str
)
def test_sizes_of_a_choice_are_sizes(sizes):
    with pytest.raises(InvalidValueError, match="width"):
        small().at(sizes)


def test_spaces_are_values():
    space = small().space({"width": (4, 8)})
    for table in (space.options, space.widths, space.operations, space.operations["fc"].sizes):
        with pytest.raises(TypeError):
            table["new"] = 1
    for copied in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert copied == space
    assert space != small()


# ---------------------------------------------------------------- kernels


KERNELS = {
    "same": Conv2d(8, 8, 3, height=9, width=9, padding="same"),
    "half": Conv2d(8, 8, 3, height=9, width=7, padding=1),
    "strided": Conv2d(8, 8, 7, height=32, width=33, stride=2, padding=3),
    "dilated": Conv2d(8, 8, 3, height=16, width=16, padding=2, dilation=2),
    "depthwise": Conv2d(8, 8, 3, height=9, width=9, padding=1, groups=8),
}


@pytest.mark.parametrize("layer", KERNELS.values(), ids=KERNELS)
def test_the_padding_follows_an_open_kernel(layer):
    space = Network("one", {"conv": Operation(layer)}).space({"conv.kernel_size": (1, 3, 5, 7)})
    array = SystolicArray(8, 8, dram_bytes_per_s=1e8)
    assert layer_cost(space.at({})["conv"], array) == layer_cost(layer, array)
    for kernel in space.options["conv.kernel_size"]:
        padding = layer.padding
        if padding != "same":
            padding = layer.padding[0] + layer.dilation[0] * (kernel - layer.kernel_size[0]) // 2
        other = dataclasses.replace(layer, kernel_size=kernel, padding=padding)
        found = space.at({"conv.kernel_size": kernel})["conv"]
        assert found.out_size == layer.out_size
        assert layer_cost(found, array) == layer_cost(other, array)


@pytest.mark.parametrize(
    ("layer", "sizes", "why"),
    [
        (Conv2d(8, 8, (3, 5), height=9, width=9, padding=(1, 2)), (3, 5), "square"),
        (Conv2d(8, 8, 3, height=9, width=9), (1, 3), "over the stride"),
        (Conv2d(8, 8, 5, height=9, width=9, padding=1), (3, 5), "over the stride"),
        (Conv2d(8, 8, 3, height=9, width=9, padding=1), (3, 4), "1, 3, 5"),
        (Conv2d(8, 8, 4, height=8, width=8, stride=4), (2, 4), "4, 6, 8"),  # the padding of 2 would be -1
        (Conv2d(8, 8, 3, height=8, width=8, stride=4, padding="valid"), (1, 3), "3, 5, 7"),
        (Conv2d(8, 8, 3, height=9, width=9, padding="valid"), (3, 5), "over the stride"),
        (Conv2d(8, 8, 3, height=9, width=9, padding=1), (3, 3), "differ"),
        (Linear(8, 8), (3, 5), "not a 2-d convolution"),
        (MemoryOnly("relu"), (3, 5), "not a 2-d convolution"),
    ],
)
def test_kernels_that_cannot_be_opened(layer, sizes, why):
    with pytest.raises(InvalidValueError, match=why) as raised:
        Network("one", {"conv": Operation(layer)}).space({"conv.kernel_size": sizes})
    assert "conv.kernel_size" in raised.value.field


def test_a_kernel_opened_again_keeps_its_rules():
    patches = Conv2d(8, 8, 4, height=8, width=8, stride=4)
    space = Network("one", {"conv": Operation(patches)}).space({"conv.kernel_size": (4, 6)})
    assert space.space({"conv.kernel_size": (6, 8)}).options["conv.kernel_size"] == (6, 8)
    for bad in (2, 5):
        with pytest.raises(InvalidValueError, match="4, 6, 8"):
            space.space({"conv.kernel_size": (bad, 6)})
        with pytest.raises(InvalidValueError, match="4, 6, 8"):
            space.at({"conv.kernel_size": bad})


def test_steps_leave_kernels_alone():
    space = Network("one", {"conv": Operation(KERNELS["half"], {"out_channels": "w"})})
    assert dict(space.space({"conv.kernel_size": (3, 5)}, step=4).options) == {"w": (4, 8), "conv.kernel_size": (3, 5)}


# ---------------------------------------------------------------- networks that were read


def test_a_module_becomes_a_space():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(32 * 64, 10)
    )
    space = from_torch(model, (1, 3, 8, 8)).space({"0.kernel_size": (3, 5)}, step=8)
    assert dict(space.options) == {"0": (8, 16, 24, 32), "0.kernel_size": (3, 5)}
    model[0], model[3] = torch.nn.Conv2d(3, 16, 5, padding=2), torch.nn.Linear(16 * 64, 10)
    again = network_cost(from_torch(model, (1, 3, 8, 8)), ARRAY)
    assert network_cost(space.at({"0": 16, "0.kernel_size": 5}), ARRAY).total == again.total


def test_attention_has_sizes_that_follow_widths():
    layers = {
        "in": Operation(Linear(32, 32), {"out_features": ("heads", 8)}),
        "scores": Operation(MatMul(10, 10, 8, batch=4), {"batch": "heads"}),
        "fft": Operation(Unsupported("fft", "not a product")),
    }
    space = Network("attention", layers).space({"heads": (2, 3, 4)})
    assert space.at({"heads": 3})["scores"].batch == 3
    assert list(space.unsupported) == ["fft"]


def test_a_module_is_not_rebuilt_with_another_kernel():
    torch = pytest.importorskip("torch")
    from hwcost.importers.torch.resize import resized

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1))
    space = from_torch(model, (1, 3, 8, 8)).space({"0.kernel_size": (1, 3)})
    with pytest.raises(InvalidValueError, match="kernel"):
        resized(model, space, {"0.kernel_size": 1})


def test_the_name_of_an_operation_is_not_that_of_a_width():
    """The error names the widths that it follows, wherever a width is asked for."""
    layers = {
        "stem": Operation(Conv2d(3, 8, 3, height=8, width=8, padding=1), {"out_channels": "stem"}),
        "dw": Operation(
            Conv2d(8, 8, 3, height=8, width=8, padding=1, groups=8),
            {"in_channels": "stem", "out_channels": "stem", "groups": "stem"},
        ),
        "pw": Operation(Conv2d(8, 24, 1, height=8, width=8), {"in_channels": "stem", "out_channels": "pw.out"}),
        "alone": Operation(Conv2d(4, 4, 1, height=8, width=8), {}),
    }
    network = Network("net", layers)
    for name, widths in {"dw": ["stem"], "pw": ["stem", "pw.out"], "alone": []}.items():
        calls = [lambda name=name: network.space({name: (4, 8)}), lambda name=name: network.at({name: 4})]
        for call in (*calls, lambda name=name: advise(network, SystolicArray(4, 4))[name]):
            with pytest.raises(InvalidValueError) as caught:
                call()
            assert caught.value.value == name
            assert repr(name) in caught.value.reason
            assert all(repr(width) in caught.value.reason for width in widths)
            assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("kernel", [(5, 3), (3, 5)])
def test_a_kernel_that_follows_a_width_is_square(kernel):
    operation = Operation(Conv2d(3, 8, kernel, height=8, width=8), {"kernel_size": "k"})
    for widths in ({}, {"k": Width(3)}):
        with pytest.raises(InvalidValueError, match=r"conv\.kernel_size.*equal sides"):
            Network("n", {"conv": operation}, widths)


def test_what_is_not_stated_is_nothing():
    relu, width = MemoryOnly("relu"), Width(8)
    assert (relu.reads, relu.writes, relu.gemms()) == (0, 0, ())
    assert (width.multiple, width.fixed, width.is_kernel, width.above) == (1, "", False, 0)


@pytest.mark.parametrize(("kernel", "padding", "dilation"), [(5, "same", 1), (5, 2, 1), (3, 2, 2), (7, 3, 1)])
def test_kernels_may_shrink_to_1(kernel, padding, dilation):
    layer = Conv2d(3, 8, kernel, height=9, width=9, padding=padding, dilation=dilation)
    space = Network("one", {"conv": Operation(layer)}).space({"conv.kernel_size": (1, kernel)})
    assert space.widths["conv.kernel_size"] == Width(kernel, multiple=2, is_kernel=True, above=-1)
