"""NNI 3.0: stand-ins with its call signatures, always; NNI itself in a separate environment, by the marker ``nni``.

pytest -m nni tests/test_nni.py
"""

from __future__ import annotations

import copy
import functools
import importlib.util
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from nets import SEARCHED as SPACE
from torch import nn

import nni_penalty as benchmark
from hwcost import Conv2d, InvalidValueError, Network, Operation, SystolicArray
from hwcost.torch import LatencyLoss, check_gradient
from hwcost.torch.adapters import BlockCosts, nni_choice, nni_cycles, nni_penalty, nni_probabilities

PROJECT = Path(__file__).parent.parent
ARRAY = SystolicArray(8, 8)
LATENCY = LatencyLoss(SPACE, ARRAY, reference={"width": 8, "kernel": 3})
CONV = Conv2d(8, 8, 3, height=4, width=4, padding="same")
BLOCKS = BlockCosts.of({"operation": {"conv": CONV, "twice": [CONV, CONV], "skip": None}, "depth": {1: CONV, 2: [CONV] * 2}}, ARRAY)  # fmt: skip  # noqa: E501

# ---------------------------------------------------------------- stand-ins


class MixedLayer(nn.Module):
    """A choice of layers as NNI's strategies leave it in a model: one alpha, exported as floats."""

    def __init__(self, label, names, alpha, softmax):
        super().__init__()
        self.label, self.names = label, names
        self._arch_alpha, self._softmax = alpha, softmax

    def export_probs(self, memo):
        if self.label in memo:
            return {}
        return {self.label: dict(zip(self.names, self._softmax(self._arch_alpha).cpu().tolist(), strict=True))}


class MixedOperation(nn.Module):
    """A layer with searched arguments, or a repetition: one alpha per label."""

    def __init__(self, options, alphas, softmax):
        super().__init__()
        self.options, self._softmax = options, softmax
        self._arch_alpha = nn.ParameterDict({label: alphas[label] for label in options})

    def export_probs(self, memo):
        return {
            label: dict(zip(options, self._softmax(self._arch_alpha[label]).cpu().tolist(), strict=True))
            for label, options in self.options.items()
            if label not in memo
        }


class MixedCell(nn.Module):
    """A cell: the last alpha, for no edge at all, has no name."""

    def __init__(self, softmax):
        super().__init__()
        self._softmax = softmax
        self._arch_alpha = nn.ParameterDict({"cell/2_0": nn.Parameter(torch.zeros(3))})

    def export_probs(self, memo):
        return {"cell/2_0": dict(zip(["conv", "skip"], self._softmax(self._arch_alpha["cell/2_0"]).tolist()))}  # noqa: B905


class MixedDepth(nn.Module):
    """A repetition under Proxyless: choices between a block and none, from which a depth of tensors is exported."""

    def __init__(self, softmax):
        super().__init__()
        self.block = MixedLayer("repeat/in_1", ["0", "1"], nn.Parameter(torch.randn(2)), softmax)

    def export_probs(self, memo):
        none, one = self.block._softmax(self.block._arch_alpha)
        return {"repeat": {1: none, 2: one}}


class Gumbel(nn.Module):
    def forward(self, alpha):
        return F.gumbel_softmax(alpha, dim=-1)


def supernet(softmax=None):
    softmax = softmax or nn.Softmax(-1)
    torch.manual_seed(0)
    sizes = {"width": 3, "kernel": 2, "operation": 3, "depth": 2}
    alphas = {label: nn.Parameter(torch.randn(size)) for label, size in sizes.items()}
    net = nn.Sequential(
        MixedOperation({"width": [8, 12, 16], "kernel": [3, 5]}, alphas, softmax),
        nn.ReLU(),
        MixedLayer("operation", ["conv", "twice", "skip"], alphas["operation"], softmax),
        MixedOperation({"width": [8, 12, 16]}, alphas, softmax),  # the same label in two layers is one decision
        MixedOperation({"depth": [1, 2]}, alphas, softmax),
        MixedCell(softmax),
    )
    return net, alphas


