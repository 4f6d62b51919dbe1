from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from trying import tried

from hwcost.torch.alphas import Alphas
from nas_plugin import ArchDef, SuperNetwork, TrainableNetwork, load_arch_def
from nas_plugin.space.reader import parse_arch_def

from .conftest import SMALL, one_hot

ARCH = load_arch_def()
CHOICES = st.fixed_dictionaries({name: st.sampled_from(options) for name, options in ARCH.decisions.items()})


def seeded(arch: ArchDef, seed: int = 0) -> SuperNetwork:
    torch.manual_seed(seed)
    return SuperNetwork(arch)


@tried(25)
@given(CHOICES)
def test_a_one_hot_mask_is_the_sliced_network(choice: dict[str, int]) -> None:
    network = seeded(ARCH)
    images = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        masked, sliced = network(images, one_hot(ARCH, choice)), network.slice(choice)(images)
    assert (masked - sliced).abs().max() < 1e-6
    widths = {name: layer.weight.shape for name, layer in network.slice(choice).blocks.items()}
    assert widths["conv2"] == (choice["conv2.width"], choice["conv1.width"], *[choice["conv2.kernel"]] * 2)


BETWEEN = st.fixed_dictionaries(
    {
        name: st.sampled_from(options) if "kernel" in name else st.integers(options[0], options[-1])
        for name, options in ARCH.decisions.items()
    }
)


@tried(40)
@given(BETWEEN)
def test_sliced_weights_are_the_sliced_network(choice: dict[str, int]) -> None:
    network = seeded(ARCH)
    images = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (network.at(images, choice) - network.slice(choice)(images)).abs().max() < 1e-6
        if all(size in ARCH.decisions[name] for name, size in choice.items()):
            assert (network.at(images, choice) - network(images, one_hot(ARCH, choice))).abs().max() < 1e-6


@tried(10)
@given(CHOICES)
def test_gates_that_pick_a_network_are_that_network(choice: dict[str, int]) -> None:
    network = seeded(ARCH)
    images = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (network.at(images, choice) - network(images, one_hot(ARCH, choice))).abs().max() < 1e-6


@pytest.mark.parametrize("padding", ["0", "1", "2", '"same"'])
def test_sliced_weights_under_every_padding_and_in_networks_of_one_kind(padding: str) -> None:
    head, conv, linear = SMALL.replace("padding = 0", f"padding = {padding}").split("[[block]]")
    images = torch.randn(8, 1, 12, 12)
    for text in (head + "[[block]]" + conv, head + "[[block]]" + linear, "[[block]]".join((head, conv, linear))):
        arch = parse_arch_def(text, "x")
        network = seeded(arch)
        for end in (0, -1):
            choice = {name: options[end] for name, options in arch.decisions.items()}
            with torch.no_grad():
                assert (network.at(images, choice) - network.slice(choice)(images)).abs().max() < 1e-6


def test_gradients_reach_the_weights_of_the_slice_and_no_others() -> None:
    network = seeded(ARCH)
    choice = {
        "conv1.width": 3,
        "conv1.kernel": 3,
        "conv2.width": 5,
        "conv2.kernel": 5,
        "fc1.width": 17,
        "fc2.width": 13,
    }
    labels = torch.arange(64) % 10
    F.cross_entropy(network.at(torch.randn(64, 1, 28, 28), choice), labels).backward()
    inside = {
        "conv1": (slice(3), slice(1), slice(1, 4), slice(1, 4)),
        "conv2": (slice(5), slice(3), slice(5), slice(5)),
        "fc1": (slice(17), slice(5 * 25)),
        "fc2": (slice(13), slice(17)),
    }
    for name, part in inside.items():
        gradient = network.blocks[name].weight.grad  # type: ignore[union-attr]
        assert (gradient[part] != 0).any()
        outside = gradient.clone()
        outside[part] = 0
        assert (outside == 0).all()
        bias = network.blocks[name].bias.grad  # type: ignore[union-attr]
        assert (bias[: choice[f"{name}.width"]] != 0).any()
        assert (bias[choice[f"{name}.width"] :] == 0).all()
    assert (network.classifier.weight.grad[:, 13:] == 0).all()  # type: ignore[index]


