"""Errors that state the fault, its place, the allowed values, and what to do next.

Every error of the package derives from :class:`HwcostError` and from the builtin that Python users expect
(``ValueError``, ``TypeError``, ``ImportError``), so that both ``except HwcostError`` and ``except ValueError`` work.

Bad input raises :class:`InvalidValueError`. Its message takes one of five forms:

- a wrong value: ``InvalidValueError("stride", 0, "an integer of at least 1")``;
- a name that a table does not have: ``InvalidValueError("dataflow", "wss", DATAFLOWS)``; the closest one is offered;
- such a name in a field that holds several: ``InvalidValueError("probs", "b", names, form=unknown("decision"))``;
- no value: ``InvalidValueError("stride", MISSING, "an integer of at least 1")``;
- anything else: ``InvalidValueError("--plot", path, "leave it out, or pass --budget", reason="there is no budget")``,
  where the third argument states what to do.

To raise an error again under the name that the caller knows, use :meth:`InvalidValueError.at`.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

__all__ = [
    "MISSING", "Faults", "HwcostError", "InvalidValueError", "InvalidValuesError", "KeyNotFoundError",
    "MissingDependencyError", "MixedLibrariesError", "NoGradientError", "NoTileError", "UnusedRowWarning", "about",
    "check_all", "check_one_of", "cut", "did_you_mean", "faults_of", "first_line", "look_up", "needs_extra", "raised",
    "require", "together", "unknown", "warn_caller",
]  # fmt: skip


_T = TypeVar("_T")


class _Missing(enum.Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""The value of a field that was not given."""


class HwcostError(Exception):
    """Base class of the errors that hwcost raises on purpose."""


class InvalidValueError(HwcostError, ValueError):
    """A value that is not allowed, or not there.

    >>> str(InvalidValueError("Conv2d.stride", 0, "an integer of at least 1"))
    'Conv2d.stride is 0; allowed: an integer of at least 1'
    >>> str(InvalidValueError("--input", MISSING, "the input shape, such as 1,3,224,224"))
    '--input is missing; needed: the input shape, such as 1,3,224,224'
    >>> str(InvalidValueError("--dim", "batch=8", "leave it out", reason="the model has no dynamic sizes"))
    '--dim cannot be used: the model has no dynamic sizes; leave it out'
    >>> str(InvalidValueError("dataflow", "wss", ("ws", "os", "is")))
    "dataflow is 'wss' (did you mean 'ws'?); allowed: one of: ws, os, is"
    >>> str(InvalidValueError("options", "fc3", ("fc1", "conv"), form=unknown("width")))
    "unknown width 'fc3' in options (did you mean 'fc1'?); known: fc1, conv"

    Attributes:
        field: the argument, option, key or cell.
        value: the value given there, or ``hwcost.errors.MISSING``.
        allowed: the values allowed there, in words; with a ``reason``, what to do instead.
        reason: why ``field`` cannot be used, if the value alone does not show it; empty otherwise.
        names: the names allowed there, of which the closest is offered; empty if any number of values is allowed.
        form: a message of another form, with the attributes in braces; empty for the usual one.
    """

    def __init__(
        self,
        field: str,
        value: object,
        allowed: str | Iterable[str],
        *,
        reason: str = "",
        names: Iterable[str] = (),
        form: str = "",
    ) -> None:
        if not isinstance(allowed, str):
            names = tuple(allowed)
            allowed = f"one of: {', '.join(names)}"
        self.field = field
        self.value = value
        self.allowed = allowed
        self.reason = reason
        self.names = tuple(names)
        self.form = form
        super().__init__(self._message())

    def _message(self) -> str:
        if self.form:
            form = self.form
        elif self.reason:
            form = "{field} cannot be used: {reason}; {allowed}"
        elif self.value is MISSING:
            form = "{field} is missing; needed: {allowed}"
        else:
            form = "{field} is {value}{closest}; allowed: {allowed}"
        closest = did_you_mean(self.value, self.names) if isinstance(self.value, str) else ""
        known = self.allowed.removeprefix("one of: ")
        return form.format_map(vars(self) | {"value": shorten(self.value), "known": known, "closest": closest})

    def at(self, field: str, *, allowed: str | None = None) -> InvalidValueError:
        """The same error under another name of the field, and optionally with other allowed values.

        >>> error = InvalidValueError("Conv2d.stride", 0, "an integer of at least 1")
        >>> str(error.at("--stride"))
        '--stride is 0; allowed: an integer of at least 1'
        """
        return InvalidValueError(
            field,
            self.value,
            allowed or self.allowed,
            reason=self.reason,
            names=() if allowed else self.names,
            form=self.form,
        )

    def __reduce__(self) -> tuple[Any, ...]:  # by default, an exception is rebuilt from its message alone
        make = functools.partial(type(self), reason=self.reason, names=self.names, form=self.form)
        return make, (self.field, self.value, self.allowed)


