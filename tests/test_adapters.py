"""The adapters on stand-ins with the call signatures of each host, against exact cycles.

The tests of NNI are in test_nni.py.
"""

from __future__ import annotations

import functools
from collections import UserDict
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from nets import SEARCHED as SPACE
from running import printed, python
from torch import nn
from trying import tried

import hwcost
from hwcost import (
    Conv2d,
    Cost,
    InvalidValueError,
    Linear,
    MatMul,
    NoGradientError,
    SystolicArray,
    layer_cost,
    network_cost,
)
from hwcost.network.operations import MemoryOnly, Unsupported
from hwcost.relaxation import RELAXATIONS
from hwcost.torch import LatencyLoss, check_gradient, expected_cost
from hwcost.torch.adapters import (
    FREE_MODULES,
    PLINIO_LAYERS,
    UBOOST_LAYERS,
    BlockCosts,
    effective_cost,
    plinio_costs,
    relaxed_latency,
)

ARRAY = SystolicArray(8, 8)


def alphas():
    return {name: nn.Parameter(torch.zeros(len(options))) for name, options in SPACE.options.items()}


# ---------------------------------------------------------------- imports


def test_no_host_is_imported():
    code = (
        "import sys, hwcost.torch.adapters\n"
        "hosts = {'nni', 'plinio', 'pytorch_lightning', 'torchvision', 'tensorflow'}\n"
        "print(sorted(name for name in hosts if name in sys.modules))"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_without_torch_the_error_names_the_extra():
    code = "import sys; sys.modules['torch'] = None; import hwcost.torch.adapters"
    done = python(code)
    assert 'pip install "hwcost[torch]"' in done.stderr.splitlines()[-1]


# ---------------------------------------------------------------- logits for each decision: DARTS, FBNetV2


@pytest.mark.parametrize("relaxation", [None, "shifted", "generalized"])
def test_logits_become_the_latency_of_their_softmax(relaxation):
    latency = LatencyLoss(SPACE, ARRAY, relaxation=relaxation, reference={"width": 16, "kernel": 5})
    parameters = {name: nn.Parameter(torch.randn(len(o))) for name, o in SPACE.options.items()}
    term = relaxed_latency(latency, parameters)
    torch.testing.assert_close(term, latency({name: alpha.softmax(0) for name, alpha in parameters.items()}))
    assert check_gradient(term, parameters)


def test_a_step_of_darts_favours_the_cheaper_option():
    latency, parameters = LatencyLoss(SPACE, ARRAY, reference={"width": 16, "kernel": 5}), alphas()
    optimiser = torch.optim.Adam(parameters.values(), lr=0.1)
    for _ in range(20):
        optimiser.zero_grad()
        relaxed_latency(latency, parameters).backward()
        optimiser.step()
    found = {name: options[int(parameters[name].argmax())] for name, options in SPACE.options.items()}
    assert found == {"width": 8, "kernel": 3}


def test_the_host_s_own_softmax():
    latency, parameters = LatencyLoss(SPACE, ARRAY, reference=1.0), alphas()
    hard = functools.partial(F.gumbel_softmax, tau=1.0, hard=True)
    torch.manual_seed(0)
    term = relaxed_latency(latency, parameters, softmax=hard)
    exact = {float(latency.exact({"width": w, "kernel": k}).total.cycles) for w in (8, 12, 16) for k in (3, 5)}
    assert term.item() in exact
    assert check_gradient(term, parameters)


def test_a_sample_that_is_shared_with_the_layers():
    latency, parameters = LatencyLoss(SPACE, ARRAY, reference=1.0), alphas()
    gates = {name: F.gumbel_softmax(alpha, tau=2.0) for name, alpha in parameters.items()}
    torch.testing.assert_close(relaxed_latency(latency, gates, softmax=None), latency(gates))


@pytest.mark.parametrize("bad", [[1.0, 2.0, 3.0], [0.6, 0.6, 0.6], [1.5, -0.5, 0.0], [float("nan")] * 3])
def test_logits_are_not_taken_for_probabilities(bad):
    latency = LatencyLoss(SPACE, ARRAY, reference=1.0)
    given_ones = {"width": torch.tensor(bad, requires_grad=True), "kernel": torch.tensor([0.5, 0.5])}
    with pytest.raises(InvalidValueError, match=r"alphas\['width'\].*sum of 1"):
        relaxed_latency(latency, given_ones, softmax=None)


def test_missing_detached_and_misshapen_logits():
    latency = LatencyLoss(SPACE, ARRAY, reference=1.0)
    with pytest.raises(InvalidValueError, match="kernel"):
        relaxed_latency(latency, {"width": torch.zeros(3, requires_grad=True)})
    with pytest.raises(InvalidValueError, match="width"):
        relaxed_latency(latency, alphas() | {"width": torch.zeros(4, requires_grad=True)})
    with pytest.raises(NoGradientError):
        relaxed_latency(latency, {name: alpha.detach() for name, alpha in alphas().items()})


# ---------------------------------------------------------------- candidates for each block: ProxylessNAS, FBNet


CONV = Conv2d(8, 8, 3, height=4, width=4, padding="same")
SEPARABLE = [Conv2d(8, 8, 3, height=4, width=4, padding="same", groups=8), Conv2d(8, 16, 1, height=4, width=4)]


def blocks():
    return {
        "first": {"conv": CONV, "separable": SEPARABLE, "skip": None},
        "second": {"wide": {"a": CONV, "b": MatMul(4, 4, 20)}, "identity": nn.Identity()},
    }


def test_cycles_of_candidates_are_those_of_their_layers():
    costs = BlockCosts.of(blocks(), ARRAY)
    assert costs.candidates == {"first": ("conv", "separable", "skip"), "second": ("wide", "identity")}
    first = [network_cost([CONV], ARRAY).total.cycles, network_cost(SEPARABLE, ARRAY).total.cycles, 0]
    assert costs.tables["first"].values.tolist() == first
    assert costs.tables["second"].values.tolist() == [network_cost([CONV, MatMul(4, 4, 20)], ARRAY).total.cycles, 0]


def test_a_one_hot_choice_costs_its_exact_cycles():
    costs = BlockCosts.of(blocks(), ARRAY)
    for i in range(3):
        for j in range(2):
            weights = {"first": F.one_hot(torch.tensor(i), 3).float(), "second": F.one_hot(torch.tensor(j), 2).float()}
            exact = costs.tables["first"].values[i] + costs.tables["second"].values[j]
            assert costs.cycles(weights).item() == exact.item()


@given(st.lists(st.lists(st.floats(0, 2, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
@tried(25)
def test_weights_in_a_row_by_name_or_as_a_matrix(rows):
    costs = BlockCosts.of([{"conv": CONV, "separable": SEPARABLE, "skip": None}] * len(rows), ARRAY)
    matrix = torch.tensor(rows, requires_grad=True)
    expected = sum(w * c for row in rows for w, c in zip(row, costs.tables["0"].values.tolist(), strict=True))
    for weights in (matrix, list(matrix), {str(i): row for i, row in enumerate(matrix)}, iter(matrix)):
        assert costs.cycles(weights).item() == pytest.approx(expected, rel=1e-5, abs=1e-3)
    (slope,) = torch.autograd.grad(costs.cycles(matrix), matrix)
    assert slope.tolist() == [costs.tables["0"].values.tolist()] * len(rows)


class MixedOp(nn.Module):
    """A block as ProxylessNAS and FBNet have it: logits, candidates, and a list of costs to accumulate."""

    def __init__(self, latency: list[float]) -> None:
        super().__init__()
        self.thetas = nn.Parameter(torch.full((len(latency),), 1 / len(latency)))
        self.latency = latency

    def forward(self, temperature: float, so_far: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weights = F.gumbel_softmax(self.thetas, temperature)
        return weights, so_far + sum(w * cost for w, cost in zip(weights, self.latency, strict=True))


def test_lists_of_costs_as_in_fbnet_give_the_same_sum():
    costs = BlockCosts.of(blocks(), ARRAY)
    mixed = [MixedOp(table.values.tolist()) for table in costs.tables.values()]
    total, weights = torch.zeros(()), []
    for op in mixed:
        row, total = op(5.0, total)
        weights.append(row)
    torch.testing.assert_close(costs.cycles(weights), total)
    torch.testing.assert_close(costs.cycles(weights), expected_cost(costs.tables, dict(zip(costs.tables, weights, strict=True))))  # fmt: skip  # noqa: E501
    parameters = {f"block {i}": op.thetas for i, op in enumerate(mixed)}
    assert check_gradient(costs.cycles(weights), parameters)


def test_blocks_that_share_their_weights():
    """DARTS: all cells of a kind have the same alphas."""
    costs = BlockCosts.of([[CONV, None]] * 3, ARRAY)
    alpha = nn.Parameter(torch.zeros(2))
    (slope,) = torch.autograd.grad(costs.cycles([alpha.softmax(0)] * 3), alpha)
    assert slope.tolist() == pytest.approx([3 * 144 / 4, -3 * 144 / 4])


def test_half_precision_and_autocast_keep_the_cycles():
    big = Conv2d(64, 250, 3, height=37, width=37, padding="same")
    costs = BlockCosts.of([[big, None]], ARRAY)
    exact = layer_cost(big, ARRAY).cycles
    weights = torch.tensor([1.0, 0.0], requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert costs.cycles([weights]).item() == exact
    assert costs.cycles([weights.bfloat16()]).item() == exact


def test_networks_that_were_imported_are_candidates():
    network = hwcost.from_torch(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()), (1, 8, 4, 4))
    costs = BlockCosts.of([[network, [MemoryOnly("relu")], [None, nn.Identity(), CONV]]], ARRAY)
    assert costs.tables["0"].values.tolist() == [144, 0, 144]


@pytest.mark.parametrize(
    "candidate",
    [
        [],
        {},
        nn.Conv2d(8, 8, 3),
        nn.Sequential(nn.Identity()),
        [CONV, nn.ReLU()],
        [CONV, Unsupported("fft", "not known")],
        {"a": CONV, "b": "conv"},
        "none",
        0,
        144.0,
        Conv2d,
        Linear(torch.tensor([8, 16]), 8),
    ],
    ids=repr,
)
def test_candidates_without_a_price_are_refused(candidate):
    with pytest.raises(InvalidValueError, match=r"candidate 'bad' of block 'first'"):
        BlockCosts.of({"first": {"good": CONV, "bad": candidate}}, ARRAY)


@pytest.mark.parametrize("bad", [[], {}, None, "blocks", [[]], {"first": {}}, {"first": CONV}, [None]])
def test_blocks_that_are_no_mapping_or_sequence_are_refused(bad):
    with pytest.raises(InvalidValueError, match="block"):
        BlockCosts.of(bad, ARRAY)


@pytest.mark.parametrize(
    "weights",
    [
        {"first": torch.ones(3)},
        {"first": torch.ones(3), "second": torch.ones(2), "third": torch.ones(2)},
        {"first": torch.ones(2), "second": torch.ones(2)},
        [torch.ones(3)],
        [torch.ones(3), torch.ones(3)],
        torch.ones(2, 3),
        [[1.0, 0.0, 0.0], [1.0, 0.0]],
        {},
    ],
    ids=str,
)
def test_weights_that_do_not_fit_the_blocks(weights):
    with pytest.raises(InvalidValueError):
        BlockCosts.of(blocks(), ARRAY).cycles(weights)


def test_a_sweep_of_arrays_is_refused():
    with pytest.raises(InvalidValueError, match="one array"):
        BlockCosts.of([[CONV]], SystolicArray(torch.tensor([8, 16]), 8))


# ---------------------------------------------------------------- effective widths: U-Boost NAS


class Dmask(nn.Module):
    """A layer as U-Boost NAS has it: a masked module that asks the hardware model in its forward pass."""

    def __init__(self, cell: nn.Module, options: list[int], model: object) -> None:
        super().__init__()
        self.cell, self.model = cell, model
        self.alpha = nn.Parameter(torch.zeros(len(options)))
        self.ind2ch = torch.tensor(options)
        self.masks = torch.stack([(torch.arange(options[-1]) < o).float() for o in options])

    def forward(self, x: torch.Tensor, in_channels: object) -> tuple[torch.Tensor, ...]:
        gates = F.gumbel_softmax(self.alpha, tau=1.0)
        width = torch.sum(gates * self.ind2ch)
        x = self.cell(x) * (gates @ self.masks)[:, None, None]
        return x, width, *self.model.runtime(self.cell, in_channels, width, x.shape)


@dataclass
class HardwareModel:
    """What the host calls; the returned milliseconds and utilizations are summed by it."""

    relaxation: str = "generalized"

    def runtime(self, cell, in_ch, out_ch, out_shape):
        cost = effective_cost(cell, in_ch, out_ch, out_shape, array=ARRAY, relaxation=self.relaxation)
        return 1e3 * cost.seconds, cost.utilization


@pytest.mark.parametrize("relaxation", sorted(set(RELAXATIONS) - {"exact"}))
def test_a_forward_pass_of_the_host(relaxation):
    torch.manual_seed(0)
    model = HardwareModel(relaxation)
    first = Dmask(nn.Conv2d(3, 16, 3, padding=1), [8, 12, 16], model)
    second = Dmask(nn.Conv2d(16, 24, 5, stride=2, padding=2), [16, 24], model)
    x, width, runtime1, _ = first(torch.randn(4, 3, 8, 8), 3)
    _, _, runtime2, utilization = second(x, width)
    assert 0 < utilization.item() <= 1.01
    if relaxation != "linear":  # by which the array is always full
        assert check_gradient(utilization, {"second": second.alpha})
    assert check_gradient(runtime1 + runtime2, {"first": first.alpha, "second": second.alpha})


def cells():
    yield nn.Conv2d(6, 16, 5), Conv2d(6, 16, 5, height=14, width=14), (1, 16, 10, 10)
    yield nn.Conv2d(6, 16, (3, 5), padding=(1, 2)), Conv2d(6, 16, (3, 5), height=9, width=7, padding="same"), (2, 16, 9, 7)  # fmt: skip  # noqa: E501
    yield nn.Conv2d(6, 16, 3, stride=2, padding=1), Conv2d(6, 16, 3, height=8, width=8, stride=2, padding=1), (1, 16, 4, 4)  # fmt: skip  # noqa: E501
    yield nn.Conv2d(8, 8, 3, groups=8), Conv2d(8, 8, 3, height=6, width=6, groups=8), (1, 8, 4, 4)
    yield nn.Conv2d(8, 24, 3, groups=8), Conv2d(8, 24, 3, height=6, width=6, groups=8), (1, 24, 4, 4)
    yield nn.Conv2d(8, 12, 3, groups=4), Conv2d(8, 12, 3, height=6, width=6, groups=4), (1, 12, 4, 4)
    yield nn.Linear(400, 120), Linear(400, 120), (1, 120)
    yield nn.Linear(64, 96), Linear(64, 96, batch=10), (1, 10, 96)


@pytest.mark.parametrize(("module", "layer", "shape"), list(cells()), ids=lambda value: str(value)[:40])
def test_at_whole_widths_it_is_the_layer(module, layer, shape):
    names = ("in_features", "out_features") if isinstance(module, nn.Linear) else ("in_channels", "out_channels")
    widths = [getattr(module, name) for name in names]
    exact = layer_cost(layer, ARRAY)
    found = effective_cost(module, *widths, shape, array=ARRAY, relaxation="exact").figures()
    # the module knows the size of its output, and not that of its input
    known = {name: figure for name, figure in exact.figures().items() if "input" not in name}
    assert {name: found[name] for name in known} == known
    soft = [torch.tensor(float(width), requires_grad=True) for width in widths]
    found = effective_cost(module, *soft, torch.Size(shape), array=ARRAY, relaxation="straight-through")
    assert found.cycles.item() == exact.cycles
    assert found.utilization.item() == pytest.approx(exact.utilization)
    images = effective_cost(module, *widths, shape, array=ARRAY, relaxation="exact", batch=4)
    assert images.cycles == 4 * exact.cycles


def test_memory_of_a_strided_convolution_counts_the_whole_input():
    array = SystolicArray(8, 8, dram_bytes_per_s=1e8)
    module, layer = nn.Conv2d(8, 8, 3, stride=2, padding=1), Conv2d(8, 8, 3, height=16, width=16, stride=2, padding=1)
    found = effective_cost(module, 8, 8, (1, 8, 8, 8), array=array, relaxation="exact")
    assert found.memory_cycles == layer_cost(layer, array).memory_cycles > 0


def test_a_depthwise_convolution_follows_its_input():
    width = torch.tensor(6.0, requires_grad=True)
    module = nn.Conv2d(8, 8, 3, groups=8)
    found = effective_cost(module, width, 8, (1, 8, 4, 4), array=ARRAY, relaxation="straight-through")
    exact = layer_cost(Conv2d(6, 6, 3, height=6, width=6, groups=6), ARRAY).cycles
    assert found.cycles.item() == exact
    assert check_gradient(found.cycles, [width])


def test_an_effective_kernel():
    kernel = torch.tensor(4.0, requires_grad=True)
    module = nn.Conv2d(8, 8, 5, padding=2)
    found = effective_cost(module, 8, 8, (1, 8, 4, 4), array=ARRAY, relaxation="straight-through", kernel_size=kernel)
    assert found.cycles.item() == layer_cost(Conv2d(8, 8, 4, height=7, width=7), ARRAY).cycles
    assert check_gradient(found.cycles, [kernel])
    pair = effective_cost(module, 8, 8, (1, 8, 4, 4), array=ARRAY, relaxation="exact", kernel_size=(1, 3))
    assert pair.cycles == layer_cost(Conv2d(8, 8, (1, 3), height=4, width=6), ARRAY).cycles


@pytest.mark.parametrize("kind", FREE_MODULES, ids=lambda kind: kind.__name__)
def test_modules_that_take_no_cycles(kind):
    made = {nn.BatchNorm2d: (8,), nn.MaxPool2d: (2,), nn.AvgPool2d: (2,), nn.AdaptiveAvgPool2d: (1,)}.get(kind, ())
    cost = effective_cost(kind(*made), torch.tensor(8.0), torch.tensor(8.0), (1, 8, 4, 4), array=ARRAY)
    assert cost == Cost()
    assert (cost + layer_cost(CONV, ARRAY)).cycles == 144


def test_the_host_s_own_free_modules():
    class ZeroLayer(nn.Module):
        pass

    with pytest.raises(InvalidValueError, match="ZeroLayer"):
        effective_cost(ZeroLayer(), 8, 8, (1, 8, 4, 4), array=ARRAY)
    assert effective_cost(ZeroLayer(), 8, 8, (1, 8, 4, 4), array=ARRAY, free=(*FREE_MODULES, ZeroLayer)) == Cost()


def test_the_host_s_own_modules():
    class Scores(nn.Module):
        tokens = 10

    def scores(spec, batch):
        assert spec["output_shape"] == (1, 10, 10)
        return MatMul(10, spec["out_width"], spec["in_width"], batch=batch)

    found = effective_cost(
        Scores(),
        16,
        10,
        (1, 10, 10),
        array=ARRAY,
        relaxation="exact",
        batch=3,
        layers={**UBOOST_LAYERS, Scores: scores},
    )
    assert found == layer_cost(MatMul(10, 10, 16, batch=3), ARRAY)


def test_a_custom_pattern():
    def transposed(spec, batch):
        return Conv2d(spec["in_channels"], spec["out_channels"], 2, height=9, width=9, batch=batch)

    costs = plinio_costs(ARRAY, relaxation="exact", layers={**PLINIO_LAYERS, "ConvTranspose2d": transposed})
    assert set(costs) == {*PLINIO_LAYERS, "ConvTranspose2d"}
    exact = layer_cost(Conv2d(4, 8, 2, height=9, width=9), ARRAY).cycles
    assert costs["ConvTranspose2d"]({"in_channels": 4, "out_channels": 8}).item() == exact


@pytest.mark.parametrize("module", [nn.ConvTranspose2d(8, 8, 3), nn.Conv1d(8, 8, 3), nn.LSTM(8, 8), nn.Sequential()])
def test_other_modules_are_errors(module):
    with pytest.raises(InvalidValueError, match=type(module).__name__):
        effective_cost(module, 8, 8, (1, 8, 4, 4), array=ARRAY)


BAD_WIDTHS = [0.0, -3.0, float("nan"), float("inf"), [8.0, 9.0], []]


@pytest.mark.parametrize("bad", BAD_WIDTHS, ids=str)
@pytest.mark.parametrize("place", ["in_width", "out_width", "kernel_size"])
def test_soft_sizes_have_to_be_one_number_above_0(place, bad):
    arguments = {"in_width": torch.tensor(8.0), "out_width": torch.tensor(8.0), place: torch.tensor(bad)}
    with pytest.raises(InvalidValueError, match="a tensor of one number above 0"):
        effective_cost(nn.Conv2d(8, 8, 3), out_shape=(1, 8, 4, 4), array=ARRAY, **arguments)


def test_a_kernel_size_needs_a_kernel():
    with pytest.raises(InvalidValueError, match="Linear has no kernel") as caught:
        effective_cost(nn.Linear(8, 8), 8, 8, (1, 8), array=ARRAY, kernel_size=3)
    assert (caught.value.field, caught.value.value) == ("kernel_size", 3)


@pytest.mark.parametrize("bad", [0, -1, 7.5, None, "8", True])
def test_hard_sizes_have_to_be_whole(bad):
    with pytest.raises(InvalidValueError, match="in_features"):
        effective_cost(nn.Linear(8, 8), bad, 8, (1, 8), array=ARRAY)


@pytest.mark.parametrize("shape", [(1, 8), (1, 8, 4), (1, 8, 4, 4, 4)])
def test_the_output_of_a_convolution_has_two_sizes(shape):
    with pytest.raises(InvalidValueError, match="output_shape"):
        effective_cost(nn.Conv2d(8, 8, 3), 8, 8, shape, array=ARRAY)


def test_widths_with_an_axis_too_many_are_taken():
    width = torch.tensor([12.0], requires_grad=True)
    found = effective_cost(nn.Linear(8, 16), 8, width, (1, 16), array=ARRAY)
    assert found.cycles.shape == ()
    assert check_gradient(found.cycles, [width])


# ---------------------------------------------------------------- a specification of each layer: PLiNIO


def depthwise_constraint(spec):
    return spec["in_channels"] == spec["groups"] and spec["out_channels"] == spec["groups"]


PATTERNS = {
    "Conv1dGeneric": (nn.Conv1d, None),
    "Conv2dGeneric": (nn.Conv2d, None),
    "LinearGeneric": (nn.Linear, None),
    "Conv1dDW": (nn.Conv1d, depthwise_constraint),
    "Conv2dDW": (nn.Conv2d, depthwise_constraint),
}


class CostSpec(UserDict):
    """With the call shapes of PLiNIO's: functions by module class and constraint; those with one have precedence."""

    def __setitem__(self, key, function):
        self.data.setdefault(key[0], []).append((key[1], function))

    def __getitem__(self, key):
        best, found = None, None
        for constraint, function in self.data.get(key[0], []):
            if constraint is None or constraint(key[1]):
                if best is not None:
                    raise KeyError("two cost models for one layer")
                best, found = constraint, function
        if found is None:
            raise KeyError(f"no cost model for {key[0]}")
        return found


def specification(**options):
    spec = CostSpec()
    spec.update({PATTERNS[name]: function for name, function in plinio_costs(ARRAY, **options).items()})
    return spec


@pytest.mark.parametrize(("module", "layer", "shape"), list(cells()), ids=lambda value: str(value)[:40])
def test_fixed_layers_have_their_exact_cost(module, layer, shape):
    spec = {**vars(module), "output_shape": torch.Size(shape)}
    found = specification(relaxation="exact")[type(module), spec](spec)
    assert isinstance(found, torch.Tensor)
    assert found.item() == layer_cost(layer, ARRAY).cycles


class MaskedConv2d(nn.Conv2d):
    """A layer as in PLiNIO's PIT: a mask over the outputs; the input width is that of the layer before."""

    def __init__(self, *arguments, before=None, **options):
        super().__init__(*arguments, **options)
        self.theta = nn.Parameter(torch.ones(self.out_channels))
        self.register_buffer("constant", torch.tensor(self.in_channels))
        self.before = [before]

    def spec(self, shape):
        before = self.before[0]
        soft = {
            "in_channels": self.constant if before is None else before.theta.sum(),
            "out_channels": self.theta.sum(),
        }
        return {**vars(self), **soft, "output_shape": torch.Size(shape)}


@pytest.mark.parametrize("relaxation", ["shifted", "straight-through", "linear"])
def test_a_network_of_masked_layers(relaxation):
    first = MaskedConv2d(3, 16, 3, padding=1)
    depthwise = MaskedConv2d(16, 16, 3, padding=1, groups=16, before=first)
    depthwise.theta = first.theta  # outputs and inputs are the same channels
    last = MaskedConv2d(16, 24, 1, before=depthwise)
    costs = specification(relaxation=relaxation)
    total = torch.tensor(0.0)
    for layer in (first, depthwise, last):
        total = total + costs[nn.Conv2d, vars(layer)](layer.spec((1, layer.out_channels, 8, 8)))
    exact = [
        Conv2d(3, 16, 3, height=8, width=8, padding=1),
        Conv2d(16, 16, 3, height=8, width=8, padding=1, groups=16),
        Conv2d(16, 24, 1, height=8, width=8),
    ]
    cycles = network_cost(exact, ARRAY).total.cycles
    if relaxation == "straight-through":
        assert total.item() == cycles
    found = check_gradient(total, {"first": first.theta, "last": last.theta})
    assert found
    assert all(slope > 0 for slope in found.slopes.values())


def test_a_temporal_convolution_with_a_searched_kernel():
    """PIT searches receptive fields in one dimension: the kernel size is a tensor, and the dilation None."""
    beta = nn.Parameter(torch.ones(9))
    module = nn.Conv1d(12, 20, 9)
    spec = {**vars(module), "kernel_size": beta.sum(), "dilation": None, "output_shape": torch.Size((1, 20, 50))}
    cycles = specification(relaxation="straight-through")[nn.Conv1d, vars(module)](spec)
    assert cycles.item() == layer_cost(Conv2d(12, 20, (1, 9), height=1, width=58), ARRAY).cycles
    assert check_gradient(cycles, {"beta": beta})
    depthwise = nn.Conv1d(12, 12, 9, groups=12)
    spec = {**vars(depthwise), "in_channels": torch.tensor(10.0), "output_shape": torch.Size((1, 12, 50))}
    cycles = specification(relaxation="straight-through")[nn.Conv1d, vars(depthwise)](spec)
    assert cycles.item() == layer_cost(Conv2d(10, 10, (1, 9), height=1, width=58, groups=10), ARRAY).cycles


def test_a_batch_multiplies():
    spec = {"in_features": 16, "out_features": 16, "output_shape": (1, 16)}
    one, four = (plinio_costs(ARRAY, relaxation="exact", batch=batch)["LinearGeneric"](spec) for batch in (1, 4))
    assert (one.item(), four.item()) == (4, 16)


@pytest.mark.parametrize("missing", ["in_channels", "out_channels", "kernel_size", "output_shape"])
def test_a_specification_without_a_size_is_an_error(missing):
    with pytest.raises(InvalidValueError, match="output_shape"):
        plinio_costs(ARRAY)["LinearGeneric"](vars(nn.Linear(8, 8)))
    spec = {**vars(nn.Conv2d(8, 8, 3)), "output_shape": (1, 8, 4, 4)}
    del spec[missing]
    with pytest.raises(InvalidValueError, match=missing):
        plinio_costs(ARRAY)["Conv2dGeneric"](spec)


@pytest.mark.parametrize("bad", BAD_WIDTHS, ids=str)
def test_a_specification_with_a_size_that_is_none(bad):
    spec = {**vars(nn.Conv2d(8, 8, 3)), "output_shape": (1, 8, 4, 4), "out_channels": torch.tensor(bad)}
    with pytest.raises(InvalidValueError, match="out_channels"):
        plinio_costs(ARRAY)["Conv2dGeneric"](spec)


@pytest.mark.parametrize("relaxation", ["stairs", None])
def test_an_unknown_relaxation_is_an_error(relaxation):
    with pytest.raises(InvalidValueError, match="relaxation"):
        plinio_costs(ARRAY, relaxation=relaxation)


# ---------------------------------------------------------------- the examples


EXAMPLES = Path(__file__).parent.parent / "examples"


def test_every_section_of_the_example_reaches_its_parameters(tmp_path):
    out = printed(EXAMPLES / "in_other_nas.py", out=tmp_path / "out")
    for host in ("DARTS", "FBNetV2", "FBNet", "U-Boost", "PLiNIO"):
        assert f"{host}: " in out
    lines = [line for line in out.splitlines() if "the loss reaches" in line]
    assert len(lines) >= 5
    assert all("not" not in line for line in lines)


@pytest.fixture(scope="module")
def small_searches(tmp_path_factory):
    arguments = ("--epochs", "2", "--images", "320", "--lambda", "3")
    folder = tmp_path_factory.mktemp("examples")
    return {
        script: printed(EXAMPLES / f"{script}.py", *arguments, out=folder / script)
        for script in ("resnet_search", "resnet_search_lightning")
    }


def cycles_in(line):
    return int(line.split(": ")[1].split()[0].replace(",", ""))


@pytest.mark.parametrize("script", ["resnet_search", "resnet_search_lightning"])
def test_the_resnet_searches_report_gradients_and_savings(small_searches, script):
    lines = small_searches[script].splitlines()
    assert any(line.startswith("the loss reaches 9 of 9 parameters") for line in lines)
    (widest,) = [line for line in lines if line.startswith("widest network")]
    (found,) = [line for line in lines if line.startswith("searched network")]
    assert cycles_in(found) < cycles_in(widest)


def test_both_resnet_searches_find_the_same_network(small_searches):
    ends = [out.splitlines()[-2:] for out in small_searches.values()]
    assert ends[0] == ends[1]


def test_the_widest_resnet_costs_the_sum_of_its_modules(small_searches):
    import resnet_search as example

    read = hwcost.from_torch(example.ResNet(), (1, 3, example.SIDE, example.SIDE))
    (line,) = [line for line in small_searches["resnet_search"].splitlines() if line.startswith("widest network")]
    assert network_cost(read, SystolicArray(16, 16)).total.cycles == cycles_in(line)
