"""Reading a module leaves it as it was, and values that are known are looked at; the rest is named."""

from __future__ import annotations

import functools
import importlib.util
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trying import tried

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from common import real_models  # noqa: E402
from hwcost import Gemm, InvalidValueError, Linear, SystolicArray, from_torch, network_cost  # noqa: E402
from hwcost.importers import read_network  # noqa: E402
from hwcost.importers.torch.heads import taken_apart  # noqa: E402
from hwcost.importers.torch.resize import resized  # noqa: E402
from hwcost.importers.torch.values import _MOST, Values  # noqa: E402
from hwcost.network.operations import Unsupported  # noqa: E402
from hwcost.network.run import stored_elements  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


class Of(nn.Module):
    """A fully connected layer, and a function of the module and of what the layer returns."""

    def __init__(self, function, width=8, **stored):
        super().__init__()
        self.l, self.function = nn.Linear(width, width), function
        for name, value in stored.items():
            if isinstance(value, torch.Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, x, *more):
        return self.function(self, self.l(x), *more)


def counted(model, *args, **kwargs):
    """PyTorch's own count on tensors with data."""
    math = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with torch.no_grad(), math, FlopCounterMode(display=False) as counter:
        model(*args, **kwargs)
    return counter.get_total_flops() // 2


# ---------------------------------------------------------------- left as it was


def table_once(self, x):
    if self.table is None:
        self.table = torch.arange(x.shape[1]).float()[:, None].expand(-1, 8)
    return x + self.table


def appended(self, x):
    self.seen.append(x)
    return sum(each @ x.mT for each in self.seen)


def by_shape(self, x):
    if x.shape not in self.tables:
        self.tables[x.shape] = torch.zeros_like(x)
    return x + self.tables[x.shape]


def counting(self, x):
    self.calls += 1
    self.array[0] += 1
    return torch.cat([x] * self.calls, 1) @ x.mT


class Slotted:
    __slots__ = ("last",)


def in_slots(self, x):
    before, self.slots.last = self.slots.last, x
    return x if before is None else before + x


def in_objects(self, x):
    self.holder.cache = x if self.holder.cache is None else torch.cat([self.holder.cache, x], 1)
    return x @ self.holder.cache.mT


def in_place(self, x):
    self.holder.total += 1
    return x * self.holder.total.sum()


def new_buffer(self, x):
    self.register_buffer("last", x)
    return x


@functools.lru_cache
def made_once(length):
    return torch.arange(length).float()


def from_a_cache(self, x):
    return x + made_once(x.shape[1])[:, None]


GLOBAL: list = []


def in_a_global(self, x):
    GLOBAL.append(x)
    return x + len(GLOBAL)


TABLE = None


def under_a_name(self, x):
    global TABLE  # noqa: PLW0603  # what other people's code does
    if TABLE is None:
        TABLE = torch.arange(x.shape[1]).float()[:, None]
    return x + TABLE


class Memo:
    table = None


def in_a_class(self, x):
    for owner in (Memo, type(self)):
        if getattr(owner, "table", None) is None:
            owner.table = torch.arange(x.shape[1]).float()[:, None]
    return x + Memo.table + type(self).table


def in_another_file(self, x):
    return x + elsewhere.row(x.shape[1])


elsewhere = types.ModuleType("elsewhere")
exec(
    "import torch\nROWS = {}\ndef row(n): return ROWS.setdefault(n, torch.arange(n).float()[:, None])", vars(elsewhere)
)


def closure():
    seen = []

    def forward(self, x):
        seen.append(x)
        return sum(each @ x.mT for each in seen)

    return forward


class Holder:
    def __init__(self):
        self.cache, self.total = None, torch.zeros(3)


def slotted():
    slots = Slotted()
    slots.last = None
    return Of(in_slots, slots=slots)


STORING = {
    "attribute": lambda: Of(table_once, table=None),
    "list": lambda: Of(appended, seen=[]),
    "dictionary": lambda: Of(by_shape, tables={}),
    "numbers and arrays": lambda: Of(counting, calls=0, array=np.zeros(2)),
    "slots": slotted,
    "an object": lambda: Of(in_objects, holder=Holder()),
    "a tensor with data": lambda: Of(in_place, holder=Holder()),
    "a buffer": lambda: Of(new_buffer),
    "a cached function": lambda: Of(from_a_cache),
    "a global": lambda: Of(in_a_global),
    "a name of a file": lambda: Of(under_a_name),
    "a class": lambda: Of(in_a_class),
    "another file": lambda: Of(in_another_file),
    "a closure": lambda: Of(closure()),
}


