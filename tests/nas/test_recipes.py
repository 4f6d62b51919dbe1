"""The recipes of CONTRIBUTING.md for the search, followed to the letter in a test that is named after the heading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from hwcost import Conv2d, SystolicArray, network_cost
from nas_plugin import ArchDef, BlockKind, Latency, Method, load_arch_def, read_run, read_sweep, resume, search, sweep
from nas_plugin.errors import RunError
from nas_plugin.images import Dataset
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.training import Resumable
from nas_plugin.space.arch_def import Block, centred_conv
from nas_plugin.space.costs import Costs

pytestmark = pytest.mark.usefixtures("no_pictures")

FEW: dict[str, Any] = {"train_epochs": 1, "images": 60}


class Descent(Resumable):
    """Halves the widest network's widths, one decision a step, until it is within the reference's cycles."""

    STATE = ("step", "widths")
    steps = 3

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.costs, self.limit = Costs(arch), float(arch.cycles(arch.reference))
        self.step, self.widths = 0, {name: sizes[-1] for name, sizes in self.costs.sizes.items()}

    def run_epoch(self) -> dict[str, Any]:
        name = list(self.widths)[self.step]
        if float(self.costs.of(self.costs.rows([self.widths]))[0]) > self.limit:
            self.widths |= {name: self.costs.sizes[name][len(self.costs.sizes[name]) // 2]}
        self.step += 1
        return {"part": "halving", "epoch": self.step, "exact_cycles": self.limit}

    def derived(self) -> dict[str, int]:
        return self.widths


HALVING = Method("halving", "widths halved one by one", Descent)


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_search_method(small: ArchDef, tmp_path: Path) -> None:
    whole = search(arch_def=small, method=HALVING, out=tmp_path / "whole", **FEW)
    assert whole.settings.method is HALVING
    assert [record["stage"] for record in whole.log] == ["search"] * 3 + ["winner", "reference"]
    with pytest.raises(KeyboardInterrupt):
        search(arch_def=small, method=HALVING, out=tmp_path / "run", progress=stop, **FEW)
    with pytest.raises(RunError, match="rows of your own"):
        resume(tmp_path / "run")
    assert resume(tmp_path / "run", rows=[HALVING]).as_dict() == whole.as_dict()
    assert read_run(tmp_path / "run", rows=[HALVING]).derived == whole.derived

    given = FEW | {"targets": ["0.9"], "seeds": [0], "train_seeds": 1}
    found = sweep(arch_def=small, methods=["most-macs", HALVING], out=tmp_path / "sweep", jobs=2, **given)
    assert [row.method for row in found.found] == ["most-macs", "halving"]
    assert read_sweep(tmp_path / "sweep", rows=[HALVING]).as_dict() == found.as_dict()


def squared(array: SystolicArray) -> SystolicArray:
    """The same array with twice the columns: a machine that is to come."""
    return SystolicArray(array.rows, 2 * array.cols, array.clock_hz)


WIDER = Latency("wider", "shifted", "smooth cycles on an array of twice the columns", array=squared)


def test_a_latency_term(small: ArchDef) -> None:
    given = FEW | {"epochs": 3, "batch": 30, "alpha_batch": 12}
    found = search(arch_def=small, latency=WIDER, **given)
    assert (found.settings.method, found.settings.latency) == ("darts", WIDER)
    other = search(arch_def=small, latency="shifted", **given)
    assert found.log[0]["soft_latency"] != other.log[0]["soft_latency"]
    reference = network_cost(small.space.at(small.reference), squared(small.array)).total.cycles
    first = found.log[0]["soft_latency"]
    assert 0 < first < 10
    assert reference < float(small.cycles(small.reference))


def gelu(block: Block, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.avg_pool2d(F.gelu(centred_conv(block, x, weight, bias)), block.pool)


def gelu_layer(height: int, width: int) -> Conv2d:
    return Conv2d(1, 1, 1, height=height, width=width, padding="same")


GELU = BlockKind("gelu-conv", "convolution, GELU, average pooling", True, nn.Conv2d, gelu, gelu_layer)


@pytest.mark.parametrize("method", ["darts", "one-shot"])
def test_a_block_kind(small: ArchDef, small_text: str, tmp_path: Path, method: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(small_text.replace('kind = "conv"', 'kind = "gelu-conv"'))
    arch = load_arch_def(file, kinds=[GELU])
    assert arch.cycles(arch.reference) == small.cycles(small.reference)
    given = FEW | {"method": method, "epochs": 3, "target": "0.9"}
    given |= {"candidates": 3, "finalists": 1} if method == "one-shot" else {}
    found = search(arch_def=arch, out=tmp_path / "run", **given)
    assert found.cycles_ratio <= 0.9
    assert found.winner.test_accuracy != search(arch_def=small, **given).winner.test_accuracy or method == "darts"
    assert resume(tmp_path / "run", rows=[GELU]).as_dict() == found.as_dict()
