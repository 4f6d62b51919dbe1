"""What users of other pruning tools complain of, each as a test that shows it solved."""

from __future__ import annotations

import copy
import json
import warnings

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import hwcost.torch  # noqa: E402
from hwcost import Conv2d, InvalidValueError, SystolicArray, from_torch, layer_cost, load_device, network_cost  # noqa: E402
from hwcost.devices import device_names, read_device  # noqa: E402
from hwcost.importers.torch.resize import resized  # noqa: E402
from hwcost.torch import cost_table, prune, pruned  # noqa: E402

IMAGE = torch.zeros(1, 3, 16, 16)
ARRAYS = {
    **{f"{size}-{how}": SystolicArray(size, size, fold_timing=how) for size in (8, 64) for how in ("ideal", "serial")},
    **{name: load_device(name) for name in device_names() if not load_device(name).has_run},
}  # fmt: skip


class Inverted(nn.Module):
    """A block of MobileNetV2."""

    def __init__(self, before, after, stride=1, times=4):
        super().__init__()
        wide = before * times
        self.layers = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.adds = stride == 1 and before == after

    def forward(self, x):
        return x + self.layers(x) if self.adds else self.layers(x)


def mobile():
    stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
    blocks = Inverted(8, 12, 2), Inverted(12, 12), Inverted(12, 20)
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 4))


class Grouped(nn.Module):
    """Grouped convolutions, one after the other, with a shuffle of channels between them as ShuffleNet has it."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 24, 3), nn.Conv2d(24, 24, 3, groups=2), nn.Conv2d(24, 32, 1, groups=4)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.b(self.a(self.stem(x).relu()).relu()).mean((2, 3)))


class Pieces(nn.Module):
    """Channels that are cut in two, one half gated by the other, and put side by side with others, as C2f and GLU."""

    def __init__(self):
        super().__init__()
        self.stem, self.branch, self.mixed = nn.Conv2d(3, 32, 3), nn.Conv2d(16, 12, 1), nn.Conv2d(44, 24, 1)
        self.gate, self.head = nn.Linear(24, 64), nn.Linear(32, 4)

    def forward(self, x):
        a, b = self.stem(x).relu().chunk(2, 1)
        c = self.branch(b).relu()
        x = self.mixed(torch.cat([a, b, c], 1)).mean((2, 3))
        value, gate = self.gate(x).chunk(2, -1)
        return self.head(value * gate.sigmoid())


class Attention(nn.Module):
    """Attention and an MLP, whose heads are a number in the module."""

    def __init__(self, width=16, heads=4):
        super().__init__()
        self.patch, self.heads = nn.Conv2d(3, width, 4, 4), heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down, self.head = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), nn.Linear(width, 4)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width))
        return self.head((x + self.down(F.gelu(self.up(x)))).mean(1))


MODULES = {"depthwise": mobile, "grouped": Grouped, "chunk and concat": Pieces, "heads": Attention}


def made(name, seed=0):
    torch.manual_seed(seed)
    return MODULES[name]().eval()


def quietly(*args, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there are no data
        return prune(*args, **settings)


def images(count, seed=0):
    """Images of four classes that a small network can tell apart."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=random)
    pictures = torch.randn(count, 3, 16, 16, generator=random)
    pictures[torch.arange(count), labels % 3] += 0.5 + labels.float()[:, None, None]
    return pictures, labels


BATCHES = list(zip(*(each.split(32) for each in images(256)), strict=True))
HELD_OUT = [images(128, seed=7)]


def step(model, optimizer, batch):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.fixture(scope="module")
def trained():
    """A network with batch norms that was trained, and its optimizer."""
    model = made("depthwise")
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    model.train()
    for rate in (0.05, 0.05, 0.01):
        optimizer.param_groups[0]["lr"] = rate
        for batch in BATCHES:
            step(model, optimizer, batch)
    return model.eval(), optimizer


@pytest.mark.parametrize("name", ARRAYS)
def test_slower_after_pruning(name):
    """Three times the latency after MobileNetV2 was pruned, says a thread: here no layer takes more than before."""
    model, array = made("depthwise"), ARRAYS[name]
    floor = quietly(model, IMAGE, array, target=0.99, least=0.1).report
    target = max(0.6, 0.5 + 0.5 * floor.floor / floor.before.cycles)
    result = quietly(model, IMAGE, array, target=target, least=0.1)
    assert all(layer.after.cycles <= layer.before.cycles for layer in result.report.layers)
    priced = network_cost(from_torch(result.model, example_inputs=IMAGE), array).total
    assert priced.cycles == result.report.after.cycles <= target * result.report.before.cycles
    assert priced.seconds < result.report.before.seconds


@pytest.mark.parametrize("name", MODULES)
def test_divisible_by_8(name):
    result = quietly(made(name), IMAGE, SystolicArray(8, 8), target=0.8, multiple=8, least=0)
    assert result.sizes
    assert all(size % 8 == 0 for size in result.sizes.values())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", MODULES)
def test_what_breaks_elsewhere_computes_what_the_masked_module_does(name, seed):
    """Depthwise and grouped convolutions, indices behind chunk and concat, heads, and numbers in modules."""
    model = made(name, seed)
    target = {"heads": 0.85}.get(name, 0.6)
    result = quietly(model, IMAGE, SystolicArray(4, 4), target=target, least=0.1)
    assert result.sizes
    x = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        found, expected = result.model(x), result.network.masked(model, result.kept)(x)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    for module in result.model.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups)


def test_heads_stay_and_the_report_says_why():
    result = quietly(made("heads"), IMAGE, SystolicArray(4, 4), target=0.85)
    assert result.sizes.keys() == {"up"}
    assert result.report.left_alone["qkv"] == "attention heads, whose sizes the code computes"
    assert result.report.left_alone["patch"] == "the code of the module depends on its size"
    assert result.model.heads == 4


