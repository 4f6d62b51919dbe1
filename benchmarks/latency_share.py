"""How much of one alpha step of the LeNet search is the latency term.

    python benchmarks/latency_share.py

A whole step (gates, forward, loss, backward, Adam) with the term against the same step without it, in turn, one thread,
64 images; the share is that of the term in the step with it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from side_by_side import in_turn, report

from nas_plugin import LATENCIES, Settings, load_arch_def
from nas_plugin.data import load
from nas_plugin.settings import generator
from nas_plugin.training import Search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    arch = load_arch_def()
    train, _ = load(arch.data, classes=arch.classes, shape=(arch.height, arch.width))
    random = generator(0, "benchmark")

    def step(latency: str | None) -> Callable[[], None]:
        search = Search(arch, Settings(arch.data, latency=latency or "shifted"), train)
        images, labels = search.alpha_data.images[:64], search.alpha_data.labels[:64]

        def run() -> None:
            gates = search.alphas.sample(1.0, random)
            loss = F.cross_entropy(search.network(images, gates), labels)
            if latency is not None:
                loss, _ = search.latency.penalise(loss, gates)
            (search.alphas.alpha.grad,) = torch.autograd.grad(loss, [search.alphas.alpha])
            search.optimiser.step()

        return run

    cases = {"none": step(None)} | {name: step(name) for name in LATENCIES}
    seconds = in_turn(cases, options.rounds, warm_up=20)
    pairs = {name: zip(seconds[name], seconds["none"], strict=True) for name in LATENCIES}
    figures = {f"share of {name}": statistics.median(1 - b / a for a, b in pair) for name, pair in pairs.items()}
    goals = dict.fromkeys(figures, ("<=", 0.05))
    settings = {"network": arch.name, "alpha_batch": 64, "threads": 1, "rounds": options.rounds, "seed": 0}
    sys.exit(0 if report("latency_share", settings, figures, goals) else 1)


if __name__ == "__main__":
    main()
