"""The inputs of a PyTorch module as people write them, read without PyTorch."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

from hwcost.errors import InvalidValueError

__all__ = ["MOST", "NEEDS_INPUT", "TYPES", "WrittenInput", "parse_input"]

MOST = 2**40
"""The largest size of an input."""
_DIGITS = 300
"""Of a size: more take long to read, and no number has them."""
_NAMED = (
    "float float16 float32 float64 bfloat16 half double int short long bool cfloat chalf cdouble complex32 complex64 "
    "complex128 bit bits8 bits16 qint8 qint32 quint8"
)
TYPES = frozenset(_NAMED.split()) | {f"{sign}int{bits}" for sign in ("", "u") for bits in (*range(1, 9), 16, 32, 64)}
"""The names of PyTorch's types that letters and digits make."""
_USUAL = ["bool", "int8", "uint8", "int16", "int32", "int64", "bfloat16", "float16", "float32", "float64"]
"""Those that modules take, one of which is offered for a misspelt name."""
NEEDS_INPUT = "the shape of each, like --input 1,3,224,224 (for token ids --input 1,128:int64)"
"""What to give if there is no input."""
_ALLOWED = "a shape like 1,3,224,224, with a type as in 1,128:int64, and a name as in ids=1,128:int64 if needed"


class WrittenInput(NamedTuple):
    """The shape of an input, the type of its elements by PyTorch's name, and the argument of ``forward`` or None."""

    shape: tuple[int, ...]
    dtype: str
    name: str | None


def parse_input(option: str, text: str) -> WrittenInput:
    """An input in the form of the command line: ``[NAME=]SIZE,SIZE,...[:TYPE]``.

    >>> parse_input("--input", "ids=1,128:int64")
    WrittenInput(shape=(1, 128), dtype='int64', name='ids')
    >>> parse_input("--input", "1,128:floar32")
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValueError: --input is '1,128:floar32' (did you mean '1,128:float32'?); ...

    Raises:
        InvalidValueError: a text of another form, a size above 2**40, an unknown type.
    """
    match = re.fullmatch(r"(?:([^=]+)=)?([0-9]+(?:[,x][0-9]+)*),?(?::([a-z]+[0-9]*))?", text.strip(), re.ASCII)
    if match is None or (match[1] is not None and not match[1].isidentifier()):
        raise InvalidValueError(option, text, _ALLOWED)
    sizes = [int(size) if len(size) <= _DIGITS else MOST + 1 for size in re.split("[,x]", match[2])]
    dtype = match[3] or "float32"
    if dtype not in TYPES or max(sizes) > MOST:
        close = difflib.get_close_matches(dtype, _USUAL, n=1) if dtype not in TYPES else []
        names = [text.strip().removesuffix(dtype) + each for each in close]
        allowed = f"{_ALLOWED}, with sizes from 0 to 2**40 and a type of PyTorch"
        raise InvalidValueError(option, text, allowed, names=names)
    return WrittenInput(tuple(sizes), dtype, match[1])
