"""Commands with commands in them."""

from __future__ import annotations

from typing import Any

import click

from hwcost.errors import InvalidValueError

__all__ = ["Commands"]


class Commands(click.Group):
    """A group that shows its help when no command is given, and says which there are when an unknown one is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"invoke_without_command": True, "no_args_is_help": False, **kwargs})

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command that is named, and shows the help where none is."""
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())
        return result

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named first."""
        if self.get_command(ctx, args[0]) is None:
            raise InvalidValueError("command", args[0], f"one of: {', '.join(self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)
