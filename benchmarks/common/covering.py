"""Tests that cover a line, and runs of them on a changed file, each in a fork of a process with the libraries loaded.

The runs work on a copy of the project, so that processes which tests start see the change as well.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import coverage
import pytest

from common.progress import tell

__all__ = ["Covering", "digest"]

WARM = (
    "numpy", "torch", "torch.func", "torch.export", "torch._dynamo", "scipy.optimize", "scipy.stats", "scipy.sparse",
    "onnx", "onnx.helper", "onnx.shape_inference", "hypothesis", "hypothesis.strategies", "hypothesis.extra.numpy",
    "array_api_compat.numpy", "array_api_compat.torch", "array_api_strict", "joblib", "click.testing", "rich.table",
    "tomli_w", "xml.etree.ElementTree", "_pytest.doctest", "unittest.mock", "readline",
)  # fmt: skip
# compilers take minutes
OPTIONS = (
    "-q", "-x", "-k", "not compiles", "-p", "no:cacheprovider", "--tb=no",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip
MEMORY = 8 << 30
"""Bytes of data that a run may allocate."""


def digest(*files: Path) -> str:
    """A digest of what files contain."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


class Covering:
    """Which tests cover which lines, measured once for each test file and kept.

    Args:
        root: the project.
        copy: where a copy of it is made.
        kept: the file that keeps what was measured.
        sources: the files to measure, relative to the project.
        tests: test files, relative to the project, doctests of modules included.
        of_imports: names of tests that look at what an import made, and call none of its functions.
        slowest: tests that take more seconds are left out.
    """

    def __init__(
        self,
        root: Path,
        copy: Path,
        kept: Path,
        sources: Sequence[str],
        tests: Sequence[str],
        of_imports: Sequence[str],
        slowest: float,
    ) -> None:
        self.copy, self.sources, self.of_imports, self.slowest = copy, sources, of_imports, slowest
        shutil.rmtree(copy, ignore_errors=True)
        ignored = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
        shutil.copytree(
            root, copy, ignore=lambda at, names: ignored(at, names) | ({"runs"} if at == str(root) else set())
        )
        for module in WARM:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        self.records = self._measured(kept, tests)

    def _measured(self, kept: Path, tests: Sequence[str]) -> dict[str, Any]:
        records: dict[str, Any] = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
        now = {file: digest(self.copy / file) for file in {*self.sources, *tests}}
        stale = [
            test
            for test in tests
            if test not in records
            or any(now.get(file, then) != then for file, then in records[test]["digests"].items())
        ]
        written = self.copy / "coverage.json"
        for start in range(0, len(stale), 6):
            part = stale[start : start + 6]
            tell("measuring", *part)
            written.unlink(missing_ok=True)
            _forked(functools.partial(self._measure, part, written), 3600)
            if not written.exists():
                raise RuntimeError(f"one of these cannot be imported, or does not end: {part}")
            for test, record in json.loads(written.read_text("utf-8")).items():
                record["digests"] = {file: now[file] for file in (test, *record["lines"])}
                records[test] = record
            partial = kept.with_suffix(".part")
            partial.write_text(json.dumps(records))
            partial.replace(kept)
        return {test: records[test] for test in tests}

    def check(self) -> None:
        """Raises if tests fail although nothing is changed."""
        names = [name for record in self.records.values() for name in list(record["seconds"])[:1]]
        if self.outcome({}, names, 600) != "survived":
            raise RuntimeError(f"these tests pass one after the other, but not in a fork: {names}")

    def _measure(self, tests: Sequence[str], written: Path) -> NoReturn:
        _enter(self.copy, writes_bytecode=True)
        paths = [str(self.copy / source) for source in self.sources]
        measure = coverage.Coverage(data_file=None, include=paths, config_file=False, messages=False)
        measure.start()
        timed = _Timed(measure)
        code = pytest.main([*OPTIONS, "--maxfail", "0", *tests], plugins=[timed])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            os._exit(1)  # a file that cannot be imported
        measure.stop()
        records: dict[str, Any] = {test: {"seconds": {}, "lines": {}} for test in tests}
        for name, seconds in timed.passed.items():
            records[name.split("::")[0]]["seconds"][name] = round(seconds, 4)
        data = measure.get_data()
        for path, source in zip(paths, self.sources, strict=True):
            for line, names in data.contexts_by_lineno(path).items():
                for name in set(names) & set(timed.passed):
                    lines = records[name.split("::")[0]]["lines"].setdefault(source, {})
                    lines.setdefault(str(line), []).append(name)
        written.write_text(json.dumps(records))
        os._exit(0)

    def tests(self, file: str, line: int, most_seconds: float, *, one_of_each: bool) -> list[str]:
        """Names of tests that cover a line, the quickest first, of at most so many seconds together.

        What runs once, at the import, is covered by all tests that run any function of the file.

        Args:
            file, line: of the project.
            most_seconds: of all of them.
            one_of_each: no more than one set of parameters of each function.
        """
        bodies = _bodies((self.copy / file).read_text("utf-8"))
        at_import = not any(str(line) in record["lines"].get(file, {}) for record in self.records.values())
        at_import = at_import or line not in bodies
        found: dict[str, float] = {}
        for record in self.records.values():
            lines = record["lines"].get(file, {})
            for number in bodies if at_import else {line}:
                found |= {name: record["seconds"][name] for name in lines.get(str(number), ())}
        names = sorted(found, key=lambda name: (found[name], name))
        if one_of_each:
            random.Random(0).shuffle(names)
            of_functions = {name.partition("[")[0]: name for name in names}
            names = sorted(of_functions.values(), key=lambda name: (found[name], name))
        chosen, total = list(self.of_imports) if at_import else [], 0.0
        for name in names:
            if found[name] > self.slowest or total + found[name] > most_seconds:
                break
            chosen.append(name)
            total += found[name]
        return chosen

    def outcome(self, changed: Mapping[str, str], names: Sequence[str], most_seconds: float) -> str:
        """What the tests say of changed files: killed, timeout or survived."""
        if not names:
            return "survived"
        before = {file: (self.copy / file).read_bytes() for file in changed}
        for file, text in changed.items():
            path = self.copy / file
            path.write_text(text, "utf-8")
            for old in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
                old.unlink()
        try:
            return _forked(lambda: self._run(names), most_seconds)
        finally:
            for file, content in before.items():
                (self.copy / file).write_bytes(content)

    def _run(self, names: Sequence[str]) -> NoReturn:
        _enter(self.copy, writes_bytecode=False)
        files = list(dict.fromkeys(name.split("::")[0] for name in names))
        os._exit(int(pytest.main([*OPTIONS, *files], plugins=[_Chosen(names)])))


