"""Networks out of PyTorch modules: MACs counted by hand, every bin, and names."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402
from torch_modules import Of, lenet  # noqa: E402

from hwcost import Conv2d, Gemm, InvalidValueError, Linear, MatMul, SystolicArray, from_torch, network_cost  # noqa: E402
from hwcost.importers import rules  # noqa: E402
from hwcost.importers.torch import InputSpec  # noqa: E402
from hwcost.importers.torch.calls import OperatorCall  # noqa: E402
from hwcost.importers.torch.free import CONSTANTS, ELEMENTWISE, MOVE_ONLY, VIEWS  # noqa: E402
from hwcost.importers.torch.operators import operator  # noqa: E402
from hwcost.importers.torch.table import AXES, PRODUCTS  # noqa: E402
from hwcost.importers.torch.tensors import Tensors  # noqa: E402
from hwcost.network.operations import MemoryOnly, Unsupported  # noqa: E402


def torch_macs(model, *inputs):
    """PyTorch's own count."""
    model = model.to("meta")
    with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        model(*[torch.empty(shape, device="meta") for shape in inputs])
    return counter.get_total_flops() // 2


# ---------------------------------------------------------------- counted by hand


def test_lenet_5():
    network = from_torch(lenet(), (1, 1, 28, 28))
    assert network.macs == 416_520
    assert dict(network_cost(network, SystolicArray(16, 16)).layers.items())["features.3"].cycles == 1000
    assert network_cost(network, SystolicArray(16, 16)).total.cycles == 2822
    assert list(network.priced) == ["features.0", "features.3", "classifier.0", "classifier.2", "classifier.4"]
    assert network["features.0"] == Conv2d(1, 6, 5, height=28, width=28, padding=2)
    assert network["classifier.0"] == Linear(400, 120)
    assert not network.unsupported


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("weights", [True, False])
def test_attention_of_4_heads(training, batch_first, weights):
    model = nn.MultiheadAttention(64, 4, batch_first=batch_first).train(training)
    x = torch.empty((1, 10, 64) if batch_first else (10, 1, 64))
    network = from_torch(model, example_inputs={"query": x, "key": x, "value": x, "need_weights": weights})
    assert network.macs == 176_640
    assert not network.unsupported
    products = [layer for layer in network.priced.values() if isinstance(layer.layer, MatMul)]
    assert sum(gemm.macs for each in products for gemm in each.layer.gemms()) == 2 * 4 * 10 * 10 * 16


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_layer_in_every_mode(training, norm_first, grad, activation):
    model = nn.TransformerEncoderLayer(
        64, 4, 128, batch_first=True, norm_first=norm_first, activation=activation
    ).train(training)
    with torch.set_grad_enabled(grad):
        network = from_torch(model, (1, 10, 64))
    assert network.macs == 340_480
    assert not network.unsupported
    assert {"linear1", "linear2", "self_attn.out_proj", "self_attn:in_proj_weight"} <= set(network.priced)


def layers_of(name, arguments):
    """The layers of an operator that is called with these arguments."""
    tensors = [each for each in arguments.values() if isinstance(each, torch.Tensor)]
    known = operator(getattr(torch.ops.aten, name).default)
    call = OperatorCall(known, (), arguments, tensors, [], Tensors({}, {}))
    return [each.layer for each in PRODUCTS[f"aten::{name}"](call)]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_recurrent_nets(kind, layers, both_ways, batch_first):
    gates, steps, batch, c, h = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 7, 3, 8, 16
    model = getattr(nn, kind)(c, h, num_layers=layers, bidirectional=both_ways, batch_first=batch_first)
    network = from_torch(model, (batch, steps, c) if batch_first else (steps, batch, c))
    ways = 2 if both_ways else 1
    expected = sum(ways * steps * batch * gates * h * ((c if layer == 0 else ways * h) + h) for layer in range(layers))
    assert network.macs == expected
    assert not network.unsupported
    assert len(network.priced) == 2 * layers * ways
    inputs = network["weight_ih_l0"]
    assert inputs == Linear(c, gates * h, batch=steps * batch)  # all steps at once
    assert network["weight_hh_l0"] == Gemm(m=batch, n=gates * h, k=h, count=steps)  # one after the other


