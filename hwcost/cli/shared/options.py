"""Options that several commands share, each declared once; a block of them reaches the command as one value."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import click

from hwcost.cli.shared.values import parse_size
from hwcost.console import checked, shown_name
from hwcost.errors import Faults, InvalidValueError
from hwcost.units import printable

__all__ = [
    "TORCH_DEVICE", "Command", "Decorator", "added", "block", "default_option", "form_options", "keep_activations",
    "option", "option_names", "parsed_by", "size_option", "skip_unsupported", "value_of",
]  # fmt: skip


Command: TypeAlias = Callable[..., Any]
Decorator: TypeAlias = Callable[[Command], Command]


def parsed_by(parse: Callable[..., Any], *rules: Any) -> Callable[..., Any]:
    """The callback of an option whose text is parsed by a function of the option, the text and ``rules``.

    Of an option or argument with several values each one is parsed.
    """

    def read(_: click.Context, param: click.Parameter, given: str | tuple[str, ...] | None) -> Any:
        if not isinstance(given, tuple):
            return None if given is None else parse(shown_name(param), given, *rules)
        faults, found = Faults(), []
        for text in given:
            with faults.caught():
                found.append(parse(shown_name(param), text, *rules))
        faults.check()
        return tuple(found)

    return read


def option(names: str, metavar: str, words: str, *parser: Any, **more: Any) -> Decorator:
    """An option, by default without a value; ``parser`` is a function and its rules, as for :func:`parsed_by`."""
    callback = parsed_by(*parser) if parser else None
    return click.option(*names.split(), callback=callback, metavar=metavar, help=words, **more)


def size_option(*names: str, help: str) -> Decorator:  # noqa: A002 (as click calls it)
    """An option that takes one integer of at least 1."""
    return click.option(*names, callback=parsed_by(parse_size), metavar="N", help=help)


def default_option(*names: str, default: str, metavar: str, words: str, parser: tuple[Any, ...] = ()) -> Decorator:
    """An option with a default; ``parser`` is a function and its rules, as for :func:`parsed_by`."""
    callback = parsed_by(*parser) if parser else None
    return click.option(*names, default=default, show_default=True, metavar=metavar, callback=callback, help=words)


def added(command: Command, *options: Decorator) -> Command:
    """The command with more options, in the order of the help text."""
    for option in reversed(options):
        command = option(command)
    return command


def block(name: str, kind: Any, *options: Decorator) -> Decorator:
    """A decorator that adds options to a command and passes their values as one named tuple.

    Args:
        name: the argument of the command that takes the named tuple.
        kind: its class, whose fields are the names of the options; None for one that the command does not have.
        options: the options, in the order of the help text.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_block(**values: Any) -> Any:
            own = {field: values.pop(field, None) for field in kind._fields}
            return command(**values, **{name: kind(**own)})

        with_block.blocks = {**getattr(command, "blocks", {}), name: kind}  # type: ignore[attr-defined]
        return added(with_block, *options)

    return decorate


def form_options(csv: str = "Print comma-separated values with a header.") -> Decorator:
    """A decorator that adds ``--json`` and ``--csv``; the command takes ``form``: "text", "json" or "csv"."""

    def decorate(command: Command) -> Command:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
        @click.option("--csv", "as_csv", is_flag=True, help=csv)
        @checked(_check_form)
        @functools.wraps(command)
        def with_form(*, as_json: bool, as_csv: bool, **values: Any) -> Any:
            return command(**values, form="json" if as_json else "csv" if as_csv else "text")

        return with_form

    return decorate


def _check_form(as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise InvalidValueError("--csv", True, "leave one of them out", reason="--json is given as well")


TORCH_DEVICE = click.option(
    "--torch-device", metavar="NAME", help="Where PyTorch computes: cpu, cuda, cuda:1 or mps.  [default: cpu]"
)
extrapolate = click.option(
    "--extrapolate", is_flag=True, help="Print totals even if most of them is beyond what the device was measured with."
)
keep_activations = click.option(
    "--keep-activations", is_flag=True, help="Let results stay in the buffer between layers where that moves less."
)
skip_unsupported = click.option(
    "--skip-unsupported", is_flag=True, help="Leave out operations that cannot be priced, and name them."
)


@contextlib.contextmanager
def option_names(names: Mapping[str, str], network: str = "") -> Iterator[None]:
    """Errors of the body name the options of the command line instead of Python arguments.

    Args:
        names: the option behind each field of an error.
        network: the network that has operations which cannot be priced.
    """
    try:
        yield
    except InvalidValueError as error:
        field = names.get(error.field, error.field)
        if network and "skip_unsupported=True" in error.allowed:
            field = f"{field} in {network}"
        allowed = error.allowed.replace("skip_unsupported=True", "--skip-unsupported")
        allowed = printable(allowed.replace("partial=True of from_torch, --partial", "--partial"))
        raise error.at(printable(field), allowed=None if allowed == error.allowed else allowed) from None


@contextlib.contextmanager
def value_of(option: str, value: object) -> Iterator[None]:
    """Errors of the body in the whole value of an option name the option; those in a part of it stay as they are."""
    try:
        yield
    except InvalidValueError as error:
        if error.value != value:
            raise
        raise error.at(option) from None
