"""The shape of a layer in words."""

from __future__ import annotations

from typing import Any

from hwcost.model.gemm import Gemm
from hwcost.model.layers import Conv2d, Linear, is_layer

__all__ = ["layer_shape"]


def layer_shape(layer: Any) -> str:
    """One line for people; empty for what has no products.

    >>> from hwcost import Conv2d, Linear, MatMul
    >>> layer_shape(Conv2d(64, 128, 3, height=56, width=56, stride=2, padding=1))
    '64 -> 128, 3 x 3, 56 x 56 -> 28 x 28'
    >>> layer_shape(Conv2d(32, 32, 3, height=7, width=7, padding="same", groups=32, batch=8))
    '32 depthwise, 3 x 3, 7 x 7, batch 8'
    >>> layer_shape(Linear(400, 120, batch=10)), layer_shape(MatMul(m=10, n=10, k=16, batch=4))
    ('400 -> 120, batch 10', '4 x (10 x 16)(16 x 10)')
    >>> layer_shape(MatMul(m=1, n=4096, k=128, batch=32, weights_shared_by=4))
    '32 x (1 x 128)(128 x 4096), 4 share weights'
    """
    if isinstance(layer, (Conv2d, Linear)):
        words = _convolution(layer) if isinstance(layer, Conv2d) else [f"{layer.in_features} -> {layer.out_features}"]
        return ", ".join(words if layer.batch == 1 else [*words, f"batch {layer.batch}"])
    return " + ".join(map(_product, layer.gemms())) if is_layer(layer) else ""


def _convolution(layer: Conv2d) -> list[str]:
    plain = not layer.is_depthwise or layer.in_channels != layer.out_channels
    channels = f"{layer.in_channels} -> {layer.out_channels}" if plain else f"{layer.in_channels}"
    if layer.is_depthwise:
        channels += " depthwise"
    before, after = f"{layer.height} x {layer.width}", "{} x {}".format(*layer.out_size)
    words = [channels, "{} x {}".format(*layer.kernel_size)]
    if layer.groups != 1 and not layer.is_depthwise:
        words.append(f"{layer.groups} groups")
    if layer.dilation != (1, 1):
        words.append("dilation {} x {}".format(*layer.dilation))
    return [*words, before if before == after else f"{before} -> {after}"]


def _product(gemm: Gemm) -> str:
    times = "" if gemm.count == 1 else f"{gemm.count} x "
    users = {"weights": gemm.weights_shared_by, "inputs": gemm.inputs_shared_by}
    shared = "".join(f", {each} share {operand}" for operand, each in users.items() if each != 1)
    return f"{times}({gemm.m} x {gemm.k})({gemm.k} x {gemm.n}){shared}"
