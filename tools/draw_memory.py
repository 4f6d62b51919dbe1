"""Draws the pictures of memory, and of a network along time, of docs/ into docs/images.

python tools/draw_memory.py [--to FOLDER]

The classes of tilings are a drawing; the memory of ResNet-18 and its layers along time are computed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwcost import SystolicArray
from hwcost.importers import read_network
from hwcost.importers.torch import InputSpec
from hwcost.plot import memory_figure, save, timeline_figure
from hwcost.plot.style import COLOURS, GREY, new_figure
from hwcost.reports import summarise

PROJECT = Path(__file__).resolve().parents[1]

WHOLE, TILE, STREAM = 1.0, 0.45, 0.14
CLASSES = {
    "sums stay": ((TILE, STREAM), (STREAM, TILE), (TILE, TILE), "C", "A N$_n$ + B N$_m$ + C"),
    "a strip of\ninputs": ((TILE, WHOLE), (STREAM, STREAM), (TILE, STREAM), "A", "A + B N$_m$ + C"),
    "a strip of\nweights": ((STREAM, STREAM), (WHOLE, TILE), (STREAM, TILE), "B", "A N$_n$ + B + C"),
    "a tile of\ninputs": ((TILE, TILE), (STREAM, STREAM), (TILE, STREAM), "A", "A + B N$_m$ + C\n+ P (N$_k$ - 1)"),
    "a tile of\nweights": ((STREAM, TILE), (TILE, TILE), (STREAM, TILE), "B", "A N$_n$ + B + C\n+ P (N$_k$ - 1)"),
    "a panel of\ninputs": ((WHOLE, TILE), (TILE, STREAM), (STREAM, STREAM), "A", "A + B + C\n+ P (N$_k$ - 1)"),
    "a panel of\nweights": ((STREAM, TILE), (TILE, WHOLE), (STREAM, STREAM), "B", "A + B + C\n+ P (N$_k$ - 1)"),
}
"""Held rows and columns of A (m x k), B (k x n) and C (m x n), which one stays, and the bytes that move."""


def classes_figure() -> Any:
    """A column for each class: what of each operand is in the buffer."""
    from matplotlib.patches import Patch, Rectangle

    with new_figure(11.0, 5.4) as figure:
        axes = figure.subplots(3, len(CLASSES))
        for column, (name, (a, b, c, stays, moved)) in enumerate(CLASSES.items()):
            for row, (letter, held, sides) in enumerate((("A", a, "mk"), ("B", b, "kn"), ("C", c, "mn"))):
                panel = axes[row][column]
                panel.set_axis_off()
                panel.set_aspect("equal")
                panel.set_xlim(-0.3, 1.1)
                panel.set_ylim(-0.1, 1.25)
                panel.add_patch(Rectangle((0, 0), 1, 1, facecolor="white", edgecolor=GREY))
                colour = COLOURS[0] if letter == stays else COLOURS[4]
                panel.add_patch(Rectangle((0, 1 - held[0]), held[1], held[0], facecolor=colour, edgecolor="black"))
                panel.text(0.5, 1.06, sides[1], ha="center", fontsize=8, color=GREY)
                panel.text(-0.08, 0.5, sides[0], ha="right", va="center", fontsize=8, color=GREY)
                if row == 0:
                    panel.set_title(name, fontsize=9.5, pad=8)
                if row == 2:
                    panel.text(0.45, -0.12, moved, ha="center", va="top", fontsize=8)
                if column == 0:
                    words = {"A": "inputs", "B": "weights", "C": "outputs"}[letter]
                    panel.text(-0.42, 0.5, f"{words}\n{letter}", ha="right", va="center", fontsize=9.5)
        figure.legend(
            handles=[
                Patch(facecolor=COLOURS[0], edgecolor="black", label="stays"),
                Patch(facecolor=COLOURS[4], edgecolor="black", label="streams: one of the two ways to hold it"),
                Patch(facecolor="white", edgecolor=GREY, label="not in the buffer"),
            ],
            loc="outside lower center", ncols=3, fontsize=9,
        )  # fmt: skip
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, default=PROJECT / "docs" / "images")
    folder = parser.parse_args().to
    save(classes_figure(), folder / "tilings.png")
    network = read_network(f"{PROJECT}/examples/resnet.py:ResNet18", inputs=[InputSpec.parse("1,3,224,224")])
    save(memory_figure(network, SystolicArray(16, 16, buffer_bytes=262144.0)), folder / "memory.png")
    machine = SystolicArray(16, 16, buffer_bytes=262144.0, dram_bytes_per_s=4e9)
    save(timeline_figure(summarise(network, machine, keep_activations=True)), folder / "timeline.png")


if __name__ == "__main__":
    main()
