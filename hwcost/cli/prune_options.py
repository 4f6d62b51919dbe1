"""The values of the options of ``hwcost prune``; None for those that were not given."""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "DISTIL", "LEARNING_RATE", "ChoiceOptions", "FileOptions", "LimitOptions", "TaskOptions", "TuningOptions",
]  # fmt: skip

LEARNING_RATE, DISTIL = 0.05, 0.7


class LimitOptions(NamedTuple):
    """The limit; one of them is given."""

    target: float | None
    cycles: float | None
    seconds: float | None


class TaskOptions(NamedTuple):
    """Where weights, data and loss are; a file and a name in it for all but the first."""

    weights: str | None
    data: tuple[str, str] | None
    held_out: tuple[str, str] | None
    loss: tuple[str, str] | None


class ChoiceOptions(NamedTuple):
    """What decides which channels stay."""

    importance: str | None
    keep: tuple[str, ...]
    least: float | None
    multiple: int | None
    depth: bool
    seed: int


class TuningOptions(NamedTuple):
    """The fine-tuning, no epochs for none; and where PyTorch computes."""

    epochs: int | None
    distil: float | None
    learning_rate: float | None
    torch_device: str | None

    def values(self) -> tuple[int, float | None, float]:
        """All three, with their defaults; None for a share that follows from the original module."""
        return self.epochs or 0, self.distil, self.learning_rate or LEARNING_RATE


class FileOptions(NamedTuple):
    """The files and the folder to write; None for those that were not asked for."""

    onnx: str | None
    picture: str | None
    out: str | None