class _Timed:
    """Sets the context of the coverage to the test that runs, and keeps the seconds of those that pass."""

    def __init__(self, measure: coverage.Coverage) -> None:
        self.measure, self.passed, self.bad = measure, {}, set[str]()  # type: ignore[var-annotated]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.measure.switch_context(item.nodeid)
        start = time.perf_counter()
        result = yield
        if item.nodeid not in self.bad:
            self.passed[item.nodeid] = time.perf_counter() - start
        self.measure.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.bad.add(report.nodeid)


class _Chosen:
    """Collects and runs the tests named, in this order; others are not even made."""

    def __init__(self, names: Sequence[str]) -> None:
        self.order = {name: index for index, name in enumerate(names)}
        self.functions = {name.partition("[")[0] for name in names}

    def pytest_pycollect_makeitem(self, collector: Any, name: str, obj: Any) -> list[Any] | None:
        is_other = name.startswith("test") and f"{collector.nodeid}::{name}" not in self.functions
        return [] if is_other and not isinstance(obj, type) else None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self.order), key=lambda item: self.order[item.nodeid]
        )


def _bodies(source: str) -> set[int]:
    """The lines of the bodies of functions; all others run at the import."""
    return {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1)
    }


def _enter(root: Path, *, writes_bytecode: bool) -> None:
    """Makes this process one that runs the tests of ``root``, without a word."""
    os.setsid()
    os.chdir(root)
    sys.path.insert(0, str(root))
    os.environ |= {"PYTHONPATH": str(root), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    sys.dont_write_bytecode = not writes_bytecode
    if not writes_bytecode:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)


def _forked(action: Callable[[], object], most_seconds: float) -> str:
    """Runs something in a fork that ends with an exit code: survived if that is 0, else killed, or timeout."""
    child = os.fork()
    if not child:
        try:
            action()
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    end = time.monotonic() + most_seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "killed" if status else "survived"
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"