@pytest.mark.parametrize("name", MODULES)
def test_a_pruned_state_dict_fits_a_class_again(name, tmp_path):
    result = quietly(made(name), IMAGE, SystolicArray(4, 4), target=0.85, least=0.1)
    result.save(tmp_path)
    again = pruned(tmp_path, made(name, seed=5))
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(x), result.model(x))
    numbers = json.loads(json.dumps(result.changed_numbers))
    assert numbers  # what to change in the code of the class


WRAPPERS = {
    "pass model.module, and": nn.DataParallel,
    "pass model._orig_mod, and": torch.compile,
    "pass model.module._orig_mod, and": lambda model: nn.DataParallel(torch.compile(model)),
}


@pytest.mark.parametrize("words", WRAPPERS)
def test_what_a_wrapper_holds_is_to_be_pruned(words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        model = WRAPPERS[words](made("grouped"))
    for work in (prune, hwcost.torch.darts):
        with pytest.raises(InvalidValueError, match=words):
            work(model, IMAGE, SystolicArray(4, 4), target=0.85, data=BATCHES)
    with pytest.raises(InvalidValueError, match=words):
        hwcost.torch.supernet(model, IMAGE, data=BATCHES)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_whose_code_has_the_new_numbers_takes_its_weights(name, tmp_path):
    result = quietly(made(name), IMAGE, SystolicArray(4, 4), target=0.85, least=0.1)
    result.save(tmp_path)
    own = copy.deepcopy(result.model)
    with torch.no_grad():
        for each in own.parameters():
            each.zero_()
    again = pruned(tmp_path, own)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(x), result.model(x))
    assert not any(each.any() for each in own.parameters())  # it is not changed


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_is_cut_already_is_not_cut_again(name, tmp_path):
    whole = made(name)
    result = quietly(whole, IMAGE, SystolicArray(4, 4), target=0.85, least=0.1)
    other = quietly(whole, IMAGE, SystolicArray(4, 4), target=0.95, least=0.1)
    assert other.sizes != result.sizes
    other.save(tmp_path)
    changes = {
        "resized": lambda: resized(result.model, result.network, keep=result.kept),
        "masked": lambda: result.network.masked(result.model, result.kept),
        "pruned": lambda: pruned(tmp_path, result.model),
    }
    for change in changes.values():
        with pytest.raises(InvalidValueError, match="not cut yet") as caught:
            change()
        wrong = str(caught.value).split("'")[1]
        for model in (result.model, whole):  # both shapes are named
            assert str(tuple(model.get_parameter(wrong).shape)) in str(caught.value)


def test_accuracy_does_not_collapse_at_a_tiny_ratio(trained):
    """70 % to 50 % at a ratio of 0.001, says a thread: the statistics of batch norms were those of another network."""
    model, _ = trained
    settings = {"data": BATCHES, "held_out": HELD_OUT, "least": 0.1}
    result = prune(model, IMAGE, SystolicArray(8, 8), target=0.97, **settings)
    original, cut = (stage.measured for stage in result.report.stages)
    assert original.accuracy > 0.8
    assert cut.accuracy > original.accuracy - 0.05
    result = prune(model, IMAGE, SystolicArray(8, 8), target=0.5, **settings)
    raw = resized(model, result.network, keep=result.kept).eval()
    x, y = HELD_OUT[0]
    with torch.no_grad():
        assert F.cross_entropy(result.model(x), y) < F.cross_entropy(raw(x), y) - 0.05


def test_the_optimizer_goes_on_warm(trained):
    """Without any gradient the next step is that of the momenta of the original, channel by channel."""
    model, optimizer = copy.deepcopy(trained)
    result = quietly(model, IMAGE, SystolicArray(8, 8), target=0.6)
    small = result.map_optimizer(optimizer)
    before = {name: each.clone() for name, each in result.model.state_dict().items()}
    for module in (model, result.model):
        for each in module.parameters():
            each.grad = torch.zeros_like(each)
    old = {name: each.clone() for name, each in model.state_dict().items()}
    small.step()
    optimizer.step()
    moved = result.cut({name: each - old[name] for name, each in model.state_dict().items()})
    assert sum(float(each.abs().sum()) for each in moved.values()) > 0
    for name, each in result.model.named_parameters():
        torch.testing.assert_close(each - before[name], moved[name], rtol=1e-3, atol=1e-6)


def test_anybody_can_make_the_latency_table(tmp_path):
    """Five people ask how HALP's table is made: here by a call, for any array and any device file."""
    (tmp_path / "mine.toml").write_text(
        'schema = "hwcost.device/1"\nname = "mine"\nsummary = "an array of my own"\n'
        + "".join(
            f'array.{name} = {{ value = {value}, unit = "{unit}", status = "assumed", source = "mine" }}\n'
            for name, value, unit in (
                ("rows", 8, "PE"), ("cols", 12, "PE"), ("clock_hz", 1e8, "Hz"), ("dataflow", '"os"', ""),
                ("fold_timing", '"serial"', ""),
            )
        )
    )  # fmt: skip
    array = read_device(tmp_path / "mine.toml").array
    table = cost_table(Conv2d(64, 64, 3, height=14, width=14, padding=1), [16, 33, 64], [8, 24, 64], array=array)
    for i, before in enumerate((16, 33, 64)):
        for j, after in enumerate((8, 24, 64)):
            layer = Conv2d(before, after, 3, height=14, width=14, padding=1)
            assert table.values[i, j] == layer_cost(layer, array).cycles
    result = quietly(made("depthwise"), IMAGE, array, target=0.6, least=0.1)
    assert 0.97 <= result.report.used <= 1
