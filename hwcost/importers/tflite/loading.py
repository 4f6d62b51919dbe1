"""TFLite files: read into plain values, each checked, so that whoever follows the graph touches no bytes.

A flatbuffer is a file of offsets, which the library follows wherever they lead. Whatever is outside of the file, or
more than the file could hold, is an error here.
"""

from __future__ import annotations

import functools
import inspect
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.errors import HwcostError, InvalidValueError, MissingDependencyError
from hwcost.importers.naming import UniqueNames

try:
    import tflite  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingDependencyError("tflite", "tflite", "reading a TFLite file") from error

__all__ = ["Graph", "Operator", "Tensor", "library_version", "load"]

_VERSION, _IDENTIFIER = 3, b"TFL3"
_MOST_AXES = 64
_AS_OFTEN, _MOST_READ = 4, 2**26
"""How often the bytes of a file may be read, as a writer may store equal names once, and how many at most."""
_OF_NUMBER = 16
"""What a number counts, in bytes: in Python it takes more of them."""
_MOST_TABLES = 300_000
"""Tables of a file, as tensors and operators: where weights are zeros, any number of them is a table without fields."""
_CUSTOM = "CUSTOM"
_TYPES: Mapping[int, str] = {code: name for name, code in vars(tflite.TensorType).items() if name.isupper()}
_BITS = {
    "FLOAT32": 32, "FLOAT16": 16, "BFLOAT16": 16, "FLOAT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BOOL": 8,
    "INT4": 4, "INT8": 8, "UINT8": 8, "INT16": 16, "UINT16": 16, "INT32": 32, "UINT32": 32, "INT64": 64, "UINT64": 64,
}  # fmt: skip
"""The size of an element of each type; those of the others differ."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph.

    Args:
        name: of its own in the file.
        type: of its elements.
        shape: as the file has it, with 1 for a size that is open.
        signature: the same with -1 for a size that is open.
        has_rank: whether the number of axes is known.
        data: its bytes, if it is a constant.
        is_sparse: whether the bytes hold some of the elements only.
        is_variable: whether it keeps its elements from one run to the next.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    has_rank: bool = True
    data: np.ndarray[Any, Any] | None = None
    is_sparse: bool = False
    is_variable: bool = False


@dataclass(frozen=True)
class Operator:
    """An operator of a graph.

    Args:
        kind: its name; that of a custom operator is the file's.
        is_custom: whether it is one that is not TFLite's.
        inputs: numbers of tensors; -1 for one that is left out.
        outputs: numbers of tensors.
        options: its attributes, by the names of the schema.
    """

    kind: str
    is_custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """A graph of a file: its tensors, the numbers of those that go in and come out, and the operators in order."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


def library_version() -> str:
    """The version of the library with the schema."""
    return str(tflite.__version__)


def load(content: bytes, where: str) -> tuple[Graph, ...]:
    """The graphs of a file, the main one first.

    Args:
        content: of the file.
        where: its path, for errors.

    Raises:
        InvalidValueError: it is not a TFLite file, or is damaged.
    """
    if content[4:8] != _IDENTIFIER:
        raise InvalidValueError(where, where, "convert the model again", reason="it is not a TFLite file")
    reader = _Reader(content, where)
    try:
        graphs = tuple(reader.graphs())
    except HwcostError:
        raise
    except (struct.error, ValueError, TypeError, LookupError, OverflowError):  # whatever an offset leads to
        raise reader.damaged("an offset in it leads nowhere") from None
    if not graphs or not graphs[0].operators:
        raise InvalidValueError(f"{where}: the number of operators", 0, "a graph with at least one operator")
    for graph in graphs:
        _check_order(graph, where)
    return graphs


def _check_order(graph: Graph, where: str) -> None:
    """Raises unless each tensor is made once, before it is used."""
    made = {*graph.inputs}
    made.update(
        number
        for number, tensor in enumerate(graph.tensors)
        if tensor.data is not None or tensor.is_variable or 0 in tensor.shape
    )
    for operator in graph.operators:
        for number in operator.inputs:
            if number >= 0 and number not in made:
                name = graph.tensors[number].name
                raise InvalidValueError(f"{where}: a tensor that is used", name, "one that is made before it is used")
        for number in operator.outputs:
            if number in made and not graph.tensors[number].is_variable:
                name = graph.tensors[number].name
                reason, advice = "it is made twice", "make each tensor once"
                raise InvalidValueError(f"{where}: the tensor {name!r}", name, advice, reason=reason)
        made.update(operator.outputs)
    for number in graph.outputs:
        if number not in made:
            raise InvalidValueError(f"{where}: an output", graph.tensors[number].name, "a tensor that is made")


