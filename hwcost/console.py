"""Groups of commands, and how a command ends: shared by both command lines of the project.

Results go to stdout; progress and errors go to stderr. Exit codes: 0 done, 2 bad input (a line for each fault names the
value and what is allowed), 130 interrupted, 141 the reader of the output closed it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import click

from hwcost.errors import Faults, HwcostError, InvalidValueError, cut, faults_of

__all__ = ["Commands", "fail", "note", "run_command", "user_code"]

BAD_INPUT = 2
INTERRUPTED = 130
READER_GONE = 141
_LONGEST_WORD = 300


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


def _check(command: click.Command, args: Sequence[str]) -> None:
    """Raises all faults that the options have one by one, before the command starts; click ends with the first."""
    with contextlib.suppress(click.UsageError):  # which click raises again, with its own words
        ctx = click.Context(command)
        values, _, order = command.make_parser(ctx).parse_args(list(args))
        _refuse_repeated(command, values, order)
        faults = Faults()
        for param in dict.fromkeys(order):
            if getattr(param.callback, "only_parses", False):
                with faults.caught():
                    param.callback(ctx, param, values[param.name or ""])  # type: ignore[misc]
        faults.check()


def _refuse_repeated(command: click.Command, values: Mapping[str, Any], order: Sequence[click.Parameter]) -> None:
    """Raises if an option that takes one value is given more than once, of which the last would win unseen."""
    names = {name for param in command.params for name in param.opts}
    for param in order:
        if not isinstance(param, click.Option) or param.multiple or param.is_flag or order.count(param) == 1:
            continue
        name = next((each for each in param.opts if each.startswith("--")), param.opts[0])
        several = f"{name}s"
        allowed = "give one value" + (f", or several to {several}, between commas" if several in names else "")
        raise InvalidValueError(name, values[param.name or ""], allowed, reason="it is given more than once")


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
        return fail(error.format_message())
    except HwcostError as error:
        faults = faults_of(error) if isinstance(error, InvalidValueError) else (error,)
        return max(fail(str(each)) for each in faults)
    except MemoryError:
        return fail("not enough memory for this many points; give a shorter list or range")
    return code if isinstance(code, int) else 0


def _discard_output() -> None:
    """Discards buffered output, which would make the interpreter fail at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = None