def test_an_lstm_with_a_projection():
    network = from_torch(nn.LSTM(8, 16, proj_size=5), (7, 2, 8))
    assert network.macs == 7 * 2 * (64 * 8 + 64 * 5 + 16 * 5)


def test_cells_run_as_often_as_they_are_called():
    cell = nn.LSTMCell(8, 16)

    def steps(x):
        state = None
        for step in x:
            state = cell(step, state)
        return state[0]

    network = from_torch(Of(steps, cell), (5, 2, 8))
    assert network.macs == 5 * 2 * 64 * (8 + 16)
    assert len(network.priced) == 10


# ---------------------------------------------------------------- convolutions

CONVOLUTIONS = {
    "plain": (nn.Conv2d(6, 16, 5), (2, 6, 14, 14)),
    "strided": (nn.Conv2d(3, 64, 7, stride=2, padding=3), (1, 3, 33, 31)),
    "oblong": (nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(0, 2), dilation=(1, 2)), (1, 4, 20, 30)),
    "same": (nn.Conv2d(4, 6, 4, padding="same"), (1, 4, 9, 9)),
    "dilated": (nn.Conv2d(4, 8, 3, dilation=3, padding=3), (1, 4, 16, 16)),
    "grouped": (nn.Conv2d(8, 12, 3, groups=4), (2, 8, 10, 10)),
    "depthwise": (nn.Conv2d(8, 8, 3, groups=8, padding=1), (1, 8, 10, 10)),
    "depthwise times 2": (nn.Conv2d(8, 16, 3, groups=8, padding=1), (1, 8, 10, 10)),
    "sequence": (nn.Conv1d(4, 8, 3, padding=1, stride=2), (2, 4, 21)),
    "volume": (nn.Conv3d(3, 8, 3, padding=1, stride=(1, 2, 2)), (2, 3, 5, 8, 8)),
    "grouped volume": (nn.Conv3d(4, 8, 3, groups=2), (1, 4, 5, 8, 8)),
    "transposed": (nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1), (2, 6, 7, 7)),
    "transposed in groups": (nn.ConvTranspose2d(6, 4, 4, stride=2, groups=2), (1, 6, 7, 7)),
    "transposed sequence": (nn.ConvTranspose1d(6, 4, 4, stride=2), (1, 6, 7)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_multiply_as_often_as_pytorch_counts(name):
    model, shape = CONVOLUTIONS[name]
    network = from_torch(nn.Sequential(model), shape)
    assert list(network.priced) == ["0"]
    assert network.macs == torch_macs(nn.Sequential(model), shape)


@pytest.mark.parametrize("name", [name for name, (model, _) in CONVOLUTIONS.items() if isinstance(model, nn.Conv2d)])
def test_maps_have_the_size_that_pytorch_makes(name):
    model, shape = CONVOLUTIONS[name]
    layer = from_torch(nn.Sequential(model), shape)["0"]
    assert isinstance(layer, Conv2d)
    out = model(torch.zeros(shape)) if not model.weight.is_meta else model(torch.empty(shape, device="meta"))
    assert layer.out_size == tuple(out.shape[2:])


def test_one_image_without_a_batch():
    assert from_torch(nn.Conv2d(3, 8, 3), (3, 10, 10)).macs == 8 * 27 * 64


# ---------------------------------------------------------------- products

PRODUCT_CASES = {
    "linear on tokens": (nn.Linear(8, 5), [(2, 7, 8)], 2 * 7 * 8 * 5),
    "linear without bias": (nn.Linear(8, 5, bias=False), [(3, 8)], 3 * 8 * 5),
    "linear on one vector": (nn.Linear(8, 5), [(8,)], 40),
    "matmul": (Of(torch.matmul), [(4, 5, 6), (4, 6, 7)], 4 * 5 * 6 * 7),
    "matmul broadcast": (Of(torch.matmul), [(3, 1, 5, 6), (4, 6, 7)], 3 * 4 * 5 * 6 * 7),
    "matrix and vector": (Of(torch.matmul), [(5, 6), (6,)], 30),
    "inner": (Of(torch.dot), [(6,), (6,)], 6),
    "addmm": (Of(torch.addmm), [(5, 7), (5, 6), (6, 7)], 5 * 6 * 7),
    "baddbmm": (Of(torch.baddbmm), [(2, 5, 7), (2, 5, 6), (2, 6, 7)], 2 * 5 * 6 * 7),
    "addbmm": (Of(torch.addbmm), [(5, 7), (2, 5, 6), (2, 6, 7)], 2 * 5 * 6 * 7),
    "addmv": (Of(torch.addmv), [(5,), (5, 6), (6,)], 30),
    "einsum": (Of(lambda a, b: torch.einsum("bhqd,bhkd->bhqk", a, b)), [(2, 3, 5, 8), (2, 3, 7, 8)], 2 * 3 * 5 * 7 * 8),
    "einsum of three": (
        Of(lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c)),
        [(2, 3), (3, 4), (4, 5)],
        2 * 3 * 4 + 2 * 4 * 5,
    ),
    "bilinear": (nn.Bilinear(4, 5, 6), [(3, 4), (3, 5)], 3 * 4 * (5 * 6) + 3 * 5 * 6),
    "attention": (Of(F.scaled_dot_product_attention), [(2, 4, 10, 16)] * 3, 2 * 2 * 4 * 10 * 10 * 16),
    "cross attention": (
        Of(F.scaled_dot_product_attention),
        [(1, 2, 10, 8), (1, 2, 7, 8), (1, 2, 7, 12)],
        2 * 10 * 7 * (8 + 12),
    ),
    "causal attention": (
        Of(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
        [(1, 2, 10, 8)] * 3,
        2 * 2 * 10 * 10 * 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCT_CASES)
def test_products(name):
    model, shapes, macs = PRODUCT_CASES[name]
    network = from_torch(model, shapes if len(shapes) > 1 else shapes[0])
    assert not network.unsupported
    assert network.macs == macs


ATTENTION = [name.removeprefix("aten::") for name in PRODUCTS if "_scaled_dot_product" in name]


@pytest.mark.parametrize("name", ATTENTION)
def test_every_form_of_attention_is_two_products(name):
    query, key, value = torch.empty(2, 4, 10, 16), torch.empty(2, 4, 7, 16), torch.empty(2, 4, 7, 12)
    scores, values = layers_of(name, {"query": query, "key": key, "value": value})
    assert scores == MatMul(10, 7, 16, batch=8)
    assert values == MatMul(10, 12, 7, batch=8)
    assert hasattr(torch.ops.aten, name)


@pytest.mark.parametrize(
    "table",
    [PRODUCTS, AXES, VIEWS, CONSTANTS, MOVE_ONLY, ELEMENTWISE],
    ids=["products", "axes", "views", "constants", "move only", "element-wise"],
)
def test_tables_name_operators_that_there_are(table):
    known = {name.partition("::")[2].partition(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    unknown = {
        name
        for name in (each.removeprefix("aten::") for each in table)
        if name not in known and f"{name}_" not in known
    }
    assert len(unknown) <= 0.1 * len(table), unknown  # some are gone in newer versions of PyTorch, or come with them


# ---------------------------------------------------------------- shared operands


def repeated_heads(x, times):
    batch, heads, tokens, width = x.shape
    return x[:, :, None].expand(batch, heads, times, tokens, width).reshape(batch, heads * times, tokens, width)


HEADS = [(2, 8, 3, 16), (2, 2, 5, 16), (2, 2, 5, 16)]
SHARED = {
    "enable_gqa": (Of(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)), HEADS, 4, 1),
    "repeated by hand": (Of(lambda q, k, v: q @ repeated_heads(k, 4).mT @ repeated_heads(v, 4)), HEADS, 4, 1),
    "interleaved": (Of(lambda q, k, v: q @ k.repeat_interleave(4, 1).mT @ v.repeat_interleave(4, 1)), HEADS, 4, 1),
    "one head for all": (Of(lambda q, k: q @ k.mT), [(2, 8, 3, 16), (2, 1, 5, 16)], 8, 1),
    "heads for all images": (Of(lambda q, k: q @ k.mT), [(2, 8, 3, 16), (8, 5, 16)], 2, 1),
    "weights over a batch": (Of(lambda x, w: torch.bmm(x, w.expand(8, 4, 6))), [(8, 5, 4), (4, 6)], 8, 1),
    "inputs over a batch": (Of(lambda x, w: torch.bmm(x.expand(8, 5, 4), w)), [(5, 4), (8, 4, 6)], 1, 8),
    "scaled copies": (Of(lambda q, k: q @ (repeated_heads(k, 4) * 0.5).mT), HEADS[:2], 4, 1),
    "written to": (Of(lambda q, k: q @ repeated_heads(k, 4).mul_(q[:, :, :1]).mT), HEADS[:2], 1, 1),
    "written to through a view": (Of(lambda q, k: written(q, repeated_heads(k, 4))), HEADS[:2], 1, 1),
    "repeat": (Of(lambda q, k, v: q @ k.repeat(1, 4, 1, 1).mT @ v.repeat(1, 4, 1, 1)), HEADS, 4, 1),
    "tile": (Of(lambda q, k: q @ k.tile(4, 1, 1).mT), HEADS[:2], 4, 1),
    "cat": (Of(lambda q, k: q @ torch.cat([k] * 4, 1).mT), HEADS[:2], 4, 1),
    "stack": (Of(lambda q, k: q @ torch.stack([k] * 4, 2).flatten(1, 2).mT), HEADS[:2], 4, 1),
    "einsum": (Of(lambda q, k: torch.einsum("bhqd,bhkd->bhqk", q, repeated_heads(k, 4))), HEADS[:2], 4, 1),
    "einsum of a repeat": (Of(lambda q, k: torch.einsum("bhqd,bhkd->bhqk", q, k.repeat(1, 4, 1, 1))), HEADS[:2], 4, 1),
    "attention of a repeat": (
        Of(lambda q, *kv: F.scaled_dot_product_attention(q, *(x.repeat(1, 4, 1, 1) for x in kv))),
        HEADS,
        4,
        1,
    ),
    "repeated weights": (Of(lambda x, w: torch.bmm(x, w.repeat(8, 1, 1))), [(8, 5, 4), (4, 6)], 8, 1),
    "repeated tokens": (Of(lambda q, k: q @ k.repeat(1, 1, 4, 1).mT), [HEADS[0], (2, 8, 5, 16)], 1, 1),
    "each its own": (Of(lambda q, k: q @ torch.cat([k, -k] * 2, 1).mT), HEADS[:2], 1, 1),
}


def written(q, k):
    k[:, 1].add_(q[:, 0, :1])
    return q @ k.mT


@pytest.mark.parametrize("case", SHARED)
def test_operands_that_products_share(case):
    model, shapes, weights, inputs = SHARED[case]
    network = from_torch(model, shapes)
    layers = [each.layer for each in network.priced.values()]
    assert {(each.weights_shared_by, each.inputs_shared_by) for each in layers} == {(weights, inputs)}
    assert ("_shared_by" in repr(dict(network))) == ((weights, inputs) != (1, 1))
    assert network.macs == sum(layer.batch * layer.m * layer.n * layer.k for layer in layers)
    if case not in ("enable_gqa", "attention of a repeat"):  # the counter takes that apart otherwise
        assert network.macs == torch_macs(model, *shapes)


def test_expanded_weights_belong_to_all_products():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 6))

        def forward(self, x):
            return torch.bmm(x, self.weight.expand(8, 4, 6))

    (gemm,) = from_torch(Net(), (8, 5, 4))["weight"].gemms()
    assert gemm.elements("weights") == 24


def test_one_new_token_reads_each_head_of_keys_once():
    attention = Of(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True))
    network = from_torch(attention, [(1, 32, 1, 128), (1, 8, 4096, 128), (1, 8, 4096, 128)])
    array = SystolicArray(128, 128, clock_hz=1e9, dram_bytes_per_s=800e9, bytes_per_element=1, fold_timing="ideal")
    assert round(network_cost(network, array).total.cycles) == 10_824
    keys_and_values = sum(gemm.elements("weights") for each in network.priced.values() for gemm in each.layer.gemms())
    assert keys_and_values == 2 * 8 * 4096 * 128
    moved = sum(each.layer.reads + each.layer.writes for each in network.memory_only.values())
    assert moved < 2 * 8 * 4096 * 128 + 300_000  # the scaled keys, and what is as small as queries and scores