class _Reader:
    """Reads the tables of a file and counts what it reads."""

    def __init__(self, content: bytes, where: str) -> None:
        self._content, self._where = content, where
        self._left, self._tables_left = min(_AS_OFTEN * len(content), _MOST_READ), _MOST_TABLES
        self._name = UniqueNames()

    def damaged(self, reason: str) -> InvalidValueError:
        """The error about a damaged file."""
        text = f"it is not a complete TFLite file: {reason}"
        return InvalidValueError(self._where, self._where, "convert the model again", reason=text)

    def graphs(self) -> Iterator[Graph]:
        """The graphs of the file."""
        model = tflite.Model.GetRootAs(self._content)
        version = model.Version()
        if version != _VERSION:
            raise InvalidValueError(f"{self._where}: the version of the format", version, str(_VERSION))
        kinds = [self._kind(code) for code in self._tables(model, "OperatorCodes")]
        data = [self._data(buffer) for buffer in self._tables(model, "Buffers")]
        for graph in self._tables(model, "Subgraphs"):
            tensors = tuple(self._tensor(each, data) for each in self._tables(graph, "Tensors"))
            count = len(tensors)
            yield Graph(
                tensors,
                self._numbers(graph, "Inputs", count),
                self._numbers(graph, "Outputs", count),
                tuple(self._operator(each, kinds, count) for each in self._tables(graph, "Operators")),
            )

    def _charge(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise self.damaged("its tables hold more than it has bytes")

    def _tables(self, owner: Any, field: str) -> Iterator[Any]:
        count = getattr(owner, f"{field}Length")()
        self._tables_left -= count
        if 4 * count > len(self._content) or self._tables_left < 0:
            raise self.damaged(f"its tables hold more {field.lower()} than a file can have")
        return map(getattr(owner, field), range(count))

    def _integers(self, owner: Any, field: str) -> tuple[int, ...]:
        count = getattr(owner, f"{field}Length")()
        self._charge(_OF_NUMBER * count)
        return tuple(getattr(owner, f"{field}AsNumpy")().tolist()) if count else ()

    def _numbers(self, owner: Any, field: str, count: int, least: int = 0) -> tuple[int, ...]:
        """The numbers of tensors, of which there are ``count``."""
        found = self._integers(owner, field)
        if any(not least <= number < count for number in found):
            raise self.damaged(f"it has {count} tensors in a graph, and one is asked for that is not there")
        return found

    def _text(self, owner: Any, field: str) -> str:
        text = getattr(owner, field)()
        self._charge(len(text or b""))
        return (text or b"").decode(errors="replace")

    def _kind(self, code: Any) -> tuple[str, bool]:
        """The name of an operator, and whether it is a custom one."""
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        name = tflite.BUILTIN_OPCODE2NAME.get(number, f"operator {number}")
        return (self._text(code, "CustomCode") or _CUSTOM, True) if name == _CUSTOM else (name, False)

    def _data(self, buffer: Any) -> np.ndarray[Any, Any] | None:
        """The bytes of a buffer, which may be behind the tables; None if it has none."""
        start, size = buffer.Offset(), buffer.Size()
        if start > 1:
            if start + size > len(self._content):
                raise self.damaged("a buffer ends behind its end")
            return np.frombuffer(self._content, np.uint8, size, start)
        return buffer.DataAsNumpy() if buffer.DataLength() else None

    def _tensor(self, table: Any, data: list[np.ndarray[Any, Any] | None]) -> Tensor:
        shape, signature = self._integers(table, "Shape"), self._integers(table, "ShapeSignature")
        name = self._name(self._text(table, "Name") or "tensor")
        if len(shape) > _MOST_AXES or min(shape, default=0) < 0:
            sizes = "x".join(map(str, shape))
            raise InvalidValueError(f"{self._where}: the shape of {name!r}", sizes, "a few sizes of at least 0")
        if not 0 <= table.Buffer() < max(len(data), 1):
            raise self.damaged(f"the buffer of {name!r} is not there")
        own = data[table.Buffer()] if data else None
        kind = _TYPES.get(table.Type(), f"type {table.Type()}")
        is_sparse = table.Sparsity() is not None
        expected = (math.prod(shape) * _BITS.get(kind, 0) + 7) // 8
        if own is not None and kind in _BITS and not is_sparse and own.size != expected:
            raise self.damaged(f"the constant {name!r} has {own.size} bytes, and its shape needs {expected}")
        if len(signature) != len(shape):
            signature = shape
        return Tensor(name, kind, shape, signature, table.HasRank(), own, is_sparse, table.IsVariable())

    def _operator(self, table: Any, kinds: list[tuple[str, bool]], tensors: int) -> Operator:
        number = table.OpcodeIndex()
        if number >= len(kinds):
            raise self.damaged("the kind of an operator is not there")
        kind, is_custom = kinds[number]
        inputs = self._numbers(table, "Inputs", tensors, least=-1)
        return Operator(kind, is_custom, inputs, self._numbers(table, "Outputs", tensors), self._options(table))

    def _options(self, operator: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field in ("BuiltinOptions", "BuiltinOptions2"):
            table = getattr(operator, field)()
            name = _names_of(field).get(getattr(operator, f"{field}Type")())
            if table is None or name is None:
                continue
            options = getattr(tflite, name)()
            options.Init(table.Bytes, table.Pos)
            numbers, vectors = _fields_of(name)
            for each, read in numbers.items():
                value = read(options)
                if isinstance(value, bytes):
                    self._charge(len(value))
                found[each] = value
            found.update((each, self._integers(options, each)) for each in vectors)
        return found


@functools.cache
def _names_of(union: str) -> dict[int, str]:
    """The tables of a union, by their number."""
    return {code: name for name, code in vars(getattr(tflite, union)).items() if isinstance(code, int) and code}


@functools.cache
def _fields_of(table: str) -> tuple[Mapping[str, Callable[[Any], Any]], list[str]]:
    """The fields of a table that hold a number or a text, and those that hold several numbers."""
    methods = {
        name: each
        for name, each in vars(getattr(tflite, table)).items()
        if name[0].isupper() and inspect.isfunction(each)
    }
    vectors = [name for name in methods if f"{name}AsNumpy" in methods]
    parts = {f"{name}{end}" for name in methods for end in ("AsNumpy", "Length", "IsNone")}
    numbers = {
        name: each
        for name, each in methods.items()
        if name != "Init" and name not in parts and len(inspect.signature(each).parameters) == 1
    }
    return numbers, vectors
