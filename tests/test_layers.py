"""Layers: the products they come down to, and what they refuse."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import twin
from hypothesis import assume, given
from hypothesis import strategies as st
from refusals import refused
from trying import tried

from hwcost import Conv2d, Gemm, InvalidValueError, Linear, MatMul, SystolicArray, layer_cost
from hwcost.model.layers import is_layer

GOOD = {
    Gemm: {"m": 6, "n": 4, "k": 8, "count": 8, "weights_shared_by": 1, "inputs_shared_by": 1},
    Conv2d: {
        "in_channels": 4, "out_channels": 8, "kernel_size": 3, "height": 9, "width": 7, "batch": 2, "stride": 1,
        "padding": 1, "dilation": 1, "groups": 2,
    },
    Linear: {"in_features": 6, "out_features": 4, "batch": 3},
    MatMul: {"m": 6, "n": 4, "k": 8, "batch": 8, "weights_shared_by": 1, "inputs_shared_by": 1},
    SystolicArray: {"rows": 4, "cols": 8},
}  # fmt: skip
NAMES = {"dataflow", "fold_timing", "lowering"}
SWITCHES = {
    "drains_outputs",
    "starts_up",
    "counts_last_fold",
    "rereads_inputs",
    "parallel_operands",
    "bandwidth_per_array",
    "depthwise_columns",
    "spreads_vectors",
    "weights_apart",
    "weights_ahead",
    "double_buffered",
}
QUANTITIES = {
    "clock_hz": "a finite number of hertz above 0",
    "max_streamed": "an integer of at least 1",
    "accumulators": "an integer of at least 1",
    "min_streamed": "a finite number of rows not below 0",
    "cycles_per_block": "a finite number of cycles not below 0",
    "cycles_per_output_block": "a finite number of cycles not below 0",
    "fold_latency": "a finite number of cycles not below 0",
    "readers": "an integer of at least 1",
    "single_block": "an integer of at least 1",
    "reread_bytes_per_s": "a number of bytes per second above 0",
    "row_stairs": "a finite number from 0 to 1",
    "col_stairs": "a finite number from 0 to 1",
    "overlap": "a finite number from 0 to 1",
    "reread_stairs": "a finite number from 0 to 1",
    "channel_multiple": "an integer of at least 1",
    "arrays": "an integer of at least 1",
    "patch_height": "an integer of at least 1",
    "patch_width": "an integer of at least 1",
    "positions_at_once": "an integer of at least 1",
    "run_channels": "an integer of at least 1",
    "cycles_per_output": "a finite number of cycles not below 0",
    "start_up_cycles": "a finite number of cycles not below 0",
    "tile_bytes": "a number of bytes above 0",
    "bank_bytes": "a finite number of bytes above 0",
    "burst_bytes": "a finite number of bytes not below 0",
    "cycles_per_row": "a finite number of cycles above 0",
    "cycles_per_fold": "a finite number of cycles not below 0",
    "cycles_per_layer": "a finite number of cycles not below 0",
    "bytes_per_element": "a finite number of bytes above 0",
    "dram_bytes_per_s": "a number of bytes per second above 0",
    "weight_bytes_per_s": "a number of bytes per second above 0",
    "input_bytes_per_s": "a number of bytes per second above 0",
    "output_bytes_per_s": "a number of bytes per second above 0",
    "filter_block": "a number of filters above 0",
    "vector_bytes_per_s": "a number of bytes per second above 0",
    "pipeline_cycles": "a finite number of cycles not below 0",
    "cycles_per_run": "a finite number of cycles not below 0",
    "host_bytes_per_s": "a number of bytes per second above 0",
    "weight_capacity_bytes": "a number of bytes above 0",
    "filter_multiple": "an integer of at least 1",
    "spill_bytes_per_s": "a number of bytes per second above 0",
    "bytes_per_output": "a finite number of bytes above 0",
    "partial_bytes": "a finite number of bytes above 0",
    "buffer_bytes": "a number of bytes above 0",
    "weight_buffer_bytes": "a number of bytes above 0",
    "input_buffer_bytes": "a number of bytes above 0",
    "output_buffer_bytes": "a number of bytes above 0",
    "reload_weight": "a finite number from 0 to 1",
    "joules_per_mac": "a finite number of joules above 0",
    "joules_per_sram_byte": "a finite number of joules per byte above 0",
    "joules_per_sram_byte_written": "a finite number of joules per byte above 0",
    "joules_per_accumulator_byte": "a finite number of joules per byte above 0",
    "joules_per_dram_byte": "a finite number of joules per byte above 0",
    "idle_watts": "a finite number of watts not below 0",
}
COUNTS = (
    "max_streamed", "accumulators", "channel_multiple", "arrays", "filter_multiple", "patch_height", "patch_width",
    "positions_at_once", "run_channels", "readers", "single_block",
)  # fmt: skip
LAYERS = [kind for kind in GOOD if kind is not SystolicArray]
PAIRS = ("kernel_size", "stride", "padding", "dilation")
FIELDS = [(kind, name) for kind, sizes in GOOD.items() for name in sizes]

over_fields = pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda v: v if isinstance(v, str) else v.__name__)


def refusal_of(kind, name, value):
    with pytest.raises(InvalidValueError) as caught:
        kind(**(GOOD[kind] | {name: value}))
    assert caught.value.field.startswith(f"{kind.__name__}.{name}")
    assert str(caught.value).startswith(f"{kind.__name__}.{name}")
    assert "; allowed: " in str(caught.value)
    return caught.value


def test_operands_on_the_chip_are_operands():
    assert Gemm(1, 2, 3, on_chip=("inputs", "outputs")).on_chip == ("inputs", "outputs")
    with pytest.raises(InvalidValueError, match=r"Gemm\.on_chip"):
        Gemm(1, 2, 3, on_chip=("sums",))


def test_every_field_is_tried():
    for kind, sizes in GOOD.items():
        others = {
            Gemm: {"window", "inputs", "image", "on_chip", "of_activations"},
            SystolicArray: set(QUANTITIES) | {"rows", "cols", "terms", "col_table"} | NAMES | SWITCHES,
        }
        assert set(sizes) | others.get(kind, set()) == {field.name for field in dataclasses.fields(kind)}
        kind(**sizes)


# ---------------------------------------------------------------- what is refused


@over_fields
@pytest.mark.parametrize(
    "bad",
    [0, -1, True, False, np.True_, math.nan, math.inf, -math.inf, 2.5, np.float32(2.5), "3", b"3", None, [3], {3}, {},
     1j, np.complex128(1), np.str_("3"), np.datetime64("2020-01-01"), object(), int, np.int64(-4),
     np.float64(math.nan)],
    ids=lambda bad: "object()" if type(bad) is object else repr(bad),
)  # fmt: skip
def test_what_is_no_size_is_refused_by_name(kind, name, bad):
    if name == "padding" and bad == 0 and not isinstance(bad, bool):
        kind(**(GOOD[kind] | {name: bad}))
        return
    error = refusal_of(kind, name, bad)
    if isinstance(bad, (int, float)):
        assert repr(error.value) in (repr(bad), repr(float(bad)))


@over_fields
@pytest.mark.parametrize(
    "bad",
    [np.array([1 + 1j]), np.array([True]), np.array(["3"]), np.array([None]), np.array([3, 0]), np.array([[-2]]),
     np.array([2.0, math.nan]), np.array([math.inf]), np.array([-0.5]), np.array([math.nan], dtype=np.float16),
     np.array([2**63], dtype=np.uint64), np.array([5, -1], dtype=np.int8), np.array(-3), np.array(True)],
    ids=lambda a: f"{a.dtype}{a.tolist()}",
)  # fmt: skip
def test_arrays_of_what_is_no_size_are_refused_by_name(kind, name, bad):
    if name == "padding" and bad.dtype == np.int64 and np.min(bad) == 0:
        assert Conv2d(**(GOOD[kind] | {name: bad})).padding[0].tolist() == [3, 0]
        return
    refusal_of(kind, name, bad)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("bad", [(3,), (3, 3, 3), (), (3, "3"), (True, 3), (3, 2.5), (3, -1), (-1, 3), (3, None)])
def test_pairs_are_pairs_of_sizes(name, bad):
    refusal_of(Conv2d, name, bad)


@pytest.mark.parametrize("bad", ["SAME", "", "full", "1"])
def test_padding_words(bad):
    assert '"same" or "valid"' in str(refusal_of(Conv2d, "padding", bad))


@pytest.mark.parametrize(
    ("changes", "axis"),
    [({"kernel_size": 12, "padding": 1}, "height"), ({"kernel_size": (3, 10), "padding": 1}, "width"),
     ({"kernel_size": 10, "padding": "valid", "height": 30}, "width"), ({"dilation": 6}, "height"),
     ({"dilation": (1, 5)}, "width"), ({"height": 1, "padding": 0}, "height"),
     ({"height": np.array([9, 1]), "padding": 0}, "height")],
)  # fmt: skip
def test_a_kernel_larger_than_the_padded_input_is_refused(changes, axis):
    with refused(f"Conv2d.kernel_size along the {axis}", allowed="at most the padded input"):
        Conv2d(**(GOOD[Conv2d] | changes))


@pytest.mark.parametrize(("kernel", "dilation", "room"), [(4, 1, 3), (9, 1, 3), (3, 2, 2), (2, 3, 1), (5, 9, 1)])
def test_the_room_for_a_kernel_is_shown(kernel, dilation, room):
    with refused("Conv2d.kernel_size along the height", kernel, f"room for {room};"):
        Conv2d(1, 1, kernel, height=3, width=99, dilation=dilation)
    Conv2d(1, 1, room, height=3, width=99, dilation=dilation)


def test_the_largest_kernel_that_fits_gives_one_position():
    assert Conv2d(1, 1, (9, 7), height=9, width=7).out_size == (1, 1)
    assert Conv2d(1, 1, (11, 9), height=9, width=7, padding=1).out_size == (1, 1)
    assert Conv2d(1, 1, 99, height=9, width=7, padding="same").out_size == (9, 7)


@pytest.mark.parametrize(
    ("name", "channels"), [("in_channels", 5), ("out_channels", 7), ("in_channels", np.array([4, 5]))]
)
def test_channels_that_groups_do_not_divide_are_refused(name, channels):
    assert "a multiple of groups (2)" in str(refusal_of(Conv2d, name, channels))


@pytest.mark.parametrize(
    "bad", ["fast", 0, -1e9, math.nan, math.inf, True, np.True_, None, "1e9", np.array([1e9, 0]), 1j]
)
def test_clocks(bad):
    with refused("SystolicArray.clock_hz", allowed="hertz above 0"):
        SystolicArray(8, 8, clock_hz=bad)


MEASURED = [name for name in QUANTITIES if name not in ("clock_hz", *COUNTS)]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("bad", ["fast", 0, -1, 2.5, math.nan, math.inf, True, 1j, np.array([0.5, -1.0]), [5]])
def test_limits(name, bad):
    with pytest.raises(InvalidValueError, match=rf"SystolicArray\.{name} is "):
        SystolicArray(8, 8, **{name: bad})


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("bad", ["fast", -1e-9, math.nan, -math.inf, True, 1j, np.array([0.5, -1.0]), [0.5], 10**400])
def test_quantities_out_of_range(name, bad):
    with pytest.raises(InvalidValueError) as caught:
        SystolicArray(8, 8, **{name: bad})
    assert caught.value.field == f"SystolicArray.{name}"
    assert caught.value.allowed == QUANTITIES[name]


@pytest.mark.parametrize("name", MEASURED)
def test_ends_of_quantities(name):
    allowed, declared = QUANTITIES[name], SystolicArray.declarations[name]
    for value, inside in (
        (0, "above 0" not in allowed),
        (math.inf, "finite" not in allowed),
        (1.5, "to 1" not in allowed),
    ):
        if inside:
            assert declared.check(value, name) == value
        else:
            with pytest.raises(InvalidValueError, match=name):
                SystolicArray(8, 8, **{name: value})


@pytest.mark.parametrize("name", sorted(SWITCHES))
@pytest.mark.parametrize("bad", [0, 1, None, "yes", np.True_])
def test_switches(name, bad):
    with refused(f"SystolicArray.{name}", bad, "True or False"):
        SystolicArray(8, 8, **{name: bad})


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("bad", ["", "WS", None, 3, ["ws"], np.array([1])])
def test_names_of_rows(name, bad):
    with refused(f"SystolicArray.{name}", allowed="one of: "):
        SystolicArray(8, 8, **{name: bad})


def test_a_huge_value_is_not_printed_in_full():
    with pytest.raises(InvalidValueError) as caught:
        Linear(-(10**5000), 3)
    assert len(str(caught.value)) < 200


# ---------------------------------------------------------------- what is taken


@over_fields
@pytest.mark.parametrize("good", [8, np.int8(8), np.uint64(8), 8.0, np.float32(8), np.array(8)], ids=repr)
def test_whole_numbers_become_python_integers(kind, name, good):
    sizes = GOOD[kind] | {name: good}
    if name in ("kernel_size", "dilation"):
        sizes |= {"height": 99, "width": 99}
    if name == "groups":
        sizes |= {"in_channels": 16, "out_channels": 24}
    value = getattr(kind(**sizes), name)
    assert value == ((8, 8) if name in PAIRS else 8)
    assert all(type(size) is int for size in (value if name in PAIRS else [value]))


def test_layers_are_values():
    for kind in LAYERS:
        layer = kind(**GOOD[kind])
        assert layer == kind(**GOOD[kind])
        assert hash(layer) == hash(kind(**GOOD[kind]))
        assert is_layer(layer)
        assert not is_layer(kind)
        with pytest.raises(AttributeError):
            layer.batch = 4
    assert not is_layer(3)
    assert hash(SystolicArray(8, 8)) == hash(SystolicArray(8, 8))


def test_products():
    assert Linear(6, 4, batch=3).gemms() == (Gemm(m=3, n=4, k=6),)
    assert MatMul(m=6, n=4, k=8, batch=2).gemms() == (Gemm(6, 4, 8, 2, of_activations=1),)
    assert Gemm(6, 4, 8, 2).gemms() == (Gemm(6, 4, 8, 2),)
    assert Gemm(6, 4, 8, 2).macs == 384
    assert Conv2d(32, 64, 3, height=8, width=8, padding="same", groups=32).gemms() == (
        Gemm(64, 2, 9, 32, window=(3, 3), inputs=(1, 32, 8, 8), image=(1, 8, 8, 8, 8, 3, 3, 1, 1, 1, 1)),
    )


def test_windows_divide_what_is_summed():
    assert Gemm(6, 4, 18, 2, window=(3, 3)).by_position() == Gemm(6, 4, 2, 18)
    assert Gemm(6, 4, np.array([9, 18]), window=(3, 3)).by_position().k.tolist() == [1, 2]
    with refused("Gemm.k", 8, "9"):
        Gemm(6, 4, 8, window=(3, 3))
    with pytest.raises(InvalidValueError, match=r"Gemm\.window is 0"):
        Gemm(6, 4, 8, window=(0, 3))
    with pytest.raises(InvalidValueError, match=r"Gemm\.inputs is -1"):
        Gemm(6, 4, 8, inputs=(-1,))


def test_what_repeats_is_counted_once_where_a_layer_states_it():
    layer = Conv2d(6, 16, 5, height=14, width=12, batch=2)
    (gemm,) = layer.gemms()
    counts = {operand: gemm.elements(operand) for operand in ("weights", "inputs", "outputs")}
    assert counts == {"weights": 25 * 6 * 16, "inputs": 2 * 6 * 14 * 12, "outputs": 2 * 16 * 10 * 8}
    assert Gemm(2, 3, 5, 7).elements("inputs") == 2 * 5 * 7


@pytest.mark.parametrize("operand", ["weights", "inputs"])
def test_an_operand_that_products_share_counts_once_for_all_of_them(operand):
    shared = {f"{operand}_shared_by": 4}
    gemm, alone = Gemm(2, 3, 5, 12, **shared), Gemm(2, 3, 5, 12)
    assert MatMul(2, 3, 5, 12, **shared).gemms() == (gemm.with_sizes(of_activations=1),)
    assert gemm != alone
    assert gemm.macs == alone.macs
    for each in ("weights", "inputs", "outputs"):
        assert gemm.elements(each) * (4 if each == operand else 1) == alone.elements(each)
    assert gemm.by_position() == gemm
    groups = Gemm(2, 3, 5, 12, **{f"{operand}_shared_by": np.array([1, 2, 12])}).elements(operand)
    assert groups.tolist() == [alone.elements(operand) // users for users in (1, 2, 12)]


@pytest.mark.parametrize(("kind", "count"), [(Gemm, "count"), (MatMul, "batch")])
def test_products_share_one_operand_among_equal_groups(kind, count):
    with pytest.raises(InvalidValueError) as caught:
        kind(2, 3, 5, 6, weights_shared_by=4)
    assert (caught.value.field, caught.value.value) == (f"{kind.__name__}.{count}", 6)
    assert caught.value.allowed == "a multiple of weights_shared_by (4)"
    with pytest.raises(InvalidValueError) as caught:
        kind(2, 3, 5, 6, weights_shared_by=np.array([1, 3]), inputs_shared_by=2)
    assert (caught.value.field, caught.value.value) == (f"{kind.__name__}.inputs_shared_by", 2)


def test_a_product_maps_over_every_size():
    gemm = Gemm(6, 4, 18, 8, window=(3, 3), inputs=(1, 2, 8), inputs_shared_by=2)
    doubled = gemm.map(lambda size: 2 * size)
    for name, value in vars(gemm).items():
        expected = tuple(2 * size for size in value) if isinstance(value, tuple) else 2 * value
        assert getattr(doubled, name) == expected, name


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_widths_name_fields(kind):
    if hasattr(kind, "WIDTHS"):
        assert set(kind.WIDTHS) <= set(GOOD[kind])
        assert len(kind.WIDTHS) == 2


def test_depthwise_is_that_many_small_products():
    array = SystolicArray(8, 8, fold_timing="serial")
    one = layer_cost(Conv2d(1, 1, 3, height=10, width=10), array)
    assert layer_cost(Conv2d(24, 24, 3, height=10, width=10, groups=24), array) == 24 * one
    assert one.utilization < 0.1


# ---------------------------------------------------------------- convolutions against the sliding window

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
CONVOLUTIONS = st.fixed_dictionaries(
    {
        "groups": st.integers(1, 3),
        "in_channels": st.integers(1, 3),
        "out_channels": st.integers(1, 3),
        "kernel_size": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "height": st.integers(1, 9),
        "width": st.integers(1, 9),
        "batch": st.integers(1, 3),
        "stride": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "dilation": PAIR,
        "padding": st.one_of(st.sampled_from(["same", "valid"]), st.tuples(st.integers(0, 3), st.integers(0, 3))),
    }
)


def fits(sizes):
    pads = (0, 0) if isinstance(sizes["padding"], str) else sizes["padding"]
    spans = [d * (k - 1) + 1 for d, k in zip(sizes["dilation"], sizes["kernel_size"], strict=True)]
    inputs = [size + 2 * pad for size, pad in zip((sizes["height"], sizes["width"]), pads, strict=True)]
    return sizes["padding"] == "same" or all(span <= size for span, size in zip(spans, inputs, strict=True))


@given(CONVOLUTIONS)
@tried(300)
def test_convolutions_are_what_the_sliding_window_counts(sizes):
    sizes |= {name: sizes[name] * sizes["groups"] for name in ("in_channels", "out_channels")}
    if not fits(sizes):
        with pytest.raises(InvalidValueError, match="padded input"):
            Conv2d(**sizes)
        return
    (gemm,) = Conv2d(**sizes).gemms()
    assert {"m": gemm.m, "n": gemm.n, "k": gemm.k, "count": gemm.count} == twin.convolution(**sizes)


@given(CONVOLUTIONS)
@tried(150)
def test_convolutions_have_the_shape_that_torch_gives_them(sizes):
    torch = pytest.importorskip("torch")
    sizes |= {name: sizes[name] * sizes["groups"] for name in ("in_channels", "out_channels")}
    assume(fits(sizes))
    assume(sizes["padding"] != "same" or sizes["stride"] == (1, 1))
    image = torch.zeros(sizes["batch"], sizes["in_channels"], sizes["height"], sizes["width"])
    weight = torch.zeros(sizes["out_channels"], sizes["in_channels"] // sizes["groups"], *sizes["kernel_size"])
    options = {name: sizes[name] for name in ("stride", "padding", "dilation", "groups")}
    if sizes["padding"] == "same" and any(d * (k - 1) % 2 for d, k in zip(sizes["dilation"], sizes["kernel_size"])):  # noqa: B905
        options["padding"] = "valid"  # torch warns of an even kernel; pad by hand instead
        reach = [d * (k - 1) for d, k in zip(sizes["dilation"], sizes["kernel_size"], strict=True)]
        image = torch.nn.functional.pad(image, (0, reach[1], 0, reach[0]))
    out = torch.nn.functional.conv2d(image, weight, **options)
    layer = Conv2d(**sizes)
    (gemm,) = layer.gemms()
    assert layer.out_size == tuple(out.shape[2:])
    assert gemm.m == out.shape[0] * out.shape[2] * out.shape[3]
    assert gemm.n * gemm.count == out.shape[1]
    assert gemm.k == weight[0].numel()
    assert gemm.macs == out.numel() * weight[0].numel()


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 9))
def test_same_padding_gives_the_size_over_the_stride(size, stride, kernel):
    layer = Conv2d(1, 1, kernel, height=size, width=7, stride=stride, padding="same")
    assert layer.out_size[0] == math.ceil(size / stride)


def test_documented_convolutions():
    assert Conv2d(3, 64, 7, height=224, width=224, stride=2, padding=3).out_size == (112, 112)
    assert Conv2d(3, 8, 3, height=32, width=20, padding=(1, 0), stride=(2, 1)).out_size == (16, 18)
    assert Conv2d(3, 8, 3, height=32, width=20, padding="valid").out_size == (30, 18)
    assert Conv2d(3, 8, [3, 5], height=32, width=20, dilation=[2, 3]).out_size == (28, 8)


# ---------------------------------------------------------------- sweeps and soft widths


@given(st.lists(st.integers(3, 60), min_size=1, max_size=5), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_a_sweep_is_its_layers(heights, channels):
    heights_axis = np.array(heights, dtype=np.int16)[:, None]
    layer = Conv2d(np.array(channels, dtype=np.uint8), 12, 3, height=heights_axis, width=9, stride=(2, 1), padding=1)
    cost = layer_cost(layer, SystolicArray(8, 8, fold_timing="double-buffered"))
    for i, height in enumerate(heights):
        for j, c in enumerate(channels):
            one = layer_cost(
                Conv2d(c, 12, 3, height=height, width=9, stride=(2, 1), padding=1),
                SystolicArray(8, 8, fold_timing="double-buffered"),
            )
            assert (cost.cycles[i, j], cost.macs[i, j]) == (one.cycles, one.macs)


def test_sweeps_of_every_field():
    """Each field alone as an array of one, against the number."""
    array = SystolicArray(8, 8)
    for kind in LAYERS:
        expected = layer_cost(kind(**GOOD[kind]), array)
        for name, size in GOOD[kind].items():
            swept = layer_cost(kind(**(GOOD[kind] | {name: np.array([size])})), array)
            assert np.ravel(swept.cycles).tolist() == [expected.cycles], name
            assert np.ravel(swept.macs).tolist() == [expected.macs], name
    expected = layer_cost(Linear(30, 20), SystolicArray(4, 8))
    for sizes in ({"rows": np.array([4]), "cols": 8}, {"rows": 4, "cols": np.array([8])}):
        assert layer_cost(Linear(30, 20), SystolicArray(**sizes)).cycles.tolist() == [expected.cycles]


def test_soft_widths_of_grouped_convolutions():
    torch = pytest.importorskip("torch")
    width = torch.tensor(24.0, dtype=torch.float64, requires_grad=True)
    depthwise = Conv2d(width, width, 3, height=8, width=8, padding="same", groups=width)
    cost = layer_cost(depthwise, SystolicArray(8, 8), relaxation="linear")
    assert cost.cycles.item() == pytest.approx(24 * 64 * 9 / 8 / 8)
    (gradient,) = torch.autograd.grad(cost.cycles, width)
    assert gradient.item() == pytest.approx(9.0)


def test_sums_in_convolutions_do_not_wrap():
    for changes in (
        {"height": np.array([2**62]), "padding": 2**62},
        {"kernel_size": np.array([2**62]), "dilation": 16},
    ):
        with pytest.raises(InvalidValueError, match="integer arrays"):
            Conv2d(**(GOOD[Conv2d] | changes))


@pytest.mark.parametrize("groups", [2, np.array([2])])
def test_soft_channels_are_shared_by_groups_without_rounding(groups):
    (gemm,) = Conv2d(np.array([9.0]), np.array([7.0]), 1, height=2, width=2, groups=groups).gemms()
    assert (gemm.n.item(), gemm.k.item()) == (3.5, 4.5)


@pytest.mark.parametrize(
    ("channels", "groups", "depthwise"), [(1, 1, False), (2, 2, True), (4, 2, False), (4, 4, True)]
)
def test_depthwise_is_a_group_for_each_of_several_channels(channels, groups, depthwise):
    assert Conv2d(channels, 2 * channels, 3, height=8, width=8, groups=groups).is_depthwise == depthwise