# ---------------------------------------------------------------- bins and names


def test_memory_only_operations_are_counted():
    network = from_torch(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8)), (2, 4))
    assert network["1"] == MemoryOnly("relu", reads=16, writes=16)
    assert set(network.memory_only) == {"1", "2"} or "2" in network.memory_only
    assert network.operations["1"].path == "1"


@pytest.mark.parametrize(
    ("rows", "field", "value"),
    [
        ({"operators": {"op": rules.same}}, "a key of operators", "op"),
        ({"operators": {"mylib::": rules.same}}, "a key of operators", "mylib::"),
        ({"operators": {"mylib::op": 3}}, "operators['mylib::op']", 3),
        ({"modules": {"Linear": rules.same}}, "a key of modules", "Linear"),
        ({"modules": {nn.Linear: None}}, "modules[Linear]", None),
    ],
)
def test_bad_rows_are_refused(rows, field, value):
    with pytest.raises(InvalidValueError) as raised:
        from_torch(nn.Linear(4, 2), (1, 4), **rows)
    assert (raised.value.field, raised.value.value) == (field, value)


def test_a_row_of_the_caller_goes_before_ours():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def relu(call):
        rules.elementwise(call)
        return [rules.LoweredLayer(MatMul(1, 1, 8), "relu by table")]

    network = from_torch(model, (1, 4), operators={"aten::relu": relu})
    assert list(network.priced) == ["0", "1:relu by table", "2"]
    assert network.at({"0": 6})["2"].in_features == 6


