"""check_gradient: whether a loss reaches its parameters, in one line."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hwcost import Conv2d, InvalidValueError, Network, NoGradientError, Operation, SystolicArray
from hwcost.torch import GradientCheck, LatencyLoss, check_gradient

CONV = Conv2d(3, 8, 3, height=8, width=8, padding="same")
SPACE = Network("one", {"conv": Operation(CONV, {"out_channels": "width", "kernel_size": "kernel"})}).space(
    {"width": (8, 12, 16), "kernel": (3, 5)}
)


def alphas() -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(torch.zeros(len(options))) for name, options in SPACE.options.items()}


def latency_of(parameters: dict[str, nn.Parameter], relaxation: str | None = None) -> torch.Tensor:
    loss = LatencyLoss(SPACE, SystolicArray(8, 8), relaxation=relaxation, reference={"width": 8, "kernel": 3})
    return loss({name: alpha.softmax(0) for name, alpha in parameters.items()})


# ---------------------------------------------------------------- results


@pytest.mark.parametrize("relaxation", [None, "shifted", "logistic", "generalized", "straight-through", "linear"])
def test_a_latency_term_reaches_its_alphas(relaxation):
    parameters = alphas()
    found = check_gradient(latency_of(parameters, relaxation), parameters)
    assert found
    assert set(found.slopes) == {"width", "kernel"}
    assert str(found).startswith("the loss reaches 2 of 2 parameters; largest slope ")


def test_the_largest_slope_is_the_largest_of_the_gradient():
    parameters = alphas()
    loss = latency_of(parameters)
    slopes = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values()), retain_graph=True), strict=True))
    largest = max((slope for vector in slopes.values() for slope in vector.tolist()), key=abs)
    found = check_gradient(loss, parameters)
    assert max(found.slopes.values(), key=abs) == pytest.approx(largest)
    for name, vector in slopes.items():
        assert abs(found.slopes[name]) == vector.abs().max().item()
        assert found.slopes[name] in vector.tolist()


def test_a_plateau_of_the_exact_ceiling_is_named():
    parameters = alphas()
    found = check_gradient(latency_of(parameters, "exact"), parameters)
    assert not found
    assert not found.slopes
    assert found.missed == dict.fromkeys(parameters, "all slopes are 0: a plateau")
    assert str(found) == ("the loss reaches none of 2 parameters; not 'width', 'kernel' (all slopes are 0: a plateau)")


@pytest.mark.parametrize("loss", [1.5, 3, torch.tensor(1.5).item()])
def test_a_number_has_no_graph(loss):
    found = check_gradient(loss, alphas())
    assert not found
    assert str(found) == "the loss reaches none of 2 parameters: it is a plain number, without a graph"


def test_a_detached_loss_has_no_graph():
    parameters = alphas()
    found = check_gradient(latency_of(parameters).detach(), parameters)
    assert not found
    assert found.no_graph == "it has no graph (detached, or computed without gradient)"
    assert found.no_graph in str(found)


def test_each_reason_is_given_once():
    reached, flat, bad = (nn.Parameter(torch.ones(2)) for _ in range(3))
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    others = [nn.Parameter(torch.ones(1)) for _ in range(6)]
    loss = 2 * reached.sum() + (0 * flat).sum() + (torch.tensor([0.0, float("inf")]) * bad).sum() + frozen.sum()
    named = {"a": reached, "flat": flat, "bad": bad, "frozen": frozen} | {f"b{i}": b for i, b in enumerate(others)}
    found = check_gradient(loss, named)
    assert not found
    assert str(found) == (
        "the loss reaches 1 of 10 parameters; largest slope 2 at 'a'; not 'flat' (all slopes are 0: a plateau); "
        "not 'bad' (slopes are not finite); not 'frozen' (requires_grad is False); "
        "not 'b0', 'b1', 'b2', 'b3' and 2 more (the loss does not depend on it)"
    )


def test_only_frozen_parameters():
    parameter = nn.Parameter(torch.ones(2))
    found = check_gradient(parameter.sum(), {"frozen": torch.ones(3)})
    assert str(found) == "the loss reaches none of 1 parameter; not 'frozen' (requires_grad is False)"


def test_nan_slopes_are_not_taken_for_slopes():
    parameter = nn.Parameter(torch.zeros(2))
    found = check_gradient((parameter.sqrt() * 0).sum(), [parameter])  # 0 * infinity
    assert found.missed == {"0": "slopes are not finite"}


@given(st.text(max_size=100), st.integers(1, 30))
def test_it_is_one_line_whatever_the_names_are(name, count):
    parameter = nn.Parameter(torch.ones(1))
    named = {f"{name}{i}": nn.Parameter(torch.ones(1)) for i in range(count)} | {f"{name}!": parameter}
    for loss in (parameter.sum(), parameter.detach().sum(), 1.0):
        assert len(str(check_gradient(loss, named)).splitlines()) == 1


# ---------------------------------------------------------------- side effects


def test_no_grad_is_touched_and_the_graph_is_kept():
    parameters = alphas()
    parameters["width"].grad = torch.full((3,), 7.0)
    loss = latency_of(parameters)
    first, second = check_gradient(loss, parameters), check_gradient(loss, parameters)
    assert first == second
    assert parameters["width"].grad.tolist() == [7.0] * 3
    assert parameters["kernel"].grad is None
    loss.backward()
    assert parameters["kernel"].grad.abs().max() > 0


def test_it_works_under_no_grad():
    parameters = alphas()
    loss = latency_of(parameters)
    with torch.no_grad():
        assert check_gradient(loss, parameters)


def test_a_freed_graph_is_an_error():
    parameters = alphas()
    loss = latency_of(parameters)
    loss.backward()
    with pytest.raises(NoGradientError, match="check it before backward"):
        check_gradient(loss, parameters)


def test_other_errors_of_autograd_are_not_swallowed():
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, slope):
            raise RuntimeError("the host's own")

    parameter = nn.Parameter(torch.ones(1))
    with pytest.raises(RuntimeError, match="the host's own"):
        check_gradient(Broken.apply(parameter).sum(), [parameter])


def test_the_result_is_frozen():
    found = check_gradient(1.0, alphas())
    assert isinstance(found, GradientCheck)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.no_graph = ""


# ---------------------------------------------------------------- parameters


def test_parameters_come_in_any_shape():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    loss = module(torch.ones(1, 2)).sum()
    assert set(check_gradient(loss, module.named_parameters()).slopes) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert set(check_gradient(loss, module.parameters()).slopes) == {"0", "1", "2", "3"}
    assert set(check_gradient(loss, list(module.parameters())).slopes) == {"0", "1", "2", "3"}
    assert set(check_gradient(loss, dict(module.named_parameters())).slopes) == {"0.weight", "0.bias", "1.weight", "1.bias"}  # fmt: skip  # noqa: E501


def test_a_lone_tensor_is_one_parameter_not_its_rows():
    matrix = nn.Parameter(torch.ones(4, 3))
    assert check_gradient(matrix.softmax(-1)[0, 0], matrix).slopes.keys() == {"0"}


def test_tensors_that_are_no_leaves_are_accepted():
    parameters = alphas()
    probs = parameters["width"].softmax(0)
    loss = (probs * torch.tensor([1.0, 2.0, 4.0])).sum()
    assert check_gradient(loss, {"probs": probs}).slopes == {"probs": 4.0}


def test_sparse_slopes_and_losses_of_one_element():
    table = nn.Embedding(5, 2, sparse=True)
    loss = table(torch.tensor([1, 1])).sum().reshape(1, 1)
    assert check_gradient(loss, {"table": table.weight}).slopes == {"table": 2.0}


def test_an_empty_parameter_is_not_reached():
    empty, other = nn.Parameter(torch.ones(0)), nn.Parameter(torch.ones(1))
    assert check_gradient(other.sum() + empty.sum(), [empty]).missed == {"0": "all slopes are 0: a plateau"}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        [],
        3,
        "width",
        {"a": 1.0},
        [1.0],
        [("a", torch.ones(1)), ("a", torch.ones(1))],
        [("a", "b", "c")],
        {"a": None},
    ],
)
def test_other_parameters_are_refused(parameters):
    with pytest.raises(InvalidValueError, match="parameters"):
        check_gradient(torch.ones((), requires_grad=True), parameters)


@pytest.mark.parametrize("loss", [torch.ones(2, requires_grad=True), torch.ones(0), None, "1.0", [1.0]])
def test_other_losses_are_refused(loss):
    with pytest.raises(InvalidValueError, match="loss"):
        check_gradient(loss, [torch.ones(1, requires_grad=True)])