@pytest.mark.parametrize("padding", ["0", "1", "2", '"same"'])
def test_every_padding_and_networks_of_one_kind(padding: str) -> None:
    head, conv, linear = SMALL.replace("padding = 0", f"padding = {padding}").split("[[block]]")
    images = torch.randn(8, 1, 12, 12)
    for text in (head + "[[block]]" + conv, head + "[[block]]" + linear, "[[block]]".join((head, conv, linear))):
        arch = parse_arch_def(text, "x")
        choice = {name: options[0] for name, options in arch.decisions.items()}
        network = seeded(arch)
        with torch.no_grad():
            assert (network(images, one_hot(arch, choice)) - network.slice(choice)(images)).abs().max() < 1e-6


def test_mixed_kernels_are_mixed_outputs() -> None:
    """The shared convolution with gated weights is the gated sum of the convolutions of each size."""
    network = seeded(ARCH)
    images = torch.randn(4, 1, 28, 28)
    weight, bias = network.layer(ARCH.blocks[0])
    both = one_hot(ARCH, ARCH.reference) | {"conv1.kernel": torch.tensor([0.3, 0.7])}
    inner = F.conv2d(images, weight[:6, :, 1:4, 1:4], padding=1)
    outer = F.conv2d(images, weight[:6], padding=2)
    first = F.max_pool2d(F.relu(0.3 * inner + 0.7 * outer + bias[:6, None, None]), 2)
    rest = network.slice(ARCH.reference)
    with torch.no_grad():
        x = F.max_pool2d(F.relu(rest.blocks["conv2"](first)), 2).flatten(1)
        x = F.relu(rest.blocks["fc2"](F.relu(rest.blocks["fc1"](x))))
        assert (network(images, both) - rest.classifier(x)).abs().max() < 1e-5


@pytest.mark.parametrize("block", ARCH.blocks, ids=lambda block: block.name)
def test_closed_channels_receive_gradient_through_the_mask(block: object) -> None:
    network = seeded(ARCH)
    name = block.width_decision  # type: ignore[attr-defined]
    narrow = {**ARCH.reference, name: ARCH.decisions[name][0]}
    gates = {key: gate.requires_grad_() for key, gate in one_hot(ARCH, narrow).items()}
    images, labels = torch.randn(64, 1, 28, 28), torch.arange(64) % 10
    loss = F.cross_entropy(network(images, gates), labels)
    (gradient,) = torch.autograd.grad(loss, [gates[name]])
    opened = gradient.diff()  # what each further group of channels adds; all but the first are closed
    assert (opened != 0).all()


def test_gates_are_probabilities_and_their_best_follows_alpha() -> None:
    alphas = Alphas(ARCH.decisions)
    assert all((p == p[0]).all() for p in alphas.split(alphas.probabilities()).values())
    assert alphas.entropy() == pytest.approx(1)
    with torch.no_grad():
        alphas.alpha[:] = torch.randn(alphas.alpha.shape, generator=torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(0)
    samples = [alphas.split(alphas.sample(0.5, random)) for _ in range(4000)]
    for name, row in alphas.split(alphas.probabilities()).items():
        p = row.detach()
        assert p.sum() == pytest.approx(1)
        assert len(p) == len(ARCH.decisions[name])
        drawn = torch.stack([sample[name].detach() for sample in samples])
        assert torch.allclose(drawn.sum(-1), torch.ones(4000))
        # the largest gate of a Gumbel sample is distributed as the probabilities
        shares = drawn.argmax(-1).bincount(minlength=len(p)) / 4000
        assert (shares - p).abs().max() < 0.04
        assert alphas.choice()[name] == ARCH.decisions[name][int(p.argmax())]
    assert 0 < alphas.entropy() < 1
    with torch.no_grad():
        alphas.alpha *= 1000
    assert alphas.entropy() == pytest.approx(0, abs=1e-3)


def test_absent_options_get_no_gradient() -> None:
    alphas = Alphas(ARCH.decisions)
    gates = alphas.split(alphas.sample(1.0, torch.Generator().manual_seed(0)))
    sum((gate * torch.arange(len(gate))).sum() for gate in gates.values()).backward()
    assert torch.isfinite(alphas.alpha.grad).all()
    assert (alphas.alpha.grad[alphas.absent] == 0).all()
    assert (alphas.alpha.grad[~alphas.absent] != 0).all()


def test_parameter_count_of_lenet_5() -> None:
    assert TrainableNetwork(ARCH, ARCH.reference).parameter_count == 61_706
