"""A super-network over any module: a part is what a cut would be, trainings go on, and limits are exact."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from machines import BARE, RICH  # noqa: E402
from pruned import ARRAY, HELD_OUT, IMAGE, Net, loader, made, same  # noqa: E402
from test_channels import CASES, drawn  # noqa: E402
from torch import nn  # noqa: E402

from hwcost import InvalidValueError, SystolicArray, from_torch, network_cost  # noqa: E402
from hwcost.pruning.batches import Task  # noqa: E402
from hwcost.pruning.candidates import Pool  # noqa: E402
from hwcost.pruning.norms import of_the_batch  # noqa: E402
from hwcost.torch import Sliced, prune, resized, supernet  # noqa: E402


@pytest.fixture(scope="module")
def net():
    return made()


@pytest.fixture(scope="module")
def shared(net):
    return supernet(net, IMAGE, data=loader(), held_out=HELD_OUT, epochs=2)


# ---------------------------------------------------------------- parts


class Many(nn.Module):
    """Layers whose numbers are read in their forward: a recurrent one, layer norms, a table of embeddings."""

    def __init__(self):
        super().__init__()
        self.table, self.up, self.norm = nn.Embedding(11, 8), nn.Linear(8, 12), nn.LayerNorm(12)
        self.rows, self.head = nn.LSTM(12, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.rows(self.norm(self.up(self.table(x)).relu()))[0][:, -1])


def cases():
    yield from ((name, *case, None) for name, case in CASES.items())
    yield "residual, depthwise and grouped", Net, (2, 3, 8, 8), None
    yield "embeddings and rows", Many, (2, 5), torch.randint(11, (2, 5), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("make", "shape", "x"), [each[1:] for each in cases()], ids=[each[0] for each in cases()])
def test_a_part_computes_what_the_module_cut_to_it_does(make, shape, x):
    torch.manual_seed(0)
    model, x = make(), torch.randn(shape) if x is None else x
    network = from_torch(copy.deepcopy(model).eval(), example_inputs=x)
    before = copy.deepcopy(model)
    for seed in range(6):
        kept = drawn(network, seed)
        if all(len(channels) == network.widths[name].size for name, channels in kept.items()):
            continue  # all of the module, whose statistics follow
        for mode in (True, False):
            model.train(mode)
            small, part = resized(model, network, keep=kept), Sliced(model, network, keep=kept)
            outputs, wanted = part(x), small(x)
            assert torch.equal(outputs, wanted)
            outputs.square().sum().backward()
            wanted.square().sum().backward()
            whole = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
            of_small = {name: each.grad for name, each in small.named_parameters() if each.grad is not None}
            assert {name: each.double().square().sum().item() for name, each in whole.items()} == pytest.approx(
                {name: each.double().square().sum().item() for name, each in of_small.items()}, rel=1e-4, abs=1e-9
            )
            model.zero_grad()
    assert same(model, before)
    assert [_numbers(each) for each in model.modules()] == [_numbers(each) for each in before.modules()]


def _numbers(module):
    return {name: value for name, value in vars(module).items() if isinstance(value, (int, tuple))} | {"training": 0}


def test_a_part_of_all_channels_is_the_module(net):
    network = from_torch(net, example_inputs=IMAGE)
    model = copy.deepcopy(net).train()
    part = Sliced(model, network, {})
    part(torch.randn(4, 3, 8, 8))
    assert not torch.equal(model.stem[1].running_mean, net.stem[1].running_mean)  # it is trained as it is


def test_a_part_that_raises_leaves_the_module_as_it_was(net):
    part = Sliced(net, from_torch(net, example_inputs=IMAGE), {"stem.0": 4})
    before = copy.deepcopy(net)
    with pytest.raises(RuntimeError):
        part(torch.randn(4, 5, 8, 8))
    assert same(net, before)
    assert net.stem[0].out_channels == 12


# ---------------------------------------------------------------- the training


def test_the_training_makes_parts_better(net, shared):
    sizes = {"blocks.0.up": 12, "blocks.1.up": 8, "stem.0": 6}
    untrained = supernet(net, IMAGE, data=loader(), held_out=HELD_OUT, epochs=1,
                         optimizer=lambda own: torch.optim.SGD(own, 1e-12))  # fmt: skip
    assert shared.loss_of(sizes) < untrained.loss_of(sizes)
    assert not same(shared.model, net)
    assert same(shared.original, net)
    assert not any(module.training for module in shared.model.modules())


def test_a_training_that_was_stopped_ends_with_the_same_bits(net, tmp_path, shared):
    path = tmp_path / "state"

    def progress(done, of):
        if done == 8:
            assert of == 12
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supernet(net, IMAGE, data=loader(), held_out=HELD_OUT, epochs=2, checkpoint=path, progress=progress)
    torch.manual_seed(np.random.default_rng().integers(1000))  # what else happens has no effect
    again = supernet(net, IMAGE, data=loader(), held_out=HELD_OUT, epochs=2, checkpoint=path)
    assert same(again.model, shared.model)
    for change in ({"epochs": 3}, {"seed": 1}, {"least": 0.5}, {"distil": 0.2}):
        settings = {"epochs": 2} | change
        with pytest.raises(InvalidValueError, match="of another fine-tuning"):
            supernet(net, IMAGE, data=loader(), held_out=HELD_OUT, checkpoint=path, **settings)


# ---------------------------------------------------------------- the search


@pytest.mark.parametrize("target", [0.8, 0.6, 0.45])
def test_the_limit_is_kept_and_used(net, shared, target):
    result = shared.within(ARRAY, target=target, candidates=16)
    report = result.report
    priced = network_cost(from_torch(result.model, example_inputs=IMAGE), ARRAY).total
    today = network_cost(from_torch(net, example_inputs=IMAGE), ARRAY).total
    assert report.after.cycles == priced.cycles <= target * today.cycles
    assert report.used >= 0.97
    assert result.original is net
    assert [stage.name for stage in report.stages] == ["original", "part of the super-network, norms re-estimated"]
    x = HELD_OUT[0][0]
    part = shared.part(result.sizes)
    result.model.train()
    part.train()
    assert torch.equal(part(x), result.model(x))  # with the statistics of the batch
    assert report.as_dict()["gap"] is None


def test_it_is_better_than_the_exact_solver_alone_and_ranks_by_loss(net, shared):
    one, many = (shared.within(ARRAY, target=0.6, candidates=count) for count in (1, 24))
    assert shared.loss_of(many.sizes) <= shared.loss_of(one.sizes)
    measured = [key for key in shared._search.known if key.startswith("sizes ")]
    assert len(measured) >= 24
    assert shared.within(ARRAY, target=0.6, candidates=24).sizes == many.sizes  # again, from what is known


def check_gone(result, whole, source):
    """The channels that were cut are in a module as they are in another one, which is not the original."""
    gone = sorted(set(range(24)) - set(result.kept["blocks.0.up"].tolist()))
    own, other, first = (each.blocks[0].up.weight[gone] for each in (whole, source, result.original))
    assert torch.equal(own, other)
    assert not torch.equal(own, first)


def test_a_part_is_fine_tuned_and_put_back(net, shared, tmp_path):
    result = shared.within(ARRAY, target=0.5, candidates=4)
    before = result.report.stages[-1].measured.loss
    result.fine_tune(epochs=2, optimizer=lambda own: torch.optim.SGD(own, 1e-3), distil=0)
    assert result.report.stages[-1].measured.loss < before
    whole = result.undo()
    small = resized(whole, result.network, keep=result.kept)
    assert same(small, result.model)
    check_gone(result, whole, shared.model)
    before = shared.model.state_dict()["blocks.0.up.weight"].clone()
    with torch.no_grad():
        shared.model.get_parameter("blocks.0.up.weight").zero_()  # trained on, which the result knows nothing of
        check_gone(result, result.undo(), whole)
        shared.model.get_parameter("blocks.0.up.weight").copy_(before)
    result.save(tmp_path / "out")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"least": 1.0}, "with 1 no width has a smaller size; at most 0.9"),
        ({"multiple": 24}, "no width has a smaller multiple of 24; less than 24"),
        ({"keep": ("stem", "blocks", "grouped")}, "every width would stay"),
    ],
)
def test_what_leaves_no_width_a_smaller_size_is_named(net, more, words):
    with pytest.raises(InvalidValueError, match=words) as caught:
        supernet(net, IMAGE, data=loader(), **more)
    assert caught.value.field == next(iter(more))


def test_an_untrained_original_is_no_teacher(net, shared):
    torch.manual_seed(0)
    found = supernet(Net(), IMAGE, data=loader(192), held_out=HELD_OUT, epochs=4)
    result = found.within(ARRAY, target=0.6, candidates=2).fine_tune(epochs=1)
    assert any("teaches nothing" in note for note in result.report.notes)
    trained = shared.within(ARRAY, target=0.4, candidates=2)
    assert not any("teaches nothing" in note for note in trained.report.notes)


@pytest.mark.parametrize("name", [*BARE, *RICH])
def test_the_limit_is_kept_on_every_machine(name, shared):
    array = {**BARE, **RICH}[name]
    result = shared.within(array, target=0.75, candidates=3)
    assert result.report.after.cycles <= 0.75 * result.report.before.cycles


def test_a_device_is_named(shared):
    assert shared.within("gemmini", target=0.75, candidates=2).report.array.startswith("gemmini: 16 x 16, ")


def test_many_measured_costs_count_as_an_array(net, shared):
    from hwcost.advice import tabulate

    table = tabulate(shared.network, ARRAY, step=2)
    assert shared.within(table, target=0.7, candidates=4).report.used <= 1


def test_candidates_are_within_the_limit_and_cannot_grow(net, shared):
    network, random = shared.network, np.random.default_rng(0)
    options = {name: np.arange(1, network.widths[name].size + 1) for name in ("blocks.0.up", "blocks.1.up")}
    limit = 0.65 * network_cost(network, ARRAY).total.cycles
    pool = Pool(options, network, ARRAY, limit)
    rows = pool.drawn(50, random)
    near = pool.close_to(pool.sizes(rows[:3]), 50, random)
    for own in (rows, near):
        assert len(np.unique(own, axis=0)) == len(own) > 3
        assert (pool.cost(own) <= limit).all()
        for sizes, cost in zip(pool.sizes(own), pool.cost(own), strict=True):
            choice = dict(zip(options, sizes, strict=True))
            assert network_cost(network.at(choice), ARRAY).total.cycles == cost
            for name, size in choice.items():
                if size < network.widths[name].size:
                    assert network_cost(network.at(choice | {name: size + 1}), ARRAY).total.cycles > limit


@pytest.mark.parametrize("entries", [400, 120, 60])
def test_sets_grow_within_the_limit_from_sizes_that_tables_leave_out(shared, monkeypatch, entries):
    monkeypatch.setattr("hwcost.pruning.candidates.MOST_ENTRIES", entries)
    network, random = shared.network, np.random.default_rng(entries)
    options = {
        name: np.arange(2, network.widths[name].size + 1, 2) for name in ("blocks.0.up", "blocks.1.up", "stem.0")
    }
    for _ in range(20):
        first = tuple(int(random.choice(own)) for own in options.values())
        limit = network_cost(network.at(dict(zip(options, first, strict=True))), ARRAY).total.cycles
        found = Pool(options, network, ARRAY, limit, first).grown(first, random)
        assert all(size >= least for size, least in zip(found, first, strict=True))
        assert network_cost(network.at(dict(zip(options, found, strict=True))), ARRAY).total.cycles <= limit


def test_a_part_above_the_limit_is_an_error_and_no_result(shared, monkeypatch):
    monkeypatch.setattr("hwcost.pruning.supernetwork.lowest", lambda pool, *given: tuple(
        int(own[-1]) for own in pool.options.values()
    ))  # fmt: skip
    with pytest.raises(InvalidValueError, match="and the limit is"):
        shared.within(ARRAY, target=0.6, candidates=2)


def test_a_batch_that_is_not_finite_leaves_the_shared_module_as_it_was(net):
    pictures, labels = HELD_OUT[0]
    held_out = [(pictures, labels), (pictures * float("inf"), labels)]
    with pytest.raises(InvalidValueError, match="without nan"):
        supernet(net, IMAGE, data=loader(), held_out=held_out, epochs=1).loss_of({"stem.0": 6})
    found = supernet(net, IMAGE, data=loader(), held_out=HELD_OUT, epochs=1)
    found._search.held_out[:] = list(Task(held_out, F.cross_entropy).batches(torch.device("cpu")))
    before, today = copy.deepcopy(found.model), {"stem.0": 12}
    for sizes in ({"stem.0": 6}, today):
        with pytest.raises(InvalidValueError, match="without nan"):
            found.loss_of(sizes)
    assert same(found.model, before)


def test_losses_of_other_weights_are_measured_again(net):
    found = supernet(net, IMAGE, data=loader(), held_out=HELD_OUT, epochs=1)
    sizes = {"blocks.0.up": 12}
    first = found.loss_of(sizes)
    assert found.loss_of(sizes) == first
    one = found.within(ARRAY, target=0.6, candidates=6)
    with torch.no_grad():
        for each in found.model.parameters():
            each.add_(0.05 * torch.randn(each.shape, generator=torch.Generator().manual_seed(0)))
    anew = found.loss_of(sizes)
    assert anew != first
    found._search.known.clear()
    assert found.loss_of(sizes) == anew
    with torch.no_grad():
        found.model.head.weight.mul_(2.0)
    other = found.within(ARRAY, target=0.6, candidates=6)
    stage = other.report.stages[-1].measured
    assert stage != one.report.stages[-1].measured
    with of_the_batch(found.model):
        assert found._search.known[""][0] == found._search.task.measured(found.model, found._search.held_out).loss


def test_what_cannot_be_asked(net, shared):
    with pytest.raises(InvalidValueError, match="no widths can save the rest"):
        shared.within(SystolicArray(64, 64), target=0.1)
    with pytest.raises(InvalidValueError, match="candidates"):
        shared.within(ARRAY, target=0.5, candidates=0)
    with pytest.raises(InvalidValueError, match="widths that can change"):
        shared.part({"head": 2})
    with pytest.raises(InvalidValueError, match="a multiple of 2"):
        shared.part({"grouped": 3})
    with pytest.raises(InvalidValueError, match="importance"):
        supernet(net, IMAGE, data=loader(), importance="curves")
    with pytest.raises(InvalidValueError, match="at least 1"):
        supernet(net, IMAGE, data=loader(), epochs=0)
    with pytest.raises(InvalidValueError, match="effort"):
        shared.within(ARRAY, target=0.5, effort=0)
    for settings, words in (
        ({"seed": -1}, "seed is -1"), ({"seed": "x"}, "seed is 'x'"), ({"importance": [1, 2]}, "a mapping from widths"),
        ({"importance": np.ones(8)}, "a mapping from widths"),
    ):  # fmt: skip
        with pytest.raises(InvalidValueError, match=words):
            supernet(net, IMAGE, data=loader(), **settings)


def test_widths_without_scores_stay_and_the_floor_says_it(net):
    scores = {"blocks.0.up": np.arange(24.0)}
    found = supernet(net, IMAGE, data=loader(), held_out=HELD_OUT, epochs=1, importance=scores)
    before = len(found._search.known)
    with pytest.raises(InvalidValueError, match=r"but for stem\.0, .* no widths can save the rest"):
        found.within(ARRAY, target=0.4)
    assert len(found._search.known) == before  # nothing was measured
    result = found.within(ARRAY, target=0.9, candidates=2)
    assert set(result.sizes) == {"blocks.0.up"}
    assert result.report.left_alone["stem.0"] == "there are no scores of its channels"


def test_widths_and_modules_can_be_kept(net):
    found = supernet(net, IMAGE, data=loader(), epochs=1, keep=["stem"], multiple=4, importance="magnitude")
    result = found.within(ARRAY, target=0.7, candidates=4)
    assert "stem.0" not in result.sizes
    assert all(size % 4 == 0 for size in result.sizes.values())
    assert result.report.left_alone["stem.0"] == "kept as asked"
    assert result.report.used >= prune(net, IMAGE, ARRAY, target=0.7, data=loader(), keep=["stem"], multiple=4,
                                       importance="magnitude").report.used * 0.97  # fmt: skip
