"""Operators of torch that run functions: branches, loops, scans, and attention with a function of the scores."""

import pytest
import torch
from torch import nn
from torch._higher_order_ops.map import map as torch_map
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from hwcost import Gemm, Linear, MatMul, SystolicArray, from_torch, network_cost
from hwcost.errors import InvalidValueError


class Net(nn.Module):
    """Layers, and a forward that is given."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.lstm = nn.LSTM(8, 8)
        self.function = forward
        self.eval()

    def forward(self, *x):
        return self.function(self, *x)


def branch(condition):
    return lambda self, x: torch.cond(condition(x), lambda x: self.c(self.b(x)), self.a, (x,))


def test_a_known_branch_is_followed():
    for is_true, names in ((True, ["b", "c"]), (False, ["a"])):
        for condition in (lambda x, on=is_true: on, lambda x, on=is_true: torch.tensor(5) > (0 if on else 9)):
            network = from_torch(Net(branch(condition)), (4, 8))
            assert list(network.priced) == names
            assert not network.notes


def test_of_two_branches_the_larger_one_is_priced_and_both_are_named():
    model = Net(branch(lambda x: x.sum() > 0))
    network = from_torch(model, (4, 8))
    assert list(network.priced) == ["b", "c"]
    (note,) = network.notes
    assert "true branch of 1024 MACs" in note
    assert "false branch of 256 MACs" in note
    assert model(torch.zeros(4, 8)).shape == (4, 8)
    other = Net(lambda self, x: torch.cond(x.sum() > 0, self.a, lambda x: self.c(self.b(x)), (x,)))
    assert from_torch(other, (4, 8)).macs == network.macs


def test_what_the_smaller_branch_cannot_price_is_named():
    network = from_torch(Net(lambda self, x: torch.cond(x.sum() > 0, self.a, torch.matrix_exp, (x,))), (8, 8))
    assert network.macs == 512
    assert len(network.unsupported) == 1


def test_branches_in_branches_and_recurrent_nets_in_them():
    def forward(self, x):
        inner = lambda x: torch.cond(x.mean() > 0, self.a, lambda y: self.lstm(y)[0], (x,))  # noqa: E731
        return self.a(torch.cond(x.sum() > 0, inner, lambda x: x.clone(), (x,)))

    network = from_torch(Net(forward), (5, 4, 8))
    assert list(network.priced) == ["lstm:weight_hh_l0", "lstm:weight_ih_l0", "a"]
    assert network["lstm:weight_ih_l0"] == Linear(8, 32, batch=20)
    assert network["lstm:weight_hh_l0"] == Gemm(m=4, n=32, k=8, count=5)
    assert len(network.notes) == 2


def test_widths_go_through_a_branch():
    def forward(self, x):
        return self.c(torch.cond(x.sum() > 0, lambda y: y.relu(), lambda y: y.tanh(), (self.b(x),)))

    network = from_torch(Net(forward), (4, 8))
    assert network.at({"b": 10})["c"] == Linear(10, 8, batch=4)


def test_a_loop_of_known_length_runs_as_often():
    def forward(self, x):
        return while_loop(lambda i, x: i < 5, lambda i, x: (i + 1, self.a(x)), (torch.zeros((), dtype=torch.int64), x))

    network = from_torch(Net(forward), (4, 8))
    assert list(network.values()).count(Linear(8, 8, batch=4)) == 5
    assert not network.unsupported


def test_a_loop_that_values_decide_on_is_named_and_the_rest_goes_on():
    def forward(self, x):
        (x,) = while_loop(lambda x: x.sum() < 5, lambda x: (self.a(x),), (x,))
        return self.b(x)

    network = from_torch(Net(forward), (4, 8))
    assert list(network.priced) == ["b"]
    (loop,) = network.unsupported.values()
    assert "as often as values decide, with 256 MACs each time" in loop.layer.reason
    with pytest.raises(InvalidValueError, match="while_loop"):
        network_cost(network, SystolicArray(4, 4))


@pytest.mark.parametrize(("dim", "reverse", "shape"), [(0, False, (7, 4, 8)), (1, True, (4, 7, 8))])
def test_a_scan_runs_its_body_for_each_row(dim, reverse, shape):
    def forward(self, x):
        start = torch.zeros(4, 8)
        last, rows = scan(lambda h, x: (self.a(h) + x, self.b(x)), start, x, dim=dim, reverse=reverse)
        return last, self.c(rows)

    model = Net(forward)
    network = from_torch(model, shape)
    assert network["a"] == Gemm(m=4, n=8, k=8, count=7)
    assert network["b"] == Gemm(m=4, n=16, k=8, count=7)
    assert network["c"] == Linear(16, 8, batch=28)
    with torch.no_grad():
        assert model(torch.zeros(shape))[1].shape == (*shape[:-1], 8)


def test_a_map_runs_its_body_for_each_row():
    network = from_torch(Net(lambda self, x: self.c(torch_map(self.b, x))), (7, 4, 8))
    assert network["b"] == Gemm(m=4, n=16, k=8, count=7)
    assert network["c"] == Linear(16, 8, batch=28)


@pytest.mark.parametrize("is_made_before", [False, True])
@pytest.mark.parametrize("keys", [4, 2])
def test_flex_attention_is_attention_in_full(keys, is_made_before):
    def made():
        return create_block_mask(lambda b, h, i, j: i >= j, None, None, 256, 256, device="cpu")

    before = made()

    def forward(self, q, k, v):
        mask = before if is_made_before else made()
        out = flex_attention(q, k, v, block_mask=mask, score_mod=lambda s, b, h, i, j: s + i, enable_gqa=keys < 4)
        return self.a(out)

    network = from_torch(Net(forward), [(1, 4, 256, 8), (1, keys, 256, 8), (1, keys, 256, 8)])
    shared = {"weights_shared_by": 4 // keys}
    found = [each.layer for each in network.priced.values()]
    assert found[:2] == [MatMul(256, 256, 8, 4, **shared), MatMul(256, 8, 256, 4, **shared)]
    assert network["a"].batch == 1024
    assert before.kv_num_blocks.device.type == "cpu"


def test_compiled_attention_runs_as_it_is_written():
    compiled = torch.compile(flex_attention, backend="eager")
    assert from_torch(Net(lambda self, q: compiled(q, q, q)), (1, 4, 16, 8)).macs == 2 * 4 * 16 * 16 * 8


EXPORTED = {
    "cond": (branch(lambda x: x.sum() > 0), (4, 8)),
    "map": (lambda self, x: torch_map(self.b, x), (7, 4, 8)),
}


@pytest.mark.parametrize("kind", EXPORTED)
def test_exported_programs_with_bodies(kind):
    forward, shape = EXPORTED[kind]
    x = torch.zeros(shape)
    program = torch.export.export(Net(forward), (x,))
    assert from_torch(program, example_inputs=[x]).macs == from_torch(Net(forward), shape).macs > 0