def test_a_module_with_a_row_is_not_looked_into():
    class Block(nn.Sequential):
        pass

    def block(call):
        rules.same(call)
        return [rules.LoweredLayer(Linear(8, 8), "block", {}, call.module[0].weight)]

    model = nn.Sequential(nn.Linear(4, 8), Block(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 2))
    network = from_torch(model, (1, 4), modules={Block: block})
    assert list(network) == ["0", "1.0", "2"]
    assert network["1.0"] == Linear(8, 8)
    assert network.operations["1.0"].path == "1.0"
    assert network.at({"0": 6})["2"].in_features == 6
    free = from_torch(model, (1, 4), modules={Block: rules.free})
    assert list(free.memory_only) == ["1:Block"]
    with pytest.raises(InvalidValueError, match="'0'"):
        free.at({"0": 6})


def test_views_and_constants_move_nothing():
    network = from_torch(Of(lambda x: x.view(4, 2).t() @ torch.ones(4, 3)), (8,))
    assert list(network) == ["mm"]


def test_unknown_operators_are_named():
    network = from_torch(Of(lambda x: torch.fft.fft(x @ x).real), (4, 4))
    (name,) = network.unsupported
    assert "fft" in name
    assert isinstance(network[name], Unsupported)
    with pytest.raises(InvalidValueError, match="fft"):
        network_cost(network, SystolicArray(8, 8))
    report = network_cost(network, SystolicArray(8, 8), skip_unsupported=True)
    assert report.unsupported == (name,)
    assert report.total.macs == 64


