"""Reads a search space from an architecture file, in the format that ``nas_plugin/lenet.toml`` documents."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from hwcost import InvalidValueError, SystolicArray, load_device
from hwcost.machine import adapt
from nas_plugin.errors import ArchDefError
from nas_plugin.space.arch_def import CLASSIFIER, ArchDef
from nas_plugin.space.blocks import KINDS, Block, BlockKind

__all__ = ["load_arch_def", "parse_arch_def"]

SCHEMA = "nas_plugin.arch_def/1"


def load_arch_def(path: str | Path | None = None, *, kinds: Sequence[BlockKind] = ()) -> ArchDef:
    """Reads and checks an architecture file.

    Args:
        path: the file; None takes the LeNet that ships with the package.
        kinds: kinds of block of your own, which the file may then name.

    Raises:
        ArchDefError: a file that cannot be read, or a key that is missing, unknown, or holds what is not allowed.

    >>> arch = load_arch_def()
    >>> arch.reference["conv2.width"], len(arch.decisions)
    (16, 6)
    """
    if path is None:
        text = resources.files("nas_plugin").joinpath("lenet.toml").read_text(encoding="utf-8")
        return parse_arch_def(text, "lenet.toml", kinds=kinds)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArchDefError(f"{path} cannot be read: {error}") from None
    return parse_arch_def(text, str(path), kinds=kinds)


def parse_arch_def(
    text: str, where: str, array: SystolicArray | None = None, *, kinds: Sequence[BlockKind] = ()
) -> ArchDef:
    """The search space in the text of an architecture file.

    Args:
        text: of the file.
        where: the file's name, for errors.
        array: replaces the array of the text, which is then not read: a run resumes on its own array even if the device
            file that the text names is gone.
        kinds: kinds of block of your own.

    Raises:
        ArchDefError: as :func:`load_arch_def`.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ArchDefError(f"{where} is no valid TOML: {error}") from None
    root = _Table(content, where, "")
    if (schema := root.text("schema")) != SCHEMA:
        root.fail("schema", schema, f'"{SCHEMA}"')
    sizes = root.table("input")
    known = {**KINDS, **{kind.name: kind for kind in kinds}}
    blocks = tuple(_block(table, known) for table in root.tables("block"))
    _check_blocks(root, blocks)
    arch = ArchDef(
        name=root.text("name"),
        channels=sizes.count("channels"),
        height=sizes.count("height"),
        width=sizes.count("width"),
        classes=sizes.count("classes", minimum=2),
        blocks=blocks,
        array=_array(root.table("array")) if array is None else array,
        data=root.table("data").text("source"),
        text=text,
    )
    root.has("array")
    root.finish()
    if arch.channels != 1:
        sizes.fail("channels", arch.channels, "1 (IDX files hold grey images)")
    _check_maps(root, arch)
    return arch


class _Table:
    """A table of the file that checks each key it reads; :meth:`finish` refuses keys that nothing read."""

    def __init__(self, content: Mapping[str, Any], where: str, path: str) -> None:
        self._content, self._where, self._path = content, where, path
        self._read: set[str] = set()
        self._children: list[_Table] = []

    def fail(self, key: str, value: object, allowed: str) -> None:
        raise ArchDefError(f"{self._where}: {self._path}{key} is {value!r}; allowed: {allowed}")

    def get(self, key: str, allowed: str, default: Any = None) -> Any:
        self._read.add(key)
        if key not in self._content:
            if default is None:
                raise ArchDefError(f"{self._where}: {self._path}{key} is missing; allowed: {allowed}")
            return default
        return self._content[key]

    def has(self, key: str) -> bool:
        self._read.add(key)
        return key in self._content

    def text(self, key: str, default: str | None = None) -> str:
        value = self.get(key, "a text in quotes", default)
        if not isinstance(value, str) or not value:
            self.fail(key, value, "a text in quotes")
        return str(value)

    def count(self, key: str, *, minimum: int = 1, default: int | None = None) -> int:
        allowed = f"an integer of at least {minimum}"
        value = self.get(key, allowed, default)
        if type(value) is not int or value < minimum:
            self.fail(key, value, allowed)
        return int(value)

    def counts(self, key: str) -> tuple[int, ...]:
        """Ascending sizes: a list, or {first, last, step}."""
        allowed = "a list of different positive integers, or { first, last, step }"
        value = self.get(key, allowed)
        if isinstance(value, dict):
            table = self._child(value, f"{self._path}{key}.")
            first, last, step = table.count("first"), table.count("last"), table.count("step", default=1)
            if last < first:
                table.fail("last", last, f"at least first ({first})")
            return tuple(range(first, last + 1, step))
        good = isinstance(value, list) and value and all(type(v) is int and v >= 1 for v in value)
        if not good or len(set(value)) != len(value):
            self.fail(key, value, allowed)
        return tuple(sorted(value))

    def table(self, key: str) -> _Table:
        value = self.get(key, "a table")
        if not isinstance(value, dict):
            self.fail(key, value, "a table")
        return self._child(value, f"{self._path}{key}.")

    def tables(self, key: str) -> list[_Table]:
        value = self.get(key, f"one [[{key}]] or more")
        if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
            self.fail(key, value, f"one [[{key}]] or more")
        return [self._child(v, f"{self._path}{key}[{i}].") for i, v in enumerate(value)]

    def _child(self, content: Mapping[str, Any], path: str) -> _Table:
        child = _Table(content, self._where, path)
        self._children.append(child)
        return child

    def finish(self) -> None:
        for key in self._content:
            if key not in self._read:
                known = ", ".join(sorted(self._read))
                raise ArchDefError(f"{self._where}: {self._path}{key} is unknown; allowed here: {known}")
        for child in self._children:
            child.finish()


