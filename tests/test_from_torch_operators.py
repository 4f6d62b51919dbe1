"""What lies under the importer: results found without PyTorch, wrappers, constants, and a module left as it was."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402
from torch_modules import Of  # noqa: E402

from hwcost import InvalidValueError, Linear, from_torch  # noqa: E402
from hwcost.importers import read_network  # noqa: E402
from hwcost.importers.torch import InputSpec  # noqa: E402
from hwcost.importers.torch.operators import _SHORTCUTS, operator, shortcut, tensors_in  # noqa: E402
from hwcost.importers.torch.resize import resized  # noqa: E402
from hwcost.network.operations import MemoryOnly  # noqa: E402

aten = torch.ops.aten


def of(*shape, dtype=torch.float32, channels_last=False):
    made = torch.empty(shape, dtype=dtype, device="meta")
    return made.to(memory_format=torch.channels_last) if channels_last else made


# ---------------------------------------------------------------- results that PyTorch is not asked for

UNARY = ["relu", "hardtanh", "hardswish", "hardsigmoid", "silu", "sigmoid", "tanh", "gelu"]
NORM = (of(4), of(4), of(4), of(4))
FITTING = {
    **{
        f"{name} {i}": (getattr(aten, name).default, (x,))
        for name in UNARY
        for i, x in enumerate([of(2, 3), of(3, 2).t(), of(2, 3, 4, 5, channels_last=True), of(dtype=torch.float64)])
    },
    **{f"{name}_": (getattr(aten, f"{name}_").default, (of(2, 3),)) for name in UNARY},
    **{
        name: (getattr(aten, name).Tensor, (of(2, 3), of(2, 3)))
        for name in ("add", "mul", "sub", "div", "add_", "mul_", "sub_")
    },
    "norm in training": (aten.native_batch_norm.default, (of(2, 4, 5), *NORM, True, 0.1, 1e-5)),
    "norm in evaluation": (aten.native_batch_norm.default, (of(2, 4, 5, 6), *NORM, False, 0.1, 1e-5)),
    "norm without scale": (aten.native_batch_norm.default, (of(2, 4), None, None, *NORM[2:], False, 0.1, 1e-5)),
    "mean": (aten.mean.dim, (of(2, 3, 4, 5), [-1, -2], True)),
    "mean without its axes": (aten.mean.dim, (of(2, 3, 4), [1])),
    "mean that leaves out its axes": (aten.mean.dim, (of(2, 3, 4), [1], False)),
    "mean over all": (aten.mean.dim, (of(2, 3), [0, 1])),
    "addmm": (aten.addmm.default, (of(4), of(2, 3), of(3, 4))),
    **{
        f"convolution {name}": (aten.convolution.default, (x, weight, bias, *steps, False, [0] * len(steps[0]), groups))
        for name, x, weight, bias, steps, groups in [
            ("of a sequence", of(2, 4, 9), of(6, 2, 3), of(6), ([2], [1], [2]), 2),
            ("of a map", of(2, 3, 9, 12), of(5, 3, 3, 1), None, ([2, 1], [0, 2], [1, 3]), 1),
            ("of a volume", of(1, 3, 5, 6, 7), of(3, 1, 2, 2, 2), None, ([1] * 3, [0] * 3, [1] * 3), 3),
        ]
    },
}
PLAIN = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
OTHERS = {
    "of integers": (aten.relu.default, (of(2, dtype=torch.int64),)),
    "broadcast": (aten.add.Tensor, (of(2, 3), of(3))),
    "of two types": (aten.mul.Tensor, (of(2), of(2, dtype=torch.float64))),
    "with a number first": (aten.div.Tensor, (of(), of(2))),
    "mean over no stated axis": (aten.mean.dim, (of(2, 3), None)),
    "mean over an axis twice": (aten.mean.dim, (of(2, 3), [0, -2])),
    "mean over no axis": (aten.mean.dim, (of(2, 3), [5])),
    "mean of integers": (aten.mean.dim, (of(2, 3, dtype=torch.int64), [0])),
    "norm of other channels": (aten.native_batch_norm.default, (of(2, 5), *NORM, False, 0.1, 1e-5)),
    "norm of one vector": (aten.native_batch_norm.default, (of(4), *NORM, False, 0.1, 1e-5)),
    "addmm that does not fit": (aten.addmm.default, (of(4), of(2, 3), of(2, 4))),
    "addmm of a matrix": (aten.addmm.default, (of(2, 4), of(2, 3), of(3, 4))),
    "addmm of two types": (aten.addmm.default, (of(4, dtype=torch.half), of(2, 3), of(3, 4))),
    **{
        f"convolution {name}": (aten.convolution.default, args)
        for name, args in {
            "of other channels": (of(1, 4, 5, 5), of(2, 3, 3, 3), None, *PLAIN),
            "of two types": (of(1, 3, 5, 5), of(2, 3, 3, 3, dtype=torch.half), None, *PLAIN),
            "with another bias": (of(1, 3, 5, 5), of(2, 3, 3, 3), of(3), *PLAIN),
            "larger than the map": (of(1, 3, 2, 5), of(2, 3, 3, 3), None, *PLAIN),
            "without a batch": (of(3, 5, 5), of(2, 3, 3, 3), None, *PLAIN),
            "with one stride": (of(1, 3, 5, 5), of(2, 3, 3, 3), None, [1], *PLAIN[1:]),
            "without a stride": (of(1, 3, 5, 5), of(2, 3, 3, 3), None, [0, 1], *PLAIN[1:]),
            "with channels last": (of(1, 3, 5, 5, channels_last=True), of(2, 3, 3, 3), None, *PLAIN),
            "transposed": (of(1, 3, 5, 5), of(3, 2, 3, 3), None, *PLAIN[:3], True, [0, 0], 1),
        }.items()
    },
    "an operator without": (aten.cos.default, (of(2),)),
}


def described(result):
    return [(each.shape, each.dtype, each.stride()) for each in tensors_in((result,))]


def with_data(args):
    return [torch.zeros_like(each, device="cpu") if isinstance(each, torch.Tensor) else each for each in args]


@pytest.mark.parametrize("name", FITTING)
def test_shortcuts_give_what_pytorch_gives(name):
    func, args = FITTING[name]
    found = shortcut(func, args, tensors_in(args))
    assert found is not None
    assert described(found) == described(func(*with_data(args)))
    assert all(each.is_meta for each in tensors_in((found,)))
    if func._schema.name.endswith("_"):
        assert found is args[0]


@pytest.mark.parametrize("name", OTHERS)
def test_what_does_not_fit_is_left_to_pytorch(name):
    func, args = OTHERS[name]
    assert shortcut(func, args, tensors_in(args)) is None


def test_every_shortcut_is_tested():
    assert {func for func, _ in FITTING.values()} == set(_SHORTCUTS)


def test_arguments_have_names_and_defaults():
    add = operator(aten.add_.Tensor)
    assert (add.name, add.kind, add.is_elementwise, add.takes_device) == ("aten::add_", "add", True, False)
    assert add.by_name((1,), {"other": 2}) == {"self": 1, "other": 2, "alpha": 1}
    assert operator(aten.ones.default).takes_device


def test_a_run_does_not_load_the_compiler():
    code = (
        "import sys, torch\n"
        "from torch import nn\n"
        "from hwcost import from_torch\n"
        "layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "print(from_torch(nn.Sequential(*layers, nn.Linear(8, 2)), (1, 3, 9, 9)).macs)\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(49 * 8 * 27 + 16), "False"]


def test_the_compiler_loaded_by_a_run_knows_the_functions():
    code = (
        "import torch\n"
        "from torch import nn\n"
        "from hwcost import from_torch\n"
        "class Net(nn.Module):\n"
        "    def forward(self, x):\n"
        "        import torch._dynamo\n"
        "        return x @ x.T\n"
        "from_torch(Net(), (2, 4))\n"
        "def split(x):\n"
        "    return x.view(-1).chunk(2)[0] * torch.tensor([1.0, 2.0], device=x.device).reshape(2)\n"
        "print(torch.compile(split, fullgraph=True, backend='eager')(torch.ones(2, 2)).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, "know how to trace" in done.stderr) == ("[1.0, 2.0]\n", False)


# ---------------------------------------------------------------- modules in other clothes


def test_compiled_and_spread_modules_are_the_modules_in_them():
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = [torch.compile(model), nn.DataParallel(model), nn.DataParallel(torch.compile(model))]
    for each in wrapped:
        network = from_torch(each, (1, 4))
        assert (network.name, list(network.priced)) == ("Sequential", ["0"])


@pytest.mark.filterwarnings("ignore")
def test_scripts_are_not_read():
    for script in (torch.jit.script(nn.Linear(4, 2)), torch.jit.trace(nn.Linear(4, 2), torch.zeros(1, 4))):
        with pytest.raises(InvalidValueError, match="before it is scripted"):
            from_torch(script, (1, 4))


def test_parametrized_weights_go_by_the_name_that_they_show():
    inner = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    network = from_torch(nn.Sequential(nn.Linear(5, 4), inner), (2, 5))
    assert list(network.priced) == ["0", "1"]
    assert network["1"] == Linear(4, 3, batch=2)


@pytest.mark.parametrize("name", ["Net", "net"])
def test_modules_of_files_are_read_in_evaluation_mode(tmp_path, name):
    path = tmp_path / "net.py"
    path.write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout())\n\n\nnet = Net()\n"
    )
    network = read_network(f"{path}:{name}", inputs=[InputSpec((1, 4))])  # one row alone has no variance
    assert list(network) == ["0", "1"]


# ---------------------------------------------------------------- constants


def test_constants_with_values_may_be_looked_at():
    table = torch.arange(4.0)

    def forward(x):
        scale = float(torch.tensor([1.0, 2.0]).sum().item())
        return inner(x) * scale + table + torch.ones(4) + (table > 1).nonzero().sum()

    network = from_torch(Of(forward, inner := nn.Linear(4, 4)), (2, 4))
    assert network.macs == 32
    assert not network.unsupported
    assert {operation.kind for operation in network.memory_only.values()} == {"mul", "add"}
    assert torch.equal(table, torch.arange(4.0))


def test_values_moved_to_another_device_stay_shapes():
    network = from_torch(Of(lambda x: inner(x.to("cpu").double().float()).cpu(), inner := nn.Linear(4, 4)), (2, 4))
    assert network.macs == 32


@pytest.mark.parametrize("lengths", [[5, 3], [4, 4]])
def test_packed_sequences_run_as_long_as_they_are(lengths):
    lstm = nn.LSTM(4, 8, batch_first=True)

    def forward(x):
        packed, _ = lstm(pack_padded_sequence(x, torch.tensor(lengths), batch_first=True))
        return pad_packed_sequence(packed, batch_first=True)[0]

    network = from_torch(Of(forward, lstm), (2, 5, 4))
    assert network.macs == sum(lengths) * 4 * 8 * (4 + 8)
    assert not network.unsupported


def test_gradients_inside_of_a_forward_are_products_too():
    def forward(x):
        with torch.enable_grad():
            x = x.requires_grad_()
            return torch.autograd.grad(inner(x).sum(), x)[0]

    network = from_torch(Of(forward, inner := nn.Linear(4, 3)), (2, 4))
    assert network.macs == 2 * (2 * 4 * 3)


# ---------------------------------------------------------------- what cannot be run


def test_operators_that_need_data_to_know_their_shape_are_named():
    @torch.library.custom_op("hwcost_tests::unknown_shape", mutates_args=())
    def unknown_shape(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    model = nn.Sequential(nn.Linear(4, 4), Of(unknown_shape))
    with pytest.raises(InvalidValueError, match=r"module '1' .*hwcost_tests::unknown_shape.*register_fake"):
        from_torch(model, (1, 4))


def test_an_error_that_the_model_catches_is_none():
    class Tries(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(5, 4)

        def forward(self, x):
            try:
                return self.two(x)
            except RuntimeError:
                return torch.relu(self.one(x))

    network = from_torch(Tries(), (1, 4))
    assert list(network) == ["one", "relu"]
    assert network.operations["relu"].path == ""


# ---------------------------------------------------------------- widths


class Attention(nn.Module):
    """Heads cut out of one product, with sizes that are read from the input or from the module."""

    def __init__(self, reads_input):
        super().__init__()
        self.qkv, self.out, self.width, self.reads_input = nn.Linear(24, 72), nn.Linear(24, 24), 24, reads_input

    def forward(self, x):
        batch, tokens, width = x.shape if self.reads_input else (*x.shape[:2], self.width)
        q, k, v = (each.reshape(batch, tokens, 3, width // 3).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        return self.out((q @ k.transpose(-1, -2) @ v).transpose(1, 2).reshape(batch, tokens, width))


@pytest.mark.parametrize("reads_input", [True, False])
def test_the_width_of_heads_does_not_change(reads_input):
    attention = Attention(reads_input)
    before, after = nn.Linear(5, 24), nn.Linear(24, 7)
    network = from_torch(nn.Sequential(before, attention, after, nn.Linear(7, 2)), (2, 10, 5))
    assert {name for name, width in network.widths.items() if not width.fixed} == {"1.out", "2"}


def test_products_of_weights_alone_are_made_once():
    low = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 8, bias=False))
    network = from_torch(Of(lambda x: nn.functional.linear(x, low[1].weight @ low[0].weight), low), (3, 6))
    assert list(network.priced.values()) == [network.operations["inner.0.1"]]
    assert network["inner.0.1"] == Linear(6, 8, batch=3)
    assert "192 MACs" in network.notes[0]


# ---------------------------------------------------------------- axes of 1, axes that move in place, replaced data


class Between(nn.Module):
    """Two fully connected layers, and a function between them."""

    def __init__(self, function, made=8, taken=8):
        super().__init__()
        self.function, self.a, self.b = function, nn.Linear(8, made), nn.Linear(taken, 3)

    def forward(self, x):
        return self.b(self.function(self.a(x)))


@pytest.mark.parametrize("dim", range(-4, 4))
def test_a_new_axis_of_one_is_not_taken_for_a_width_of_one(dim):
    network = from_torch(Between(lambda x: x.unsqueeze(dim), made=1, taken=1), (2, 5, 8))
    if dim in (-1, 3):  # the new axis is the last
        assert network["b"] == Linear(1, 3, batch=10)
        assert network.widths["a"].fixed
    else:
        assert network.at({"a": 4})["b"] == Linear(4, 3, batch=10)


@pytest.mark.parametrize("dim", [(), (1,), (-3,), ((1, 0),)])
def test_a_width_that_is_squeezed_away_has_to_stay_1(dim):
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.fc = nn.Conv2d(3, 1, 1), nn.Linear(6, 4)

        def forward(self, x):
            return self.fc(self.map(x).squeeze(*dim))

    network = from_torch(Squeezed(), (2, 3, 5, 6))
    assert network["fc"] == Linear(6, 4, batch=10)
    assert network.widths["map"].fixed == "a squeeze"


MOVED = {
    "transpose": (lambda x: x.transpose(0, 1), lambda x: x.transpose_(0, 1)),
    "transpose twice": (lambda x: x.transpose(1, 2).transpose(1, 2), lambda x: x.transpose_(1, 2).transpose_(2, 1)),
    "swapaxes": (lambda x: x.swapaxes(0, 1), lambda x: x.swapaxes_(0, 1)),
    "unsqueeze": (lambda x: x.unsqueeze(1), lambda x: x.unsqueeze_(1)),
    "squeeze": (lambda x: x.unsqueeze(1).squeeze(1), lambda x: x.unsqueeze_(1).squeeze_(1)),
    "t": (lambda x: x[0].t().t(), lambda x: x[0].t_().t_()),
    "as_strided": (lambda x: x.as_strided((5, 2, 8), (16, 8, 1)), lambda x: x.as_strided_((5, 2, 8), (16, 8, 1))),
}


@pytest.mark.parametrize(("apart", "in_place"), MOVED.values(), ids=MOVED)
def test_axes_move_in_place_as_they_do_apart(apart, in_place):
    expected, found = (from_torch(Between(function), (2, 5, 8)) for function in (apart, in_place))
    assert found == expected
    assert found.widths == expected.widths
    assert found.at({}) == dict(found)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_net_on_one_sequence_joins_no_axes_of_other_sizes(kind, batch_first):
    """Its steps are stacked along the axis of the batch, and then moved in place."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.fc = kind(8, 6, batch_first=batch_first), nn.Linear(7, 3)

        def forward(self, x, wave):
            y = self.net(torch.cat([x, wave.unsqueeze(-1)], -1))[0]
            return self.fc(torch.cat([y, wave.unsqueeze(-1)], -1))

    shape = (1, 12) if batch_first else (12, 1)
    network = from_torch(Mixed(), [(*shape, 7), shape])
    assert network["fc"] == Linear(7, 3, batch=12)
    assert network.at({}) == dict(network)


