"""A trained ResNet-18, pruned to half of its cycles, trained on in a loop of one's own, and exported to ONNX.

    python examples/prune_resnet18.py
    python examples/prune_resnet18.py --array 128x128 --target 0.75 --images 4000

torchvision's ResNet-18 if that is installed, and otherwise the same network of ``resnet.py``. The images are small and
made here, so that nothing is downloaded and the whole takes seconds: the cycles are exact, and the accuracies say
nothing about real images. With a network and a loader of yours, the lines to copy are those between the marks.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hwcost import SystolicArray, from_onnx, network_cost, plot
from hwcost.torch import prune
from resnet_search import CLASSES, SIDE, Images, array_of

try:
    from torchvision.models import resnet18

    SOURCE = "torchvision"
except (ImportError, RuntimeError):  # not installed, or for another PyTorch
    from resnet import ResNet18

    SOURCE = "resnet.py, because torchvision cannot be imported"


def network() -> nn.Module:
    """ResNet-18 for ten classes."""
    if SOURCE == "torchvision":
        return resnet18(num_classes=CLASSES)
    return ResNet18(classes=CLASSES)


def loader(count: int, seed: int, *, shuffle: bool = True) -> DataLoader:
    images = Images.generate(count, seed)
    return DataLoader(TensorDataset(images.pixels, images.labels), 32, shuffle=shuffle)


def train(model: nn.Module, batches: DataLoader, optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One epoch of the loop that everybody has."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = rate
    for pixels, labels in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(pixels), labels).backward()
        optimizer.step()
    model.eval()


def accuracy(model: nn.Module, batches: DataLoader) -> float:
    with torch.no_grad():
        hits = [(model(pixels).argmax(1) == labels).float().mean() for pixels, labels in batches]
    return float(torch.stack(hits).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--array", default="64x64", help="rows x columns (default: %(default)s)")
    parser.add_argument("--target", type=float, default=0.5, help="share of today's cycles (default: %(default)s)")
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--plot", help="draw what stays to this file")
    asked = parser.parse_args()
    torch.manual_seed(0)
    model, example = network(), torch.zeros(1, 3, SIDE, SIDE)
    batches, held_out = loader(asked.images, 1), loader(64, 2, shuffle=False)
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    for rate in (0.02, 0.01, 0.002):
        train(model, batches, optimizer, rate)
    print(f"ResNet-18 of {SOURCE}: accuracy on held-out images {accuracy(model, held_out):.1%}")

    # ---- a few lines between two trainings
    array = array_of(asked.array)  # or the name of a device, like "gemmini"
    result = prune(model, example, array, target=asked.target, data=batches, held_out=held_out, least=0.1)
    optimizer = result.map_optimizer(optimizer)  # momenta go on warm
    train(result.model, batches, optimizer, 0.002)
    # ----

    print(f"after {asked.target:g} of the cycles and one epoch: {accuracy(result.model, held_out):.1%}")
    print(f"\n{result.report}\n")
    if asked.plot is not None:
        plot.save(plot.pruning_figure(result.report), asked.plot)
    for path, numbers in list(result.changed_numbers.items())[:3]:
        print(f"in your code: {path}: {numbers}")
    export(result.model.eval(), example, array, result.report.after.cycles)


def export(model: nn.Module, example: torch.Tensor, array: SystolicArray, expected: float) -> None:
    """Writes an ONNX file, reads it again, and prices it."""
    if missing := [each for each in ("onnx", "onnxscript") if importlib.util.find_spec(each) is None]:
        print(f"no ONNX file: {' and '.join(missing)} must be installed for it")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pruned.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(model, (example,), path, dynamo=True, verbose=False)
        cycles = network_cost(from_onnx(path), array).total.cycles
    print(f"the ONNX file takes {cycles} cycles, the module {expected}")


if __name__ == "__main__":
    main()
