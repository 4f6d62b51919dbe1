"""Reads a search space from an architecture file, in the format that ``nas_plugin/lenet.toml`` documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from hwcost import InvalidValueError, SystolicArray
from hwcost.devices import read_device
from hwcost.devices.keys import ANY, TABLE, TEXT, Key, checked, integer, one_of
from hwcost.errors import MISSING
from hwcost.files import read_file, toml_of
from hwcost.machine import adapt
from nas_plugin.errors import ArchDefError
from nas_plugin.space.arch_def import CLASSIFIER, KINDS, ArchDef, Block, BlockKind

__all__ = ["load_arch_def", "parse_arch_def"]


def _are_sizes(value: Any) -> bool:
    if not isinstance(value, list):
        return isinstance(value, dict)
    return all(type(v) is int and v >= 1 for v in value) and 0 < len(set(value)) == len(value)


_MOST_BYTES = 2**20
_MOST_SIZE = 2**16
_MOST_SIZES = 2**12
_MOST_WEIGHTS = 2**27

_SIZES = Key("a list of different positive integers, or { first, last, step }", _are_sizes)
_RANGE = {"first": integer(), "last": integer(), "step": integer(default=1)}
_INPUT = {
    "channels": one_of([1], "1 (IDX files hold grey images)"),
    **dict.fromkeys(("height", "width"), integer()),
    "classes": integer(2),
}
_FILE = {
    "schema": one_of(["nas_plugin.arch_def/1"]),
    "name": TEXT,
    **dict.fromkeys(("input", "array", "data"), TABLE),
    "block": Key("one [[block]] or more", lambda v: type(v) is list and v != [] and all(type(t) is dict for t in v)),
}


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
    try:
        own = resources.files("nas_plugin") / "lenet.toml"
        text = own.read_text(encoding="utf-8") if path is None else read_file(path, _MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ArchDefError(f"{path} cannot be read: {error}") from None
    return parse_arch_def(text, str(path or "lenet.toml"), kinds=kinds)


def parse_arch_def(
    text: str, where: str, array: SystolicArray | None = None, *, kinds: Sequence[BlockKind] = ()
) -> ArchDef:
    """The search space in the text of the architecture file ``where``; raises as :func:`load_arch_def`.

    An ``array`` replaces that of the text, which is then not read: a run resumes on its own array even if the device
    file that the text names is gone.
    """
    try:
        file = checked(toml_of(text.encode(), "the file"), "", _FILE)
        known = {**KINDS, **{kind.name: kind for kind in kinds}}
        blocks = tuple(_block(table, f"block[{i}].", known) for i, table in enumerate(file["block"]))
        _check_blocks(blocks)
        sizes = checked(file["input"], "input.", _INPUT)
        data = checked(file["data"], "data.", {"source": TEXT})["source"]
        array = _array(file["array"]) if array is None else array
        arch = ArchDef(file["name"], **sizes, blocks=blocks, array=array, data=data, text=text)
        _check_weights(arch)
    except InvalidValueError as error:
        raise ArchDefError(f"{where}: {error}") from None
    return arch


def _sizes(value: Any, place: str) -> tuple[int, ...]:
    """Ascending sizes from a list, or from {first, last, step}."""
    if isinstance(value, list):
        return tuple(sorted(value))
    first, last, step = checked(value, f"{place}.", _RANGE).values()
    if last < first:
        raise InvalidValueError(f"{place}.last", last, f"at least first ({first})")
    sizes = range(first, last + 1, step)
    if last > _MOST_SIZE or len(sizes) > _MOST_SIZES:
        allowed = f"at most {_MOST_SIZE}, and a step with which there are at most {_MOST_SIZES} sizes"
        raise InvalidValueError(f"{place}.last", last, allowed)
    return tuple(sizes)


def _block(table: dict[str, Any], place: str, kinds: Mapping[str, BlockKind]) -> Block:
    keys = {"name": TEXT, "kind": one_of(kinds), "widths": _SIZES, "reference": TABLE}
    more = {"kernels": _SIZES, "padding": ANY._replace(default="same"), "pool": integer(default=1)}
    kind = kinds.get(str(table.get("kind")))
    given = checked(table, place, keys if kind is not None and not kind.on_maps else keys | more)
    names, widths = (given["name"], kinds[given["kind"]]), _sizes(given["widths"], f"{place}widths")
    sizes = {"width": integer()}
    if not names[1].on_maps:
        return Block(*names, widths, reference=checked(given["reference"], f"{place}reference.", sizes))
    kernels = _sizes(given["kernels"], f"{place}kernels")
    if any(kernel % 2 == 0 for kernel in kernels):
        allowed = "odd sizes (a smaller kernel is the centre of the largest)"
        raise InvalidValueError(f"{place}kernels", list(kernels), allowed)
    sizes["kernel"] = one_of(kernels, f"one of the block's kernels: {list(kernels)}")
    reference = checked(given["reference"], f"{place}reference.", sizes)
    most = kernels[-1] // 2
    padding = most if given["padding"] == "same" else given["padding"]
    if type(padding) is not int or not 0 <= padding <= most:
        raise InvalidValueError(f"{place}padding", padding, f'"same", or an integer from 0 to {most}')
    return Block(*names, widths, kernels, padding, given["pool"], reference)


def _check_weights(arch: ArchDef) -> None:
    """Raises if the weights of the widest network do not fit into memory, or nothing is left of a map."""
    widest = arch.space.at({name: sizes[-1] for name, sizes in arch.decisions.items()})
    elements = sum(gemm.elements("weights") for layer in widest.values() for gemm in layer.gemms())
    if elements > _MOST_WEIGHTS:
        raise InvalidValueError("the weights of the widest network", elements, f"at most {_MOST_WEIGHTS}")


def _check_blocks(blocks: Sequence[Block]) -> None:
    """Raises unless names differ and blocks on maps come first."""
    names = [block.name for block in blocks]
    for name in names:
        if names.count(name) > 1 or not name.isidentifier() or name == CLASSIFIER:
            allowed = 'different names of letters, digits and "_", none of them "classifier"'
            raise InvalidValueError("block.name", name, allowed)
    on_maps = [block.kind.on_maps for block in blocks]
    if on_maps != sorted(on_maps, reverse=True):
        kinds = [block.kind.name for block in blocks]
        raise InvalidValueError("block.kind", kinds, "conv blocks first (and others on maps), then linear ones")


def _array(table: Mapping[str, Any]) -> SystolicArray:
    """A device by name or file, or rows and columns; keys next to a device replace its numbers."""
    named = "device" in table
    device = read_device(table["device"], field="array.device").array if named else SystolicArray(1, 1)
    keys = {name: integer(default=getattr(device, name) if named else MISSING) for name in ("rows", "cols")}
    others = {name: ANY._replace(default=getattr(device, name)) for name in ("clock_hz", "dataflow", "fold_timing")}
    fields = checked(table, "array.", keys | others | {"device": ANY._replace(default=None)})
    del fields["device"]
    try:
        return adapt(device, **fields).array
    except InvalidValueError as error:
        raise error.at(f"array.{error.field.rpartition('.')[2]}") from None
