"""Depth: blocks of residual networks that can go are found by what they do, and go where their loss is worth it."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import json
import warnings

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from pruned import HELD_OUT, IMAGE, Net, images, loader, made, same, table_of  # noqa: E402
from torch import nn, optim  # noqa: E402
from trying import tried  # noqa: E402

from common import real_models  # noqa: E402
from hwcost import InvalidValueError, SystolicArray, from_torch, network_cost, read_costs, write_costs  # noqa: E402
from hwcost.plot import pruning_data  # noqa: E402
from hwcost.pruning.batches import Task  # noqa: E402
from hwcost.pruning.blocks import find_blocks, network_without, without  # noqa: E402
from hwcost.pruning.norms import re_estimate  # noqa: E402
from hwcost.torch import prune, pruned, schedule  # noqa: E402

ARRAY = SystolicArray(8, 8)


class Block(nn.Module):
    """A block of a ResNet, a MobileNet or a network with norms in front, with what is added to it at the end."""

    def __init__(self, kind, channels, wide, stride=1):
        super().__init__()
        self.kind, groups = kind, wide if kind == "inverted" else 1
        self.n0 = nn.BatchNorm2d(channels) if kind == "norm first" else nn.Identity()
        self.c1, self.n1 = nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.c2 = nn.Conv2d(wide, wide, 3, stride, padding=1, groups=groups, bias=False)
        self.n2 = nn.BatchNorm2d(wide)
        self.c3, self.n3 = nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.down = nn.Conv2d(channels, channels, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        branch = self.n2(self.c2(self.n1(self.c1(self.n0(x))).relu())).relu()
        out = self.down(x) + self.n3(self.c3(branch))
        return out.relu() if self.kind == "relu last" else out


class Residual(nn.Module):
    """A stem, blocks in two stages of which the second one begins with a smaller image, and a classifier."""

    def __init__(self, first=("relu last",) * 3, second=("relu last",) * 2, channels=16, wide=16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        self.one = nn.Sequential(*(Block(kind, channels, wide) for kind in first))
        self.two = nn.Sequential(
            Block("relu last", channels, wide, 2), *(Block(kind, channels, wide) for kind in second)
        )
        self.head = nn.Linear(channels, 4)

    def forward(self, x):
        return self.head(self.two(self.one(self.stem(x))).mean((2, 3)))


def trained(useless=("one.1",), seed=0):
    """A residual network that was trained a little, in which the branches of some blocks are nearly 0."""
    torch.manual_seed(seed)
    net = Residual()
    for name in useless:
        net.get_submodule(name).n3.weight.requires_grad_(False).fill_(1e-4)
    optimizer = optim.SGD([each for each in net.parameters() if each.requires_grad], 0.05, momentum=0.9)
    for _ in range(2):
        for x, y in loader(192):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    re_estimate(net, Task([images(64)], F.cross_entropy).batches(torch.device("cpu")))
    return net.requires_grad_(True).eval()


def of_itself(model, count=4):
    """Settings with which a module has to stay as it is: what is cut costs accuracy, whatever it is."""
    x = images(64)[0]
    with torch.no_grad():
        rows = list(zip(x.split(64 // count), model(x).split(64 // count), strict=True))
        return {"data": rows, "held_out": [(x, model(x))], "loss": F.mse_loss, "depth": True}


@pytest.fixture(scope="module")
def net():
    return trained()


def with_norms(*sizes):
    """A network in evaluation mode, with statistics and weights of norms that are not those of a new one."""
    torch.manual_seed(0)
    net = Residual(*sizes)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
    return net.eval()


def zeroed(model, blocks):
    """A copy of a module in which the branches of some blocks give 0."""
    found = copy.deepcopy(model)
    for name in blocks:
        for each in found.get_submodule(name).parameters():
            each.data.zero_()
    return found


def found(model, inputs=IMAGE):
    model.eval()
    return find_blocks(model, inputs, from_torch(model, example_inputs=inputs))


# ---------------------------------------------------------------- which blocks there are


class Chain(nn.Module):
    """Layers before and after some modules."""

    def __init__(self, *parts):
        super().__init__()
        self.stem, self.parts, self.head = nn.Linear(6, 8), nn.ModuleList(parts), nn.Linear(8, 2)

    def forward(self, x):
        x = self.stem(x)
        for part in self.parts:
            x = part(x)
        return self.head(x)


class Skip(nn.Module):
    """A branch that is added to its input, and what is made of the sum."""

    def __init__(self, *branch, end=lambda x: x):
        super().__init__()
        self.branch, self.end = nn.Sequential(*branch), end

    def forward(self, x):
        return self.end(x + self.branch(x))


class Named(Chain):
    """A chain that looks into its first part."""

    def forward(self, x):
        return super().forward(x * self.parts[0].branch[0].in_features)


class Listed(Chain):
    """A chain that has its second part in a list of Python too, and calls that one."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.own = [parts[1]]

    def forward(self, x):
        return self.head(self.own[0](self.parts[0](self.stem(x))))


