"""A hardware-aware architecture search on top of hwcost: LeNet, DARTS-style, with a latency that knows the stairs.

``search(...)`` runs one search and returns its result; ``sweep(...)`` runs many methods, limits and seeds and compares
them. The commands ``nas-plugin search`` and ``nas-plugin sweep`` do the same on the command line. The package holds no
hardware arithmetic: probabilities go in, a cost comes out of hwcost.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hwcost import MissingDependencyError, __version__

if TYPE_CHECKING:
    from nas_plugin.api import read_run, read_sweep, resume, resume_sweep, search, sweep
    from nas_plugin.methods.settings import SearchSettings
    from nas_plugin.methods.table import LATENCIES, METHODS, SWEEP_METHODS, Latency, Method
    from nas_plugin.runs.comparison import Comparison
    from nas_plugin.runs.result import Outcome, SearchResult
    from nas_plugin.space.arch_def import KINDS, ArchDef, BlockKind
    from nas_plugin.space.networks import SuperNetwork, TrainableNetwork
    from nas_plugin.space.reader import load_arch_def

_HOMES = {
    "api": ("read_run", "read_sweep", "resume", "resume_sweep", "search", "sweep"),
    "methods.settings": ("SearchSettings",),
    "methods.table": ("LATENCIES", "METHODS", "SWEEP_METHODS", "Latency", "Method"),
    "runs.comparison": ("Comparison",),
    "runs.result": ("Outcome", "SearchResult"),
    "space.arch_def": ("KINDS", "ArchDef", "BlockKind"),
    "space.networks": ("SuperNetwork", "TrainableNetwork"),
    "space.reader": ("load_arch_def",),
}

__all__ = [
    "KINDS",
    "LATENCIES",
    "METHODS",
    "SWEEP_METHODS",
    "ArchDef",
    "BlockKind",
    "Comparison",
    "Latency",
    "Method",
    "Outcome",
    "SearchResult",
    "SearchSettings",
    "SuperNetwork",
    "TrainableNetwork",
    "__version__",
    "load_arch_def",
    "read_run",
    "read_sweep",
    "resume",
    "resume_sweep",
    "search",
    "sweep",
]


def __getattr__(name: str) -> Any:
    """Public names load what they need (torch among it) when they are first used."""
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"nas_plugin.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "safetensors", "tomli_w", "joblib", "moocore", "filelock"):
            raise MissingDependencyError(error.name, "nas", "nas_plugin") from None
        raise


def __dir__() -> list[str]:
    return sorted(__all__)
