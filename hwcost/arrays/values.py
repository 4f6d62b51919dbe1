"""Frozen values that may hold arrays: they compare and hash by content, as values of numbers do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import numpy as np

from hwcost.arrays.backends import has_library, is_number
from hwcost.arrays.sizes import if_concrete, to_numpy

__all__ = ["Table", "Value"]

_K = TypeVar("_K")
_V = TypeVar("_V")


class Table(dict[_K, _V]):
    """A dictionary that cannot be changed; unlike a mapping proxy it can be pickled, copied and hashed.

    >>> import pickle
    >>> sizes = Table({"rows": 8})
    >>> pickle.loads(pickle.dumps(sizes)) == sizes == {"rows": 8}
    True
    """

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a table cannot be changed; make another one, like {**table, name: value}")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def __hash__(self) -> int:  # type: ignore[override]
        return _hash_of(self)


class Value:
    """Base of frozen dataclasses with ``eq=False`` whose fields may hold arrays.

    Two values are equal if they are of one class and their fields are: arrays in type, shape and every element. Arrays
    without values, as under a compiler, are equal to themselves only.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = _compared_fields(self)
        return all(_are_equal(getattr(self, name), getattr(other, name)) for name in names)

    def __hash__(self) -> int:
        return hash(tuple(_hash_of(getattr(self, name)) for name in _compared_fields(self)))


def brief(value: Any) -> str:
    """A dataclass as the call that makes it, without the fields that have their default.

    >>> from dataclasses import make_dataclass
    >>> Size = make_dataclass("Size", [("rows", int), ("cols", int, 8), ("name", str, "")])
    >>> brief(Size(16)), brief(Size(16, name="a"))
    ('Size(16)', "Size(16, name='a')")
    """
    texts = []
    for field in dataclasses.fields(value):
        own = getattr(value, field.name)
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        if made is dataclasses.MISSING:
            texts.append(repr(own))
        elif own != made:
            texts.append(f"{field.name}={own!r}")
    return f"{type(value).__name__}({', '.join(texts)})"


def _compared_fields(value: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(value) if field.compare]


def _is_array(value: object) -> bool:
    return hasattr(value, "dtype") and not is_number(value) and has_library(value)


def _are_equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_are_equal, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_are_equal(value, b[key]) for key, value in a.items())
    if _is_array(a) or _is_array(b):
        if type(a) is not type(b) or (a.dtype, tuple(a.shape)) != (b.dtype, tuple(b.shape)):
            return False
        return bool(if_concrete(a, lambda: np.array_equal(to_numpy(a), to_numpy(b))))
    return bool(a == b)


def _hash_of(value: Any) -> int:
    if isinstance(value, tuple):
        return hash(tuple(map(_hash_of, value)))
    if isinstance(value, Mapping):
        return hash(frozenset((key, _hash_of(each)) for key, each in value.items()))
    if _is_array(value):  # equal arrays of numpy have equal bytes, but for the sign of 0
        return hash((value + 0).tobytes()) if isinstance(value, np.ndarray) else hash(tuple(value.shape))
    return hash(value)
