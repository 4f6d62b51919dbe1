"""The latency inside other people's NAS code: each function takes what such a host holds and gives what it expects.

    the host holds                              here                       as in
    a vector of logits for each decision        relaxed_latency            DARTS, FBNetV2
    weights over the candidates of each block   BlockCosts                 ProxylessNAS, FBNet
    soft widths, layer by layer                 effective_cost             U-Boost NAS
    a specification of each layer               plinio_costs               PLiNIO
    modules with alphas by label                nni_cycles, nni_penalty    NNI 3.0

All cycles come out of :mod:`hwcost.torch` and :mod:`hwcost.model.formula`. No host is imported before its own adapter
is used. :func:`hwcost.torch.check_gradient` tells whether what a host makes of a term still reaches its parameters.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from hwcost import arrays
from hwcost.arrays import Size
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.cost import Cost
from hwcost.model.formula import layer_cost, layer_cycles
from hwcost.model.layers import Conv2d, Linear, is_layer
from hwcost.network.pricing import network_cost
from hwcost.relaxation import Relaxation, as_relaxation
from hwcost.torch import CostTable, LatencyLoss, expected_cost

__all__ = [
    "FREE_MODULES",
    "BlockCosts",
    "effective_cost",
    "nni_cycles",
    "nni_penalty",
    "nni_probabilities",
    "plinio_costs",
    "relaxed_latency",
]

Softmax: TypeAlias = Callable[[Tensor], Tensor]
Spec: TypeAlias = Mapping[str, Any]
Candidates: TypeAlias = Mapping[Hashable, Any] | Sequence[Any]
Blocks: TypeAlias = Mapping[str, Candidates] | Sequence[Candidates]

# ---------------------------------------------------------------- logits for each decision: DARTS, FBNetV2


def _softmax(alpha: Tensor) -> Tensor:
    return alpha.softmax(-1)


def relaxed_latency(
    latency: LatencyLoss, alphas: Mapping[str, Tensor], *, softmax: Softmax | None = _softmax
) -> Tensor:
    """The latency for architecture parameters as DARTS and FBNetV2 hold them: a vector of logits for each decision.

    Args:
        latency: the term over the search space, by whatever relaxation it was made with.
        alphas: for each decision a vector as long as it has options.
        softmax: what makes probabilities of logits: the host's own, as ``functools.partial(F.gumbel_softmax, tau=2)``.
            None: ``alphas`` are probabilities already. Where the host mixes its layers by a Gumbel sample, give it that
            sample and None, so that latency and layers see the same one.

    Returns:
        The latency in units of the term's reference, a scalar with gradient.

    Raises:
        InvalidValueError: a decision is missing or unknown, or of another length; what should be probabilities is
            negative or does not sum to 1 (raw alphas, for example).
        NoGradientError: nothing carries a gradient, as in :class:`hwcost.torch.LatencyLoss`.

    Source: Liu et al., "DARTS: differentiable architecture search", ICLR 2019; Wan et al., "FBNetV2", CVPR 2020.

    >>> from hwcost import SearchedLayer, SearchSpace
    >>> space = SearchSpace({"width": (8, 16)}, {"fc": SearchedLayer(Linear(8, 8), {"out_features": "width"})})
    >>> latency = LatencyLoss(space, SystolicArray(8, 8), reference={"width": 16})
    >>> relaxed_latency(latency, {"width": torch.zeros(2, requires_grad=True)})
    tensor(0.7500, grad_fn=<DivBackward0>)
    """
    probs = {name: alpha if softmax is None else softmax(alpha) for name, alpha in alphas.items()}
    for name, vector in probs.items():
        _check_probabilities(name, vector)
    term: Tensor = latency(probs)
    return term


def _check_probabilities(name: str, vector: Tensor) -> None:
    total = vector.detach().sum()
    fits = arrays.if_concrete(vector, lambda: bool((vector >= 0).all() & ((total - 1).abs() < 1e-2)))
    if fits is False:
        allowed = "probabilities: at least 0, with a sum of 1; for logits say which softmax"
        raise InvalidValueError(f"alphas[{name!r}]", vector.detach().tolist(), allowed)


# ---------------------------------------------------------------- candidates for each block: ProxylessNAS, FBNet


@dataclass(frozen=True)
class BlockCosts:
    """The exact cycles of every candidate of every block, for hosts that choose among whole operations.

    ``BlockCosts.of`` prices them. As lists of numbers, which is how FBNet and ProxylessNAS hold their tables,
    ``{name: table.values.tolist() for name, table in costs.tables.items()}``.

    Attributes:
        tables: for each block a vector of cycles, one entry a candidate.
        candidates: for each block the names of its candidates (their positions where they have none), in order.

    Source: Cai et al., "ProxylessNAS", ICLR 2019; Wu et al., "FBNet", CVPR 2019.

    >>> costs = BlockCosts.of(
    ...     {
    ...         "block1": {
    ...             "conv3": Conv2d(8, 8, 3, height=4, width=4, padding="same"),
    ...             "separable": [
    ...                 Conv2d(8, 8, 3, height=4, width=4, padding="same", groups=8),
    ...                 Conv2d(8, 8, 1, height=4, width=4),
    ...             ],
    ...             "skip": None,
    ...         },
    ...     },
    ...     SystolicArray(8, 8),
    ... )
    >>> costs.tables["block1"].values
    tensor([144., 272.,   0.], dtype=torch.float64)
    >>> costs.cycles({"block1": torch.tensor([0.5, 0.0, 0.5], requires_grad=True)})
    tensor(72., grad_fn=<DotBackward0>)
    """

    tables: Mapping[str, CostTable]
    candidates: Mapping[str, tuple[Hashable, ...]]

    @classmethod
    def of(cls, blocks: Blocks, array: SystolicArray) -> BlockCosts:
        """Prices blocks, each of several candidates; both by name, or in a row and then called by their position.

        Args:
            blocks: the candidates of each. A candidate is a layer; several that run one after the other, in a row or
                by name (what ``hwcost.from_torch`` returns is one too); or ``None`` or ``nn.Identity()`` for nothing.
            array: the accelerator.

        Raises:
            InvalidValueError: no blocks, a block without candidates, a candidate that cannot be priced: it is never 0.
        """
        named = {name: _named(block, f"block {name!r}") for name, block in _named(blocks, "blocks").items()}
        tables = {}
        for name, block in named.items():
            cycles = [
                _candidate_cycles(ops, array, f"candidate {key!r} of block {name!r}") for key, ops in block.items()
            ]
            tables[str(name)] = CostTable(torch.tensor(cycles, dtype=torch.float64), (str(name),))
        return cls(MappingProxyType(tables), MappingProxyType({str(name): tuple(ops) for name, ops in named.items()}))

    def cycles(self, weights: Mapping[str, Tensor] | Iterable[Tensor]) -> Tensor:
        """The expected cycles of all blocks: the sum over blocks of weights times cycles, a scalar with gradient.

        Args:
            weights: for each block the weights that the host mixes its candidates by (after its softmax, sigmoid or
                Gumbel sample; they need not sum to 1), by name or in the order of the blocks. The rows of a matrix, one
                a block, are in order too. Blocks that share their weights take the same tensor.

        Raises:
            InvalidValueError: a block without weights, weights without a block, or of another length.
        """
        if not isinstance(weights, Mapping):
            row = list(weights)
            if len(row) != len(self.tables):
                raise InvalidValueError(
                    "weights", f"of {len(row)} blocks", f"one vector for each of {len(self.tables)}"
                )
            weights = dict(zip(self.tables, row, strict=True))
        for name in weights:
            if name not in self.tables:
                raise InvalidValueError("weights", name, f"one of the blocks: {', '.join(self.tables)}")
        device = next((weight.device for weight in weights.values() if isinstance(weight, Tensor)), torch.device("cpu"))
        tables = {name: table._replace(values=table.values.to(device)) for name, table in self.tables.items()}
        with torch.autocast(device.type, enabled=False):  # half precision would blur the cycles
            return expected_cost(tables, weights)


def _named(items: Any, field: str) -> dict[Hashable, Any]:
    """What is given by name, or in a row and then by position."""
    if not isinstance(items, (Mapping, Sequence)) or isinstance(items, str) or not len(items):
        raise InvalidValueError(field, items, "a mapping or a sequence that is not empty")
    return dict(items.items() if isinstance(items, Mapping) else enumerate(items))


def _candidate_cycles(operations: Any, array: SystolicArray, field: str) -> Size:
    alone = operations is None or isinstance(operations, nn.Module) or is_layer(operations)
    listed = _named([operations] if alone else operations, field).values()
    layers = [layer for layer in listed if layer is not None and type(layer) is not nn.Identity]
    for layer in layers:
        if not is_layer(layer):
            allowed = "a layer, several, or None for no operation (hwcost.from_torch makes layers of a module)"
            raise InvalidValueError(field, layer, allowed)
    if not any(layer.gemms() for layer in layers):  # all of them are known to be free
        return 0
    cycles = network_cost(layers, array).total.cycles
    if not arrays.is_number(cycles):
        raise InvalidValueError(field, operations, "layers of plain sizes, on one array")
    return cycles


# ---------------------------------------------------------------- layers at soft sizes


def _soft(value: Size, field: str) -> Size:
    """A size as a host holds it: a number, or a tensor of one number above 0, whose axes are dropped."""
    if not isinstance(value, Tensor):
        return arrays.as_size(value, field)
    allowed = "a tensor of one number above 0"
    if value.numel() != 1:
        raise InvalidValueError(field, tuple(value.shape), allowed)
    if arrays.if_concrete(value, lambda: bool(torch.isfinite(value) & (value > 0))) is False:
        raise InvalidValueError(field, value.item(), allowed)
    return value.reshape(())


def _conv(spec: Spec, batch: Size, *, axes: int, groups: Size, out_width: Size) -> Conv2d:
    """A convolution by the shape of its output, which is what hosts know; its input is taken as stride times that."""
    if len(spec["output_shape"]) != axes + 2:
        raise InvalidValueError("output_shape", tuple(spec["output_shape"]), f"batch, channels and {axes} more sizes")
    out_size, stride, kernel = (1, *spec["output_shape"][2:])[-2:], [1, 1], [1, 1]
    for axis in range(-axes, 0):
        stride[axis] = _along(spec.get("stride", 1), axis)
        kernel[axis] = _soft(_along(spec["kernel_size"], axis), "kernel_size")
    return Conv2d(
        _soft(spec["in_channels"], "in_channels"),
        _soft(out_width, "out_channels"),
        (kernel[0], kernel[1]),
        height=out_size[0] * stride[0],
        width=out_size[1] * stride[1],
        batch=batch,
        stride=(stride[0], stride[1]),
        padding="same",
        groups=_soft(groups, "groups"),
    )


def _along(value: Any, axis: int) -> Any:
    return value[axis] if isinstance(value, (tuple, list)) else value


def _grouped(spec: Spec, batch: Size, *, axes: int) -> Conv2d:
    return _conv(spec, batch, axes=axes, groups=spec.get("groups", 1), out_width=spec["out_channels"])


def _depthwise(spec: Spec, batch: Size, *, axes: int, multiplier: int = 1) -> Conv2d:
    width = _soft(spec["in_channels"], "in_channels")
    return _conv(spec, batch, axes=axes, groups=width, out_width=multiplier * width)


def _linear(spec: Spec, batch: Size) -> Linear:
    rows = math.prod(spec["output_shape"][1:-1])
    in_width, out_width = (_soft(spec[name], name) for name in ("in_features", "out_features"))
    return Linear(in_width, out_width, batch=arrays.product(batch, rows))


# ---------------------------------------------------------------- effective widths: U-Boost NAS


FREE_MODULES: tuple[type[nn.Module], ...] = (
    nn.Identity,
    nn.Flatten,
    nn.Dropout,
    nn.ReLU,
    nn.ReLU6,
    nn.SiLU,
    nn.Hardswish,
    nn.BatchNorm2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
)
"""Modules that take no cycles of the array."""


def effective_cost(
    module: nn.Module,
    in_width: Size,
    out_width: Size,
    out_shape: Sequence[int],
    *,
    array: SystolicArray,
    relaxation: Relaxation | str = "generalized",
    kernel_size: Size | tuple[Size, Size] | None = None,
    batch: int = 1,
    free: tuple[type[nn.Module], ...] = FREE_MODULES,
) -> Cost:
    """The smooth cost of one module at effective widths, with the arguments that U-Boost NAS hands its hardware model.

    There, ``runtime(cell, in_ch, out_ch, out_shape)`` becomes ``1e3 * cost.seconds, cost.utilization``. The host's
    utilization of a network is the mean over its layers; that of summed costs is the one that the array has.

    Args:
        module: an ``nn.Conv2d`` or ``nn.Linear``, or one of ``free``.
        in_width, out_width: effective channels or features: numbers, or tensors of one number with a gradient. The
            outputs of a depthwise convolution follow its inputs, whatever ``out_width`` says.
        out_shape: of the output: (N, C, height, width), or (N, ..., features) of a linear layer. N, C and features are
            not looked at.
        array: the accelerator.
        relaxation: what stands in for the ceilings; the default is U-Boost's own.
        kernel_size: an effective size in place of the module's, one or a pair.
        batch: images at once.
        free: classes of modules that take no cycles of the array; add the host's own.

    Returns:
        The cost, its figures scalars with gradient; costs add.

    Raises:
        InvalidValueError: a module of another class; a width or kernel size that is not finite and above 0.

    Source: Yuzuguler et al., "U-Boost NAS: utilization-boosted differentiable neural architecture search", ECCV 2022.

    >>> width = torch.tensor(12.0, requires_grad=True)
    >>> cost = effective_cost(nn.Conv2d(3, 16, 3), torch.tensor(3.0), width, (1, 16, 4, 4), array=SystolicArray(8, 8))
    >>> round(cost.cycles.item(), 2), round(cost.utilization.item(), 2)
    (127.79, 0.63)
    """
    if not isinstance(module, (nn.Conv2d, nn.Linear)):
        if isinstance(module, free):
            return Cost()
        raise InvalidValueError("module", type(module).__name__, "an nn.Conv2d, an nn.Linear, or a class in free")
    spec = {**vars(module), "output_shape": out_shape}
    if isinstance(module, nn.Linear):
        layer: Conv2d | Linear = _linear(spec | {"in_features": in_width, "out_features": out_width}, batch)
        return layer_cost(layer, array, relaxation=relaxation)
    spec |= {"in_channels": in_width, "out_channels": out_width}
    if kernel_size is not None:
        spec["kernel_size"] = kernel_size
    if 1 < module.groups == module.in_channels:
        layer = _depthwise(spec, batch, axes=2, multiplier=module.out_channels // module.groups)
    else:
        layer = _grouped(spec, batch, axes=2)
    return layer_cost(layer, array, relaxation=relaxation)


# ---------------------------------------------------------------- a specification of each layer: PLiNIO


_PATTERNS: Mapping[str, Callable[[Spec, Size], Conv2d | Linear]] = MappingProxyType(
    {
        "Conv1dGeneric": functools.partial(_grouped, axes=1),
        "Conv2dGeneric": functools.partial(_grouped, axes=2),
        "LinearGeneric": _linear,
        "Conv1dDW": functools.partial(_depthwise, axes=1),
        "Conv2dDW": functools.partial(_depthwise, axes=2),
    }
)
"""PLiNIO's patterns by name. The general come before the special, in which order its CostSpec wants them."""


