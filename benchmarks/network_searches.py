"""Widths of a trained network by three methods with the same effort: prune, one-shot over a super-network, and DARTS.

    python benchmarks/network_searches.py            # all runs; goes on where it was stopped
    python benchmarks/network_searches.py --summary  # of the runs that are there

Each begins with the same trained network of ``benchmarks/pruning.py``. For one limit, half of the cycles on 32 x 32,
each method is run with the defaults of ``nas-plugin search`` on a network of one's own; "prune" once more with as many
epochs of fine-tuning as make its effort that of the one-shot search. For six limits, 0.75, 0.6 and 0.45 of the cycles
on 32 x 32 and on 64 x 64, one super-network is trained for all of them, and its parts are taken as they are, or after
one epoch of fine-tuning; against them six prunings stand, with one epoch each and with two. Losses that were measured
for one limit are known for the others.

Effort is counted in passes of one image forwards through the original; a step of training counts as three, and that of
a part in proportion to its MACs. Widths are chosen by training images and those held out; the test images are looked at
once for each network that is finished. Fashion-MNIST, 12,000 training images: Debian's package dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.fashion import EXAMPLE, IMAGES, Data, trained
from common.progress import tell
from common.side_by_side import RESULTS, report
from common.small_nets import NETS
from hwcost import SystolicArray, network_cost
from hwcost.pruning import Pruned, SuperNet, darts, prune, supernet
from hwcost.pruning.valuing import EXAMPLES

TRAINED = {"resnet": 5, "mobilenet": 4}
ARRAYS = {str(size): SystolicArray(size, size) for size in (32, 64)}
ONE = ("32", 0.5)
SIX = tuple(itertools.product(ARRAYS, (0.75, 0.6, 0.45)))
SEEDS = (0, 1, 2)
EPOCHS_SHARED, EPOCHS_DARTS, EPOCHS, CANDIDATES = 5, 6, 4, 60
"""The defaults of the command."""
STEP, TEACHER = 3, 1
LINE = {
    "prune": "one limit", "prune, as long as one-shot": "one limit", "one-shot": "one limit", "darts": "one limit",
    "one-shot, parts as they are": "six limits", "prune, 1 epoch": "six limits",
    "one-shot, parts fine-tuned for 1 epoch": "six limits", "prune, 2 epochs": "six limits",
}  # fmt: skip
"""The methods, and what each is for."""


class Search:
    """One network and seed: what all methods begin with, and the effort of each step in passes."""

    def __init__(self, name: str, seed: int) -> None:
        self.data, self.seed = Data(seed), seed
        self.known: dict[str, dict[int, float]] = {}
        torch.manual_seed(seed)
        self.model = trained(NETS[name](), self.data, seed, TRAINED[name])

    def common(self) -> dict[str, Any]:
        """Arguments of all methods."""
        return {"data": self.data.loader(), "held_out": self.data.held_out, "seed": self.seed}

    def pruned(self, where: tuple[str, float]) -> tuple[Pruned, float]:
        """A network of prune, and the effort of what was measured for it."""
        before = count_of(self.known)
        result = prune(
            self.model, EXAMPLE, ARRAYS[where[0]], target=where[1], least=0.0, known_losses=self.known, **self.common()
        )
        return result, EXAMPLES * (count_of(self.known) - before)

    def shared(self) -> tuple[SuperNet, float]:
        """The super-network and its effort: the whole network, the smallest part and a random one."""
        found = supernet(self.model, EXAMPLE, epochs=EPOCHS_SHARED, **self.common())
        network, options = found.network, found._search.own.options
        random = np.random.default_rng(self.seed)

        def macs_of(sizes: Mapping[str, Any]) -> float:
            return float(network_cost(network.at(sizes), ARRAYS["32"]).total.macs)

        smallest = macs_of({name: int(sizes[0]) for name, sizes in options.items()})
        drawn = [macs_of({name: int(random.choice(sizes)) for name, sizes in options.items()}) for _ in range(200)]
        share = (macs_of({}) + smallest + statistics.fmean(drawn)) / macs_of({})
        return found, STEP * IMAGES * EPOCHS_SHARED * share

    def part(self, shared: SuperNet, where: tuple[str, float]) -> tuple[Pruned, float]:
        """The best part within a limit, and the effort of what was measured for it."""
        known = shared._search.known
        before = count_of(known)
        result = shared.within(ARRAYS[where[0]], target=where[1], candidates=CANDIDATES)
        whole = count_of(known) - before
        parts = min(whole, CANDIDATES)
        return result, EXAMPLES * (whole - parts + parts * share_of(result))

    def searched(self, where: tuple[str, float]) -> tuple[Pruned, float]:
        """A network of DARTS and its effort: its masks compute whole layers."""
        result = darts(self.model, EXAMPLE, ARRAYS[where[0]], target=where[1], epochs=EPOCHS_DARTS, **self.common())
        return result, STEP * IMAGES * (EPOCHS_DARTS - 0.2)

    def line(self, found: tuple[Pruned, float], epochs: int) -> dict[str, float]:
        """What a network is worth after a fine-tuning, and the effort of both; the network is left as it is."""
        result, effort = found
        tuned = copy.deepcopy(result)
        if epochs:
            tuned.fine_tune(self.data.loader(), epochs=epochs, norms=False)
        used = result.report.after.cycles / result.report.before.cycles
        effort += epochs * tuning(result)
        return {"accuracy": self.data.tested(tuned.model.eval()), "passes": effort, "cycles": used}


def count_of(known: Mapping[str, Mapping[int, float]]) -> int:
    """Of losses that were measured."""
    return sum(map(len, known.values()))


def share_of(result: Pruned) -> float:
    """The MACs that are left."""
    return float(result.report.after.macs / result.report.before.macs)


def tuning(result: Pruned) -> float:
    """The passes of one epoch of fine-tuning."""
    return IMAGES * (STEP * share_of(result) + TEACHER)


def lines_of(search: Search, done: set[str]) -> Iterator[dict[str, Any]]:
    """A line for each network of a run whose method is not done."""
    shared, before = search.shared()
    first = search.part(shared, ONE)
    pruned = search.pruned(ONE)
    whole = before + first[1] + EPOCHS * tuning(first[0])
    as_long = round((whole - pruned[1]) / tuning(pruned[0]))
    one: list[tuple[str, tuple[Pruned, float], int]] = [
        ("prune", pruned, EPOCHS),
        ("prune, as long as one-shot", pruned, as_long),
        ("one-shot", (first[0], before + first[1]), EPOCHS),
    ]
    for method, found, epochs in one:
        if method not in done:
            yield {"method": method, **search.line(found, epochs), "epochs": epochs}
    if "darts" not in done:
        yield {"method": "darts", **search.line(search.searched(ONE), EPOCHS), "epochs": EPOCHS}
    for where in SIX:
        place = {"array": where[0], "target": where[1]}
        result, effort = search.part(shared, where)
        part = result, effort + before / len(SIX)
        cut = search.pruned(where)
        for method, found, epochs in (
            ("one-shot, parts as they are", part, 0),
            ("one-shot, parts fine-tuned for 1 epoch", part, 1),
            ("prune, 1 epoch", cut, 1),
            ("prune, 2 epochs", cut, 2),
        ):
            if key_of({"method": method, **place}) not in done:
                yield {"method": method, **place, **search.line(found, epochs), "epochs": epochs}


def key_of(line: Mapping[str, Any]) -> str:
    """What a line is of, within its run."""
    where = f"/{(line['array'], line['target'])}" if "array" in line else ""
    return f"{line['method']}{where}"


def rows_of(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each network and method: means over seeds of accuracy and effort."""
    by: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        name, _, seed = line["run"].partition("/")
        by[name, line["method"]][seed].append(line)
    rows = []
    for (name, method), runs in by.items():
        whole = {seed: own for seed, own in runs.items() if len(own) == (6 if LINE[method] == "six limits" else 1)}
        accuracies = [statistics.fmean(line["accuracy"] for line in own) for own in whole.values()]
        if accuracies:
            passes = statistics.fmean(sum(line["passes"] for line in own) for own in whole.values())
            rows.append({
                "network": name, "for": LINE[method], "method": method, "seeds": len(whole),
                "accuracy": statistics.fmean(accuracies), "least": min(accuracies), "most": max(accuracies),
                "epochs of the original": passes / STEP / IMAGES,
            })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="runs whose network/seed begins like this")
    parser.add_argument("--runs", type=Path, default=RESULTS / "network_searches_runs.jsonl")
    parser.add_argument("--summary", action="store_true", help="only sum up the runs that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [json.loads(line) for line in options.runs.read_text().splitlines()] if options.runs.exists() else []
    for seed, name in itertools.product(() if options.summary else SEEDS, NETS):
        run = f"{name}/{seed}"
        done = {key_of(line) for line in lines if line["run"] == run}
        if not run.startswith(options.only) or len(done) == 4 + 4 * len(SIX):
            continue
        for found in lines_of(Search(name, seed), done):
            lines.append({"run": run, **found})
            with options.runs.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            tell(json.dumps(lines[-1]))
    rows = rows_of(lines)
    figures = {
        f"{row['network']}, {row['for']}: {row['method']}, {figure}": row[figure]
        for row in rows for figure in ("accuracy", "epochs of the original")
    }  # fmt: skip
    settings = {"seeds": list(SEEDS), "images": IMAGES, "trained": TRAINED, "one": ONE, "six": SIX}
    report("network_searches", settings, figures, {}, more={"rows": rows})


if __name__ == "__main__":
    main()