class ExpectationProfilerPenalty(nn.Module):
    """NNI's signature: takes a loss and the exported probabilities, returns the new loss and details."""

    def __init__(self, profiler, baseline, scale=1.0, *, nonlinear="linear", aggregate="add"):
        super().__init__()
        self.profiler, self.baseline, self.scale = profiler, baseline, scale
        self.nonlinear, self.aggregate = nonlinear, aggregate

    def forward(self, loss, sample):
        result = self.profile(sample)
        normalized = result / self.baseline - 1
        if self.nonlinear == "positive":
            normalized = nn.functional.relu(normalized) if isinstance(normalized, torch.Tensor) else max(normalized, 0)
        new = loss + self.scale * normalized if self.aggregate == "add" else loss * (normalized + 1) ** self.scale
        return new, {"penalty": result, "normalized_penalty": normalized}

    def profile(self, sample):
        return sum(share * option for options in sample.values() for option, share in options.items())


@pytest.fixture
def _nni(monkeypatch):
    """A stand-in for the module in which NNI keeps its penalties."""
    name = "nni.nas.oneshot.pytorch.profiler"
    for index in range(1, name.count(".") + 2):
        path = ".".join(name.split(".")[:index])
        monkeypatch.setitem(sys.modules, path, types.ModuleType(path))
    sys.modules[name].ExpectationProfilerPenalty = ExpectationProfilerPenalty


def export_probs(net):
    memo = {}
    for module in net.modules():
        if hasattr(module, "export_probs"):
            memo.update(module.export_probs(memo))
    return memo


# ---------------------------------------------------------------- the adapters on stand-ins


def test_probabilities_equal_the_exported_ones_and_have_gradients():
    net, alphas = supernet()
    found, exported = nni_probabilities(net), export_probs(net)
    assert found.keys() == exported.keys() == {*alphas, "cell/2_0"}
    for label, shares in exported.items():
        assert list(found[label]) == list(shares)
        for option, share in shares.items():
            assert found[label][option].item() == share
            assert found[label][option].requires_grad


def test_a_model_without_alphas_is_refused():
    with pytest.raises(InvalidValueError, match="an NNI strategy has mutated"):
        nni_probabilities(nn.Linear(2, 2))


def test_nni_cycles_of_widths_and_kernels():
    net, alphas = supernet()
    probs = {name: alphas[name].softmax(0) for name in SPACE.options}
    cycles = nni_cycles(LATENCY, net)
    torch.testing.assert_close(cycles, LATENCY.cycles(probs))
    assert check_gradient(cycles, {name: alphas[name] for name in probs})
    assert set(check_gradient(cycles, alphas).missed) == {"operation", "depth"}


def test_nni_cycles_of_operations_and_depths():
    net, alphas = supernet()
    cycles = nni_cycles(BLOCKS, net)
    torch.testing.assert_close(cycles, BLOCKS.cycles({name: alphas[name].softmax(0) for name in BLOCKS.tables}))
    assert check_gradient(cycles, {name: alphas[name] for name in BLOCKS.tables})


def test_a_depth_may_be_exported_as_tensors():
    depth = MixedDepth(nn.Softmax(-1))
    cycles = nni_cycles(BlockCosts.of({"repeat": {1: CONV, 2: [CONV] * 2}}, ARRAY), depth)
    share = depth.block._arch_alpha.softmax(0)[1].item()
    assert cycles.item() == pytest.approx(144 * (1 + share))
    assert check_gradient(cycles, [depth.block._arch_alpha])


def test_options_may_be_in_another_order():
    net, _ = supernet()
    other = LatencyLoss(SPACE.space({"width": (16, 8, 12), "kernel": (5, 3)}), ARRAY)
    torch.testing.assert_close(nni_cycles(other, net), nni_cycles(LATENCY, net))


def test_a_softmax_replaces_the_noise_of_a_strategy():
    net, alphas = supernet(Gumbel())
    plain, _ = supernet()
    softmax = functools.partial(torch.softmax, dim=-1)
    assert nni_cycles(LATENCY, net).item() != nni_cycles(LATENCY, net).item()
    torch.testing.assert_close(nni_cycles(LATENCY, net, softmax=softmax), nni_cycles(LATENCY, plain))
    assert check_gradient(nni_cycles(LATENCY, net), {name: alphas[name] for name in SPACE.options})