def plinio_costs(
    array: SystolicArray, *, relaxation: Relaxation | str = "shifted", batch: int = 1
) -> dict[str, Callable[[Spec], Tensor]]:
    """Cost functions for PLiNIO, one for each of its patterns, each of a layer's specification.

    A cost specification for any of PLiNIO's methods takes them as they come::

        latency = CostSpec(shared=False, default_behavior="fail")
        latency.update({getattr(pattern, name): cost for name, cost in plinio_costs(array).items()})

    ``default_behavior="zero"`` would price what has no function, a transposed convolution for example, at nothing.

    Args:
        array: the accelerator.
        relaxation: what stands in for the ceilings.
        batch: images at once.

    Returns:
        By the name of a pattern, a function of a ``PatternSpec``: a layer's attributes under PyTorch's names, effective
        widths and kernel sizes among them as tensors, and its ``output_shape``. It returns cycles, a tensor of no axes
        with gradient, and raises InvalidValueError where a size is missing, or is not finite and above 0.

    Source: Jahier Pagliari et al., "PLiNIO: a user-friendly library of gradient-based methods for complexity-aware DNN
    optimization", FDL 2023.

    >>> cost = plinio_costs(SystolicArray(8, 8))["LinearGeneric"]
    >>> cost({"in_features": torch.tensor(12.0, requires_grad=True), "out_features": 8, "output_shape": (1, 8)})
    tensor(2.0152, grad_fn=<MulBackward0>)
    """
    return {
        name: functools.partial(_plinio_cycles, layer, array, as_relaxation(relaxation), batch)
        for name, layer in _PATTERNS.items()
    }


