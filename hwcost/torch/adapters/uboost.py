"""Effective widths, layer by layer: U-Boost NAS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from hwcost.arrays import Size, Table
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.cost import Cost
from hwcost.model.formula import layer_cost
from hwcost.model.layers import Layer
from hwcost.relaxation import Relaxation
from hwcost.torch.adapters.soft_layers import Spec, ToLayer, depthwise, grouped, linear

__all__ = ["FREE_MODULES", "UBOOST_LAYERS", "effective_cost"]

FREE_MODULES: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.Flatten, nn.Dropout, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.BatchNorm2d, nn.MaxPool2d,
    nn.AvgPool2d, nn.AdaptiveAvgPool2d,
)  # fmt: skip
"""Modules that take no cycles of the array."""


def _conv(spec: Spec, batch: Size) -> Layer:
    effective = {**spec, "in_channels": spec["in_width"], "out_channels": spec["out_width"]}
    if 1 < spec["groups"] == spec["in_channels"]:
        return depthwise(effective, batch, multiplier=spec["out_channels"] // spec["groups"])
    return grouped(effective, batch)


def _fully_connected(spec: Spec, batch: Size) -> Layer:
    return linear({**spec, "in_features": spec["in_width"], "out_features": spec["out_width"]}, batch)


UBOOST_LAYERS: Mapping[type[nn.Module], ToLayer] = Table({nn.Conv2d: _conv, nn.Linear: _fully_connected})
"""Modules that are priced, each with the function that makes a layer of its specification and the batch size."""


def effective_cost(
    module: nn.Module,
    in_width: Size,
    out_width: Size,
    out_shape: Sequence[int],
    *,
    array: SystolicArray | str,
    relaxation: Relaxation | str = "generalized",
    kernel_size: Size | tuple[Size, Size] | None = None,
    batch: int = 1,
    layers: Mapping[type[nn.Module], ToLayer] = UBOOST_LAYERS,
    free: tuple[type[nn.Module], ...] = FREE_MODULES,
) -> Cost:
    """The smooth cost of one module at effective widths, with the arguments that U-Boost NAS hands its hardware model.

    There, ``runtime(cell, in_ch, out_ch, out_shape)`` becomes ``1e3 * cost.seconds, cost.utilization``. The host's
    utilization of a network is the mean over its layers; that of summed costs is the one that the array has.

    Args:
        module: of a class in ``layers`` or ``free``.
        in_width, out_width: effective channels or features: numbers, or tensors of one number with a gradient. The
            outputs of a depthwise convolution follow its inputs, whatever ``out_width`` is.
        out_shape: of the output: (N, C, height, width), or (N, ..., features) of a linear layer. N, C and features are
            ignored.
        array: the accelerator, or the name of a device.
        relaxation: of the ceilings; the default is U-Boost's own.
        kernel_size: an effective size in place of the module's, one or a pair.
        batch: images at once.
        layers: for each class of modules a function that makes a layer of a specification (the attributes of the
            module, and ``in_width``, ``out_width`` and ``output_shape``) and the batch size. Pass
            ``{**UBOOST_LAYERS, MyModule: my_function}`` to price modules of the host's own.
        free: classes of modules that take no cycles of the array; ``(*FREE_MODULES, MyModule)`` adds one.

    Returns:
        The cost, its figures scalars with gradient; costs add.

    Raises:
        InvalidValueError: a module of an unknown class; a width or kernel size that is not finite and above 0; a kernel
            size for a module without a kernel.

    Source: Yuzuguler et al., "U-Boost NAS: utilization-boosted differentiable neural architecture search", ECCV 2022.

    >>> import torch
    >>> width = torch.tensor(12.0, requires_grad=True)
    >>> cost = effective_cost(nn.Conv2d(3, 16, 3), torch.tensor(3.0), width, (1, 16, 4, 4), array=SystolicArray(8, 8))
    >>> round(cost.cycles.item(), 2), round(cost.utilization.item(), 2)
    (127.79, 0.63)
    """
    to_layer = next((make for kind, make in layers.items() if isinstance(module, kind)), None)
    if to_layer is None:
        if isinstance(module, free):
            return Cost()
        known = ", ".join(kind.__name__ for kind in layers)
        raise InvalidValueError("module", type(module).__name__, f"one of: {known}; or a class in free")
    spec = {**vars(module), "in_width": in_width, "out_width": out_width, "output_shape": out_shape}
    if kernel_size is not None:
        if "kernel_size" not in spec:
            reason = f"a {type(module).__name__} has no kernel"
            raise InvalidValueError("kernel_size", kernel_size, "leave it out", reason=reason)
        spec["kernel_size"] = kernel_size
    return layer_cost(to_layer(spec, batch), array, relaxation=relaxation)
