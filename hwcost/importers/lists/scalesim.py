"""Networks as SCALE-Sim topologies that take the same cycles there.

SCALE-Sim has convolutions of one image without padding, dilation or groups, with one stride for both axes. Cycles
depend only on the sizes of the products, so each layer becomes one or several rows with exactly its products:

    convolution     on an input cut, or grown by its padding, to the area that the windows cover; the images of a batch
                    are stacked, and a dilated kernel is written without gaps
    depthwise       a row with "DP" in its name, which SCALE-Sim expands to a layer for each channel
    linear          a kernel of 1 x 1 over one pixel for each row
    other products  the same; several equal ones become a DP row of kernels of 1 x k
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from hwcost.arrays import is_number
from hwcost.errors import InvalidValueError
from hwcost.importers.lists.writing import left_out
from hwcost.importers.naming import UniqueNames
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Conv2d, Layer
from hwcost.network.network import Network
from hwcost.scalesim import Topology, TopologyLayer, write_topology
from hwcost.units import shortlist

__all__ = ["topology_of", "write_scalesim"]

_DEPTHWISE = "DP"
_LARGEST = 10**18


def write_scalesim(path: str | os.PathLike[str], network: Network) -> tuple[str, ...]:
    """Writes every priced layer of a network to a SCALE-Sim topology (of convolutions, as SCALE-Sim expects them).

    Returns:
        Remarks: layers that are left out, written in another form, or under another name.

    Raises:
        InvalidValueError: nothing to write, sizes that are not single integers, a path that cannot be written.

    >>> import tempfile
    >>> from pathlib import Path
    >>> network = Network.of_layers("net", {"conv": Conv2d(3, 8, 3, height=9, width=9, padding=1)})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     notes = write_scalesim(os.path.join(folder, "net.csv"), network)
    ...     print(Path(folder, "net.csv").read_text().splitlines()[1])
    conv,11,11,3,3,3,8,1,
    """
    topology = topology_of(network)
    write_topology(path, topology)
    return topology.notes


def topology_of(network: Network) -> Topology:
    """The topology that :func:`write_scalesim` writes."""
    writer, missing = _Writer(), tuple(left_out(network))
    layers = tuple(row for name, each in network.priced.items() for row in writer.rows(name, each.layer))
    return Topology(network.name, "conv", layers, (*missing, *writer.notes()))


class _Writer:
    """Layers as rows, with remarks on them."""

    def __init__(self) -> None:
        self._unique = UniqueNames()
        self._remarks: dict[str, list[str]] = {}

    def rows(self, name: str, layer: Layer) -> Iterator[TopologyLayer]:
        """The rows of one layer."""
        for size in (size for gemm in layer.gemms() for size in (gemm.m, gemm.n, gemm.k, gemm.count)):
            if not is_number(size) or size != int(size):
                raise InvalidValueError(f"a size of layer {name!r}", size, "a single integer")
        if isinstance(layer, TopologyLayer) and _is_one_row(layer):
            yield self._row(name, layer, layer.count)
        elif isinstance(layer, Conv2d) and _fits_one_row(layer):
            yield self._convolution(name, layer)
        else:
            if isinstance(layer, (Conv2d, TopologyLayer)):
                self._remark("convolutions that SCALE-Sim has no row for, written as their products", name)
            for gemm in layer.gemms():
                yield self._product(name, gemm)

    def notes(self) -> Iterator[str]:
        """The remarks, each with its layers."""
        for text, names in self._remarks.items():
            yield f"{text}: {shortlist(names, 3)}"

    def _remark(self, text: str, name: str) -> None:
        names = self._remarks.setdefault(text, [])
        if name not in names[-1:]:
            names.append(name)

    def _convolution(self, name: str, layer: Conv2d) -> TopologyLayer:
        (gemm,) = layer.gemms()
        (k1, k2), stride = layer.kernel_size, layer.stride[0]
        out_height, out_width = layer.out_size
        if layer.batch != 1:
            self._remark("the images of a batch are stacked", name)
        if layer.dilation != (1, 1):
            self._remark("a dilated kernel is written as one without gaps", name)
        if layer.padding not in ("valid", (0, 0)):
            self._remark("padding is part of the input", name)
        sizes = {
            "height": (layer.batch * out_height - 1) * stride + k1,
            "width": (out_width - 1) * stride + k2,
            "kernel_height": k1,
            "kernel_width": k2,
            "channels": gemm.k // (k1 * k2),
            "filters": gemm.n,
            "stride_height": stride,
            "stride_width": stride,
        }
        return self._row(name, TopologyLayer(name, **sizes), gemm.count)

    def _product(self, name: str, gemm: Gemm) -> TopologyLayer:
        if gemm.count == 1:
            return self._row(name, TopologyLayer(name, gemm.m, 1, 1, 1, gemm.k, gemm.n), 1)
        text = f"several equal products are one row with {_DEPTHWISE} in its name, as kernels of 1 x k"
        self._remark(f"{text} (on devices that step through kernel positions, such a row differs)", name)
        return self._row(name, TopologyLayer.product(name, m=gemm.m, n=gemm.n, k=gemm.k), gemm.count)

    def _row(self, name: str, layer: TopologyLayer, count: int) -> TopologyLayer:
        sizes = (layer.height, layer.width, layer.channels, layer.filters, layer.stride_height, layer.stride_width)
        written = self._unique(_valid_name(name, count))
        if max(*sizes, count) >= _LARGEST:
            raise InvalidValueError(f"a size of layer {name!r}", max(*sizes, count), f"below {_LARGEST:g}")
        if written not in (name, f"{name}_{_DEPTHWISE}"):
            self._remark(f"renamed, since names hold no commas and quotes, and {_DEPTHWISE} only if depthwise", name)
        kernel = layer.kernel_height, layer.kernel_width
        return TopologyLayer(written, *sizes[:2], *kernel, *sizes[2:], count)


def _fits_one_row(layer: Conv2d) -> bool:
    """Whether one row can express it: one stride, and no groups or one for each channel."""
    high, wide = layer.stride
    has_one_stride = is_number(high) and is_number(wide) and high == wide
    return bool(has_one_stride and is_number(layer.groups) and (layer.groups == 1 or layer.is_depthwise))


def _is_one_row(layer: TopologyLayer) -> bool:
    return bool(layer.stride_height == layer.stride_width) and (layer.count == 1 or layer.channels == 1)


def _valid_name(name: str, count: int) -> str:
    """A name that SCALE-Sim takes, with "DP" in it if and only if it is several products.

    >>> _valid_name("DPN.conv, 1", 1), _valid_name("block.dw", 32)
    ('DpN.conv_ 1', 'block.dw_DP')
    """
    plain = "".join(character if character.isprintable() else "_" for character in name)
    plain = re.sub(r'[,;"#]', "_", plain).strip() or "layer"
    if count > 1:
        return plain if _DEPTHWISE in plain else f"{plain}_{_DEPTHWISE}"
    return plain.replace(_DEPTHWISE, "Dp")