@pytest.mark.parametrize("how", STORING)
def test_whatever_a_forward_stores_is_put_back(how):
    model, fresh = STORING[how](), STORING[how]()
    first = from_torch(model, (2, 5, 8))
    again = from_torch(model, (2, 5, 8))
    assert (first.macs, list(first)) == (again.macs, list(again))
    fresh.load_state_dict(model.state_dict())
    x = torch.randn(2, 5, 8)
    GLOBAL.clear()
    out = model(x)
    GLOBAL.clear()
    assert torch.equal(out, fresh(x))
    made_once.cache_clear()
    GLOBAL.clear()


def test_objects_that_are_handed_in_are_left_as_they_were():
    holder = Holder()
    holder.cache = torch.zeros(2, 3, 8)
    model = Of(lambda self, x, holder: in_objects_of(holder, x))
    macs = [from_torch(model, example_inputs=[torch.zeros(2, 5, 8), holder]).macs for _ in range(2)]
    assert macs == [2 * 5 * 64 + 2 * 5 * 8 * 8] * 2
    assert holder.cache.shape == (2, 3, 8)
    assert holder.cache.device.type == "cpu"
    kept = [torch.zeros(2, 5, 8)]
    from_torch(Of(lambda self, x, kept: x + sum([*kept, kept.append(x) or x])), example_inputs=[kept[0], kept])
    assert len(kept) == 1


def in_objects_of(holder, x):
    holder.cache = torch.cat([holder.cache, x], 1)
    return x @ holder.cache.mT


ACTIONS = {
    "append": lambda self, x: self.items.append(x),
    "pop": lambda self, x: self.items and self.items.pop(),
    "key": lambda self, x: self.table.update({len(self.table): x}),
    "clear": lambda self, x: self.table.clear(),
    "set": lambda self, x: self.names.add(len(self.names)),
    "attribute": lambda self, x: setattr(self, f"a{len(self.items)}", x),
    "delete": lambda self, x: self.__dict__.pop("number", None),
    "nested": lambda self, x: self.table.setdefault("deep", [[]])[0].append(x),
    "module": lambda self, x: setattr(self, "l", nn.Linear(8, 8)) if "l2" in self.names else self.names.add("l2"),
    "write": lambda self, x: self.plain[0].mul_(2).add_(1),
    "grow": lambda self, x: self.plain.append(self.plain[0] + 1),
}


@tried(40, deadline=None)
@given(st.lists(st.sampled_from(sorted(ACTIONS)), max_size=6), st.booleans())
def test_any_sequence_of_stores_is_put_back(names, raises):
    def forward(self, x):
        for name in names:
            ACTIONS[name](self, x)
        if raises:
            raise ValueError
        return x

    model = Of(forward, items=[1], table={"a": [2]}, names={"b"}, number=3, plain=[torch.ones(2)])
    before = {name: repr(value) for name, value in vars(model).items()}
    for _ in range(2):
        if raises:
            with pytest.raises(InvalidValueError):
                from_torch(model, (2, 8))
        else:
            assert from_torch(model, (2, 8)).macs == 128
        assert {name: repr(value) for name, value in vars(model).items()} == before
    assert torch.equal(model.plain[0], torch.ones(2))


# ---------------------------------------------------------------- values that are known


