"""A hardware-aware architecture search on top of hwcost: LeNet, DARTS-style, with a latency that knows the stairs.

``search(...)`` runs the whole idea and returns what it found; ``sweep(...)`` does so by many methods, limits and seeds
and compares. The commands ``nas-plugin search`` and ``nas-plugin sweep`` are the same on the command line. The package
holds no hardware arithmetic: probabilities go in, a cost comes out of hwcost.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hwcost import MissingDependencyError, __version__

if TYPE_CHECKING:
    from nas_plugin.api import read_sweep, resume, resume_sweep, search, sweep
    from nas_plugin.arch_def import ArchDef, load_arch_def
    from nas_plugin.comparison import Comparison
    from nas_plugin.latency import LATENCIES
    from nas_plugin.methods import METHODS, RIVALS
    from nas_plugin.networks import Network, SuperNetwork
    from nas_plugin.result import Outcome, SearchResult
    from nas_plugin.run import read_run
    from nas_plugin.settings import Settings

__all__ = [
    "LATENCIES",
    "METHODS",
    "RIVALS",
    "ArchDef",
    "Comparison",
    "Network",
    "Outcome",
    "SearchResult",
    "Settings",
    "SuperNetwork",
    "__version__",
    "load_arch_def",
    "read_run",
    "read_sweep",
    "resume",
    "resume_sweep",
    "search",
    "sweep",
]

_HOMES = {
    "LATENCIES": "latency",
    "METHODS": "methods",
    "RIVALS": "methods",
    "ArchDef": "arch_def",
    "Comparison": "comparison",
    "Network": "networks",
    "Outcome": "result",
    "SearchResult": "result",
    "Settings": "settings",
    "SuperNetwork": "networks",
    "load_arch_def": "arch_def",
    "read_run": "run",
    "read_sweep": "api",
    "resume": "api",
    "resume_sweep": "api",
    "search": "api",
    "sweep": "api",
}


def __getattr__(name: str) -> Any:
    """Public names load what they need (torch among it) when they are first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"nas_plugin.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "safetensors", "tomli_w", "joblib", "moocore"):
            raise MissingDependencyError(error.name, "nas", "nas_plugin") from None
        raise


def __dir__() -> list[str]:
    return sorted(__all__)