def test_operators_of_others_are_named():
    @torch.library.custom_op("hwcost_tests::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    twice.register_fake(torch.empty_like)
    network = from_torch(Of(lambda x: twice(x @ x)), (4, 4))
    (operation,) = network.unsupported.values()
    assert operation.layer == Unsupported("hwcost_tests::twice", "not one of PyTorch's operators")


def test_shared_modules_count_as_often_as_they_run():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, shared)
    network = from_torch(model, (1, 4))
    assert list(network.priced) == ["0", "0 (2)", "0 (3)"]
    assert network.macs == 48


def test_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Embedding(10, 6), nn.Linear(6, 10, bias=False)
            self.b.weight = self.a.weight

        def forward(self, ids):
            return self.b(self.a(ids))

    network = from_torch(Tied(), InputSpec((2, 3), "int64"))
    assert network.macs == 6 * 60
    assert network.parameters["a.weight"] == network.parameters["b.weight"]


def test_products_without_a_parameter_are_named_after_their_module():
    network = from_torch(nn.Sequential(Of(lambda x: x @ x.mT), Of(lambda x: x @ x @ x)), (1, 5, 5))
    assert list(network.priced) == ["0:bmm", "1:bmm", "1:bmm (2)"]


def test_parameters_not_called_weight_are_part_of_the_name():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(torch.ones(4, 3))

        def forward(self, x):
            return x @ self.kernel

    assert list(from_torch(Own(), (2, 4)).priced) == ["kernel"]
    assert list(from_torch(nn.Sequential(Own()), (2, 4)).priced) == ["0:kernel"]