KNOWN = {
    "a number in a buffer": (lambda self, x: x[:, : int(self.n)] @ x.mT, {"n": torch.tensor(3)}),
    "a mask in a buffer": (lambda self, x: x @ x[:, self.keep].mT, {"keep": torch.arange(5) % 3 == 0}),
    "a list of a buffer": (
        lambda self, x: sum((x[:, :n] @ x[:, :n].mT).sum() for n in self.n.tolist()),
        {"n": torch.tensor([2, 3])},
    ),
    "arange": (lambda self, x: x[:, torch.arange(5) > 2] @ x.mT, {}),
    "no elements": (lambda self, x: x[:, : 2 + int(self.n.sum())] @ x.mT, {"n": torch.zeros(0, dtype=torch.long)}),
    "ones": (lambda self, x: x[:, : int(x.new_ones(3).sum())] @ x.mT, {}),
    "written ones": (lambda self, x: x[:, written(x)] @ x.mT, {}),
    "repeats": (lambda self, x: x.repeat_interleave(torch.tensor([1, 0, 2, 1, 1]), 1) @ x.mT, {}),
    "a condition": (lambda self, x: x @ x.mT if self.n.sum() > 4 else x, {"n": torch.tensor([2, 3])}),
    "a stack": (lambda self, x: x[:, : int(torch.stack([self.n, self.n]).max())] @ x.mT, {"n": torch.tensor(2)}),
    "numbers on a device": (lambda self, x: x[:, : int(torch.tensor([2, 1], device=x.device).max())] @ x.mT, {}),
    "numbers like a tensor": (lambda self, x: x[:, : int(x.new_tensor([2, 1]).max())] @ x.mT, {}),
    "an array on a device": (
        lambda self, x: x[:, torch.as_tensor(np.arange(5), device=x.device) > 1] @ x.mT,
        {},
    ),
    "an array that moves": (lambda self, x: x[:, : int(torch.from_numpy(np.array([2])).to(x.device))] @ x.mT, {}),
    "numbers of its type": (lambda self, x: x[:, : int(torch.tensor([2]).type_as(x))] @ x.mT, {}),
    "masked_select": (
        lambda self, x: x[0] @ torch.masked_select(x[0], self.m).reshape(-1, 8).mT,
        {"m": torch.arange(40).reshape(5, 8) < 16},
    ),
}  # fmt: skip


def written(x):
    mask = torch.zeros(5, dtype=torch.bool, device=x.device)
    mask[1:3] = True
    return mask


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.new_tensor([2.0, 1.0]),
        lambda x: x.new_ones(2),
        lambda x: torch.tensor([2.0, 1.0], device=x.device),
        lambda x: x.new_tensor([2.0, 1.0], device=x.device),
    ],
)
def test_tensors_that_are_made_in_a_forward_are_where_its_input_is(make):
    def check(self, x):
        made = make(x)
        assert (made.device, made.dtype) == (x.device, x.dtype)
        return x * made.sum()

    assert from_torch(Of(check), (2, 8)).macs == 2 * 8 * 8


@pytest.mark.parametrize("case", KNOWN)
def test_known_values_are_looked_at(case):
    function, stored = KNOWN[case]
    model = Of(function, **stored)
    network = from_torch(model, (2, 5, 8))
    assert not network.unsupported
    assert network.macs == counted(model, torch.zeros(2, 5, 8))


@pytest.mark.parametrize("to_cpu", [True, False])
def test_packed_sequences_have_the_lengths_that_are_given(to_cpu):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = nn.LSTM(8, 16, batch_first=True)

        def forward(self, x, lengths):
            lengths = lengths.cpu() if to_cpu else lengths
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return nn.utils.rnn.pad_packed_sequence(self.r(packed)[0], batch_first=True)[0]

    network = from_torch(Net(), example_inputs=[torch.zeros(3, 7, 8), torch.tensor([5, 7, 2])])
    assert network.macs == (7 + 5 + 2) * 64 * (8 + 16)


@pytest.mark.parametrize(
    "made",
    [
        lambda self, x: torch.zeros(5),
        lambda self, x: torch.tensor([1.0, 2]),
        lambda self, x: torch.tensor([1.0, 2], device=x.device),
        lambda self, x: torch.from_numpy(np.ones(2)),
        lambda self, x: self.plain[0],
    ],
    ids=["zeros", "numbers", "numbers on a device", "an array", "an attribute"],
)
def test_what_an_unknown_value_was_written_to_is_unknown(made):
    def function(self, x):
        mask = made(self, x)
        mask[0] = x.sum()
        return x[: int(mask.sum())]

    model = Of(function, plain=[torch.ones(2)])
    with pytest.raises(InvalidValueError, match="values of a tensor"):
        from_torch(model, (2, 8))
    assert torch.equal(model.plain[0], torch.ones(2))


def test_what_a_known_value_was_written_to_is_known_and_put_back():
    def function(self, x):
        self.plain[0][0] = torch.tensor(3.0, device=x.device)
        return x @ x[:, : int(self.plain[0].sum())].mT

    model = Of(function, plain=[torch.ones(2)])
    assert from_torch(model, (2, 5, 8)).macs == 2 * (5 * 64 + 5 * 4 * 8)
    assert torch.equal(model.plain[0], torch.ones(2))


