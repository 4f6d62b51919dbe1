"""How a command ends: what both command lines of the project share.

Results go to stdout; progress and errors go to stderr. Exit codes: 0 done, 2 bad input (one line says which value and
what is allowed), 130 interrupted, 141 the reader of the output went away.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import click

from hwcost.errors import HwcostError

__all__ = ["fail", "run_command"]

BAD_INPUT = 2
INTERRUPTED = 130
READER_GONE = 141


def run_command(command: click.Command, name: str, args: Sequence[str] | None = None) -> int:
    """Runs a command on ``args`` (those of the process by default) and returns its exit code."""
    try:
        code = _run(command, name, args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        _discard_output()
        return READER_GONE if error.errno == errno.EPIPE else fail(f"the output cannot be written: {error.strerror}")
    return code


def fail(message: str) -> int:
    """Prints one line on stderr and returns the exit code for bad input."""
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    return BAD_INPUT


def _run(command: click.Command, name: str, args: Sequence[str] | None) -> int:
    try:
        code = command.main(args=args, prog_name=name, standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except SystemExit:  # click's answer to a closed pipe, even where it is told not to exit
        return READER_GONE
    except click.ClickException as error:
        return fail(error.format_message())
    except HwcostError as error:
        return fail(str(error))
    except MemoryError:
        return fail("not enough memory for this many points; give a shorter list or range")
    return code if isinstance(code, int) else 0


def _discard_output() -> None:
    """Sends what is still buffered nowhere, so that the interpreter does not fail on it at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = None
