"""What a command reads back from disk was edited by hand: one line and exit code 2, or the same result as before."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import pickle
import re
import shutil
import tomllib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import hwcost.cli
import nas_plugin.cli
from common.fuzzing import FILES, READERS, write_files
from hwcost import HwcostError, load_device
from hwcost.calibration import read_measurements
from hwcost.console import fail
from hwcost.files import digest_of
from nas_plugin import ArchDef, load_arch_def, search, sweep

pytestmark = pytest.mark.usefixtures("no_pictures")

FEW: dict[str, Any] = {"images": 60, "train_epochs": 1}
MISSING = object()
VALUES: list[Any] = [
    MISSING, None, True, -1, 0, 10**6, 10**400, 1e308, -1e308, float("nan"), float("inf"), 0.5, "", "text", "９", [],
    [0], [None], {}, {"a": 1},
]  # fmt: skip
"""What takes the place of every value of a document; MISSING: its key is removed."""


# ---------------------------------------------------------------- edits


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value in a document, from the outside in; of a long list the first and the last."""
    keys = value.keys() if isinstance(value, dict) else {0, len(value) - 1} if isinstance(value, list) and value else ()
    for key in keys:
        yield (*at, key)
        yield from places(value[key], (*at, key))


def edited(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The document with one value replaced or removed."""
    copy = document.copy()
    if len(place) > 1:
        copy[place[0]] = edited(copy[place[0]], place[1:], value)
    elif value is MISSING:
        del copy[place[0]]
    else:
        copy[place[0]] = value
    return copy


def documents(document: Any, values: list[Any], depth: int = 9) -> Iterator[Any]:
    """A document with each value down to a depth replaced by others or removed, and with a key that nothing knows."""
    for place in (place for place in places(document) if len(place) <= depth):
        changed = (edited(document, place, value) for value in values)
        yield from (edit for edit in changed if repr(edit) != repr(document))
    yield document | {"unknown": 1}


def texts(content: bytes, most: int = 12) -> Iterator[bytes]:
    """A file cut off, emptied, doubled, with a line removed or twice, of another kind, or with bytes of none."""
    lines = content.splitlines(keepends=True)
    yield from (content[: len(content) * part // 5] for part in range(5))
    for i in range(min(len(lines), most)):
        yield from (b"".join(lines[:i] + lines[i + 1 :]), b"".join([*lines[: i + 1], *lines[i:]]))
    yield from (content[:9] + odd + content[9:] for odd in (b"\0", b"\xff\xfe", "９".encode(), b"[" * 99_999))
    yield from (b"{}", b"[]", b"null", b'"text"', b"[" * 99_999, b"9" * 9_999, b"\x89PNG\r\n\x1a\n", content * 2)
    yield from (gzip.compress(content), b"\xef\xbb\xbf" + content, content.decode("latin-1").encode("utf-16"))
    yield from (pickle.dumps({"schema": 1}), FILES["layers.csv"].encode(), FILES["layers.toml"].encode())


def numbers(content: bytes) -> Iterator[bytes]:
    """A file with each of its first numbers replaced."""
    odd = (b"", b"-1", b"0", b"0.5", b"nan", b"inf", b"1e999", b"9" * 400, b"text", b"1_0", "９".encode(), b"=1+1")
    for found in list(re.finditer(rb"(?<![\w.])[0-9][0-9.e+-]*", content))[:12]:
        yield from (content[: found.start()] + value + content[found.end() :] for value in odd)


# ---------------------------------------------------------------- outcomes


def run(main: Callable[..., int], *args: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, with warnings as errors."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("error")
        code = main([str(arg) for arg in args])
    return code, out.getvalue(), err.getvalue()


def is_refusal(code: int, out: str, err: str) -> bool:
    errors = [line for line in err.splitlines() if line.startswith("Error: ")]
    told = 0 < len(errors) == len(set(errors)) and err.splitlines()[-len(errors) :] == errors
    return (code, out) == (2, "") and told and max(map(len, errors)) < 1000


class Judge:
    """Runs a command on a folder after edits of one of its files, and puts the file back.

    ``refused`` counts the edits that were refused; any other had to leave the result as it was.
    """

    def __init__(self, folder: Path, result: str, *command: object, main: Callable[..., int] = nas_plugin.cli.main):
        self.folder, self.result, self.command, self.main = folder, result, command, main
        self.refused = self.count = 0
        self.whole = self.contents()

    def contents(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def __call__(self, path: Path, content: bytes) -> None:
        self.count += 1
        path.write_bytes(content)
        try:
            code, out, err = run(self.main, *self.command)
            if is_refusal(code, out, err):
                self.refused += 1
            else:
                assert code == 0, (path, content[:400], err)
                assert (self.folder / self.result).read_bytes() == self.whole[self.folder / self.result]
        finally:
            for each in (path, self.folder / self.result):
                each.write_bytes(self.whole.get(each, b""))


# ---------------------------------------------------------------- folders of searches


@pytest.fixture(scope="module")
def swept(small: ArchDef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edits") / "sweep"
    few = {"methods": ["most-macs"], "targets": [0.5], "train_seeds": 2, **FEW}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", lambda _, file, **__: file.write(b""))
        sweep(out=folder, arch_def=small, seeds=[0, 1], **few)
    return folder


@pytest.fixture(scope="module")
def stopped(small: ArchDef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a checkpoint, in which nothing has ended."""
    folder = tmp_path_factory.mktemp("edits") / "stopped"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(arch_def=small, out=folder, method="darts", epochs=3, progress=stop, **FEW)
    return folder


@pytest.fixture
def judge(swept: Path) -> Judge:
    return Judge(swept, "results.json", "sweep", "--resume", swept)


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


@pytest.mark.parametrize("pattern", ["sweep.json", "searches/*/search.json", "trainings/*/training.json"])
def test_every_value_of_a_document(judge: Judge, pattern: str) -> None:
    path = first(judge.folder, pattern)
    document = json.loads(path.read_text())
    for edit in documents(document, [MISSING, float("nan")], depth=1):
        judge(path, json.dumps(edit).encode())
    assert judge.refused == judge.count > 10
    judge(path, json.dumps(document, indent=7).encode())  # the same in another form
    content = path.read_bytes()
    for key in document:  # the last of two equal keys counts
        judge(path, content.replace(f'"{key}":'.encode(), f'"{key}": 1, "{key}":'.encode(), 1))
        judge(path, content.rstrip()[:-1] + f', "{key}": 1}}'.encode())


@pytest.mark.parametrize(
    "pattern",
    [
        "sweep.json", "arch_def.toml", "searches/*/search.json", "trainings/*/training.json", "results.json", ".owner",
    ],
)  # fmt: skip
def test_every_file_of_a_sweep_as_a_text(judge: Judge, pattern: str) -> None:
    found = sorted(judge.folder.glob(pattern))
    path = found[0] if found else judge.folder / pattern
    content = found[0].read_bytes() if found else b""
    is_read = pattern not in ("results.json", ".owner")
    for edit in texts(content) if is_read else [b"", b"\xff\xfe", *(other.read_bytes() for other in found)]:
        judge(path, edit)
    for other in found[1:]:  # swapped with that of another task
        judge(path, other.read_bytes())
    if is_read:
        assert judge.refused > 0.6 * judge.count
        path.unlink()
        path.mkdir()
        assert is_refusal(*run(nas_plugin.cli.main, *judge.command))
        path.rmdir()
    judge(path, content)


FIGURES = {"winner", "derived", "files"}
"""What is nested in a result, other than what it depends on."""


@pytest.mark.parametrize("pattern", ["sweep.json", "searches/*/search.json", "trainings/*/training.json"])
def test_every_value_with_a_digest_that_fits(swept: Path, pattern: str) -> None:
    """A program wrote it: what makes no sense is refused all the same, and a figure that does is believed."""
    path = first(swept, pattern)
    before = path.read_bytes()
    document = json.loads(before)
    del document["digest"]
    depth = 9 if pattern == "sweep.json" else 1  # all but the figures is compared with the task
    inner = ({**document, key: each} for key in FIGURES & document.keys() for each in documents(document[key], VALUES))
    for edit in (*documents(document, VALUES, depth), *inner):
        path.write_text(json.dumps(edit | {"digest": digest_of(edit)}))
        try:
            nas_plugin.read_sweep(swept).tables()
        except HwcostError as error:
            message = str(error)
            assert "\n" not in message
        except Exception as error:
            raise AssertionError(edit) from error
        finally:
            path.write_bytes(before)


@pytest.fixture(scope="module")
def ended(small: ArchDef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended."""
    folder = tmp_path_factory.mktemp("edits") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", lambda _, file, **__: file.write(b""))
        search(arch_def=small, out=folder, method="most-macs", target=0.5, **FEW)
    return folder


@pytest.mark.parametrize(
    "pattern", ["trainings/*/weights.safetensors", "trainings/*/log.jsonl", "searches/*/log.jsonl"]
)
def test_weights_and_logs_of_a_run(ended: Path, pattern: str) -> None:
    judge = Judge(ended, "result.json", "search", "--resume", ended)
    path, *others = sorted(ended.glob(pattern))
    content = path.read_bytes()
    for edit in (*texts(content), *(other.read_bytes() for other in others)):
        judge(path, edit)
    same = sum(edit == content for edit in (*texts(content), *(other.read_bytes() for other in others)))
    assert judge.refused == judge.count - same > 0


def test_checkpoints(stopped: Path, swept: Path, ended: Path) -> None:
    (path,) = stopped.glob("searches/*/checkpoint.pt")
    content = path.read_bytes()
    middle = len(content) // 2
    edits = [*texts(content), content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :], content[32:]]
    for edit in edits:
        path.write_bytes(edit)
        code, out, err = run(nas_plugin.cli.main, "search", "--resume", stopped)
        assert is_refusal(code, out, err), (edit[:80], err)
    path.write_bytes(content)
    for key, value in {"seed": 5, "epochs": 4, "lr": 0.1, "images": 80}.items():
        settings = stopped / "sweep.json"
        before = settings.read_bytes()
        document = json.loads(before)
        document["sweep"][key if key != "seed" else "seeds"] = value if key != "seed" else [value]
        settings.write_text(json.dumps(document))
        assert is_refusal(*run(nas_plugin.cli.main, "search", "--resume", stopped))
        settings.write_bytes(before)
    assert run(nas_plugin.cli.main, "search", "--resume", stopped)[0] == 0


@pytest.mark.parametrize("name", ["nowhere", "file", "empty", "other"])
def test_what_is_no_folder_of_a_search(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "other" / "sweep.json").mkdir(parents=True)
    for command in ("search", "sweep"):
        assert is_refusal(*run(nas_plugin.cli.main, command, "--resume", tmp_path / name))


# ---------------------------------------------------------------- chunks of a sweep of arrays


@pytest.fixture
def chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that an interrupted ``hwcost sweep`` has left."""
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    hwcost.sweep.sweep(
        hwcost.importers.read_network("layers.csv"), rows=range(1, 9), cols=range(1, 9), keep="out.csv.chunks"
    )
    return tmp_path / "out.csv.chunks"


def test_chunks(chunks: Path) -> None:
    command = ["sweep", "layers.csv", "--rows", "1:8", "--cols", "1:8", "--out", "out.csv"]
    whole = {path: path.read_bytes() for path in chunks.iterdir()}
    shutil.copytree(chunks, "kept")
    assert run(hwcost.cli.main, *command)[0] == 0
    result = Path("out.csv").read_bytes()
    refused = 0
    for path, content in whole.items():
        document = documents(json.loads(content), VALUES) if path.suffix == ".json" else ()
        for edit in (*texts(content), *(json.dumps(each).encode() for each in document)):
            shutil.rmtree(chunks, ignore_errors=True)
            shutil.copytree("kept", chunks)
            path.write_bytes(edit)
            code, out, err = run(hwcost.cli.main, *command)
            refused += is_refusal(code, out, err)
            assert is_refusal(code, out, err) or (code == 0 and Path("out.csv").read_bytes() == result), (
                edit[:80],
                err,
            )
    assert refused > 50


# ---------------------------------------------------------------- files that people write


def reading(read: Callable[[str], object]) -> Callable[[list[str]], int]:
    """A command that only reads the file which is named first, or second."""

    def main(args: list[str]) -> int:
        try:
            read(args[args[0] == "calibrate"])
        except HwcostError as error:
            return fail(str(error)) if "\n" not in str(error) else -1
        return 0

    return main


MAINS = {
    "measured.csv": reading(lambda name: read_measurements(name, load_device("gemmini"))),
    "arch_def.toml": reading(load_arch_def),
}
"""A calibration takes seconds; an architecture is read by a search alone."""


@pytest.mark.parametrize("name", READERS)
def test_every_kind_of_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    content = Path(name).read_bytes()
    edits = [*texts(content), *numbers(content)]
    if name.endswith(".toml"):
        document = tomllib.loads(content.decode())
        for edit in documents(document, VALUES, depth=2 if len(document) < 9 else 1):
            with contextlib.suppress(TypeError, ValueError):  # TOML has no null, and no numbers of 400 digits
                edits.append(tomli_w.dumps(edit).encode())
    refused = 0
    for edit in edits:
        Path(name).write_bytes(edit)
        code, out, err = run(MAINS.get(name, hwcost.cli.main), *(READERS[name] or [name]))
        refused += is_refusal(code, out, err)
        assert is_refusal(code, out, err) or code == 0, (edit[:400], err)
        assert code or not re.search(r"\b(NaN|Infinity)\b", out), edit
    assert refused > len(edits) / 4