def test_random_values_are_unknown():
    with pytest.raises(InvalidValueError, match="values of a tensor"):
        from_torch(Of(lambda self, x: x[: int(torch.rand(3).sum())]), (2, 8))


def test_a_padding_mask_of_transformer_layers():
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    inputs = {"src": torch.zeros(2, 5, 32), "src_key_padding_mask": torch.zeros(2, 5, dtype=torch.bool)}
    macs = [
        from_torch(nn.TransformerEncoder(layer, 2).train(mode), example_inputs=inputs).macs for mode in (True, False)
    ]
    assert macs == [170_240, 170_240]
    assert torch.backends.mha.get_fastpath_enabled()


def test_exported_programs():
    program = torch.export.export(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), (torch.zeros(2, 8),))
    assert from_torch(program, (2, 8)).macs == 64


def test_buffers_of_a_file_have_their_values(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.l = nn.Linear(8, 8)\n        self.register_buffer('n', torch.tensor(3))\n"
        "    def forward(self, x):\n        return self.l(x[:, :int(self.n)])\n"
    )
    from hwcost.importers.torch import InputSpec

    assert read_network(f"{tmp_path / 'net.py'}:Net", inputs=[InputSpec((2, 5, 8))]).macs == 2 * 3 * 64


# ---------------------------------------------------------------- what ran until then


def detected(self, x):
    """Boxes above a threshold, each dropped if it overlaps one that is better."""
    scores = x.amax(-1)
    boxes = x[torch.nonzero(scores > 0.5)[:, 0]]
    kept = []
    while len(boxes):
        kept.append(boxes[0])
        overlap = (torch.minimum(boxes, boxes[:1]).sum(-1) / torch.maximum(boxes, boxes[:1]).sum(-1)) > 0.5
        boxes = boxes[~overlap]
    return torch.stack(kept) @ x.mT


STOPS = {
    "values": (lambda self, x: x[x > 0], (2, 8)),
    "a detector": (detected, (20, 8)),
    "an error": (lambda self, x: x @ x, (2, 8)),
}


@pytest.mark.parametrize("case", STOPS)
def test_what_ran_until_then_is_given_if_asked(case):
    function, shape = STOPS[case]
    with pytest.raises(InvalidValueError) as raised:
        from_torch(Of(function), shape)
    assert "object at 0x" not in str(raised.value)
    assert "partial" in str(raised.value)
    network = from_torch(Of(function), shape, partial=True)
    assert network["l"] == Linear(8, 8, batch=int(np.prod(shape[:-1])))
    (rest,) = network.unsupported.values()
    assert isinstance(rest.layer, Unsupported)
    assert len(rest.layer.reason) < 200
    assert all(width.fixed for width in network.widths.values())
    with pytest.raises(InvalidValueError, match="the rest"):
        network_cost(network, SystolicArray(4, 4))


def test_partial_changes_nothing_of_what_runs():
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    assert from_torch(model, (2, 8), partial=True).operations == from_torch(model, (2, 8)).operations


# ---------------------------------------------------------------- sizes of 0, products of weights, recurrent steps


EMPTY = {
    "a slice": lambda self, x: torch.cat([x, x[:, :0]], 1) @ x.mT,
    "zeros": lambda self, x: torch.cat([x.new_zeros(2, 0, 8), x], 1) @ x.mT,
    "features": lambda self, x: torch.cat([x[..., :8], x[..., 8:]], -1) @ x.mT,
    "elementwise": lambda self, x: torch.cat([x[:, :0] + x[:, :1], x], 1) @ x.mT,
    "a product": lambda self, x: torch.cat([x[:, :0] @ x.mT, x @ x.mT], 1) @ x.new_zeros(2, 5, 3),
    "reshaped": lambda self, x: torch.cat([x[:, :0].reshape(2, 0, 2, 4).flatten(2), x], 1) @ x.mT,
}


@pytest.mark.parametrize("case", EMPTY)
def test_sizes_of_0_are_sizes(case):
    model = Of(EMPTY[case])
    assert from_torch(model, (2, 5, 8)).macs == counted(model, torch.zeros(2, 5, 8))


def test_an_input_may_be_empty():
    model = Of(lambda self, x, past: torch.cat([past, x], 1) @ x.mT)
    network = from_torch(model, [(2, 5, 8), (2, 0, 8)])
    assert network.macs == 2 * 5 * 64 + 2 * 5 * 5 * 8


