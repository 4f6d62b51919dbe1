"""Products of two activations: the scores and the values of attention by name, and bytes that are no weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch_modules import Of  # noqa: E402

from hwcost import Linear, MatMul, SystolicArray, advise, from_torch, network_cost  # noqa: E402
from hwcost.importers.lowered import Step, times_over  # noqa: E402
from hwcost.network.axes import AxisTracker  # noqa: E402
from hwcost.network.peak import peak_of  # noqa: E402
from hwcost.network.run import stored_elements  # noqa: E402
from hwcost.reports import summarise  # noqa: E402
from hwcost.reports.html import html_report  # noqa: E402

TOKENS = (1, 6, 16)


def heads(x):
    return x.reshape(1, 6, 2, 8).transpose(1, 2)


def by_bmm(q, k, v):
    scores = torch.bmm(q, k.transpose(1, 2)) / 4
    return torch.bmm(F.dropout(F.softmax(scores.float(), -1).type_as(scores), 0.1), v)


def by_baddbmm(q, k, v):
    return torch.bmm(torch.baddbmm(torch.zeros(1, 6, 6), q, k.mT, beta=0).softmax(-1), v)


def masked(q, k, v):
    scores = (q @ k.mT * 0.25).masked_fill(~torch.ones(6, 6, dtype=torch.bool).tril(), float("-inf"))
    return scores.softmax(-1) @ v


def capped(q, k, v):
    return (30 * torch.tanh(q @ k.mT / 30) + torch.zeros(6, 6)).softmax(-1).to(q.dtype) @ v


def swapped(q, k, v):
    return (v.mT @ (k @ q.mT).softmax(-2)).mT


def by_einsum(q, k, v):
    return torch.einsum("bts,bsd->btd", torch.einsum("btd,bsd->bts", q, k).softmax(-1), v)


ATTENTION = {
    "bmm": by_bmm,
    "baddbmm": by_baddbmm,
    "masked": masked,
    "capped": capped,
    "swapped": swapped,
    "einsum": by_einsum,
    "a module": lambda q, k, v: nn.Softmax(-1)(q @ k.mT) @ v,
    "heads": lambda q, k, v: (heads(q) @ heads(k).mT).softmax(-1) @ heads(v),
    "fused": F.scaled_dot_product_attention,
    "fused, causal": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "fused, masked": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, torch.ones(6, 6, dtype=torch.bool)),
}


class Attention(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.attend = attend
        self.q, self.k, self.v, self.proj = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x):
        return self.proj(self.attend(self.q(x), self.k(x), self.v(x)).reshape(TOKENS))


class Block(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.attn, self.fc = Attention(attend), nn.Linear(16, 16)

    def forward(self, x):
        return x + self.fc(x + self.attn(x))


@pytest.mark.parametrize("name", ATTENTION)
def test_every_block_has_its_scores_and_its_values(name):
    network = from_torch(nn.Sequential(*(Block(ATTENTION[name]) for _ in range(2))), TOKENS)
    for block in range(2):
        layers = ("q", "k", "v")
        expected = [*(f"{block}.attn.{each}" for each in layers), f"{block}.attn:scores", f"{block}.attn:values"]
        assert [each for each in network.priced if each.startswith(f"{block}.attn")] == [
            *expected, f"{block}.attn.proj",
        ]  # fmt: skip
    assert {network.operations[f"{block}.attn:scores"].path for block in range(2)} == {"0.attn", "1.attn"}


def test_a_transformer_of_pytorch():
    layer = nn.TransformerDecoderLayer(16, 2, 32, batch_first=True)
    network = from_torch(layer, [TOKENS, (1, 5, 16)])
    products = [name for name in network.priced if ":scores" in name or ":values" in name]
    assert products == [f"{each}_attn:{part}" for each in ("self", "multihead") for part in ("scores", "values")]


def test_scores_by_content_and_by_position_have_numbers():
    def attend(q, k, v):
        return (q @ k.mT + q @ v.mT).softmax(-1) @ v

    names = list(from_torch(Attention(attend), TOKENS).priced)
    assert names == ["q", "k", "v", "scores", "scores (2)", "values", "proj"]


def test_a_module_that_is_called_so_keeps_its_name():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = nn.Linear(16, 16)

        def forward(self, x):
            return self.scores((x @ x.mT).softmax(-1) @ x)

    assert list(from_torch(Net(), TOKENS).priced) == ["scores (2)", "values", "scores"]


NO_ATTENTION = {
    "no softmax": (lambda x: (x @ x.mT) @ x, ["bmm", "bmm (2)"]),
    "scores alone": (lambda x: (x @ x.mT).softmax(-1), ["bmm"]),
    "of one operand": (lambda x: x.softmax(-1) @ (x.softmax(-2).mT @ x), ["bmm", "bmm (2)"]),
    "a sigmoid": (lambda x: (x @ x.mT).sigmoid() @ x, ["bmm", "bmm (2)"]),
    "behind attention": (lambda x: (x @ x.mT).softmax(-1) @ x @ x.mT, ["scores", "values", "bmm"]),
    "both": (
        lambda x: ((x @ x.mT).softmax(-1) @ (x @ x.mT)).softmax(-1) @ x,
        ["scores", "bmm", "bmm (2)", "values"],
    ),
}


@pytest.mark.parametrize("name", NO_ATTENTION)
def test_what_cannot_be_told_has_the_name_of_its_operator(name):
    function, names = NO_ATTENTION[name]
    assert list(from_torch(Of(function), TOKENS).priced) == names


def test_widths_bind():
    network = from_torch(Attention(masked), TOKENS)
    smaller = network.at({"v": 8})
    assert (smaller["values"].n, smaller["proj"].in_features) == (8, 8)
    assert network.space({"v": [4, 8]}).options["v"]
    array = SystolicArray(4, 4)
    assert {"q", "k", "v"} & {each.name for each in advise(network, array).widths}
    assert advise(network, array).layers.keys() == network.priced.keys()


# ---------------------------------------------------------------- graphs


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("/blocks.0/attn/MatMul", "/blocks.0/attn/MatMul_1"), ("blocks.0.attn:scores", "blocks.0.attn:values")),
        (("MatMul_7", "node_matmul_9"), ("MatMul_7:scores", "node_matmul_9:values")),
        (("qk", "qkv"), ("qk", "qkv")),
    ],
)
def test_products_of_a_graph(given, found):
    graphs = pytest.importorskip("graphs")
    node = graphs.node
    nodes = [
        node("MatMul", ["q", "k"], ["s"], name=given[0]),
        node("Mul", ["s", "scale"], ["m"]),
        node("Softmax", ["m"], ["p"]),
        node("Cast", ["p"], ["c"], to=1),
        node("MatMul", ["c", "v"], ["y"], name=given[1]),
    ]
    inputs = {"q": [(2, 5, 8)], "k": [(2, 8, 6)], "v": [(2, 6, 7)]}
    network = graphs.network_of(graphs.build(nodes, inputs, [graphs.tensor("scale", (1,))]))
    assert tuple(network.priced) == found


def test_products_of_a_tflite_file():
    lite = pytest.importorskip("lite")
    net = lite.Net()
    q, k, v = net.input("q", (2, 5, 8)), net.input("k", (2, 8, 6)), net.input("v", (2, 6, 7))
    scores = net.op("BATCH_MATMUL", [q, k], {"net/attn/MatMul": (2, 5, 6)})
    weights = net.op("SOFTMAX", [scores], {"net/attn/Softmax": (2, 5, 6)})
    net.op("BATCH_MATMUL", [weights, v], {"net/attn/MatMul_1": (2, 5, 7)})
    assert list(lite.network_of(net).priced) == ["net.attn:scores", "net.attn:values"]


# ---------------------------------------------------------------- bytes


ARRAYS = {
    "plain": SystolicArray(8, 8),
    "bandwidth": SystolicArray(8, 16, dram_bytes_per_s=1e9, bytes_per_element=2.0),
    "roomy": SystolicArray(16, 16, buffer_bytes=1e9),
    "small": SystolicArray(16, 16, buffer_bytes=2048.0),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_keys_and_values_are_no_weights(array):
    """What is called weights in bytes and in memory is that of parameters; the second operands are told apart."""
    network = from_torch(nn.Sequential(*(Block(masked) for _ in range(2))), TOKENS)
    report = network_cost(network, array)
    size = array.bytes_per_element
    for name, layer in network.priced.items():
        cost, is_product = report.layers[name], isinstance(layer.layer, MatMul)
        assert cost.dram_activation_weight_bytes == (cost.dram_weight_bytes if is_product else 0)
        assert cost.sram_activation_weight_bytes == (cost.sram_weight_bytes if is_product else 0)
        assert cost.dram_parts["weights"] == (0 if is_product else cost.dram_weight_bytes)
        assert sum(cost.dram_parts.values()) == cost.dram_bytes
    parameters = sum(each.numel() for each in nn.Sequential(*(Block(masked) for _ in range(2))).parameters())
    biases = 2 * 5 * 16
    peak = peak_of(network, array)
    assert peak.weights == size * (parameters - biases)
    if array is not ARRAYS["small"]:  # else they are read again
        assert report.total.dram_parts["weights"] == peak.weights
        assert report.total.dram_activation_weight_bytes == 2 * 2 * size * 6 * 16
    stacked = network_cost({name: each.layer for name, each in network.priced.items()}, array)
    assert stacked.total.dram_activation_weight_bytes == report.total.dram_activation_weight_bytes


def test_stacked_products_count_them_too():
    """Sizes that are arrays are priced in one call, and not one by one."""
    np = pytest.importorskip("numpy")
    array = SystolicArray(8, 8)
    sizes = np.array([4, 8, 12])
    layers = {"scores": MatMul(6, sizes, 8, 2), "fc": Linear(16, sizes)}
    total = network_cost(layers, array).total
    assert total.dram_activation_weight_bytes.tolist() == (2 * 8 * sizes).tolist()
    assert total.dram_parts["weights"].tolist() == (16 * sizes).tolist()
    one = [network_cost({"scores": MatMul(6, int(n), 8, 2), "fc": Linear(16, int(n))}, array).total for n in sizes]
    assert [each.dram_activation_weight_bytes for each in one] == total.dram_activation_weight_bytes.tolist()
    assert total.cycles.tolist() == [each.cycles for each in one]


@pytest.mark.parametrize("times", [1, 3])
def test_attention_in_a_loop_has_no_weights(times):
    (gemm,) = MatMul(6, 5, 8, 2).gemms()
    step = Step("a", "bmm", "", MatMul(6, 5, 8, 2))
    (many,) = times_over(step, times, AxisTracker(), "a loop")
    assert stored_elements(many.layer, SystolicArray(8, 8)) == 0
    assert many.layer.macs == times * gemm.macs


def test_stacked_weights_are_weights():
    """Matrices of experts, say: a product of which the second operands are parameters."""

    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 8, 6))

        def forward(self, x):
            return torch.bmm(x, self.weight)

    network = from_torch(Experts(), (4, 5, 8))
    layer, array = network["weight"], SystolicArray(8, 8)
    cost = network_cost(network, array).total
    assert stored_elements(layer, array) == cost.dram_parts["weights"] == 4 * 8 * 6
    assert cost.dram_activation_weight_bytes == 0
    assert cost.cycles == network_cost({"a": MatMul(5, 6, 8, 4)}, array).total.cycles


def test_text_page_and_json_call_them_alike():
    network = from_torch(Attention(masked), TOKENS)
    summary = summarise(network, SystolicArray(8, 8))
    whole = summary.cost.dram_activation_weight_bytes
    assert summary.as_dict()["total"]["activation_weight_bytes"] == whole
    texts = f"weights {summary.cost.dram_parts['weights'] / 1000:.4g} kB", f"activations as weights {whole:.4g} B"
    assert all(text in str(summary) for text in texts)
    page = html_report(summary, network)
    assert all(text in page for text in texts)
    assert "DRAM: activations as weights" in page
    plain = summarise({"fc": Linear(8, 8)}, SystolicArray(8, 8))
    assert "activations as weights" not in str(plain) + html_report(plain)
