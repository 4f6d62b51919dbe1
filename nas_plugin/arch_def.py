"""The search space as a file: LeNet-like blocks in order, what each may become, the array, and the data.

The format is the one of ``nas_plugin/lenet.toml``, which says what every key means. This module reads and checks it,
and turns it into the layers that hwcost prices; it holds no hardware arithmetic of its own.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from hwcost import (
    Conv2d,
    InvalidValueError,
    Linear,
    Network,
    Operation,
    SystolicArray,
    load_device,
    network_cost,
)
from hwcost.machine import adapt
from nas_plugin.errors import ArchDefError

__all__ = ["CLASSIFIER", "ArchDef", "Block", "Choice", "load_arch_def", "parse_arch_def"]

SCHEMA = "nas_plugin.arch_def/1"
CLASSIFIER = "classifier"
"""The name of the last layer, which every network has."""

Choice = Mapping[str, int]
"""A size for every decision: ``{"conv1.width": 6, "conv1.kernel": 5, ...}``."""


@dataclass(frozen=True)
class Block:
    """A convolution or fully connected block and what it may become.

    Attributes:
        name: as it stands in logs.
        kind: "conv" (convolution, ReLU, max-pooling) or "linear" (fully connected, ReLU).
        widths: candidate channel or neuron counts, ascending.
        kernels: candidate odd kernel sizes, ascending; empty for a linear block.
        padding: of the largest kernel.
        pool: side of the max-pooling window; 1 for none.
        reference: the reference network's width, and kernel where there is one.
    """

    name: str
    kind: Literal["conv", "linear"]
    widths: tuple[int, ...]
    kernels: tuple[int, ...] = ()
    padding: int = 0
    pool: int = 1
    reference: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def width_decision(self) -> str:
        """The name of the decision on the width."""
        return f"{self.name}.width"

    @property
    def kernel_decision(self) -> str:
        """The name of the decision on the kernel size."""
        return f"{self.name}.kernel"


@dataclass(frozen=True)
class ArchDef:
    """A checked search space.

    Attributes:
        name: of the network.
        channels, height, width, classes: of the images.
        blocks: conv blocks first, then linear ones; the classifier behind them is implied.
        array: the accelerator.
        data: where the images come from.
        text: the file itself, kept so that a run can be repeated.
    """

    name: str
    channels: int
    height: int
    width: int
    classes: int
    blocks: tuple[Block, ...]
    array: SystolicArray
    data: str
    text: str = dataclasses.field(repr=False)

    @property
    def decisions(self) -> dict[str, tuple[int, ...]]:
        """Every decision with its options: all widths, and the kernels of conv blocks."""
        options: dict[str, tuple[int, ...]] = {}
        for block in self.blocks:
            options[block.width_decision] = block.widths
            if block.kind == "conv":
                options[block.kernel_decision] = block.kernels
        return options

    @property
    def reference(self) -> dict[str, int]:
        """The reference network (LeNet-5) as a choice."""
        return {
            f"{block.name}.{part}": block.reference[part]
            for block in self.blocks
            for part in (("width", "kernel") if block.kind == "conv" else ("width",))
        }

    def cycles(self, choice: Choice) -> Any:
        """The exact cycles of a network on the array; its widths need not be among the options."""
        return network_cost(self.space.at(choice), self.array).total.cycles

    def map_sizes(self) -> Iterator[tuple[Block, tuple[int, int], tuple[int, int]]]:
        """Each conv block with the height and width of its convolution's output and of its pooled output."""
        height, width = self.height, self.width
        for block in self.blocks:
            if block.kind == "conv":
                largest = Conv2d(1, 1, block.kernels[-1], height=height, width=width, padding=block.padding)
                out = largest.out_size
                height, width = out[0] // block.pool, out[1] // block.pool
                yield block, (out[0], out[1]), (height, width)

    @property
    def flat_size(self) -> int:
        """Pixels of one channel where the last map is flattened."""
        maps = list(self.map_sizes())
        height, width = maps[-1][2] if maps else (self.height, self.width)
        return height * width

    @property
    def inputs(self) -> dict[str, tuple[Block | None, int]]:
        """For every block and the classifier: what feeds it (None: the image), and how many pixels a channel gives.

        The first fully connected layer takes a flattened map; elsewhere a channel, or neuron, is one input.
        """
        feeds: dict[str, tuple[Block | None, int]] = {}
        source, flat = None, False
        for name, kind in [*((block.name, block.kind) for block in self.blocks), (CLASSIFIER, "linear")]:
            feeds[name] = (source, self.flat_size if kind == "linear" and not flat else 1)
            flat = flat or kind == "linear"
            source = next((block for block in self.blocks if block.name == name), None)
        return feeds

    @property
    def space(self) -> Network:
        """The same as a network with open widths and kernels; its sizes today are those of the reference.

        A smaller kernel is the centre of the largest, so the output size of a convolution does not depend on the
        kernel: its layer is written as "same" padding at the size of the output, which has the same products.
        """
        blocks = {block.name: block for block in self.blocks}
        maps = {block.name: size for block, size, _ in self.map_sizes()}
        operations = {}
        for name, (source, pixels) in self.inputs.items():
            block = blocks.get(name)  # None: the classifier
            taken = pixels * (self.channels if source is None else source.reference["width"])
            width = self.classes if block is None else block.reference["width"]
            layer: Conv2d | Linear = Linear(taken, width)
            if block is not None and name in maps:
                kernel, (height, side) = block.reference["kernel"], maps[name]
                layer = Conv2d(taken, width, kernel, height=height, width=side, padding="same")
            sizes: dict[str, Any] = {}
            if source is not None:
                sizes[layer.WIDTHS[0]] = (source.width_decision, pixels)
            if block is not None:
                sizes |= {"kernel_size": block.kernel_decision} if name in maps else {}
                sizes[layer.WIDTHS[1]] = block.width_decision
            operations[name] = Operation(layer, sizes)
        return Network(self.name, operations).space(self.decisions)