def test_channels_behind_an_empty_part_can_change():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)

        def forward(self, x):
            return self.b(torch.cat([self.a(x), x[:, :0]], 1))

    network = from_torch(Net(), (1, 3, 16, 16))
    assert network.macs == 129_024
    assert network.at({"a": 6})["b"].in_channels == 6


def test_products_of_weights_alone_are_counted_once_in_a_note():
    class LowRank(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.zeros(64, 4)), nn.Parameter(torch.zeros(4, 64))

        def forward(self, x):
            return x @ (self.a @ self.b)

    network = from_torch(LowRank(), (1, 64))
    assert network.macs == 4096
    assert "16384 MACs" in " ".join(network.notes)


def copied_each(keys, x):
    torch._foreach_copy_([keys[:, :5]], [x])


WRITES = {
    "a slice": lambda keys, x: keys[:, :5].copy_(x),
    "index_copy_": lambda keys, x: keys.index_copy_(1, torch.arange(5), x),
    "an operator without a result": copied_each,
    "out=": lambda keys, x: torch.add(x, 1, out=keys[:, :5]),
}


@pytest.mark.parametrize("how", WRITES)
def test_buffers_that_activations_are_written_to_are_not_weights(how):
    def cached(self, x):
        WRITES[how](self.keys, x)
        return x @ self.l(self.keys).mT

    network = from_torch(Of(cached, keys=torch.zeros(2, 7, 8)), (2, 5, 8))
    assert network.macs == 2 * (5 * 64 + 7 * 64 + 5 * 7 * 8)


def test_what_is_drawn_is_not_made_of_weights():
    def decoded(self, x):
        return x + F.relu(F.layer_norm(self.l(torch.randn_like(self.z)), (8,)))

    network = from_torch(Of(decoded, z=torch.zeros(5, 8)), (5, 8))
    assert network.macs == 2 * 5 * 64
    assert {"native_layer_norm", "relu"} <= {each.kind for each in network.memory_only.values()}