def test_labels_and_options_must_match():
    net, _ = supernet()
    layer = Conv2d(8, 8, 3, height=8, width=8, padding=1)
    unknown = Network("one", {"conv": Operation(layer, {"out_channels": "width"})})
    with pytest.raises(InvalidValueError, match=r"'conv.kernel_size'.*kernel"):
        nni_cycles(LatencyLoss(unknown.space({"conv.kernel_size": (1, 3)}), ARRAY), net)
    for options in ((8, 12), (8, 12, 24), (8, 12, 16, 24)):
        with pytest.raises(InvalidValueError, match=r"options\['width'\] .*8, 12, 16"):
            nni_cycles(LatencyLoss(unknown.space({"width": options}), ARRAY), net)
    with pytest.raises(InvalidValueError, match=r"options\['operation'\]"):
        nni_cycles(BlockCosts.of({"operation": [CONV, None]}, ARRAY), net)


@pytest.mark.usefixtures("_nni")
def test_only_the_penalty_with_a_gradient_moves_alphas():
    moved = {}
    for kind in ("none", "theirs", "ours"):
        net, alphas = supernet()
        before = {label: alpha.detach().clone() for label, alpha in alphas.items()}
        cycles = functools.partial(_both, net)
        start = cycles().item()
        penalty = {
            "none": lambda loss, sample: (loss, {}),
            "theirs": ExpectationProfilerPenalty(None, 1000.0, 10.0),
            "ours": nni_penalty(cycles, baseline=1000.0, scale=10.0),
        }[kind]
        assert kind != "ours" or isinstance(penalty, ExpectationProfilerPenalty)
        optimiser = torch.optim.SGD(alphas.values(), lr=0.01)
        loss, _ = penalty(0.0 * sum(alpha.sum() for alpha in alphas.values()), _numbers(export_probs(net)))
        loss.backward()
        optimiser.step()
        moved[kind] = {label for label, alpha in alphas.items() if not torch.equal(alpha, before[label])}
        if kind == "ours":
            assert check_gradient(penalty(torch.tensor(0.0), {})[0], alphas)
            assert cycles().item() < start
    assert moved == {"none": set(), "theirs": set(), "ours": {"width", "kernel", "operation", "depth"}}


def _both(net):
    return nni_cycles(LATENCY, net) + nni_cycles(BLOCKS, net)


def _numbers(sample):
    return {label: shares for label, shares in sample.items() if not isinstance(next(iter(shares)), str)}


@pytest.mark.usefixtures("_nni")
@pytest.mark.parametrize(("nonlinear", "aggregate"), [("linear", "add"), ("positive", "add"), ("linear", "mul")])
def test_the_penalty_keeps_the_aggregation_of_the_host(nonlinear, aggregate):
    net, _ = supernet()
    cycles = functools.partial(nni_cycles, LATENCY, net)
    penalty = nni_penalty(cycles, baseline=200.0, scale=0.5, nonlinear=nonlinear, aggregate=aggregate)
    over = cycles().item() / 200 - 1
    assert over > 0
    loss, details = penalty(torch.tensor(2.0), {})
    assert loss.item() == pytest.approx(2.0 + 0.5 * over if aggregate == "add" else 2.0 * (over + 1) ** 0.5)
    assert details["penalty"].item() == pytest.approx(cycles().item())


@pytest.mark.usefixtures("_nni")
def test_a_target_takes_the_place_of_the_scale_and_moves():
    net, _ = supernet()
    limited = LatencyLoss(SPACE, ARRAY, target=0.5)
    penalty = nni_penalty(functools.partial(nni_cycles, limited, net), target=limited.target_weight)
    cycles, same = nni_cycles(limited, net).item(), copy.deepcopy(limited.target_weight)
    loss, _ = penalty(torch.tensor(2.0), {})
    weight = same.step(cycles)
    assert limited.weight == pytest.approx(same.weight)
    assert limited.weight != 0.1
    assert penalty.baseline == limited.reference
    assert loss.item() == pytest.approx(2.0 + weight * (cycles / limited.reference - 1), rel=1e-5)
    for wrong in ({}, {"baseline": 1.0, "target": limited.target_weight}):
        with pytest.raises(InvalidValueError, match="baseline"):
            nni_penalty(lambda: torch.ones(()), **wrong)