# ---------------------------------------------------------------- reading


def load_arch_def(path: str | Path | None = None) -> ArchDef:
    """Reads and checks an architecture file; without a path the LeNet that ships with the package.

    Raises:
        ArchDefError: a file that cannot be read, or a key that is missing, unknown, or holds what is not allowed.

    >>> arch = load_arch_def()
    >>> arch.reference["conv2.width"], len(arch.decisions)
    (16, 6)
    """
    if path is None:
        text = resources.files("nas_plugin").joinpath("lenet.toml").read_text(encoding="utf-8")
        return parse_arch_def(text, "lenet.toml")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArchDefError(f"{path} cannot be read: {error}") from None
    return parse_arch_def(text, str(path))


def parse_arch_def(text: str, where: str, array: SystolicArray | None = None) -> ArchDef:
    """The same from the text of a file; ``where`` names it in errors.

    Where an ``array`` is given, that of the text is not looked at: a run goes on with the array that it began with,
    also where the device file that the text names is gone.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ArchDefError(f"{where} is no valid TOML: {error}") from None
    root = _Table(content, where, "")
    if (schema := root.text("schema")) != SCHEMA:
        root.fail("schema", schema, f'"{SCHEMA}"')
    sizes = root.table("input")
    blocks = tuple(_block(table) for table in root.tables("block"))
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
    """A table of the file: every key that is read is checked, and :meth:`finish` names those that nobody reads."""

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
        """Whether the key stands there."""
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
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
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
                raise ArchDefError(f"{self._where}: {self._path}{key} is not known; allowed here: {known}")
        for child in self._children:
            child.finish()


def _block(table: _Table) -> Block:
    name, kind = table.text("name"), table.text("kind")
    widths = table.counts("widths")
    reference = table.table("reference")
    if kind == "linear":
        return Block(name, "linear", widths, reference={"width": reference.count("width")})
    if kind != "conv":
        table.fail("kind", kind, '"conv" or "linear"')
    kernels = table.counts("kernels")
    if any(kernel % 2 == 0 for kernel in kernels):
        table.fail("kernels", list(kernels), "odd sizes (a smaller kernel is the centre of the largest)")
    return Block(
        name,
        "conv",
        widths,
        kernels,
        padding=_padding(table, kernels[-1]),
        pool=table.count("pool", default=1),
        reference={"width": reference.count("width"), "kernel": _reference_kernel(reference, kernels)},
    )


def _padding(table: _Table, largest: int) -> int:
    allowed = f'"same", or an integer from 0 to {largest // 2}'
    value = table.get("padding", allowed, "same")
    if value == "same":
        return largest // 2
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest // 2:
        table.fail("padding", value, allowed)
    return int(value)


def _reference_kernel(table: _Table, kernels: tuple[int, ...]) -> int:
    kernel = table.count("kernel")
    if kernel not in kernels:
        table.fail("kernel", kernel, f"one of the block's kernels: {list(kernels)}")
    return kernel


def _check_blocks(root: _Table, blocks: tuple[Block, ...]) -> None:
    names = [block.name for block in blocks]
    for name in names:
        if names.count(name) > 1 or not name.isidentifier() or name == CLASSIFIER:
            root.fail("block.name", name, 'different names of letters, digits and "_", none of them "classifier"')
    kinds = [block.kind for block in blocks]
    if kinds != sorted(kinds):
        root.fail("block.kind", kinds, "conv blocks first, then linear ones")


def _check_maps(root: _Table, arch: ArchDef) -> None:
    try:
        for block, out, pooled in arch.map_sizes():
            if min(pooled) < 1:
                root.fail("block.pool", block.pool, f"at most {min(out)}, the size of {block.name}'s map")
    except InvalidValueError as error:
        root.fail("block.kernels", error.value, f"{error.allowed} (the map that reaches the block is too small)")


def _array(table: _Table) -> SystolicArray:
    """A device by name or file, or rows and columns; what stands beside a device takes the place of its numbers."""
    device = _device(table)
    clock = table.get("clock_hz", "a number of hertz", device.clock_hz)
    one = {"rows": device.rows, "cols": device.cols}
    rows, cols = (table.count(k, default=v if table.has("device") else None) for k, v in one.items())
    try:
        return adapt(
            device,
            rows=rows,
            cols=cols,
            clock_hz=clock,
            dataflow=table.text("dataflow", str(device.dataflow)),
            fold_timing=table.text("fold_timing", str(device.fold_timing)),
        ).array
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