def _plinio_cycles(
    layer: Callable[[Spec, Size], Conv2d | Linear], array: SystolicArray, relaxation: Relaxation, batch: int, spec: Spec
) -> Tensor:
    try:
        built = layer(spec, batch)
    except KeyError as error:
        raise InvalidValueError("spec", sorted(spec), f"a specification with {error}") from None
    return torch.as_tensor(layer_cycles(built, array, relaxation))


# ---------------------------------------------------------------- modules with alphas by label: NNI 3.0


def nni_probabilities(supernet: nn.Module, *, softmax: Softmax | None = None) -> dict[str, dict[Hashable, Tensor]]:
    """What NNI's ``export_probs`` gives, with its gradient: there the probabilities are floats.

    Args:
        supernet: a model space after an NNI 3.0 strategy (DARTS, GumbelDARTS, Proxyless) has mutated it in place.
        softmax: what makes probabilities of alphas; by default the strategy's own, which for GumbelDARTS draws anew.

    Returns:
        For each label a mapping from options to probabilities.

    Raises:
        InvalidValueError: nothing in the model has alphas.
    """
    found: dict[str, dict[Hashable, Tensor]] = {}
    for module in supernet.modules():
        export = getattr(module, "export_probs", None)
        for label, shares in export({}).items() if callable(export) else ():
            found.setdefault(label, _with_gradient(module, label, shares, softmax))
    if not found:
        raise InvalidValueError("supernet", type(supernet).__name__, "a model that an NNI strategy has mutated")
    return found


