"""A hardware-aware architecture search on top of hwcost: LeNet, DARTS-style, with a latency that knows the stairs.

``search(...)`` runs one search and returns its result; ``sweep(...)`` runs many methods, limits and seeds and compares
them. The commands ``nas-plugin search`` and ``nas-plugin sweep`` do the same on the command line. The package holds no
hardware arithmetic: probabilities go in, a cost comes out of hwcost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwcost import __version__

if TYPE_CHECKING:
    from nas_plugin.api import read_run, read_sweep, resume, resume_sweep, search, sweep
    from nas_plugin.methods.settings import SearchSettings
    from nas_plugin.methods.table import LATENCIES, METHODS, SWEEP_METHODS, Latency, Method
    from nas_plugin.runs.comparison import Comparison
    from nas_plugin.runs.result import Outcome, SearchResult
    from nas_plugin.space.arch_def import KINDS, ArchDef, BlockKind
    from nas_plugin.space.networks import SuperNetwork, TrainableNetwork
    from nas_plugin.space.reader import load_arch_def

__all__ = [
    "KINDS", "LATENCIES", "METHODS", "SWEEP_METHODS", "ArchDef", "BlockKind", "Comparison", "Latency", "Method",
    "Outcome", "SearchResult", "SearchSettings", "SuperNetwork", "TrainableNetwork", "__version__", "load_arch_def",
    "read_run", "read_sweep", "resume", "resume_sweep", "search", "sweep",
]  # fmt: skip

__dir__ = __all__.copy  # what tab completion offers


def __getattr__(name: str) -> Any:
    """Imports on first use: the tables without torch, all else with it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hwcost.errors import needs_extra
    from nas_plugin.methods import settings, table

    for module in (settings, table):
        if hasattr(module, name):
            return getattr(module, name)
    with needs_extra("nas", "nas_plugin"):
        from nas_plugin import api
        from nas_plugin.runs import result
        from nas_plugin.space import arch_def, networks
    return next(getattr(module, name) for module in (api, result, arch_def, networks) if hasattr(module, name))
