"""A specification of each layer: PLiNIO."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hwcost.arrays import Table
from hwcost.errors import MISSING, InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import as_array, layer_cycles
from hwcost.relaxation import Relaxation, as_relaxation
from hwcost.torch.adapters.soft_layers import Spec, ToLayer, depthwise, grouped, linear

__all__ = ["PLINIO_LAYERS", "plinio_costs"]

PLINIO_LAYERS: Mapping[str, ToLayer] = Table(
    {
        "Conv1dGeneric": functools.partial(grouped, axes=1),
        "Conv2dGeneric": functools.partial(grouped, axes=2),
        "LinearGeneric": linear,
        "Conv1dDW": functools.partial(depthwise, axes=1),
        "Conv2dDW": functools.partial(depthwise, axes=2),
    }
)
"""PLiNIO's patterns by name, each with the function that makes a layer of a specification and the batch size. General
patterns precede special ones, as CostSpec requires."""


def plinio_costs(
    array: SystolicArray | str,
    *,
    relaxation: Relaxation | str = "shifted",
    batch: int = 1,
    layers: Mapping[str, ToLayer] = PLINIO_LAYERS,
) -> dict[str, Callable[[Spec], Tensor]]:
    """Cost functions for PLiNIO, one for each of its patterns, each of a layer's specification.

    They fill a cost specification for any of PLiNIO's methods::

        latency = CostSpec(shared=False, default_behavior="fail")
        latency.update({getattr(pattern, name): cost for name, cost in plinio_costs(array).items()})

    With ``default_behavior="zero"`` a layer without a pattern, as a transposed convolution, would cost nothing.

    Args:
        array: the accelerator, or the name of a device.
        relaxation: of the ceilings.
        batch: images at once.
        layers: for each pattern a function that makes a layer of a specification and the batch size. Pass
            ``{**PLINIO_LAYERS, "MyPattern": my_function}`` to price a pattern of your own.

    Returns:
        By the name of a pattern, a function of a ``PatternSpec``: a layer's attributes under PyTorch's names, effective
        widths and kernel sizes among them as tensors, and its ``output_shape``. It returns cycles, a tensor of no axes
        with gradient, and raises InvalidValueError if a size is missing, or is not finite and above 0.

    Source: Jahier Pagliari et al., "PLiNIO: a user-friendly library of gradient-based methods for complexity-aware DNN
    optimization", FDL 2023.

    >>> import torch
    >>> cost = plinio_costs(SystolicArray(8, 8))["LinearGeneric"]
    >>> cost({"in_features": torch.tensor(12.0, requires_grad=True), "out_features": 8, "output_shape": (1, 8)})
    tensor(2.0152, grad_fn=<MulBackward0>)
    """
    array = as_array(array)
    return {
        name: functools.partial(_plinio_cycles, layer, array, as_relaxation(relaxation), batch)
        for name, layer in layers.items()
    }


def _plinio_cycles(layer: ToLayer, array: SystolicArray, relaxation: Relaxation, batch: int, spec: Spec) -> Tensor:
    try:
        built = layer(spec, batch)
    except KeyError as error:
        allowed = "the attributes of the layer and its output_shape"
        raise InvalidValueError(f"spec[{error}]", MISSING, allowed) from None
    return torch.as_tensor(layer_cycles(built, array, relaxation))
