"""The compute of the one-shot searches of a sweep, and that of the author's search, in multiply-accumulates.

    nas-plugin sweep --data fashion-mnist --images 4000 ... --out breadth
    python benchmarks/search_compute.py breadth --name search_compute_breadth

Nothing is trained: the sweep's folder holds which networks each search scored, fine-tuned and trained. The random
networks of the super-network's training are not kept, and are drawn again. A step of a training counts as three
forward passes. The author's search, and with it ``random``, is counted as that method's budget is: every image
by the widest network. A super-network serves all arrays and targets of a sweep, so one figure shares it among them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from common.side_by_side import report
from hwcost.torch.lookup import Costs
from nas_plugin import SearchSettings
from nas_plugin.methods.finding import search_macs
from nas_plugin.methods.table import METHODS
from nas_plugin.runs.sweep import SearchSweep

STEP = 3
"""Forward passes that a step of a training costs as much as."""
DRAWS = 100_000


def super_network(macs: Costs, settings: SearchSettings, images: int) -> float:
    """The training by the sandwich rule: the widest, the narrowest and two random networks on every image."""
    ends = macs.of(macs.rows([{name: sizes[end] for name, sizes in macs.sizes.items()} for end in (0, -1)]))
    random = np.random.default_rng(0)
    drawn = macs.of(np.stack([random.choice(sizes, DRAWS) for sizes in macs.sizes.values()], axis=1))
    return float(STEP * settings.epochs * images * (ends.sum() + 2 * drawn.mean()))


def choice(macs: Costs, settings: SearchSettings, path: Path, images: int, held_out: int) -> float:
    """What a search did with the super-network: its scores, fine-tunings and trainings."""
    scores = json.loads(path.read_text(encoding="utf-8"))["scores"]
    each = macs.of(macs.rows([score["choice"] for score in scores]))
    passes = np.full(len(scores), float(held_out))
    for name, epochs in (("tuned_loss", settings.finalist_epochs), ("trained_loss", settings.train_epochs)):
        done = np.array([score[name] is not None for score in scores])
        passes += done * (STEP * epochs * images + held_out)
    return float(each @ passes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="the folder of a finished sweep with one-shot among its methods")
    parser.add_argument("--name", default="search_compute", help="of the result file")
    options = parser.parse_args()
    sweep = SearchSweep.open(options.sweep)
    tasks = [task for method, task in sweep.searches() if method == "one-shot" and task.done]
    if not tasks:
        parser.error(f"{options.sweep} holds no one-shot search that is done")
    macs, count = sweep.arch.macs, sweep.settings.count
    settings = tasks[0].settings  # all differ in seed, array and target alone
    images = round(count * settings.share)
    given = sweep.settings.given
    used = {name: value for name, value in given.items() if METHODS["darts"].reads(name, given)}
    darts = SearchSettings.for_size(count, data=settings.data, method="darts", **used)
    unit = STEP * search_macs(sweep.arch, darts, images, count - images)
    shared = super_network(macs, settings, images) / unit
    found: dict[str, list[float]] = {}
    for task in tasks:
        where = f"{task.arch.array.rows}x{task.arch.array.cols} at {task.settings.target}"
        found.setdefault(where, []).append(choice(macs, settings, task.path, images, count - images) / unit)
    figures = {f"{where}: choice / the author's search": float(np.mean(shares)) for where, shares in found.items()}
    mean = float(np.mean([share for shares in found.values() for share in shares]))
    figures["super-network / the author's search"] = shared
    figures["both / the author's search, mean"] = shared + mean
    figures["both / the author's search, over the sweep"] = shared / len(found) + mean
    more = {name: getattr(settings, name) for name in ("epochs", "train_epochs", "finalists", "finalist_epochs")}
    report(options.name, {"images": count, "darts_epochs": darts.epochs, **more}, figures, {})


if __name__ == "__main__":
    main()