class Masked(nn.Module):
    """A block that takes a second argument, which another module gives it."""

    def __init__(self):
        super().__init__()
        self.block, self.fc = Skip(nn.Linear(8, 8)), nn.Linear(8, 8)

    def forward(self, x, mask=None):
        return self.block(x)


class Masking(Chain):
    def forward(self, x):
        return self.head(self.parts[0](self.stem(x), mask=x > 0))


class Tied(Chain):
    def __init__(self):
        super().__init__(Skip(nn.Linear(8, 8)), Skip(nn.Linear(8, 8)))
        self.parts[1].branch[0].weight = self.parts[0].branch[0].weight


def line():
    return nn.Linear(8, 8)


def skip():
    return Skip(line())


one = skip()
ROWS = torch.zeros(2, 6)
CASES = {
    "skips": (lambda: Chain(skip(), skip()), ["parts.0", "parts.1"]),
    "of a chain of skips each": (lambda: Chain(nn.Sequential(skip(), skip())), ["parts.0.0", "parts.0.1"]),
    "of skips in a branch the outer one": (lambda: Chain(Skip(line(), nn.ReLU(), skip())), ["parts.0"]),
    "a chain of which one part is none": (lambda: Chain(nn.Sequential(skip(), nn.ReLU(), Skip(line(), end=torch.relu)))
                                          , ["parts.0.0", "parts.0.2"]),
    "a stage behind a ReLU, in which one changes signs": (
        lambda: Chain(nn.ReLU(), nn.Sequential(skip(), Skip(line(), end=torch.relu))), ["parts.1.0"]),
    "a skip at the end of a branch": (lambda: Chain(Skip(line(), skip())), ["parts.0"]),
    "a skip at the start of a branch": (lambda: Chain(Skip(skip(), line())), ["parts.0"]),
    "a skip in a module that is none": (lambda: Chain(nn.Sequential(line(), skip())), ["parts.0.1"]),
    "plain layers, without biases too": (lambda: Chain(line(), nn.Linear(8, 8, bias=False)), []),
    "an end that changes the sum": (lambda: Chain(Skip(line(), end=torch.tanh), skip()), ["parts.1"]),
    "a ReLU at the end, behind anything": (lambda: Chain(Skip(line(), end=torch.relu)), []),
    "a ReLU at the end, behind a ReLU": (lambda: Chain(nn.ReLU(), Skip(line(), end=torch.relu)), ["parts.1"]),
    "a norm at the end": (lambda: Chain(Skip(line(), end=lambda x: F.layer_norm(x, (8,)))), []),
    "half of the sum": (lambda: Chain(Skip(line(), end=lambda x: x / 2)), []),
    "another shape": (lambda: Chain(Skip(nn.Linear(8, 8)), nn.Linear(8, 8)), ["parts.0"]),
    "a norm without weights in the branch": (lambda: Chain(Skip(line(), nn.BatchNorm1d(8, affine=False))), ["parts.0"]),
    "a gate on the input": (lambda: Chain(Skip(line(), end=lambda x: x * torch.sigmoid(x))), []),
    "a module that is called twice": (lambda: Chain(one, one), []),
    "parameters in two blocks": (Tied, []),
    "nothing but a block": (lambda: nn.Sequential(skip()), ["0"]),
    "a second argument": (lambda: Masking(Masked()), ["parts.0.block"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_blocks_are_found_by_what_they_do(name):
    make, expected = CASES[name]
    torch.manual_seed(0)
    model = make()
    before = copy.deepcopy(model)
    inputs = ROWS if isinstance(model, Chain) else torch.zeros(2, 8)
    blocks = found(model, inputs)
    assert (list(blocks.can_go), blocks.needed) == (expected, {})
    assert same(model, before)
    for block in expected:
        x = torch.randn(inputs.shape)
        with without(model, [block]):
            left = model(x)
        torch.testing.assert_close(left, zeroed(model, [block])(x))
    assert same(model, before)


def test_blocks_that_the_code_needs_say_why():
    blocks = found(Named(skip(), skip()), ROWS)
    assert blocks.can_go == ("parts.1",)
    assert "PassThrough" in blocks.needed["parts.0"]
    blocks = found(Listed(skip(), skip()), ROWS)
    assert (blocks.can_go, blocks.needed) == (
        ("parts.0",), {"parts.1": "the code of the module calls it by another name"}
    )  # fmt: skip


def test_random_numbers_of_others_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    model = Residual()
    torch.manual_seed(5)
    found(model)
    assert torch.equal(torch.rand(3), expected)


def transformer(norm_first, **sizes):
    layers = [nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=norm_first) for _ in range(3)]
    return nn.Sequential(nn.Linear(12, 16), *layers, nn.LayerNorm(16), nn.Linear(16, 4)).eval()


def vision(name, **options):
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    torch.manual_seed(0)
    made = getattr(real_models.loaded("torchvision"), name)
    return made(**options).eval()


REAL = {
    "resnet18": ({"num_classes": 4}, ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]),
    "mobilenet_v2": ({"num_classes": 4}, [f"features.{i}" for i in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)]),
    "VisionTransformer": (
        {"image_size": 32, "patch_size": 16, "num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32},
        [f"encoder.layers.encoder_layer_{i}" for i in range(3)],
    ),
    "squeezenet1_1": ({"num_classes": 4}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_blocks_of_networks_that_nobody_here_wrote(name):
    options, expected = REAL[name]
    blocks = found(vision(name, **options), torch.zeros(1, 3, 32, 32))
    assert (list(blocks.can_go), blocks.needed) == (expected, {})


def test_layers_of_transformers_with_norms_first():
    assert found(transformer(norm_first=True), torch.zeros(2, 5, 12)).can_go == ("1", "2", "3")
    assert found(transformer(norm_first=False), torch.zeros(2, 5, 12)).can_go == ()


KINDS = st.lists(st.sampled_from(["relu last", "inverted", "norm first"]), min_size=1, max_size=3)
SIZES = KINDS, KINDS, st.sampled_from([4, 6, 8]), st.integers(1, 10)


@tried(20)
@given(*SIZES, st.data())
def test_a_network_without_blocks_is_one_whose_branches_are_zero(first, second, channels, wide, data):
    model = with_norms(first, second, channels, wide)
    network = from_torch(model, example_inputs=IMAGE)
    blocks = find_blocks(model, IMAGE, network).can_go
    always = {f"one.{i}" for i, kind in enumerate(first) if kind != "relu last"}
    always |= {f"two.{i + 1}" for i, kind in enumerate(second) if kind != "relu last"}
    assert always <= set(blocks)
    assert "two.0" not in blocks
    some = data.draw(st.lists(st.sampled_from(sorted(blocks)), unique=True)) if blocks else []
    x = torch.randn(4, 3, 8, 8)
    with without(model, some):
        torch.testing.assert_close(model(x), zeroed(model, some)(x), atol=1e-5, rtol=1e-5)
        read = from_torch(model, example_inputs=IMAGE)
    part = network_without(network, some)
    wanted, there = ({name: each.layer.gemms() for name, each in own.priced.items()} for own in (part, read))
    assert wanted == there


@tried(6)
@given(*SIZES)
def test_a_pruned_network_is_the_original_with_zeros(first, second, channels, wide):
    model = with_norms(first, second, channels, wide)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there are no data to train on
        result = prune(model, IMAGE, ARRAY, target=0.6, held_out=HELD_OUT, depth=True, least=0)
    check(result, 0.6)
    expected = result.network.masked(zeroed(model, result.dropped), result.kept)
    x = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(result.model(x), expected(x), atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- which go


def check(result, target, image=IMAGE, array=ARRAY):
    """The limit is kept, and the new module costs what the report says."""
    before, after = (
        network_cost(from_torch(each, example_inputs=image), array).total for each in (result.original, result.model)
    )
    assert (result.report.before.cycles, result.report.after.cycles) == (before.cycles, after.cycles)
    assert after.cycles <= target * before.cycles
    assert sum(each.after.cycles for each in result.report.layers) == after.cycles
    return after.cycles / (target * before.cycles)


@pytest.mark.parametrize("importance", ["curves", "magnitude"])
def test_the_block_that_does_nothing_goes(net, importance):
    before = copy.deepcopy(net)
    result = prune(net, IMAGE, ARRAY, target=0.7, importance=importance, **of_itself(net))
    assert result.dropped == ("one.1",)
    assert check(result, 0.7) >= 0.97
    assert same(net, before)
    assert not any(module.training for module in net.modules())
    depth = result.report.depth
    rows = {each.name: each for each in depth.blocks}
    assert list(rows) == ["one.0", "one.1", "one.2", "two.1", "two.2"]
    assert abs(rows["one.1"].added_loss) < 1e-3 < min(each.added_loss for each in depth.blocks if each.stays)
    assert rows["one.1"].cost == sum(
        each.before.cycles for each in result.report.layers if each.name.startswith("one.1.")
    )
    assert result.dropped == depth.dropped == tuple(name for name, each in rows.items() if not each.stays)
    assert depth.tried[0].dropped == ()
    assert depth.tried[1].dropped == ("one.1",)
    assert [len(each.dropped) for each in depth.tried] == sorted({len(each.dropped) for each in depth.tried})
    assert min(depth.tried, key=lambda each: each.loss).dropped == result.dropped
    assert all(each.cost >= 0.97 * result.report.limit for each in depth.tried)
    assert depth.tried[1].loss < 0.5 * depth.tried[0].loss


def test_two_blocks_that_do_nothing_go_and_no_width_is_cut():
    model = trained(("one.0", "one.2"))
    settings = of_itself(model)
    report = prune(model, IMAGE, ARRAY, target=0.9, importance="taylor", **settings).report
    cost = {each.name: each.cost for each in report.depth.blocks}
    target = 1 - (cost["one.0"] + cost["one.2"]) / report.before.cycles
    result = prune(model, IMAGE, ARRAY, target=target, **settings)
    assert (result.dropped, result.sizes) == (("one.0", "one.2"), {})
    assert check(result, target) == 1
    assert pruning_data(result.report)["blocks"] == ["one.0", "one.2"]
    assert result.report.left_alone["two.0.c1"] == "the limit is met without a cut"


def test_widths_alone_are_taken_where_their_loss_is_lower():
    model = trained(())
    settings = of_itself(model)
    result = prune(model, IMAGE, ARRAY, target=0.9, **settings)
    alone = prune(model, IMAGE, ARRAY, target=0.9, **{**settings, "depth": False})
    assert len(result.report.depth.tried) > 1
    assert result.dropped == ()
    assert (result.sizes, result.report.stages) == (alone.sizes, alone.report.stages)
    assert same(result.model, alone.model)


def test_a_limit_that_widths_cannot_meet(net):
    array = SystolicArray(64, 64)
    settings = {**of_itself(net), "importance": "taylor", "least": 0}
    alone = {**settings, "depth": False}
    with pytest.raises(InvalidValueError, match="no widths can save the rest"):
        prune(net, IMAGE, array, target=0.4, **alone)
    result = prune(net, IMAGE, array, target=0.4, **settings)
    assert result.report.after.cycles <= 0.4 * result.report.before.cycles
    assert all(each.dropped for each in result.report.depth.tried)
    assert "nothing saves more" in str(result.report)
    floor = result.report.floor / result.report.before.cycles
    with pytest.raises(InvalidValueError, match=r"without 5 blocks .* nothing can save the rest") as error:
        prune(net, IMAGE, array, target=0.99 * floor, **settings)
    assert error.value.field == "target"
    assert "depth" not in str(error.value)
    with pytest.raises(InvalidValueError, match="without 5 blocks"):
        list(schedule(net, IMAGE, array, targets=(0.9, 0.99 * floor), **settings))
    assert prune(net, IMAGE, array, target=1.01 * floor, **settings).report.used <= 1


@pytest.mark.parametrize("keep", ["one.1", "one", "one.1.c2", "one.1.c1"])
def test_a_block_that_is_to_be_kept_stays(net, keep):
    result = prune(net, IMAGE, ARRAY, target=0.85, importance="taylor", keep=[keep], **of_itself(net))
    rows = {each.name: each for each in result.report.depth.blocks}
    assert rows["one.1"].stays == "kept as asked"
    assert not rows["one.1"].can_go
    assert "one.1" not in result.dropped
    assert (keep == "one") == (rows["one.0"].stays == "kept as asked")
    if keep != "one.1.c2":
        assert result.report.left_alone["one.1.c1"] == "kept as asked"


def test_what_cannot_be_is_refused(net):
    with pytest.raises(InvalidValueError, match=r"depth cannot be used: .* pass data or held_out"):
        prune(net, IMAGE, ARRAY, target=0.5, depth=True)
    with pytest.raises(InvalidValueError, match="depth is 2; allowed: True or False"):
        prune(net, IMAGE, ARRAY, target=0.5, depth=2, data=loader())
    with pytest.raises(InvalidValueError, match="keep is 'three'"):
        prune(net, IMAGE, ARRAY, target=0.5, depth=True, data=loader(), keep=["three"])


def test_modules_without_blocks_say_so():
    plain = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.Flatten(), nn.Linear(512, 4)).eval()
    post = transformer(norm_first=False)
    rows = [(torch.randn(8, 5, 12), torch.randint(4, (8,)))]

    def mean(outputs, targets):
        return F.cross_entropy(outputs.mean(1), targets)

    for model, inputs, more in (
        (plain, IMAGE, {"data": loader()}),
        (post, torch.zeros(1, 5, 12), {"data": rows, "held_out": rows, "loss": mean}),
    ):
        result = prune(model, inputs, ARRAY, target=0.8, depth=True, **more)
        alone = prune(model, inputs, ARRAY, target=0.8, **more)
        assert any(note.startswith("no block can be dropped") for note in result.report.notes)
        assert (result.dropped, result.sizes, result.report.floor) == ((), alone.sizes, alone.report.floor)
        assert same(result.model, alone.model)
        assert "no widths save more" in str(result.report)


def test_a_transformer_loses_layers():
    torch.manual_seed(0)
    model, x = transformer(norm_first=True), torch.randn(8, 5, 12)
    for each in (model[2].self_attn.out_proj, model[2].linear2):
        each.weight.data.mul_(1e-4)
        each.bias.data.zero_()
    rows = [(x, model(x).detach())]
    result = prune(
        model, x[:1], ARRAY, target=0.7, data=rows, held_out=rows, depth=True, loss=F.mse_loss, importance="taylor"
    )
    assert "2" in result.dropped
    check(result, 0.7, x[:1])


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_networks_that_nobody_here_wrote_are_cut_and_built_again(name, tmp_path):
    pytest.importorskip("safetensors")
    options, blocks = REAL[name]
    model, image = vision(name, **options), torch.zeros(1, 3, 32, 32)
    random = torch.Generator().manual_seed(0)
    rows = [(torch.randn(8, 3, 32, 32, generator=random), torch.randint(4, (8,), generator=random)) for _ in range(2)]
    array = SystolicArray(32, 32)
    result = prune(model, image, array, target=0.4, data=rows, held_out=rows, importance="taylor", depth=True)
    assert set(result.dropped) <= set(blocks)
    assert [each.name for each in result.report.depth.blocks] == blocks
    assert check(result, 0.4, image, array) >= 0.97
    result.save(tmp_path)
    assert same(pruned(tmp_path, vision(name, **options)), result.model)


def test_measured_costs_are_looked_up_without_the_blocks(net, tmp_path):
    write_costs(tmp_path / "costs.csv", table_of(net))
    settings = {"target": 0.6, "importance": "taylor", "least": 0.1, **of_itself(net)}
    by_table = prune(net, IMAGE, read_costs(tmp_path / "costs.csv"), **settings)
    by_array = prune(net, IMAGE, ARRAY, **settings)
    assert (by_table.dropped, by_table.sizes) == (by_array.dropped, by_array.sizes)
    assert by_table.report.after.cycles == by_array.report.after.cycles


def test_scores_of_widths_that_are_not_there_are_left_out(net):
    scores = lambda model, network: {  # noqa: E731
        name: torch.rand(width.size, generator=torch.Generator().manual_seed(0))
        for name, width in network.widths.items() if not width.fixed
    }  # fmt: skip
    settings = {"target": 0.6, **of_itself(net)}
    network = from_torch(net, example_inputs=IMAGE)
    result = prune(net, IMAGE, ARRAY, importance=scores(net, network), **settings)
    assert result.dropped
    assert result.sizes == prune(net, IMAGE, ARRAY, importance=scores, **settings).sizes
    with pytest.raises(InvalidValueError, match="width that can change"):
        prune(net, IMAGE, ARRAY, importance={**scores(net, network), "nothing": [1.0]}, **settings)


def test_losses_that_are_known_are_not_measured_again(net):
    known, counts = {}, []
    settings = {"target": 0.6, "data": loader(), "held_out": HELD_OUT, "depth": True}

    def counted(outputs, targets):
        counts.append(1)
        return F.cross_entropy(outputs, targets)

    steps = []
    first = prune(
        net, IMAGE, ARRAY, loss=counted, known_losses=known, progress=lambda *at: steps.append(at), **settings
    )
    whole = len(counts)
    done, planned = zip(*steps, strict=True)
    assert list(done) == list(range(1, len(done) + 1))
    assert all(a <= b for a, b in steps)
    assert done[-1] == planned[-1]
    counts.clear()
    again = prune(net, IMAGE, ARRAY, loss=counted, known_losses=json.loads(
        json.dumps(known), object_hook=lambda own: {int(k) if k.isdigit() else k: v for k, v in own.items()}
    ), **settings)  # fmt: skip
    assert same(first.model, again.model)
    assert whole - len(counts) == sum(map(len, known.values()))  # a batch of held-out examples each


# ---------------------------------------------------------------- on from there


@pytest.fixture(scope="module")
def result(net):
    return prune(net, IMAGE, ARRAY, target=0.55, importance="taylor", **of_itself(net))


def test_the_report_is_data_and_text(result):
    document = json.loads(json.dumps(result.report.as_dict(), allow_nan=False))
    assert document["depth"]["dropped"] == list(result.dropped)
    assert {each["name"] for each in document["depth"]["blocks"]} == {"one.0", "one.1", "one.2", "two.1", "two.2"}
    assert document["settings"]["depth"] is True
    gone = [each for each in document["layers"] if each["name"].startswith("one.1.")]
    assert len(gone) == 3
    assert all(each["after"]["cycles"] == 0 < each["before"]["cycles"] for each in gone)
    text = str(result.report)
    assert "without the 5 blocks that can go" in text.splitlines()[2]
    for words in ("what became of it", "blocks dropped", "loss at the limit", "taken", "dropped"):
        assert words in text
    widths = {name for name in result.report.left_alone if name.startswith("one.1.")}
    assert not widths & set(result.sizes)
    data = pruning_data(result.report)
    assert data["blocks"] == list(result.dropped)
    assert [name for name in result.changed_numbers if name.startswith("one.1")] == []


def test_a_picture_has_the_blocks(result):
    pytest.importorskip("matplotlib")
    from hwcost.plot import pruning_figure

    texts = [each.get_text() for each in pruning_figure(result.report).axes[0].texts]
    assert texts.count("dropped") == len(result.dropped) > 0


def test_state_dicts_optimizers_and_back(net, result):
    whole, small = net.state_dict(), result.model.state_dict()
    cut = result.cut({f"module.{name}": each for name, each in whole.items()})
    assert {name.removeprefix("module.") for name in cut} == set(small)
    assert all(each.shape == small[name.removeprefix("module.")].shape for name, each in cut.items())
    with pytest.raises(InvalidValueError, match="names of the module"):
        result.cut({"one.1.c9.weight": torch.zeros(1)})
    back = result.undo()
    assert list(back.state_dict()) == list(whole)
    for name in result.dropped:
        assert same(back.get_submodule(name), net.get_submodule(name))
    again = result.cut(back.state_dict())
    assert all(torch.equal(again[name], each) for name, each in small.items())
    model = copy.deepcopy(net)
    groups = [{"params": list(model.one.parameters()), "lr": 0.1}, {"params": list(model.head.parameters())}]
    before = optim.Adam(groups, 0.01)
    own = prune(model, IMAGE, ARRAY, target=0.55, importance="taylor", **of_itself(net))
    assert own.dropped == result.dropped
    model.train()
    x, y = images(16)
    F.cross_entropy(model(x), y).backward()
    before.step()
    after = own.map_optimizer(before)
    names = {id(each): name for name, each in own.model.named_parameters()}
    mapped = [[names[id(each)] for each in group["params"]] for group in after.param_groups]
    assert mapped == [[name for name in names.values() if name.startswith(start)] for start in ("one.", "head.")]
    assert all(
        after.state[each]["exp_avg"].shape == each.shape for group in after.param_groups for each in group["params"]
    )
    loss = F.cross_entropy(own.model(x), y)
    loss.backward()
    after.step()


def test_a_folder_builds_the_module_again(result, tmp_path):
    pytest.importorskip("safetensors")
    result.save(tmp_path)
    fresh = Residual()
    before = copy.deepcopy(fresh)
    small = pruned(tmp_path, fresh)
    assert same(fresh, before)
    assert same(small, result.model)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(small(x), result.model(x))
    assert json.loads((tmp_path / "recipe.json").read_text())["dropped"] == list(result.dropped)
    with pytest.raises(InvalidValueError, match="it has no"):
        pruned(tmp_path, Net())


def test_a_folder_fits_a_module_without_the_blocks(result, tmp_path):
    """Its code has the new numbers already."""
    pytest.importorskip("safetensors")
    result.save(tmp_path)
    own, x = copy.deepcopy(result.model), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        own.head.weight.zero_()
    del own.one._modules["1"]
    assert torch.equal(pruned(tmp_path, own)(x), result.model(x))
    own.head = nn.Linear(2, 2)
    with pytest.raises(InvalidValueError, match="head"):
        pruned(tmp_path, own)


@pytest.mark.parametrize("dropped", [["one.7"], "one.1", 3, {"one": 1}])
def test_recipes_that_are_changed(dropped, result, tmp_path):
    pytest.importorskip("safetensors")
    result.save(tmp_path)
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps({**recipe, "dropped": dropped}))
    with pytest.raises(InvalidValueError):
        pruned(tmp_path, Residual())


def test_fine_tuning_that_was_stopped_ends_with_the_same_bits(net, tmp_path):
    settings = of_itself(net)

    def made():
        return prune(net, IMAGE, ARRAY, target=0.55, importance="taylor", **settings)

    whole, stopped = made().fine_tune(epochs=3), made()
    path = tmp_path / "state"

    def stop(done, _):
        if done > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.fine_tune(epochs=3, checkpoint=path, progress=stop)
    assert same(made().fine_tune(epochs=3, checkpoint=path).model, whole.model)
    alone = prune(net, IMAGE, ARRAY, target=0.55, importance="taylor", **{**settings, "depth": False})
    with pytest.raises(InvalidValueError, match="another fine-tuning"):
        alone.fine_tune(epochs=3, checkpoint=path)


def test_each_step_may_drop_more():
    model = trained(("one.0", "one.1", "two.1"))
    settings, targets, steps = {"importance": "taylor", **of_itself(model)}, (0.8, 0.6, 0.3), []
    for target, step in zip(targets, schedule(model, IMAGE, ARRAY, targets=targets, **settings), strict=True):
        check(step, target)
        steps.append((step, optim.SGD(step.model.parameters(), 0.01, momentum=0.9)))
        step.fine_tune(epochs=1)
    first, last = steps[0][0], steps[-1][0]
    assert first.dropped
    for (one, _), (other, _) in itertools.pairwise(steps):
        assert set(one.dropped) <= set(other.dropped)
    assert len(last.dropped) > len(first.dropped)
    assert set(last.report.depth.dropped) == set(last.dropped)
    assert last.original is model
    mapped = last.map_optimizer(steps[0][1])
    assert [id(each) for each in mapped.param_groups[0]["params"]] == [id(each) for each in last.model.parameters()]
    for name in first.dropped:
        assert same(last.undo().get_submodule(name), model.get_submodule(name))
    for name in set(last.dropped) - set(first.dropped):  # it was trained in between
        assert not same(last.undo().get_submodule(name), model.get_submodule(name))
    alone = prune(model, IMAGE, ARRAY, target=0.25, after=last, **{**settings, "depth": False})
    assert alone.dropped == last.dropped
    check(alone, 0.25)
    met = prune(model, IMAGE, ARRAY, target=0.9, after=last, **settings)
    assert met.dropped == last.dropped
    assert same(met.model, last.model)


def test_a_module_is_as_it_was_after_an_error(net):
    before = copy.deepcopy(net)

    def fails(outputs, targets, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("no")
        return F.cross_entropy(outputs, targets)

    with pytest.raises(InvalidValueError, match="no"):
        prune(net, IMAGE, ARRAY, target=0.55, data=loader(), held_out=HELD_OUT, depth=True, loss=fails)
    assert same(net, before)
    assert isinstance(net.one[1], Block)
    assert not any(module.training for module in net.modules())


def test_without_depth_nothing_is_looked_for(monkeypatch):
    monkeypatch.setattr("hwcost.pruning.depth.find_blocks", None)
    result = prune(made(), IMAGE, ARRAY, target=0.8, data=loader(), held_out=HELD_OUT, importance="taylor")
    assert (result.dropped, result.report.depth, result.report.as_dict()["depth"]) == ((), None, None)