def _block(table: _Table, kinds: Mapping[str, BlockKind]) -> Block:
    name, kind = table.text("name"), table.text("kind")
    widths = table.counts("widths")
    reference = table.table("reference")
    if kind not in kinds:
        table.fail("kind", kind, " or ".join(f'"{known}"' for known in kinds))
    if not kinds[kind].on_maps:
        return Block(name, kinds[kind], widths, reference={"width": reference.count("width")})
    kernels = table.counts("kernels")
    if any(kernel % 2 == 0 for kernel in kernels):
        table.fail("kernels", list(kernels), "odd sizes (a smaller kernel is the centre of the largest)")
    width, kernel = reference.count("width"), reference.count("kernel")
    if kernel not in kernels:
        reference.fail("kernel", kernel, f"one of the block's kernels: {list(kernels)}")
    most = kernels[-1] // 2
    allowed = f'"same", or an integer from 0 to {most}'
    padding = table.get("padding", allowed, "same")
    padding = most if padding == "same" else padding
    if type(padding) is not int or not 0 <= padding <= most:
        table.fail("padding", padding, allowed)
    both = {"width": width, "kernel": kernel}
    return Block(name, kinds[kind], widths, kernels, padding, table.count("pool", default=1), both)


def _check_blocks(root: _Table, blocks: tuple[Block, ...]) -> None:
    names = [block.name for block in blocks]
    for name in names:
        if names.count(name) > 1 or not name.isidentifier() or name == CLASSIFIER:
            root.fail("block.name", name, 'different names of letters, digits and "_", none of them "classifier"')
    on_maps = [block.kind.on_maps for block in blocks]
    if on_maps != sorted(on_maps, reverse=True):
        kinds = [block.kind.name for block in blocks]
        root.fail("block.kind", kinds, "conv blocks first (and others on maps), then linear ones")


def _check_maps(root: _Table, arch: ArchDef) -> None:
    try:
        for block, out, pooled in arch.map_sizes():
            if min(pooled) < 1:
                root.fail("block.pool", block.pool, f"at most {min(out)}, the size of {block.name}'s map")
    except InvalidValueError as error:
        root.fail("block.kernels", error.value, f"{error.allowed} (the map that reaches the block is too small)")


def _array(table: _Table) -> SystolicArray:
    """A device by name or file, or rows and columns; keys next to a device replace its numbers."""
    device = _device(table)
    clock = table.get("clock_hz", "a number of hertz", device.clock_hz)
    named = table.has("device")
    rows = table.count("rows", default=device.rows if named else None)
    cols = table.count("cols", default=device.cols if named else None)
    dataflow = table.text("dataflow", str(device.dataflow))
    timing = table.text("fold_timing", str(device.fold_timing))
    try:
        return adapt(device, rows=rows, cols=cols, clock_hz=clock, dataflow=dataflow, fold_timing=timing).array
    except InvalidValueError as error:
        table.fail(error.field.rpartition(".")[2], error.value, error.allowed)
        raise AssertionError from error  # fail() has raised


def _device(table: _Table) -> SystolicArray:
    if not table.has("device"):
        return SystolicArray(1, 1)
    name = table.text("device")
    try:
        return load_device(name)
    except InvalidValueError as error:
        table.fail("device", name, error.allowed if error.field == "device" else str(error))
        raise AssertionError from error  # fail() has raised