class KeyNotFoundError(InvalidValueError, KeyError):
    """A name that a result, a network or a table does not have; ``except KeyError`` catches it too.

    >>> str(KeyNotFoundError("the report", "fc3", ["conv1", "fc1"], what="layer"))
    "unknown layer 'fc3' in the report (did you mean 'fc1'?); known: conv1, fc1"
    >>> str(KeyNotFoundError("the report", 0, ["conv1", "fc1"], by_number="report.rows"))
    "the report takes names, not 0: use report.rows[0], or a name, like 'conv1'"

    Attributes:
        what: the kind of the names.
        by_number: what takes a number instead of a name; empty if nothing does.
    """

    def __init__(
        self, field: str, value: object, names: Iterable[str], *, what: str = "name", by_number: str = ""
    ) -> None:
        known, form = tuple(names), unknown(what)
        if by_number and known and isinstance(value, int):
            form = "{field} takes names, not {value}: use {by_number}[{value}], or a name, like {names[0]!r}"
        self.what, self.by_number = what, by_number
        super().__init__(field, value, known, form=form)

    def __str__(self) -> str:  # that of KeyError prints quotes around the message
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        make = functools.partial(type(self), what=self.what, by_number=self.by_number)
        return make, (self.field, self.value, self.names)


def look_up(table: Mapping[str, _T], name: Any, field: str, what: str, by_number: str = "") -> _T:
    """The value of a name in a table; ``by_number`` is what takes a number instead.

    Raises:
        KeyNotFoundError: the table does not have the name.
    """
    if name not in table:
        raise KeyNotFoundError(field, name, table, what=what, by_number=by_number)
    return table[name]


class NoTileError(InvalidValueError):
    """Buffers that hold no tile of a product.

    Attributes:
        needed: bytes that the smallest tile takes.
    """

    needed: float = 0.0


class InvalidValuesError(InvalidValueError):
    """Several faults of one input, told together; ``field``, ``value`` and ``allowed`` are those of the first.

    Attributes:
        errors: one for each fault.
    """

    def __init__(self, errors: Iterable[InvalidValueError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(
            first.field, first.value, first.allowed, reason=first.reason, names=first.names, form=first.form
        )

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))

    def at(self, field: str, *, allowed: str | None = None) -> InvalidValueError:
        """The first fault under another name of the field, with the others as they are."""
        return InvalidValuesError([self.errors[0].at(field, allowed=allowed), *self.errors[1:]])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)


