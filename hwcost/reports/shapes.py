"""The shape of a layer in words."""

from __future__ import annotations

from typing import Any

from hwcost.model.gemm import Gemm
from hwcost.model.layers import Conv2d, Linear, MatMul, is_layer

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
    """
    if isinstance(layer, Conv2d):
        return ", ".join(_convolution(layer))
    if isinstance(layer, Linear):
        return f"{layer.in_features} -> {layer.out_features}{_batch(layer.batch)}"
    if isinstance(layer, MatMul):
        return _product(layer.m, layer.n, layer.k, layer.batch)
    if is_layer(layer):
        return " + ".join(_gemm(gemm) for gemm in layer.gemms())
    return ""


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
    words.append(before if before == after else f"{before} -> {after}")
    return words if layer.batch == 1 else [*words, f"batch {layer.batch}"]


def _batch(batch: Any) -> str:
    return "" if batch == 1 else f", batch {batch}"


def _gemm(gemm: Gemm) -> str:
    return _product(gemm.m, gemm.n, gemm.k, gemm.count)


def _product(m: Any, n: Any, k: Any, count: Any) -> str:
    return f"{'' if count == 1 else f'{count} x '}({m} x {k})({k} x {n})"
