"""The compute of a one-shot search beside that of the author's search, in multiply-accumulates, by the same settings.

    python benchmarks/search_compute.py
    python benchmarks/search_compute.py --images 60000

Nothing is trained: the images that each part sees are known, and so is the cost of the networks that it sees them with:
the random ones of the super-network's training are drawn, for all others it is the mean of the candidates. A step of a
training counts as three forward passes. ``random`` may use what the author's search uses. The sweep's figure counts a
super-network once for all arrays and targets, as a sweep trains it.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
from side_by_side import report

from hwcost import SystolicArray
from nas_plugin import ArchDef, Settings, load_arch_def
from nas_plugin.baselines import search_macs
from nas_plugin.candidates import macs_of
from nas_plugin.one_shot import SECOND, pool_of

ARRAYS = ((8, 8), (16, 16))
TARGETS = ("0.5", "0.75")
STEP = 3
"""Forward passes that a step of a training costs as much as."""
DRAWS = 100_000


def super_network(arch: ArchDef, settings: Settings, images: int) -> float:
    """The training by the sandwich rule: the widest, the narrowest and two random networks on every image."""
    macs = macs_of(arch)
    ends = macs.of(macs.rows([{name: sizes[end] for name, sizes in macs.sizes.items()} for end in (0, -1)]))
    random = np.random.default_rng(0)
    drawn = macs.of(np.stack([random.choice(sizes, DRAWS) for sizes in macs.sizes.values()], axis=1))
    return float(STEP * settings.epochs * images * (ends.sum() + 2 * drawn.mean()))


def choice(arch: ArchDef, settings: Settings, images: int, held_out: int) -> float:
    """Scores, fine-tunings and trainings, of networks with the mean of the candidates' MACs."""
    finals = settings.finalists * settings.finalist_epochs + min(SECOND, settings.finalists) * settings.train_epochs
    passes = settings.candidates * held_out + (finals * (STEP * images + held_out))
    return float(passes * macs_of(arch).of(pool_of(arch, settings)[1]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument(
        "--epochs", type=int, help="of each search; the default is that of nas-plugin for so many images"
    )
    parser.add_argument("--train-epochs", type=int, help="of each training; likewise")
    options = parser.parse_args()
    lenet = load_arch_def()
    given = {"epochs": options.epochs, "train_epochs": options.train_epochs}
    figures, unit, shared, chosen = {}, 0.0, 0.0, []
    for rows, cols in ARRAYS:
        arch = dataclasses.replace(lenet, array=SystolicArray(rows, cols))
        for target in TARGETS:
            one_shot, darts = (
                Settings.for_size(options.images, data="fashion-mnist", method=method, target=target, **given)
                for method in ("one-shot", "darts")
            )
            images = round(options.images * darts.share)
            rest = options.images - images
            unit = STEP * search_macs(arch, darts, images, rest)
            shared = super_network(arch, one_shot, images) / unit
            chosen.append(choice(arch, one_shot, images, rest) / unit)
            figures[f"{rows}x{cols} at {target}: choice / the author's search"] = chosen[-1]
    figures["super-network / the author's search"] = shared
    figures["both / the author's search, mean"] = shared + float(np.mean(chosen))
    figures["both / the author's search, over a sweep"] = shared / len(chosen) + float(np.mean(chosen))
    report(f"search_compute_{options.images}", {"images": options.images, **given}, figures, {})


if __name__ == "__main__":
    main()