def _with_gradient(
    module: Any, label: str, shares: Mapping[Hashable, Any], softmax: Softmax | None
) -> dict[Hashable, Tensor]:
    alphas = getattr(module, "_arch_alpha", None)
    if alphas is None:  # a depth under Proxyless, made of other modules' alphas: these are tensors already
        return dict(shares)
    alpha = alphas if isinstance(alphas, Tensor) else alphas[label]
    # in a cell the last alpha, for no edge at all, has no name
    return dict(zip(shares, (softmax or module._softmax)(alpha), strict=False))


def nni_cycles(latency: LatencyLoss | BlockCosts, supernet: nn.Module, *, softmax: Softmax | None = None) -> Tensor:
    """The cycles of an NNI super-network, with gradient in its alphas.

    Args:
        latency: a term whose decisions are called by NNI's labels and have its options (widths and kernels of mutable
            layers), or the costs of blocks called by the labels of layer choices, whose candidates have its names.
            Other labels of the super-network play no part.
        supernet, softmax: as for :func:`nni_probabilities`.

    Returns:
        A scalar. Terms may be added: each sees what it prices.

    Raises:
        InvalidValueError: a decision or block without a label, or with other options.
    """
    shares = nni_probabilities(supernet, softmax=softmax)
    wanted: Mapping[str, Sequence[Hashable]]
    wanted = latency.candidates if isinstance(latency, BlockCosts) else latency.space.decisions
    for label, options in wanted.items():
        if label not in shares:
            raise InvalidValueError("latency", label, f"decisions or blocks called by a label: {', '.join(shares)}")
        if set(options) != set(shares[label]):
            raise InvalidValueError(f"options of {label!r}", tuple(options), f"those of NNI: {tuple(shares[label])}")
    return latency.cycles({label: torch.stack([shares[label][o] for o in opts]) for label, opts in wanted.items()})


def nni_penalty(cycles: Callable[[], Tensor], *, baseline: float, scale: float = 1.0, **options: Any) -> Any:
    """The penalty of an NNI 3.0 strategy, with a gradient.

    NNI computes its own from ``export_probs``, whose probabilities are floats: the loss grows and no alpha moves. This
    one takes its place as ``DARTS(penalty=...)`` and asks for cycles anew in each step::

        penalty = nni_penalty(functools.partial(nni_cycles, latency, model_space), baseline=latency.reference)

    Args:
        cycles: called without arguments in each architecture step.
        baseline, scale, options: as for NNI's ``ExpectationProfilerPenalty``, of which it is a subclass:
            loss + scale * (cycles / baseline - 1) by default.

    Raises:
        ImportError: nni 3.0 is not installed.
    """
    base: Any = importlib.import_module("nni.nas.oneshot.pytorch.profiler").ExpectationProfilerPenalty

    class Penalty(base):  # type: ignore[misc]
        """Cycles with a gradient, whatever the exported probabilities are."""

        def profile(self, sample: object) -> Tensor:
            """NNI's probabilities are not looked at."""
            return cycles()

    return Penalty(None, baseline=baseline, scale=scale, **options)