def test_a_parameter_whose_axes_move_in_place_cannot_change():
    class Moved(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.b = nn.Parameter(torch.zeros(8, 6)), nn.Linear(6, 3)

        def forward(self, x):
            self.w.t_()
            y = nn.functional.linear(x, self.w)
            self.w.t_()
            return self.b(y)

    model = Moved()
    network = from_torch(model, (5, 8))
    assert dict(network) == {"w": Linear(8, 6, batch=5), "b": Linear(6, 3, batch=5)}
    assert network.widths["w"].fixed
    assert model.w.shape == (8, 6)


@pytest.mark.parametrize("shape", [(7, 8), (7, 9, 8), (2, 7, 8)])
def test_data_that_are_replaced_have_axes_of_their_own(shape):
    def replaced(x):
        x.data = torch.zeros(shape, device=x.device)
        return x

    network = from_torch(Between(replaced), (2, 5, 8))
    assert network["b"] == Linear(8, 3, batch=torch.Size(shape[:-1]).numel())
    assert network.widths["a"].fixed


# ---------------------------------------------------------------- the module is left as it was


def test_nothing_about_the_module_changes():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.BatchNorm1d(4), nn.Dropout(), shared).train()
    model[1].eval()
    model[0].register_forward_hook(lambda module, args, output: None)
    before = copy.deepcopy(model.state_dict())
    tensors = {name: id(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    hooks = len(nn.modules.module._global_forward_hooks), len(nn.modules.module._global_forward_pre_hooks)
    for _ in range(2):
        from_torch(model, (3, 4))
    with pytest.raises(InvalidValueError):
        from_torch(model, (3, 5))
    assert [module.training for module in model] == [True, False, True, True]
    assert {name: id(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())} == tensors
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert hooks == (len(nn.modules.module._global_forward_hooks), len(nn.modules.module._global_forward_pre_hooks))
    assert len(model[0]._forward_hooks) == 1
    assert torch.is_grad_enabled()
    assert model[3] is shared
    assert torch.empty(1).device.type == "cpu"


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_parts_have_their_weights_afterwards():
    model = nn.Sequential(nn.Linear(4, 8), torch.jit.script(nn.Linear(8, 6)))
    x = torch.randn(2, 4)
    before = model(x)
    assert from_torch(model, (2, 4)).macs == 2 * (32 + 48)
    assert torch.equal(model(x), before)


def test_a_network_is_the_same_each_time():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    assert from_torch(model, (1, 3, 8, 8)) == from_torch(model, (1, 3, 8, 8))
    assert from_torch(model, (1, 3, 8, 8))["1"] == MemoryOnly("relu", 288, 288)


def test_operators_of_another_library_have_rows_of_their_own():
    library = torch.library.Library("earlier", "DEF")
    library.define("mul(Tensor a) -> Tensor")
    found = operator(torch.ops.earlier.mul.default)
    assert (found.row, found.is_free, found.is_elementwise) == ("earlier::mul", False, False)
    assert operator(aten.mul.Tensor).row == operator(torch.ops.prims.mul.default).row == "aten::mul"


def test_a_layer_of_ones_own_gets_no_numbers_of_other_layers():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6, 4))

        def forward(self, x):
            return x @ self.weight.t()

    model = nn.Sequential(Own(), nn.Linear(6, 2))
    smaller = resized(model, from_torch(model, (3, 4)), {"0": 5})
    assert smaller[0].weight.shape == (5, 4)
    assert not {"nx", "nf"} & vars(smaller[0]).keys()


def test_what_does_not_change_in_a_convolution_over_time():
    class Over(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(8, 2)
            self.weight, self.bias = nn.Parameter(torch.ones(3, 6, 8)), nn.Parameter(torch.ones(8))

        def forward(self, x):
            return self.last(torch.conv_tbc(self.first(x), self.weight, self.bias, 1))

    network = from_torch(Over(), (10, 1, 4))
    assert {each.size for each in network.widths.values() if not each.fixed} == {6, 8}
