"""How much of one alpha step of the LeNet search is the latency term.

    python benchmarks/latency_share.py

The search's own step (gates, forward, loss, backward, Adam) against the same without the term, in turn, in CPU time, on
one thread with 64 images; the share is that of the term in the step with it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from common.side_by_side import in_turn, report
from nas_plugin import LATENCIES, SearchSettings, load_arch_def
from nas_plugin.images import Dataset, load
from nas_plugin.methods.darts import DartsSearch
from nas_plugin.methods.training import generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    arch = load_arch_def()
    train, _ = load(arch.data, classes=arch.classes, shape=(arch.height, arch.width))
    random = generator(0, "benchmark")

    def steps(latency: str, target: str | None) -> dict[str, Callable[[], None]]:
        search = DartsSearch(arch, SearchSettings(arch.data, method="darts", latency=latency, target=target), train)

        def batch() -> tuple[Dataset, Tensor]:
            index = torch.randint(len(search.alpha_data), (64,), generator=random)
            return search.alpha_data.take(index), search.alphas.sample(1.0, random)

        def with_latency() -> None:
            part, row = batch()
            search.alpha_step(part.images, part.labels, row)

        def without() -> None:
            part, row = batch()
            loss = F.cross_entropy(search.network(part.images, search.alphas.split(row)), part.labels)
            (search.alphas.alpha.grad,) = torch.autograd.grad(loss, [search.alphas.alpha])
            search.optimiser.step()
            float(loss.detach())

        return {"with": with_latency, "without": without}

    figures = {}
    for name, target in [*((name, None) for name in LATENCIES), ("expectation", "0.75")]:
        seconds = in_turn(steps(name, target), options.rounds, warm_up=20, clock=time.process_time)
        pairs = zip(seconds["with"], seconds["without"], strict=True)
        case = f"share of {name}{' with a target' if target else ''}"
        figures[case] = statistics.median(1 - without / with_ for with_, without in pairs)
    goals = dict.fromkeys(figures, ("<=", 0.05)) | {"share of expectation": ("<=", 0.04)}  # the default: the stricter
    settings = {"network": arch.name, "alpha_batch": 64, "threads": 1, "rounds": options.rounds, "seed": 0}
    sys.exit(0 if report("latency_share", settings, figures, goals) else 1)


if __name__ == "__main__":
    main()
