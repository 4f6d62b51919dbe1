"""What all tests share: deterministic hypothesis, and every array library of the table of backends."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import checked_document
from hypothesis import HealthCheck, settings
from nets import LENET, residual
from trying import USUAL

from hwcost.arrays import BACKENDS, Backend
from hwcost.cli import main
from hwcost.importers.lists import write_layers
from hwcost.network.network import Network

os.environ.setdefault("JAX_PLATFORMS", "cpu")

FIXED = settings(
    derandomize=True,
    deadline=None,
    max_examples=USUAL,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("fixed", FIXED)
settings.register_profile("few", FIXED, max_examples=10)  # on further versions, which change libraries and not rules
settings.register_profile("many", FIXED, max_examples=10 * USUAL)  # before a release, or after a change of a rule
settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", type=int, help="run at most N sets of parameters of each test, spread over all of them")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    most = config.getoption("--cases")
    if most is None:
        return
    of: dict[str, list[pytest.Item]] = {}
    for item in items:
        of.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = {each[int(place)] for each in of.values() for place in np.linspace(0, len(each) - 1, most)}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


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
    """The libraries of the table, each once, even under two names."""
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


@pytest.fixture
def hwcost(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: exit code, stdout, stderr."""

    def call(*args: object) -> tuple[int, str, str]:
        code = main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        if code == 0 and "--json" in args:
            checked_document(out)
        return code, out, err

    return call


@pytest.fixture
def good(hwcost: Callable[..., tuple[int, str, str]]) -> Callable[..., str]:
    """Runs a command that must succeed without a word on stderr: stdout."""

    def call(*args: object) -> str:
        code, out, err = hwcost(*args)
        assert (code, err) == (0, "")
        return out

    return call


@pytest.fixture
def refused(hwcost: Callable[..., tuple[int, str, str]]) -> Callable[..., str]:
    """Runs a command that must end with exit code 2 and one line: that line."""

    def call(*args: object) -> str:
        code, out, err = hwcost(*args)
        assert (code, out) == (2, "")
        assert err.startswith("Error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        assert len(err) < 600
        return err

    return call


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, but for networks: lenet.csv, residual.csv and modules.py."""
    monkeypatch.chdir(tmp_path)
    write_layers("lenet.csv", Network.of_layers("lenet", LENET))
    write_layers("residual.csv", Network.of_layers("residual", residual()))
    shutil.copy(Path(__file__).parent / "models" / "modules.py", tmp_path)
    return tmp_path


@pytest.fixture
def measured_csv(tmp_path: Path) -> str:
    """The path of a file of measurements."""
    return str(pytest.importorskip("measuring").measured_file(tmp_path))


@pytest.fixture
def calls_of() -> Callable[[Callable[..., Any]], contextlib.AbstractContextManager[list[str]]]:
    """Records the calls of a Python function in the body of a ``with``, without replacing the function."""

    @contextlib.contextmanager
    def record(function: Any) -> Iterator[list[str]]:
        calls: list[str] = []

        def profile(frame: Any, event: str, _: Any) -> None:
            if event == "call" and frame.f_code is function.__code__:
                calls.append(function.__name__)

        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            yield calls
        finally:
            sys.setprofile(before)

    return record


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser, started once for the tests of a file."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the pages are opened with playwright")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium is installed to open pages in")
    with playwright.sync_playwright() as found:
        started = found.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()
