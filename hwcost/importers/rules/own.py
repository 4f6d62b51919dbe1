"""Rows of the caller's own: they go before the rows that ship, and their errors name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hwcost.errors import InvalidValueError, UnusedRowWarning, did_you_mean, raised, warn_caller
from hwcost.importers.lowered import CannotPriceError, LoweredLayer
from hwcost.importers.rules.call import Call, Handler
from hwcost.units import shortlist

__all__ = ["OwnRows", "is_qualified"]

_SHOWN = 5


class OwnRows:
    """The rows that a caller passes as an argument of an importer.

    Args:
        field: the argument.
        rows: by the name of an operator, or by the class of a module.
        is_key: whether something may be a key.
        key: what keys are, in words.

    Raises:
        InvalidValueError: not a mapping, a key of another kind, or a row that cannot be called.
    """

    def __init__(self, field: str, rows: Any, is_key: Callable[[Any], bool], key: str) -> None:
        rows = {} if rows is None else rows
        if not isinstance(rows, Mapping):
            raise InvalidValueError(field, rows, f"functions of a call, each by {key}")
        for each in rows:
            if not is_key(each):
                raise InvalidValueError(f"a key of {field}", each, key)
        self._field = field
        self._rows = {each: _guarded(_place(field, each), handler) for each, handler in rows.items()}
        self._met: dict[Any, None] = {}

    def get(self, *keys: Any) -> Handler | None:
        """The row of an operator or module that is called, whose names are ``keys``."""
        if not self._rows:
            return None
        self._met.update(dict.fromkeys(keys))
        return next((self._rows[key] for key in keys if key in self._rows), None)

    def warn_if_unused(self) -> None:
        """Warns the caller of the importer of each row that nothing called."""
        for key in self._rows:
            if key not in self._met:
                met = list(map(_name, self._met))
                hint = did_you_mean(_name(key), met, lambda name: name.lower().rpartition("::")[2])
                hint = hint or f"; it calls {shortlist(met, _SHOWN)}"
                text = f"{_place(self._field, key)} is not used: the model does not call it{hint}"
                warn_caller(text, UnusedRowWarning)


def is_qualified(name: Any) -> bool:
    """Whether an operator's name has a library, as ``mylib::my_operator``."""
    return isinstance(name, str) and all(name.partition("::"))


def _name(key: Any) -> str:
    return key.__qualname__ if isinstance(key, type) else str(key)


def _place(field: str, key: Any) -> str:
    return f"{field}[{key!r}]" if isinstance(key, str) else f"{field}[{_name(key)}]"


def _guarded(place: str, handler: Handler) -> Handler:
    """The row, whose errors and results name it; CannotPriceError stays, and makes the operation unsupported."""
    if not callable(handler):
        raise InvalidValueError(place, handler, "a function of the call")

    def guarded(call: Call) -> tuple[LoweredLayer, ...]:
        try:
            returned = handler(call)
            layers = tuple(returned or ()) if isinstance(returned, (Iterable, type(None))) else (returned,)
        except CannotPriceError:
            raise
        except Exception as error:
            raise raised(place, handler, error, f"on a call of {call.kind} ") from error
        for layer in layers:
            if not isinstance(layer, LoweredLayer):
                raise InvalidValueError(f"the result of {place}", returned, "LoweredLayer objects in a list, or None")
        return layers

    return guarded
