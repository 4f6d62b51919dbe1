"""What all tests share: deterministic hypothesis, and every array library of the table of backends."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from hwcost.arrays import BACKENDS, Backend

os.environ.setdefault("JAX_PLATFORMS", "cpu")

settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("fixed")


@dataclass(frozen=True)
class Library:
    """One row of the table of backends, with the ways in and out that the tests need."""

    name: str
    row: Backend

    def array(self, values: Any, dtype: str = "float64") -> Any:
        xp = self.row.namespace()
        return xp.asarray(np.asarray(values).tolist(), dtype=getattr(xp, dtype))

    def numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array.detach() if hasattr(array, "detach") else array)


def libraries() -> list[Library]:
    """The libraries of the table, those that two names stand for once."""
    rows: dict[int, Library] = {}
    for name, row in BACKENDS.items():
        rows.setdefault(id(row), Library(name, row))
    return list(rows.values())


@pytest.fixture
def jax64() -> Iterator[Any]:
    """JAX with 64-bit numbers, for one test."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.fixture(params=libraries(), ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    """Every array library that has a row."""
    if request.param.name == "jax":
        request.getfixturevalue("jax64")
    try:
        importlib.import_module(request.param.name)
    except ImportError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture
def compiled() -> Iterator[Any]:
    """``torch.compile`` without graph breaks, its caches empty before and after."""
    torch = pytest.importorskip("torch")
    torch._dynamo.reset()
    yield lambda function, backend="eager": torch.compile(function, fullgraph=True, backend=backend)
    torch._dynamo.reset()


@pytest.fixture
def deliverable_sigint() -> Iterator[None]:
    """SIGINT reaches the processes that a test starts.

    A shell starts its background jobs with SIGINT ignored, and every child inherits that. A handler is not inherited:
    ``exec`` resets it to the default.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
