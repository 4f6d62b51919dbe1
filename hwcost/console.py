"""Groups of commands, and how a command ends: shared by both command lines of the project.

Results go to stdout; progress and errors go to stderr. Exit codes: 0 done, 2 bad input (a line for each fault names the
value and what is allowed), 130 interrupted, 141 the reader of the output closed it.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import click

from hwcost.errors import MISSING, Faults, HwcostError, InvalidValueError, cut, faults_of

__all__ = ["Commands", "checked", "fail", "note", "run_command", "shown_name", "user_code"]

BAD_INPUT = 2
INTERRUPTED = 130
READER_GONE = 141
_LONGEST_WORD = 300
_UNSET = getattr(click.core, "UNSET", None)
"""What click passes for an option that is not given; None before click 8.3."""

_F = TypeVar("_F", bound=Callable[..., Any])


class Commands(click.Group):
    """A group that shows its help if no command is given, and lists the commands if an unknown one is.

    Args:
        listing: the group itself answers if no command is given.
    """

    def __init__(self, *args: Any, listing: bool = False, **kwargs: Any):
        super().__init__(*args, **{"invoke_without_command": True, "no_args_is_help": False, **kwargs})
        self.listing = listing
        self.loaders: dict[str, Callable[[], click.Command]] = {}

    def on_use(self, name: str) -> Callable[[Callable[[], click.Command]], None]:
        """A decorator for a function that imports the command of that name; it runs when the command is used."""

        def register(load: Callable[[], click.Command]) -> None:
            self.loaders[name] = load

        return register

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *self.loaders})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name in self.loaders and cmd_name not in self.commands:
            self.add_command(self.loaders[cmd_name](), cmd_name)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the named command; shows the help if there is none."""
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None and not self.listing:
            click.echo(ctx.get_help())
        return result

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named first."""
        if self.get_command(ctx, args[0]) is None:
            raise InvalidValueError("command", args[0], self.list_commands(ctx))
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            _check(command, rest)
        return name, command, rest


def checked(*checks: Callable[..., object]) -> Callable[[_F], _F]:
    """A decorator that adds checks of a command's arguments, which run before it does; what they print is not shown.

    A check is a function of some of the arguments, by their names, that raises what is wrong with them; it runs if all
    of these can be read. As ``faults`` it takes those that were found until then, as ``known`` all arguments that can
    be read, in the order of the command line.
    """

    def add(command: _F) -> _F:
        command.checks = [*checks, *getattr(command, "checks", ())]  # type: ignore[attr-defined]
        return command

    return add


def _check(command: click.Command, args: Sequence[str]) -> None:
    """Raises all that is wrong with a command line as far as its checks know; click ends with the first."""
    with contextlib.suppress(click.UsageError):  # which click raises again, with its own words
        ctx = click.Context(command)
        values, rest, order = command.make_parser(ctx).parse_args(list(args))
        if any(param.is_eager for param in order):  # as --help, which needs nothing else
            return
        faults = Faults()
        with ctx.scope(cleanup=False), contextlib.redirect_stderr(io.StringIO()):
            known = _known(command, ctx, values, order, faults)
            if rest and not isinstance(command, click.Group):
                reason = "the command takes no more arguments"
                faults.add(InvalidValueError(f"argument {rest[0]}", rest, "leave it out", reason=reason))
            given = known | {"known": known, "faults": faults}
            for check in getattr(command.callback, "checks", ()):
                names = inspect.signature(check).parameters
                if names.keys() <= given.keys():
                    with faults.caught():
                        check(**{name: given[name] for name in names})
        faults.check()


def _known(
    command: click.Command,
    ctx: click.Context,
    values: Mapping[str, Any],
    order: Sequence[click.Parameter],
    faults: Faults,
) -> dict[str, Any]:
    """The arguments of a command that can be read, with the faults; those of others are added to the faults."""
    known: dict[str, Any] = {}
    for param in dict.fromkeys([*order, *command.params]):
        with faults.caught():
            _refuse_repeated(command, param, values, order)
            try:
                value, _ = param.handle_parse_result(ctx, values, [])
            except click.MissingParameter as error:
                raise InvalidValueError(error.format_message(), MISSING, "a value", form="{field}") from None
            known[param.name or ""] = None if value is _UNSET else value
    options = {param.name for param in command.params}
    for name, kind in getattr(command.callback, "blocks", {}).items():
        if options.intersection(kind._fields) <= known.keys():
            known[name] = kind(*(known.get(field) for field in kind._fields))
    return known


def _refuse_repeated(
    command: click.Command, param: click.Parameter, values: Mapping[str, Any], order: Sequence[click.Parameter]
) -> None:
    """Raises if an option that takes one value is given more than once, of which the last would win unseen."""
    if not isinstance(param, click.Option) or param.multiple or param.is_flag or order.count(param) < 2:
        return
    names = {name for each in command.params for name in each.opts}
    several = f"{shown_name(param)}s"
    allowed = "give one value" + (f", or several to {several}, between commas" if several in names else "")
    raise InvalidValueError(shown_name(param), values[param.name or ""], allowed, reason="it is given more than once")


def shown_name(param: click.Parameter) -> str:
    """What errors call an option or argument: the long name, as ``--output`` rather than ``-o``."""
    return next((each for each in param.opts if each.startswith("--")), param.opts[0])


def run_command(command: click.Command, name: str, args: Sequence[str] | None = None) -> int:
    """Runs a command on ``args`` (those of the process by default) and returns its exit code."""
    if sys.stdout is None:
        return fail("the output cannot be written: standard output is closed")
    _escape_unencodable_characters()
    try:
        code = _run(command, name, args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        _discard_output()
        return READER_GONE if error.errno == errno.EPIPE else fail(f"the output cannot be written: {error.strerror}")
    return code


def _escape_unencodable_characters() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def fail(message: str) -> int:
    """Prints one line on stderr and returns the exit code for bad input."""
    click.echo(f"Error: {_on_one_line(message)}", err=True)
    return BAD_INPUT


def note(text: str) -> None:
    """Prints a note on stderr."""
    click.echo(f"Note: {_on_one_line(text)}", err=True)


def _on_one_line(text: str) -> str:
    """The text with names of any length cut, which a file may hold."""
    return " ".join(cut(word, _LONGEST_WORD) for word in text.split())


@contextlib.contextmanager
def user_code() -> Iterator[None]:
    """The body runs code of the user's: what it prints goes to stderr, also past Python; it cannot end the process.

    ``os._exit`` in this process raises SystemExit, which importers take for an error of the code.
    """
    own, leave = os.getpid(), os._exit

    def leave_quietly(status: int) -> NoReturn:
        if os.getpid() == own:
            raise SystemExit(status)
        leave(status)  # in a child, which ends like that

    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        with contextlib.suppress(OSError, ValueError):  # without file descriptors there is nothing to mix
            kept = os.dup(1)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
            os.dup2(2, 1)
        stack.callback(setattr, os, "_exit", leave)
        os._exit = leave_quietly
        yield


def _run(command: click.Command, name: str, args: Sequence[str] | None) -> int:
    try:
        code = command.main(args=args, prog_name=name, standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except SystemExit:  # raised by click for a closed pipe, even with standalone_mode=False
        return READER_GONE
    except click.ClickException as error:
        return fail(_in_words(error))
    except HwcostError as error:
        faults = faults_of(error) if isinstance(error, InvalidValueError) else (error,)
        return max(fail(str(each)) for each in faults)
    except MemoryError:
        return fail("not enough memory for this many points; give a shorter list or range")
    return code if isinstance(code, int) else 0


def _in_words(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption):
        return f"no such option {error.option_name!r}{_meant(error)}"
    return error.format_message()


def _meant(error: click.NoSuchOption) -> str:
    """A question that offers the option of a close name, or else those that say the word at the start of their help."""
    import difflib

    ctx, word = error.ctx, error.option_name.lstrip("-").lower()
    options = [] if ctx is None else [each for each in ctx.command.get_params(ctx) if isinstance(each, click.Option)]
    names = {name: each.help or "" for each in options for name in each.opts if name.startswith("--")}
    near = [
        f"--{each}" for each in difflib.get_close_matches(word, [name.removeprefix("--") for name in names], 3, 0.75)
    ]
    told = [name for name, text in names.items() if word in re.findall(r"\w+", text.lower())[:3]]
    near = near or [name for name in told if error.option_name.startswith(name)] or told
    return f" (did you mean {' or '.join(map(repr, near[:3]))}?)" if near else ""


def _discard_output() -> None:
    """Discards buffered output, which would make the interpreter fail at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = None