@pytest.mark.parametrize(("whole", "cell"), [("LSTM", "LSTMCell"), ("GRU", "GRUCell"), ("RNN", "RNNCell")])
def test_steps_that_feed_each_other_wait(whole, cell):
    class Feeds(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.r = getattr(nn, kind)(64, 64)

        def forward(self, x):
            state = None
            for _ in range(10):
                if isinstance(self.r, nn.RNNBase):
                    x, state = self.r(x, state)
                else:
                    state = self.r(x[0], state)
                    x = (state[0] if isinstance(state, tuple) else state)[None]
            return x

    networks = [from_torch(Feeds(kind), (1, 1, 64)) for kind in (whole, cell)]
    for timing in ("serial", "double-buffered"):
        cycles = [network_cost(each, SystolicArray(16, 16, fold_timing=timing)).total.cycles for each in networks]
        assert cycles[0] == cycles[1]


def test_calls_of_a_shared_encoder_are_two():
    encoder = nn.GRU(8, 16)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = encoder

        def forward(self, x, y):
            return self.e(x)[0], self.e(y)[0]

    network = from_torch(Twice(), [(5, 2, 8), (7, 2, 8)])
    assert [each.layer.batch for name, each in network.priced.items() if "_ih" in name] == [10, 14]


PRODUCTS = {
    "_int_mm": (lambda self, x: torch._int_mm(x.to(torch.int8), x.to(torch.int8).mT), 32 * 32 * 8),
    "cdist": (lambda self, x: torch.cdist(x, x), 32 * 32 * 8),
    "cdist of few rows": (lambda self, x: torch.cdist(x[:4], x[:3]), 4 * 3 * 8),
    "outer": (lambda self, x: torch.outer(x[:, 0], x[0]), 32 * 8),
    "outer by name": (lambda self, x: torch.outer(vec2=x[:, 0], input=x[0]), 32 * 8),
    "ger": (lambda self, x: x[:, 0].ger(x[0]), 32 * 8),
    "vecdot": (lambda self, x: torch.linalg.vecdot(x, x), 32 * 8),
    "vecdot by names": (lambda self, x: torch.linalg.vecdot(x=x, y=x), 32 * 8),
    "vecdot along another axis": (lambda self, x: torch.linalg.vecdot(x, x, dim=0), 32 * 8),
    "vecdot with a vector": (lambda self, x: torch.linalg.vecdot(x, x[0]), 32 * 8),
    "bilinear": (lambda self, x: F.bilinear(x, x, x.new_zeros(4, 8, 8) + x[0, 0]), 32 * 4 * 8 * (8 + 1)),
    "conv_tbc": (lambda self, x: torch.conv_tbc(x[:, None], x.new_zeros(3, 8, 6) + x[0, 0], x[0, :6], 1), 96 * 48),
    "addr": (lambda self, x: torch.addr(x, x[:, 0], x[0]), 32 * 8),
    "scaled": (
        lambda self, x: torch._scaled_mm(
            *(x.to(torch.float8_e4m3fn), x.to(torch.float8_e4m3fn).mT, x.new_ones(()), x.new_ones(())),
            out_dtype=torch.bfloat16,
        ),
        32 * 32 * 16,
    ),
}  # fmt: skip


MISFITS = {
    "outer": lambda self, x: torch.outer(x[:, :4], x[:, :4]),
    "outer by another name": lambda self, x: torch.outer(x[:, 0], other=x[0]),
    "vecdot": lambda self, x: torch.linalg.vecdot(x, x[:, :3]),
}


@pytest.mark.parametrize("case", MISFITS)
def test_products_that_do_not_fit_are_pytorch_s_error(case):
    with pytest.raises(InvalidValueError, match="raises"):
        from_torch(Of(MISFITS[case]), (4, 8))


@pytest.mark.parametrize("case", PRODUCTS)
def test_further_products(case):
    function, macs = PRODUCTS[case]
    width = 16 if case == "scaled" else 8
    network = from_torch(Of(function, width), (32, width))
    assert not network.unsupported
    assert network.macs == 32 * width * width + macs


FREE = {
    "record_function": lambda self, x: recorded(x),
    "exponential_": lambda self, x: F.gumbel_softmax(x),
    "complex": lambda self, x: torch.complex(x, x).abs(),
    "polar": lambda self, x: torch.polar(x, x).real,
    "poisson": lambda self, x: torch.poisson(x),
    "block_diag": lambda self, x: torch.block_diag(x, x),
    "narrow_copy": lambda self, x: torch.narrow_copy(x, 0, 0, 2),
    "_foreach_add": lambda self, x: torch._foreach_add([x, x], 1.0)[0],
    "kaiser_window": lambda self, x: x * torch.kaiser_window(8),
    "bartlett_window": lambda self, x: x * torch.bartlett_window(8),
    "index_reduce": lambda self, x: x.index_reduce(0, torch.tensor([0]), x[:1], "prod"),
    "nonzero_static": lambda self, x: torch.nonzero_static(x, size=3),
    "is_same_size": lambda self, x: x if x.is_same_size(x) else x + 1,
    "floor_divide": lambda self, x: x // 2,
    "copysign_": lambda self, x: x.copysign_(x),
    "losses": lambda self, x: F.soft_margin_loss(x, x) + F.multi_margin_loss(x, torch.arange(len(x)) % 8),
    "numbers alone": lambda self, x: x * torch.div(torch.tensor(6), 4, rounding_mode="trunc"),
    "histc": lambda self, x: torch.histc(x, 5, 0, 1),
}


def recorded(x):
    with torch.profiler.record_function("x"):
        return x + 1


@pytest.mark.parametrize("case", FREE)
def test_operators_without_products_are_free(case):
    network = from_torch(Of(FREE[case]), (10, 8))
    assert not network.unsupported
    assert list(network.priced) == ["l"]


def test_a_data_parallel_module_inside():
    assert from_torch(nn.Sequential(nn.DataParallel(nn.Linear(8, 8))), (2, 8)).macs == 128


def test_a_tied_embedding_and_head_have_two_widths_and_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.mid = nn.Embedding(1000, 64), nn.Linear(64, 64)
            self.head = nn.Linear(64, 1000, bias=False)
            self.head.weight = self.emb.weight

        def forward(self, ids):
            return self.head(torch.relu(self.mid(self.emb(ids)) + self.emb(ids)))

    model = Tied()
    network = from_torch(model, example_inputs=[torch.zeros(1, 4, dtype=torch.long)])
    assert list(network.priced) == ["mid", "head"]
    assert network["head"].out_features == 1000
    assert network.at({}) == dict(network)
    assert (network.at({"emb": 32})["head"].in_features, network.at({"emb": 32})["head"].out_features) == (32, 1000)
    made = resized(model, network, {"emb": 32})
    assert made.head.weight is made.emb.weight
    assert made(torch.zeros(1, 4, dtype=torch.long)).shape == (1, 4, 1000)


# ---------------------------------------------------------------- models of transformers


def config(name, **more):
    sizes = {
        "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }  # fmt: skip
    return getattr(real_models.loaded("transformers"), name)(**{**sizes, **more})


def language_model(name, **more):
    library = real_models.loaded("transformers")
    of = {"Bert": "ForMaskedLM"}.get(name, "ForCausalLM")
    return getattr(library, name + of)(config(f"{name}Config", **more)).eval()


IDS, MASK = torch.ones(2, 12, dtype=torch.long), torch.tensor([[1] * 12, [1] * 9 + [0] * 3])
GROUPED = {"num_key_value_heads": 2}
CALLS = {
    "mask": {"attention_mask": MASK},
    "no cache": {"use_cache": False},
    "both": {"attention_mask": MASK, "use_cache": False},
    "values unknown": {"attention_mask": MASK.to("meta"), "use_cache": False},
}
needs_transformers = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="not installed")


@needs_transformers
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["Llama", "Mistral", "Bert", "Qwen2"])
def test_calls_of_language_models(name, call):
    model = language_model(name, **({} if name == "Bert" else GROUPED))
    if name == "Bert" and "use_cache" in CALLS[call]:
        model.config.is_decoder = True
    given = {name: MASK if name == "attention_mask" else value for name, value in CALLS[call].items()}
    network = from_torch(model, example_inputs={"input_ids": IDS, **CALLS[call]})
    assert network.macs == counted(model, input_ids=IDS, **given)
    assert not network.unsupported


