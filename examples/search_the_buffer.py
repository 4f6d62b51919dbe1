"""Search rows, columns and the buffer of an array together within an area, by gradient, and compare with all machines.

    python examples/search_the_buffer.py [--for energy_delay] [--area 400] [--picture buffer-search.png]

An area holds processing elements and kilobytes: one PE takes as much of it as 315 bytes, the ratio of the 40 nm figures
of Accelergy for a 16 x 16 array of int8 (0.2164 mm2 for the array, 0.00275 mm2 for each kB). More PEs leave less
buffer, so that more is read again; a larger buffer takes more energy for each byte (45nm-textbook). Time, energy or
their product of ResNet-18 is minimised by Adam over three numbers with smooth ceilings, many starts at once. The result
is moved to whole sizes, and compared with every array of whole rows, columns and 8 kB banks. With three numbers, trying
them all takes less time than the search; it shows that the gradient leads there, which matters where widths of a
network are searched as well (search_the_array.py).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from hwcost import RELAXATIONS, Conv2d, Linear, SystolicArray, network_cost
from hwcost.machine.energies import with_energy
from hwcost.units import ENERGIES, TIMES, in_unit

BYTES_PER_PE = 315
BANK = 8192
SMALLEST, LARGEST = 4, 64
LEAST_BANKS = 5  # of the wide first layers, a row of outputs for all columns has to fit
BANDWIDTH = 8e9
SHARPNESS = (5.0, 40.0)
OBJECTIVES = {"cycles": "time", "energy_joules": "energy", "energy_delay": "energy times delay"}
FAR = 16
MOVES = np.array([[r, c, b] for r in (-2, -1, 0, 1, 2) for c in (-2, -1, 0, 1, 2) for b in (-4, -1, 0, 1, 4)])


def resnet_18() -> dict[str, Any]:
    """The products of ResNet-18 at 224 x 224, those of one size once."""
    layers: dict[str, Any] = {"stem": Conv2d(3, 64, 7, height=224, width=224, stride=2, padding=3)}
    for stage, (before, width, size) in enumerate([(64, 64, 56), (64, 128, 56), (128, 256, 28), (256, 512, 14)]):
        stride = 1 if stage == 0 else 2
        layers[f"{stage}.first"] = Conv2d(before, width, 3, height=size, width=size, stride=stride, padding=1)
        layers[f"{stage}.other"] = Conv2d(width, width, 3, height=size // stride, width=size // stride, padding=1)
    return layers | {"fc": Linear(512, 1000)}


COUNTS = {f"{stage}.other": 3 for stage in range(4)}
LAYERS = resnet_18()


def value_of(objective: str, rows: Any, cols: Any, buffer: Any, relaxation: Any = "exact") -> Any:
    """What the network takes on machines: numbers, arrays or tensors with gradient."""
    array = SystolicArray(rows, cols, buffer_bytes=buffer, dram_bytes_per_s=BANDWIDTH)
    report = network_cost(LAYERS, with_energy(array, "45nm-textbook"), relaxation=relaxation)
    times = [COUNTS.get(name, 1) for name in LAYERS]
    total = sum(count * cost for count, cost in zip(times, report.layers.values(), strict=True))
    return getattr(total, objective)


def area(rows: Any, cols: Any, banks: Any) -> Any:
    """Bytes that a machine takes of the area."""
    return rows * cols * BYTES_PER_PE + banks * BANK


def search(objective: str, budget: float, starts: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole rows, columns and banks of all starts, best first, before and after they were moved.

    The three numbers searched are the share of the area that PEs take, the shape of the array, and the share of the
    rest that is a buffer, so that every step is within the area.
    """
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(3, starts, dtype=torch.float64, generator=generator).requires_grad_()
    optimiser = torch.optim.Adam([raw], lr=0.03)
    for step in range(steps):
        rows, cols, buffer = _sizes(raw, budget)
        sharp = SHARPNESS[0] * (SHARPNESS[1] / SHARPNESS[0]) ** (step / max(1, steps - 1))
        smooth = RELAXATIONS["logistic"].at_temperature(sharp)
        optimiser.zero_grad()
        value_of(objective, rows, cols, buffer, smooth).log().sum().backward()
        optimiser.step()
    rows, cols, buffer = (each.detach().numpy() for each in _sizes(raw, budget))
    whole = np.stack([np.floor(rows), np.floor(cols), buffer // BANK], axis=1).astype(np.int64)
    moved = np.stack([polish(objective, budget, sizes) for sizes in whole])
    order = np.argsort(exact(objective, moved), kind="stable")
    return whole[order], moved[order]


def _sizes(raw: torch.Tensor, budget: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    share, shape, used = torch.sigmoid(raw[0]), raw[1].exp(), torch.sigmoid(raw[2] + 2)
    room = budget - LEAST_BANKS * BANK
    pes = SMALLEST**2 + share * (room / BYTES_PER_PE - SMALLEST**2)
    rows = torch.minimum((pes * shape).sqrt().clamp(SMALLEST, LARGEST), pes / SMALLEST)
    cols = (pes / rows).clamp_max(LARGEST)
    return rows, cols, LEAST_BANKS * BANK + used * (room - rows * cols * BYTES_PER_PE).clamp_min(0)


def exact(objective: str, sizes: np.ndarray) -> np.ndarray:
    """The exact value of machines, one row each of rows, columns and banks."""
    rows, cols, banks = sizes.T
    found: np.ndarray = value_of(objective, rows, cols, banks * float(BANK))
    return found


def polish(objective: str, budget: float, sizes: np.ndarray) -> np.ndarray:
    """Moves rows, columns and banks by little, or rows by more with as many columns as fit, while the value falls."""
    while True:
        rows = np.arange(max(SMALLEST, sizes[0] - FAR), min(LARGEST, sizes[0] + FAR) + 1)
        cols = np.minimum((budget - sizes[2] * BANK) // (BYTES_PER_PE * rows), LARGEST).astype(np.int64)
        near = np.concatenate([sizes + MOVES, np.stack([rows, cols, np.full_like(rows, sizes[2])], axis=1)])
        low, high = [SMALLEST, SMALLEST, LEAST_BANKS], [LARGEST, LARGEST, budget // BANK]
        fits = ((near >= low) & (near <= high)).all(1) & (area(*near.T) <= budget)
        near = np.concatenate([sizes[None], near[fits]])
        best = int(exact(objective, near).argmin())
        if best == 0:
            return sizes
        sizes = near[best]


def all_machines(budget: float) -> np.ndarray:
    """Every array of whole rows, columns and banks within the area."""
    sides = np.arange(SMALLEST, LARGEST + 1)
    grid = np.meshgrid(sides, sides, np.arange(LEAST_BANKS, budget // BANK + 1, dtype=np.int64), indexing="ij")
    sizes = np.stack([each.ravel() for each in grid], axis=1)
    return sizes[area(*sizes.T) <= budget]


# ---------------------------------------------------------------- output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for", dest="objective", default="energy_delay", choices=OBJECTIVES)
    parser.add_argument("--area", type=int, default=400, help="in kB: all of it a buffer, or fewer and PEs")
    parser.add_argument("--starts", type=int, default=16)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--picture", help="where to draw the landscape and the results")
    options = parser.parse_args()
    if min(options.starts, options.steps) < 1:
        parser.error("--starts and --steps are integers of at least 1")
    if options.area < 64:
        parser.error("--area is at least 64: five banks of the buffer, and some PEs")
    torch.set_num_threads(1)
    objective, budget = options.objective, 1024.0 * options.area

    start = time.process_time()
    whole, moved = search(objective, budget, options.starts, options.steps)
    values = exact(objective, moved)
    print(f"{OBJECTIVES[objective]} of ResNet-18 in the area of {options.area} kB")
    print(f"by gradient, {options.starts} starts, {time.process_time() - start:.1f} CPU s:")
    for sizes in dict.fromkeys(map(tuple, moved[:3])):
        print(_line(objective, np.array(sizes)))

    start = time.process_time()
    machines = all_machines(budget)
    parts = [exact(objective, part) for part in np.array_split(machines, -(-len(machines) // 20_000))]
    everything = np.concatenate(parts)
    order = np.argsort(everything, kind="stable")
    print(f"of all {len(machines):,} machines, {time.process_time() - start:.1f} CPU s:")
    for index in order[:3]:
        print(_line(objective, machines[index]))
    least = everything[order[0]]
    print(f"over the optimum: best start {values[0] / least - 1:.2%}, median {np.median(values) / least - 1:.2%}")
    before = exact(objective, whole) / least - 1
    print(f"  only rounded, not moved: best {before.min():.2%}, median {np.median(before):.2%}")
    square = everything[(machines[:, 0] == 16) & (machines[:, 1] == 16)].min(initial=np.inf)
    if square < np.inf:
        print(f"  16 x 16 with its best buffer: {square / least - 1:.2%}")
    if options.picture:
        draw(objective, machines, everything, moved, options)


def _line(objective: str, sizes: np.ndarray) -> str:
    rows, cols, banks = map(int, sizes)
    seconds, joules = (exact(name, sizes[None])[0] for name in ("seconds", "energy_joules"))
    value = exact(objective, sizes[None])[0]
    kilobytes = banks * BANK // 1024
    return (
        f"  {rows:2} x {cols:2}, {kilobytes:3} kB  {in_unit(seconds, TIMES, 4):>8}  {in_unit(joules, ENERGIES, 4):>8}  "
        f"{value:.4g}"
    )


def draw(objective: str, machines: np.ndarray, values: np.ndarray, found: np.ndarray, options: Any) -> None:
    """The least value by PEs and buffer over all shapes, and where the starts ended."""
    from hwcost.plot import save
    from hwcost.plot.style import COLOURS, STYLE, load_matplotlib

    matplotlib = load_matplotlib()
    least = np.nanmin(values)
    pes, banks = machines[:, 0] * machines[:, 1], machines[:, 2]
    edges = np.linspace(pes.min(), pes.max() + 1, 61), np.arange(LEAST_BANKS, banks.max() + 2) - 0.5
    grid = np.full((60, banks.max() - LEAST_BANKS + 1), np.inf)  # of each cell the best shape
    np.minimum.at(grid, (np.searchsorted(edges[0], pes, side="right") - 1, banks - LEAST_BANKS), values / least)
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(7.2, 5.0), layout="constrained")
        axes = figure.subplots()
        kilobytes = edges[1] * BANK / 1024
        shown = axes.pcolormesh(
            edges[0], kilobytes, np.ma.masked_invalid(grid.T), cmap="cividis_r", vmin=1, vmax=2, rasterized=True
        )
        axes.grid(visible=False)
        figure.colorbar(shown, ax=axes, label=f"least {OBJECTIVES[objective]}, optimum = 1", extend="max")
        own = found[:, 0] * found[:, 1], found[:, 2] * BANK / 1024
        axes.plot(*own, "x", color="black", label="ends of the starts")
        best = values.argmin()
        axes.plot(pes[best], banks[best] * BANK / 1024, "*", color=COLOURS[3], markersize=14, label="the optimum")
        axes.set(xlabel="processing elements", ylabel="buffer [kB]")
        axes.set_title(f"ResNet-18 on every array in the area of {options.area} kB")
        axes.legend(loc="upper right")
        save(figure, options.picture)
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