def test_the_module_is_left_as_it_was():
    model = lenet().train()
    model.register_buffer("steps", torch.zeros(()))
    before = {name: (id(tensor), tensor.clone()) for name, tensor in model.state_dict(keep_vars=True).items()}
    from_torch(model, (1, 1, 28, 28))
    assert model.training
    after = model.state_dict(keep_vars=True)
    assert {name: id(tensor) for name, tensor in after.items()} == {name: own for name, (own, _) in before.items()}
    assert all(torch.equal(after[name], tensor) for name, (_, tensor) in before.items())
    assert not torch.nn.modules.module._global_forward_pre_hooks
    with pytest.raises(InvalidValueError):
        from_torch(model, (1, 2, 28, 28))
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks


def test_a_batch_norm_keeps_its_statistics():
    norm = nn.BatchNorm2d(3)
    from_torch(nn.Sequential(norm, nn.Conv2d(3, 4, 1)), (2, 3, 4, 4))
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.zeros(3))


def test_no_memory_for_weights_is_needed():
    with torch.device("meta"):
        model = nn.Linear(2**20, 2**20)  # 4 TiB of weights
    assert from_torch(model, (1, 2**20)).macs == 2**40


def test_constants_of_the_model_are_no_obstacle():
    table = torch.arange(4.0)
    network = from_torch(Of(lambda x: (x + table) @ torch.eye(4)), (3, 4))
    assert network.macs == 48


def test_inputs_of_every_form():
    model = Of(lambda a, b: a @ b)
    forms = [
        {"input_size": [(2, 3), (3, 4)]},
        {"input_size": [InputSpec((2, 3)), InputSpec((3, 4))]},
        {"example_inputs": (torch.ones(2, 3), torch.ones(3, 4))},
        {"example_inputs": [torch.ones(2, 3), torch.ones(3, 4)]},
    ]
    assert {from_torch(model, **form).macs for form in forms} == {24}
    named = from_torch(nn.Linear(3, 4), example_inputs={"input": torch.ones(2, 3)})
    assert named.macs == from_torch(nn.Linear(3, 4), InputSpec((2, 3), name="input")).macs == 24
    assert from_torch(nn.Linear(3, 4), example_inputs=torch.ones(3)).macs == 12


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_types_of_numbers_change_nothing(dtype):
    model = lenet().to(getattr(torch, dtype))
    assert from_torch(model, InputSpec((1, 1, 28, 28), dtype)).macs == 416_520