@needs_transformers
def test_a_filled_cache_is_left_as_it_was():
    model, cache = language_model("Llama", **GROUPED), real_models.loaded("transformers").DynamicCache()
    with torch.no_grad():
        model(input_ids=IDS, past_key_values=cache)
    inputs = {"input_ids": IDS[:, :1], "past_key_values": cache}
    macs = [from_torch(model, example_inputs=inputs).macs for _ in range(2)]
    assert cache.get_seq_length() == 12
    assert macs == [counted(model, **inputs)] * 2


EXPERTS = {
    "Mixtral": {"num_local_experts": 4, **GROUPED},
    "Olmoe": {"num_experts": 8, "num_experts_per_tok": 2},
    "Qwen2Moe": {"num_experts": 8, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, **GROUPED},
}


@needs_transformers
@pytest.mark.parametrize("name", EXPERTS)
def test_experts_are_priced_for_the_tokens_that_are_routed(name):
    model = language_model(name, **EXPERTS[name])
    network = from_torch(model, example_inputs={"input_ids": IDS})
    assert not network.unsupported
    assert any("equal shares" in note for note in network.notes)
    experts, hidden = model.model.layers[0].mlp.experts, model.config.hidden_size
    inner = experts.down_proj.shape[2]
    rows = IDS.numel() * model.config.num_experts_per_tok
    routed = {key: each.layer for key, each in network.priced.items() if each.kind == "routed product"}
    assert sum(layer.m * layer.n * layer.k * layer.count for layer in routed.values()) == 2 * rows * hidden * inner * 3
    assert all(isinstance(layer, Gemm) for layer in routed.values())
    weights = sum(stored_elements(layer, SystolicArray(8, 8)) for layer in routed.values())
    assert weights == 2 * sum(each.numel() for each in experts.parameters())
    rest = network.macs - 2 * rows * hidden * inner * 3
    assert rest == counted(model, input_ids=IDS)  # which does not count grouped products


@pytest.mark.parametrize(
    ("old", "new", "written"),
    [
        ((96,), (3, 32), (3, 32)),
        ((4, 96), (4, 3, 32), (3, 32)),
        ((4, 96), (4, 2, 3, 16), (2, 3, 16)),
        ((4, 96), (4, 96, 1), ()),
        ((4, 96), (8, 48), ()),
        ((96,), (96,), ()),
        ((), (1, 1), ()),
    ],
)
def test_the_sizes_that_a_last_axis_is_split_into(old, new, written):
    assert taken_apart(old, new) == written