class Faults:
    """Collects the faults of the parts of an input, so that all are told at once.

    >>> faults = Faults()
    >>> for name, size in {"rows": 0, "cols": 3, "batch": -1}.items():
    ...     with faults.caught():
    ...         if size < 1:
    ...             raise InvalidValueError(name, size, "an integer of at least 1")
    >>> faults.check()
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValuesError: rows is 0; allowed: an integer of at least 1
    batch is -1; allowed: an integer of at least 1
    """

    def __init__(self) -> None:
        self.errors: list[InvalidValueError] = []
        self._missing: MissingDependencyError | None = None

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Keeps the faults of the body, which ends with the first; a missing library counts if all else is right."""
        try:
            yield
        except InvalidValueError as error:
            self.add(error)
        except MissingDependencyError as error:
            self._missing = self._missing or error

    def add(self, error: InvalidValueError) -> None:
        """Keeps the faults of an error, unless the field is known to be wrong already."""
        for each in faults_of(error):
            if not any(each.field == known.field and _are_one(each.value, known.value) for known in self.errors):
                self.errors.append(each)

    def check(self) -> None:
        """Raises what was found, if anything was."""
        if self.errors:
            raise together(self.errors) from None
        if self._missing is not None:
            raise self._missing


def _are_one(value: object, other: object) -> bool:
    """Whether two faults of a field are of one value, rather than of two of several."""
    return value is MISSING or other is MISSING or repr(value) == repr(other)


def faults_of(error: InvalidValueError) -> tuple[InvalidValueError, ...]:
    """The single faults of an error."""
    return error.errors if isinstance(error, InvalidValuesError) else (error,)


def together(errors: Iterable[InvalidValueError]) -> InvalidValueError:
    """One error of several; a single one as it is."""
    own = list(errors)
    return own[0] if len(own) == 1 else InvalidValuesError(own)


def check_all(errors: Iterable[InvalidValueError]) -> None:
    """Raises the errors together; nothing if there are none."""
    own = list(errors)
    if own:
        raise together(own)


@contextlib.contextmanager
def about(name: str) -> Iterator[None]:
    """Errors of the body begin with a name, one of several, unless they have it; no name changes nothing.

    >>> with about("nets.py:UNet"):
    ...     raise InvalidValueError("module 'd1.0'", "1x3", "pass inputs that it takes", reason="it takes 1 channel")
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValueError: nets.py:UNet: module 'd1.0' cannot be used: it takes 1 channel; pass inputs that
    it takes
    """
    try:
        yield
    except InvalidValueError as error:
        if name in str(error):
            raise
        raise together(each.at(f"{name}: {each.field}") for each in faults_of(error)) from error.__cause__


class MixedLibrariesError(HwcostError, TypeError):
    """Arrays of two libraries, such as numpy and torch, in one call."""


class MissingDependencyError(HwcostError, ImportError):
    """An optional library that is needed and not installed; the message gives the command that installs it.

    pip takes the version that is installed and adds the libraries of the extra, so that the command works after an
    installation from a wheel or from a checkout as well.
    """

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs {library}; install it with: pip install "hwcost[{extra}]"')
        self.library = library
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.library, self.extra, self.purpose)


class NoGradientError(HwcostError, RuntimeError):
    """A latency term without a gradient, in a place that trains by it."""


class UnusedRowWarning(UserWarning):
    """A row of the caller's own for an operator or module that a model does not call.

    Its key may be misspelt. If one table serves several models,
    ``warnings.filterwarnings("ignore", category=hwcost.errors.UnusedRowWarning)`` turns the warning off.
    """


def unknown(what: str) -> str:
    """The form of an error for an unknown name in a field that holds several; ``what`` is the kind of the names."""
    return f"unknown {what} {{value}} in {{field}}{{closest}}; known: {{known}}"


def check_one_of(field: str, value: object, names: Collection[str], more: str = "", *, what: str = "") -> None:
    """Raises unless a value is one of some names; ``what`` it is if it is one of several in the field.

    >>> check_one_of("kind", "con2d", ["conv2d", "linear"], "; or a layer of your own")
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValueError: kind is 'con2d' (did you mean 'conv2d'?); allowed: one of: conv2d, linear; or a
    layer of your own
    """
    if not isinstance(value, str) or value not in names:
        known = f"one of: {', '.join(name or repr(name) for name in names)}" if names else "none"
        raise InvalidValueError(field, value, known + more, names=names, form=unknown(what) if what else "")


def did_you_mean(name: str, names: Iterable[str], key: Callable[[str], str] = str.lower) -> str:
    """A question that offers the closest of some names, compared by ``key``; empty if none is close.

    It stands behind the wrong name and before the names that are allowed, which may be many.

    >>> did_you_mean("wss", ("ws", "os", "is")), did_you_mean("Ner", ("Net", "net"))
    (" (did you mean 'ws'?)", " (did you mean 'Net'?)")
    """
    names = list(names)
    if not names:
        return ""
    import difflib

    close = difflib.get_close_matches(key(name), list(map(key, names)), n=1)
    if not close:
        return ""
    alike = [each for each in names if key(each) == close[0]]
    (closest,) = difflib.get_close_matches(name, alike, n=1, cutoff=0.0)
    return f" (did you mean {closest!r}?)"


def require(module: str, extra: str, purpose: str) -> None:
    """Raises unless an optional library is installed: called before work that would be lost without it.

    Args:
        module: the name that Python imports.
        extra: the extra of the package that installs it.
        purpose: what needs it.

    Raises:
        MissingDependencyError: it is not installed.

    >>> require("math", "plot", "--plot")
    >>> require("no_such_library", "plot", "--plot")
    Traceback (most recent call last):
    ...
    hwcost.errors.MissingDependencyError: --plot needs no-such-library; install it with: pip install "hwcost[plot]"
    """
    import importlib.util

    if importlib.util.find_spec(module) is None:
        raise MissingDependencyError(module.replace("_", "-"), extra, purpose)


@contextlib.contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Turns a failed import in the body into an error that names the missing library and the extra.

    >>> with needs_extra("nas", "a search"):
    ...     import no_such_library
    Traceback (most recent call last):
    ...
    hwcost.errors.MissingDependencyError: a search needs no_such_library; install it with: pip install "hwcost[nas]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(str(error.name), extra, purpose) from None


def warn_caller(text: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the line that called the package, however many of its own functions lie between."""
    package, frame, level = __name__.partition(".")[0], sys._getframe(), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def first_line(error: BaseException, *, with_type: bool = True) -> str:
    r"""An error in one line: its type, and the first line of its message.

    >>> first_line(ValueError("one\ntwo")), first_line(ValueError("one\ntwo"), with_type=False)
    ('ValueError: one', 'one')
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__] * (with_type or not lines) + lines[:1])


def raised(place: str, function: object, error: Exception, when: str = "") -> InvalidValueError:
    """The error about a function of the caller's own that raises ``error``; raise it ``from error``."""
    return InvalidValueError(place, function, "correct the function", reason=f"{when}it raises {first_line(error)}")


def shorten(value: object, limit: int = 60) -> str:
    """``value`` on one line, cut in the middle if it is long; a huge integer is described rather than printed.

    >>> shorten("a" * 100, limit=20)
    "'aaaaaaa...aaaaaaaa'"
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**limit:
        return f"an integer of {value.bit_length()} bits"
    return cut(" ".join(repr(value).split()), limit)


def cut(text: str, limit: int, start: float = 0.5) -> str:
    """A text without its middle if it is longer than ``limit``; ``start`` is the share of its beginning that stays."""
    if len(text) <= limit:
        return text
    first = int((limit - 3) * start)
    return f"{text[:first]}...{text[first + 3 - limit :]}"
