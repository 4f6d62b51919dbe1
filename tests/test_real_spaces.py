"""Networks of torchvision and timm with every width open: the loss is exact for every choice."""

from __future__ import annotations

import importlib.util
import random

import pytest

torch = pytest.importorskip("torch")
from common import real_models  # noqa: E402
from hwcost import SystolicArray, from_torch, network_cost  # noqa: E402
from hwcost.torch import LatencyLoss, expected_sizes  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of code that is not ours
ARRAY = SystolicArray(128, 128, dataflow="os", cycles_per_fold=3.0)
KERNELS = {
    "resnet18": {"conv1.kernel_size": (3, 5, 7), "layer2.0.conv1.kernel_size": (1, 3, 5)},
    "mobilenet_v2": {"features.2.conv.1.0.kernel_size": (3, 5, 7)},
    "densenet121": {},
    "vit_tiny_patch16_224": {},
}


@pytest.fixture(scope="module", params=KERNELS)
def model(request):
    """A network as it was read, the same with its widths open, and the loss over them."""
    name, kernels = request.param, KERNELS[request.param]
    library = "timm" if name.startswith("vit") else "torchvision"
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    loaded = real_models.loaded(library)
    with torch.device("meta"):
        module = loaded.create_model(name) if library == "timm" else getattr(loaded, name)(weights=None)
    network = from_torch(module.eval(), (1, 3, 224, 224))
    space = network.space(kernels, step=8)
    assert len(space.options) >= 12
    return network, space, LatencyLoss(space, ARRAY).eval()


def one_hot(space, choice):
    return {
        name: torch.tensor([float(size == choice[name]) for size in sizes], dtype=torch.float64)
        for name, sizes in space.options.items()
    }


def test_every_choice_costs_what_its_network_costs(model):
    network, space, loss = model
    assert loss.reference == network_cost(network, ARRAY).total.cycles
    draw = random.Random(0)
    for _ in range(5):
        choice = {name: draw.choice(sizes) for name, sizes in space.options.items()}
        exact = network_cost(space.at(choice), ARRAY).total.cycles
        assert loss.exact(choice).total.cycles == exact
        assert loss.cycles(one_hot(space, choice)).item() == pytest.approx(exact, rel=1e-12)
    today = {name: space.widths[name].size for name in space.options}
    assert loss(one_hot(space, today)).item() == pytest.approx(1.0, rel=1e-12)


def test_the_expectation_is_the_mean_over_random_networks(model):
    """The mean cost of sampled networks is the expectation, within five standard errors; slopes are finite."""
    _, space, loss = model
    random_ones = torch.Generator().manual_seed(0)
    alphas = {name: torch.randn(len(sizes), generator=random_ones) for name, sizes in space.options.items()}
    probs = {name: alpha.double().softmax(0).requires_grad_() for name, alpha in alphas.items()}
    expected = loss.cycles(probs)
    expected.backward()
    assert all(bool(torch.isfinite(p.grad).all()) and p.grad.count_nonzero() for p in probs.values())
    drawn = []
    for _ in range(200):
        picks = {name: int(torch.multinomial(p.detach(), 1, generator=random_ones)) for name, p in probs.items()}
        choice = {name: space.options[name][pick] for name, pick in picks.items()}
        drawn.append(loss.cycles(one_hot(space, choice)).item())
    drawn = torch.tensor(drawn)
    assert abs(expected.item() - drawn.mean()) < 5 * drawn.std() / len(drawn) ** 0.5


def test_soft_widths_reach_every_decision(model):
    _, space, _ = model
    probs = {
        name: torch.full((len(sizes),), 1 / len(sizes), requires_grad=True) for name, sizes in space.options.items()
    }
    layers = space.at(expected_sizes(space.options, probs))
    network_cost(layers, ARRAY, relaxation="linear").total.cycles.backward()
    assert all(bool(torch.isfinite(p.grad).all()) and p.grad.count_nonzero() for p in probs.values())