def test_values_are_followed_up_to_a_number_of_elements():
    values = Values()
    for count, is_small in ((_MOST, True), (_MOST + 1, False)):
        value = torch.zeros(count, dtype=torch.int8)
        added, given = torch.empty(count, device="meta"), torch.empty(count, device="meta")
        values.add(added, value)
        values.add_given(given, value)
        assert (values.get(added) is value) == is_small
        assert (values.get(given) is not None) == is_small
        assert values.get(given) is not value
        assert values.are_known([added, given]) == is_small
        assert values.are_followed([added]) == is_small
    assert values.are_followed([])
    assert values.are_followed([added[:3], added[:1]])
    assert not values.are_followed([added[:0]])
    assert not values.are_followed([added[:3], added])
    unknown, other = torch.empty(2, device="meta"), torch.zeros(2)
    assert values.get(unknown) is None
    assert values.get(unknown, other) is values.get(other) is other
    assert values.get(unknown[:0]).tolist() == []
    values.add_given(unknown, torch.zeros(2))  # real numbers are not followed
    assert not values.are_known([unknown, other])
    values.forget([added[:3]])
    assert values.get(added) is None


class Masked(nn.Module):
    """Attention that drops a mask which leaves out nothing, as transformers does, and asks whether it is compiled."""

    def __init__(self, asks=True):
        super().__init__()
        self.qkv, self.asks = nn.Linear(8, 24), asks

    def forward(self, x, mask=None, use_cache=True):
        if mask is not None and not (self.asks and torch.compiler.is_compiling()) and torch.all(mask == 1):
            mask = None
        q, k, v = self.qkv(x).chunk(3, -1)
        seen = F.scaled_dot_product_attention(q, k, v, None if mask is None else mask[:, None].bool())
        return (seen, (k, v)) if use_cache else seen


ONES = torch.ones(2, 5, dtype=torch.long)
MASKS = {
    "ones": ONES, "some left out": ONES.tril(2), "truth values": ONES.bool(), "values unknown": ONES.to("meta"),
    "real numbers": ONES.float(),
}  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("more", [{}, {"use_cache": False}])
def test_products_do_not_depend_on_a_mask(mask, more):
    x, model, array = torch.zeros(2, 5, 8), Masked(), SystolicArray(8, 8)
    costs = [
        network_cost(from_torch(model, example_inputs={"x": x, **given, **more}), array).total.cycles
        for given in ({}, {"mask": MASKS[mask]})
    ]
    assert costs[0] == costs[1]


def test_where_no_way_goes_round_the_values_the_error_says_to_leave_a_mask_out():
    inputs = {"x": torch.zeros(2, 5, 8), "mask": MASKS["values unknown"]}
    with pytest.raises(InvalidValueError, match=r"_local_scalar_dense.*pass example inputs.*leave out .* a mask"):
        from_torch(Masked(asks=False), example_inputs=inputs)
    assert from_torch(Masked(asks=False), example_inputs={**inputs, "mask": MASKS["ones"]}).macs
    assert from_torch(Masked(asks=False), example_inputs={"x": inputs["x"]}).macs


@pytest.mark.parametrize("more", [{"enabled": False}, {"dtype": torch.bfloat16}, {}])
def test_autocast_for_the_device_of_a_tensor(more):
    def forward(self, x):
        with torch.autocast(device_type=x.device.type, **more):
            return x @ x.mT

    before = torch.autocast.__init__
    assert from_torch(Of(forward), (32, 8)).macs == 32 * 8 * 8 + 32 * 32 * 8
    assert torch.autocast.__init__ is before
    assert not torch.is_autocast_enabled("cpu")


def test_a_mask_too_large_to_look_at_is_said_to_be_unknown():
    mask = torch.ones(_MOST + 1, dtype=torch.bool)
    with pytest.raises(InvalidValueError, match="it looks at the values of a tensor"):
        from_torch(Of(lambda module, x: x[module.mask], mask=mask), (_MOST + 1, 8))


def test_an_assertion_without_words_is_quoted():
    class Asserting(nn.Module):
        def forward(self, x):
            if x.shape[1] != 4:
                raise AssertionError  # not four channels
            return x

    with pytest.raises(InvalidValueError, match=r"module '1'.*AssertionError at '.*not four channels'"):
        from_torch(nn.Sequential(nn.Linear(3, 3), Asserting()), (2, 3))