def test_the_choice_within_a_limit_has_the_options_of_the_host():
    net, alphas = supernet(Gumbel())
    limited = LatencyLoss(SPACE, ARRAY, target=0.5)
    found = nni_choice(limited, net)
    assert found == limited.choose({name: alphas[name].softmax(0) for name in SPACE.options})
    assert limited.exact(found).total.cycles <= limited.limit.cycles
    shares = {name: alphas[name].softmax(0) for name in BLOCKS.tables}
    assert nni_choice(BLOCKS, net, limit=BLOCKS.floor + 200) == BLOCKS.choose(shares, BLOCKS.floor + 200)
    assert nni_choice(BLOCKS, net, limit=BLOCKS.floor / 2) is None
    with pytest.raises(InvalidValueError, match="leave it out"):
        nni_choice(limited, net, limit=100)
    with pytest.raises(InvalidValueError, match="limit is None"):
        nni_choice(BLOCKS, net)


@pytest.mark.skipif(importlib.util.find_spec("nni") is not None, reason="NNI is installed")
def test_without_nni_the_penalty_is_an_import_error():
    with pytest.raises(ImportError, match="nni"):
        nni_penalty(lambda: torch.ones(()), baseline=1.0)


# ---------------------------------------------------------------- NNI itself


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """A Python with NNI and pytorch-lightning: NNI_PYTHON, or an environment made for these tests."""
    if os.environ.get("NNI_PYTHON"):
        return os.environ["NNI_PYTHON"]
    try:
        return benchmark.make_environment(tmp_path_factory.mktemp("nni") / "environment")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no environment with NNI could be made: {(error.stderr or str(error)).splitlines()[-1]}")


@pytest.fixture(scope="module")
def searched(interpreter):
    return benchmark.run_there(interpreter)


@pytest.mark.nni
@pytest.mark.parametrize("strategy", ["DARTS", "GumbelDARTS", "Proxyless"])
def test_a_step_of_nni_itself(searched, strategy):
    none, theirs, ours = (searched["runs"][strategy][kind] for kind in ("none", "nni", "hwcost"))
    assert theirs["before"] == ours["before"] == none["before"]
    assert theirs["after"] == none["after"]  # the penalty was added and moved nothing
    assert "plain number" in theirs["reached"]
    assert theirs["penalty"] > 0
    assert all(ours["after"][label] != none["after"][label] for label in none["after"])
    assert ours["down"] == ours["count"] > theirs["down"]
    assert ours["cycles_after"] < theirs["cycles_after"]
    assert ours["cycles_after"] < ours["cycles_before"]
    count = len(none["before"])
    assert ours["reached"].startswith(f"the loss reaches {count} of {count} parameter")
    if strategy != "GumbelDARTS":  # its penalty depends on a sample
        assert ours["penalty"] == pytest.approx(theirs["penalty"], rel=1e-5)


@pytest.mark.nni
def test_the_examples_under_nni_and_lightning(interpreter):
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"}
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=False, cwd=PROJECT / "examples", env=environment)  # fmt: skip  # noqa: E501
    other = run([interpreter, "in_other_nas.py"])
    assert other.returncode == 0, other.stderr
    assert "NNI: " in other.stdout
    assert other.stdout.splitlines()[-1].count("the loss reaches 1 of 1 parameter") == 1
    arguments = ("--epochs", "1", "--images", "160")
    under, alone = (run([python, "resnet_search_lightning.py", *arguments]) for python in (interpreter, sys.executable))
    assert under.returncode == 0, under.stderr
    assert under.stdout.startswith("under pytorch-lightning 2.")
    assert "not installed" in alone.stdout
    assert under.stdout.splitlines()[-2:] == alone.stdout.splitlines()[-2:]
