"""What a field of a machine is, declared once at the field.

A part of a machine is a frozen dataclass whose fields are declared by kind, unit, words and neutral value:

    overlap: Size = declare(SHARE, "1", "share of the shorter of compute and memory that adds", default=0.0)

From that line follow the check at construction, the unit and type in a device file, the words in ``--explain``, in the
docstring and in the tables of the documentation, the parameter of a fit, and the refusal of a value without effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

from hwcost.arrays import Size, Table, Value, as_quantity, as_size, is_plain, is_real
from hwcost.errors import InvalidValueError

__all__ = ["Declaration", "Kind", "Need", "Part", "Start", "declare", "part"]

_UNITS = {
    "Hz": "hertz",
    "B": "bytes",
    "B/s": "bytes per second",
    "row": "rows",
    "filter": "filters",
    "cycle": "cycles",
    "J": "joules",
    "J/B": "joules per byte",
    "W": "watts",
}
_R = TypeVar("_R")


# ---------------------------------------------------------------- kinds of values


class Kind(NamedTuple):
    """The values that a field takes.

    Attributes:
        check: a function of value, place and unit in words that returns the value in its final form, or raises.
        types: of the value in a device file; none if a file cannot hold it.
        allowed: the same in words.
        sweeps: whether the value may be an array, of which each entry is a machine.
        is_share: whether it lies between 0 and 1.
        names: the rows of its table, if the value is a name.
        rows: classes of the rows of a caller's own that it may hold, of which a folder holds the names.
    """

    check: Callable[[Any, str, str], Any]
    types: tuple[type, ...] = ()
    allowed: str = ""
    sweeps: bool = False
    is_share: bool = False
    names: tuple[str, ...] = ()
    rows: tuple[type, ...] = ()


def _quantity(*, is_share: bool = False, **limits: Any) -> Kind:
    def check(value: Any, place: str, unit: str) -> Size:
        return as_quantity(value, place, unit=unit, **limits)

    return Kind(check, (int, float), "a number", sweeps=True, is_share=is_share)


def _switch(value: Any, place: str, unit: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidValueError(place, value, "True or False")
    return value


def _steps(value: Any, place: str, unit: str) -> tuple[float, ...]:
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not all(map(is_real, numbers)) or not all(0 < number < math.inf for number in numbers):
        raise InvalidValueError(place, value, "a list of finite numbers above 0")
    return tuple(map(float, numbers))


COUNT = Kind(lambda value, place, unit: as_size(value, place), (int,), "an integer", sweeps=True)
QUANTITY = _quantity()
POSITIVE = _quantity(above_0=True)
RATE = _quantity(above_0=True, may_be_infinite=True)
SHARE = _quantity(at_most=1.0, is_share=True)
STEPS = Kind(_steps, (list, tuple), "a list of numbers")
SWITCH = Kind(_switch, (bool,), "true or false")


# ---------------------------------------------------------------- declarations


NO_EFFECT = "it has no effect on this machine"


class Need(NamedTuple):
    """What a field needs on its machine, as in "no effect without WORDS".

    Attributes:
        words: a noun phrase.
        is_met: a function of the machine.
        reason: why the field cannot be used if the need is not met, from the machine.
    """

    words: str
    is_met: Callable[[Any], bool]
    reason: Callable[[Any], str] = lambda array: NO_EFFECT


class Start(NamedTuple):
    """Where a fit of a field starts if the machine gives no number to start from.

    Attributes:
        value: a number, or a function of the machine.
        words: the same for people.
        spread: how far the number may stray, in units of the prior: standard deviation of its log or logit.
    """

    value: float | Callable[[Any], Size]
    words: str
    spread: float = 1.0


class Declaration(NamedTuple):
    """All that is known of a field.

    Attributes:
        kind: the values that it takes.
        neutral: the value with which it does nothing, its default; ``dataclasses.MISSING`` if it has to be given.
        unit: of :data:`hwcost.devices.UNITS`.
        words: a noun phrase.
        more: what else a user should know.
        need: what it needs to have an effect; None if it always has one.
        start: where a fit starts; None if it cannot be fitted.
        fallback: the field whose value counts where this one is None; empty if there is none.
    """

    kind: Kind
    neutral: Any
    unit: str
    words: str
    more: str = ""
    need: Need | None = None
    start: Start | None = None
    fallback: str = ""

    @property
    def text(self) -> str:
        """Words and details in one line."""
        return f"{self.words}; {self.more}" if self.more else self.words

    def check(self, value: Any, place: str) -> Any:
        """The value in its final form; raises InvalidValueError if the kind does not allow it."""
        return self.kind.check(value, place, _UNITS.get(self.unit, ""))


def declare(
    kind: Kind, unit: str, words: str, more: str = "", *, default: Any = MISSING, **options: Need | Start | str
) -> Any:
    """A dataclass field with its :class:`Declaration`.

    ``default`` is the neutral value; ``need``, ``start`` and ``fallback`` go in by name.
    """
    declaration = Declaration(kind, default, unit, words, more, **options)  # type: ignore[arg-type]  # by their names
    return field(default=default, metadata={"declaration": declaration})


@dataclass_transform(frozen_default=True, field_specifiers=(declare,))
def part(cls: type[_R]) -> type[_R]:
    """A class as a frozen dataclass whose fields are declared."""
    made: Any = dataclass(frozen=True, repr=False, eq=False)(cls)
    made.declarations = Table({f.name: f.metadata["declaration"] for f in fields(made)})
    return made  # type: ignore[no-any-return]


class Part(Value):
    """Base of the parts of a machine: checks every field by its declaration.

    Attributes:
        declarations: the declaration of each field, by name.
    """

    declarations: ClassVar[Mapping[str, Declaration]]
    stated_names: frozenset[str] = frozenset()
    """The names of the fields that are not at their neutral value."""

    def __post_init__(self) -> None:
        needing, stated = [], self.stated()
        object.__setattr__(self, "stated_names", frozenset([name for name, _ in stated]))
        for name, value in stated:
            declared = self.declarations[name]
            checked = declared.check(value, f"{type(self).__name__}.{name}")
            if checked is not value:
                object.__setattr__(self, name, checked)
            if declared.need is not None:
                needing.append((name, declared.need))
        if needing:
            self._check_needs(needing)

    def _check_needs(self, needing: Sequence[tuple[str, Need]]) -> None:
        """Raises if a need is not met; a part alone does not know the machine."""

    def stated(self) -> Sequence[tuple[str, Any]]:
        """The fields that are not at their neutral value."""
        found = []
        for name, declared in self.declarations.items():
            value, neutral = getattr(self, name), declared.neutral
            if not (value is neutral or (type(value) is type(neutral) and is_plain(value) and value == neutral)):
                found.append((name, value))
        return found

    def effective(self, name: str) -> Any:
        """The value of a field, or of the field that it falls back to where it is None."""
        value, fallback = getattr(self, name), self.declarations[name].fallback
        return self.effective(fallback) if value is None and fallback else value

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(f'{name}={_short(value)}' for name, value in self.as_dict().items())})"
        )

    def as_dict(self) -> dict[str, Any]:
        """The positional fields and those that are not at their neutral value; rows of tables by their name.

        >>> from hwcost import SystolicArray
        >>> SystolicArray(8, 16, row_stairs=0.5).as_dict()
        {'rows': 8, 'cols': 16, 'clock_hz': 1000000000.0, 'dataflow': 'ws', 'fold_timing': 'ideal', 'row_stairs': 0.5}
        """
        of_class: Any = self
        first = {f.name: getattr(self, f.name) for f in fields(of_class) if not f.kw_only}
        return {name: plain(value) for name, value in (first | dict(self.stated())).items()}

    @property
    def sweeps(self) -> tuple[Size, ...]:
        """The fields that hold arrays, of which each entry is a machine."""
        known = self.declarations
        return tuple(value for name, value in self.stated() if known[name].kind.sweeps and not is_plain(value))


def _short(value: Any) -> str:
    """The shortest text from which Python reads the value.

    >>> _short(1e9), _short(1.6e10), _short(0.5), _short("ws")
    ('1e9', '1.6e10', '0.5', "'ws'")
    """
    text = repr(value)
    other = f"{value:g}".replace("e+0", "e").replace("e+", "e") if type(value) is float else text
    return other if "e" in other and len(other) < len(text) and float(other) == value else text


def plain(value: Any) -> Any:
    """A value of a field; a row of a table by its name."""
    return tuple(map(plain, value)) if isinstance(value, tuple) else getattr(value, "name", value)


def is_finite(rate: Size | None) -> bool:
    """Whether a rate, or one in an array of rates, is a limit."""
    return not (rate is None or (type(rate) is float and rate == math.inf))


def is_stated(part: Part, name: str) -> bool:
    """Whether a field is not at its neutral value."""
    return name in part.stated_names
