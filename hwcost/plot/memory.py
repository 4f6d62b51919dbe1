"""Memory over the layers of a network: what is alive, what stays in the buffer, and what a tile has."""

from __future__ import annotations

from typing import Any

from hwcost.devices.files import named_device
from hwcost.errors import InvalidValueError
from hwcost.machine.fields import is_finite
from hwcost.model.formula import as_array
from hwcost.network.network import Network
from hwcost.network.peak import peak_of
from hwcost.network.pricing import check_layers
from hwcost.network.residency import plan_of
from hwcost.plot.canvas import canvas
from hwcost.plot.style import BLACK, COLOURS, GREY, LIGHT
from hwcost.units import BYTES, SIZES, in_unit, percent, shorten_name

__all__ = ["memory_data", "memory_figure"]

_NAMES = 24
"""Layers that are named along the axis."""


def memory_data(network: Any, array: Any, memory_bytes: float | None = None) -> dict[str, Any]:
    """The data that :func:`memory_figure` draws.

    Args:
        network: a :class:`hwcost.Network` whose edges are known.
        array: a machine, or the name or path of a device; with a ``buffer_bytes``, what stays in it is there as well.
        memory_bytes: on the chip of a machine that states no buffer; by default what the device states.

    Returns:
        ``layers``: for each its name, ``alive``, bytes of all results that are alive, and ``kept``, bytes of those in
        the buffer (None without one); ``peak`` and ``peak_layer``; ``weights`` and ``buffer`` in bytes (None without
        one), whether all ``fits``; ``dram_bytes`` and ``dram_bytes_alone`` with and without what is kept.

    >>> from hwcost import Linear, Network, SystolicArray
    >>> network = Network.of_layers("two", {"a": Linear(64, 32), "b": Linear(32, 8)}, is_chain=True)
    >>> data = memory_data(network, SystolicArray(8, 8, buffer_bytes=2048.0))
    >>> [(layer["name"], layer["alive"], layer["kept"]) for layer in data["layers"]], data["fits"]
    ([('a', 96.0, 32.0), ('b', 40.0, 32.0)], False)
    """
    device, array = named_device(array), as_array(array)
    if memory_bytes is None and device is not None:
        memory_bytes = device.memory_bytes
    if not isinstance(network, Network):
        check_layers(network, "network")
        allowed = "a hwcost.Network, as from_torch, from_onnx or Network.of_layers(..., is_chain=True) makes it"
        raise InvalidValueError("network", network, allowed)
    peak = peak_of(network, array, memory_bytes)
    plan = plan_of(network, array) if is_finite(array.buffer_bytes) else None
    return {
        "layers": [
            {
                "name": name,
                "alive": peak.activations[name],
                "kept": None if plan is None else plan.steps[name].resident,
            }
            for name in peak.activations
        ],
        "peak": peak.bytes,
        "peak_layer": peak.layer,
        "weights": peak.weights,
        "buffer": peak.buffer if is_finite(peak.buffer) else None,
        "fits": peak.fits if is_finite(peak.buffer) else None,
        "dram_bytes": None if plan is None else plan.bytes,
        "dram_bytes_alone": None if plan is None else plan.bytes_alone,
    }


def memory_figure(
    network: Any, array: Any, title: str = "", *, memory_bytes: float | None = None, ax: Any = None
) -> Any:
    """Activations that are alive while each layer runs and, on a machine with a buffer, those that stay in it.

    Args:
        network, array, memory_bytes: as for :func:`memory_data`.
        title: above the picture; the network and the machine by default.
        ax: an Axes; by default that of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: edges that are unknown, or no Axes.
        MissingDependencyError: matplotlib is not installed.
    """
    data = memory_data(network, array, memory_bytes)
    layers = data["layers"]
    places = range(len(layers))
    with canvas(ax, ["memory"], (9.0, 4.4), lambda figure: [figure.subplots()]) as drawing:
        (axes,) = drawing.panels
        alive = [layer["alive"] for layer in layers]
        axes.bar(places, alive, width=0.9, color=LIGHT, label="activations that are alive")
        if data["dram_bytes"] is not None:
            kept = [layer["kept"] for layer in layers]
            axes.bar(places, kept, width=0.9, color=COLOURS[2], label="of these, in the buffer")
        if data["buffer"] is not None:
            what = "memory of the chip" if data["dram_bytes"] is None else "buffer"
            axes.axhline(
                data["buffer"],
                color=BLACK,
                linewidth=1.4,
                linestyle=(0, (4, 2)),
                label=f"{what}, {in_unit(data['buffer'], SIZES, 4)}",
            )
        axes.annotate(
            _bytes(data["peak"]),
            (alive.index(max(alive)), max(alive)),
            ha="center",
            va="bottom",
            fontsize=8,
            color=GREY,
        )
        step = max(1, -(-len(layers) // _NAMES))
        axes.set_xticks(places[::step], [shorten_name(layer["name"], 22) for layer in layers[::step]], rotation=90)
        axes.tick_params(axis="x", labelsize=7)
        axes.grid(visible=False, axis="x")
        axes.set_xlim(-0.7, len(layers) - 0.3)
        axes.set_ylim(0, 1.1 * max([*alive, data["buffer"] or 0.0]))
        axes.yaxis.set_major_formatter(lambda value, _: _bytes(value))
        axes.set_ylabel("memory")
        drawing.legend([axes])
        drawing.title(_title(data, title or f"{network.name} on {_machine(array)}"), 10.5)
    return drawing.drawn


def _title(data: dict[str, Any], name: str) -> str:
    parts = [f"at most {_bytes(data['peak'])} of activations, {_bytes(data['weights'])} of weights"]
    if data["dram_bytes"] is not None and data["dram_bytes_alone"]:
        saved = 1 - data["dram_bytes"] / data["dram_bytes_alone"]
        parts.append(f"{percent(saved)} % fewer DRAM bytes than layer by layer")
    return f"{name}\n{'; '.join(parts)}"


def _machine(given: Any) -> str:
    device, words = named_device(given), as_array(given).in_words
    return words if device is None else f"{device.name}: {words}"


def _bytes(size: float) -> str:
    return in_unit(size, BYTES, 3) if size else "0"
