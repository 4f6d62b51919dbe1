"""Whole attention heads: which are found, and that a module cut to some of them computes what the masked one does."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from hwcost import InvalidValueError, SystolicArray, advise, from_torch, network_cost  # noqa: E402
from hwcost.importers.torch.resize import changed_numbers, resized  # noqa: E402
from hwcost.pruning.importance import scores_of  # noqa: E402
from hwcost.pruning.slicing import Sliced  # noqa: E402
from hwcost.torch import prune, pruned, schedule  # noqa: E402


def attended(q, k, v, *, by_hand=False):
    """The values that queries of (batch, heads, tokens, features) attend to."""
    if by_hand:
        return ((q @ k.mT) * q.shape[-1] ** -0.5).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class Own(nn.Module):
    """Attention of several heads, whose code is that of a subclass; its size is not that of its input."""

    def __init__(self, dim=10, heads=6, size=4):
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = heads, size, heads * size
        self.qkv, self.proj = nn.Linear(dim, 3 * heads * size), nn.Linear(heads * size, dim)


class Fused(Own):
    """Queries, keys and values are one product, as in timm."""

    def forward(self, x):
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        return self.proj(attended(*qkv.unbind(0)).transpose(1, 2).reshape(batch, tokens, self.attn_dim))


class Chunks(Own):
    """Three equal chunks; the number of heads is computed (-1), as in transformers."""

    def forward(self, x):
        shape = (*x.shape[:-1], -1, self.head_dim)
        qkv = [each.view(shape).transpose(1, 2) for each in self.qkv(x).chunk(3, -1)]
        return self.proj(attended(*qkv, by_hand=True).transpose(1, 2).reshape(*x.shape[:-1], -1))


class Split(Own):
    """A split into parts of a size that the module holds, as in GPT-2."""

    def forward(self, x):
        shape = (*x.shape[:-1], self.num_heads, self.head_dim)
        qkv = [each.view(shape).transpose(1, 2) for each in self.qkv(x).split(self.attn_dim, dim=2)]
        return self.proj(attended(*qkv).transpose(1, 2).flatten(2))


class Apart(nn.Module):
    """Three products, and a bias of each head on its scores, as in T5; keys are normed, each head alone."""

    def __init__(self, heads=6, size=4):
        super().__init__()
        self.n_heads, self.d_kv = heads, size
        self.q, self.k, self.v, self.o = (nn.Linear(*sides) for sides in ((10, 24), (10, 24), (10, 24), (24, 10)))
        self.norm, self.bias = nn.LayerNorm(size), nn.Embedding(9, heads)

    def forward(self, x):
        batch, tokens, _ = x.shape
        shape = batch, -1, self.n_heads, self.d_kv
        q, k, v = (each(x).view(shape).transpose(1, 2) for each in (self.q, self.k, self.v))
        bias = self.bias(torch.arange(tokens)[:, None] + torch.arange(tokens)).permute(2, 0, 1)[None]
        scores = q @ self.norm(k).mT + bias
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, -1))


class Grouped(nn.Module):
    """Queries of six heads share the keys and values of two, as in Llama."""

    def __init__(self, size=4):
        super().__init__()
        self.head_dim = size
        self.q, self.k, self.v = nn.Linear(10, 24), nn.Linear(10, 8), nn.Linear(10, 8)
        self.o = nn.Linear(24, 10)

    def forward(self, x):
        shape = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = (each(x).view(shape).transpose(1, 2) for each in (self.q, self.k, self.v))
        k, v = (self.repeated(each) for each in (k, v))
        return self.o(attended(q, k, v).transpose(1, 2).reshape(*x.shape[:-1], -1).contiguous())

    def repeated(self, x):
        batch, heads, tokens, size = x.shape
        return x[:, :, None].expand(batch, heads, 3, tokens, size).reshape(batch, heads * 3, tokens, size)


class Block(nn.Module):
    """Attention and a hidden layer with shortcuts, which keep the width of the input."""

    def __init__(self, attention):
        super().__init__()
        self.attn, self.up, self.down = attention, nn.Linear(10, 32), nn.Linear(32, 10)

    def forward(self, x):
        x = x + self.attn(x)
        return x + self.down(self.up(x).relu())


KINDS = {"fused": Fused, "chunks": Chunks, "split": Split, "apart": Apart, "grouped": Grouped}


def made(kind, batch=1):
    torch.manual_seed(0)
    model = Block(KINDS[kind]()).eval()
    return model, from_torch(model, example_inputs=torch.zeros(batch, 5, 10)), torch.randn(3, 5, 10)


def heads_of(network):
    (name,) = (name for name, width in network.widths.items() if name.startswith("attn.heads") and not width.fixed)
    return name


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_cut_heads_compute_what_masked_ones_do(kind, batch):
    model, network, x = made(kind, batch)
    name = heads_of(network)
    assert network.widths[name].size == (2 if kind == "grouped" else 6)
    keep = {name: [0] if kind == "grouped" else [0, 2, 3, 5]}
    small, masked = resized(model, network, keep=keep), network.masked(model, keep)
    torch.testing.assert_close(small(x), masked(x), rtol=1e-5, atol=1e-6)
    assert (small(x) - model(x)).abs().max() > 1e-3
    again, wanted = from_torch(small, example_inputs=torch.zeros(batch, 5, 10)), network.at({name: len(keep[name])})
    assert [again[each].gemms() for each in network.priced] == [wanted[each].gemms() for each in network.priced]


def test_numbers_that_modules_hold_follow_the_heads():
    model, network, _ = made("fused")
    found = changed_numbers(model, resized(model, network, {"attn.heads": 4}), network.numbers)
    assert found == {
        "attn": {"num_heads": (6, 4), "attn_dim": (24, 16)},
        "attn.qkv": {"out_features": (72, 48)},
        "attn.proj": {"in_features": (24, 16)},
    }
    model, network, _ = made("chunks")
    assert not network.numbers
    assert "attn" not in changed_numbers(model, resized(model, network, {heads_of(network): 4}))


class Computed(Own):
    """The size of a head is computed from the input, which a smaller module still has."""

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, width // self.num_heads).permute(2, 0, 3, 1, 4)
        return self.proj(attended(*qkv.unbind(0)).transpose(1, 2).reshape(batch, tokens, width))


class Written(Own):
    """The number of heads is written into the code."""

    def forward(self, x):
        qkv = [each.view(*x.shape[:-1], 6, self.head_dim).transpose(1, 2) for each in self.qkv(x).chunk(3, -1)]
        return self.proj(attended(*qkv).transpose(1, 2).flatten(2))


class Torch(nn.Module):
    """PyTorch's own module."""

    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(10, 2, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize(
    ("attention", "reason"),
    [
        (lambda: Computed(dim=24), "attention heads, whose sizes the code computes"),
        (Written, "attention heads, whose sizes the code computes"),
        (Torch, "attention heads of nn.MultiheadAttention, as wide as its input"),
    ],
)
def test_heads_that_cannot_change_say_why(attention, reason):
    model = nn.Sequential(attention())
    width = 24 if isinstance(model[0], Computed) else 10
    network = from_torch(model, (1, 5, width))
    first = next(iter(network.priced.values()))
    assert {network.widths[each].fixed for each, _ in first.sizes["out_features"]} == {reason}


def test_heads_are_advised_and_pruned_within_the_exact_limit(tmp_path):
    model, network, x = made("fused")
    array = SystolicArray(4, 4)
    name = heads_of(network)
    assert advise(network, array)[name].cheaper.size == 5
    today = network_cost(network, array).total.cycles
    limit = network_cost(network.at({name: 3}), array).total.cycles / today
    labels = torch.randint(10, (3, 5))

    def loss(outputs, targets):
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    batches = [(x, labels)]
    result = prune(model, x[:1], array, target=limit, data=batches, loss=loss, held_out=batches, keep=["up"])
    assert result.sizes == {name: 3}
    assert result.report.after.cycles == limit * today
    assert result.model.attn.num_heads == 3
    assert result.changed_numbers["attn"] == {"num_heads": (6, 3), "attn_dim": (24, 12)}
    assert f"{name}  " in str(result.report)
    result.save(tmp_path / "run")
    again = pruned(tmp_path / "run", Block(Fused()))
    assert again.attn.num_heads == 3
    assert torch.equal(again(x), result.model(x))
    assert torch.equal(result.undo()(x), model(x))
    cut = result.cut(model.state_dict())
    assert all(torch.equal(cut[key], value) for key, value in result.model.state_dict().items())


class Joined(Own):
    """Heads are joined to the width of the input, which is theirs by chance."""

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = [each.view(batch, tokens, -1, self.head_dim).transpose(1, 2) for each in self.qkv(x).chunk(3, -1)]
        return self.proj(attended(*qkv).transpose(1, 2).reshape(batch, tokens, width))


class Divided(Own):
    """The code divides by the number of heads, too."""

    def forward(self, x):
        shape = (*x.shape[:-1], self.num_heads, self.head_dim)
        q, k, v = (each.view(shape).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        return self.proj(attended(q / (24 // self.num_heads), k, v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("kind", [Computed, Written, Joined, Divided])
def test_heads_with_sizes_in_the_code_are_left_alone(kind):
    model = nn.Sequential(kind(dim=24), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    with pytest.warns(UserWarning, match="no data"):
        result = prune(model, torch.randn(1, 5, 24), SystolicArray(4, 4), target=0.9, least=0.1)
    reasons = {name: why for name, why in result.report.left_alone.items() if "heads" in name or "qkv" in name}
    computed = "attention heads, whose sizes the code computes"
    assert set(reasons.values()) == {"a number that the code computes with" if kind is Divided else computed}
    assert result.sizes.keys() <= {"0.proj", "1"}


def test_a_part_of_a_module_without_a_copy_has_its_own_number_of_heads():
    model, network, x = made("fused")
    keep = {"attn.heads": [0, 2, 3]}
    assert torch.equal(Sliced(model, network, keep=keep)(x), resized(model, network, keep=keep)(x))
    assert model.attn.num_heads == 6


def test_numbers_of_modules_are_plain_again():
    model, _, _ = made("fused")
    assert {type(each) for each in vars(model.attn).values() if isinstance(each, int)} <= {int, bool}


def test_heads_go_one_after_the_other():
    model, _, x = made("fused")

    def scores(model, network):
        return {"attn.heads": torch.arange(network.widths["attn.heads"].size) + 1.0}

    first, second = schedule(model, x[:1], SystolicArray(4, 4), targets=(0.9, 0.75), importance=scores)
    assert first.sizes["attn.heads"] > second.sizes["attn.heads"]
    assert list(second.kept["attn.heads"]) == list(range(6 - second.sizes["attn.heads"], 6))
    assert second.model.attn.num_heads == second.sizes["attn.heads"]


def test_a_head_is_scored_by_all_that_makes_it():
    model, network, _ = made("fused")
    with torch.no_grad():
        model.attn.qkv.weight.view(3, 6, 4, 10)[:, 2] = 0
        model.attn.qkv.bias.view(3, 6, 4)[:, 2] = 0
        model.attn.proj.weight.view(10, 6, 4)[:, 2] = 0
    scores = scores_of("magnitude", model, network, ["attn.heads"])["attn.heads"]
    assert scores[2] == 0
    assert (scores[[0, 1, 3, 4, 5]] > 0).all()


def test_a_size_that_is_no_number_of_heads_is_refused():
    model, network, _ = made("grouped")
    with pytest.raises(InvalidValueError, match="today's 2"):
        resized(model, network, {heads_of(network): 3})
