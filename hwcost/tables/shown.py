"""Values that print as a table, and are data as well."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hwcost.errors import MissingDependencyError
from hwcost.tables.document import Document, Documents

if TYPE_CHECKING:
    import pandas
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

__all__ = ["Lines", "Records", "Shown", "as_dataframe"]


def as_dataframe(content: Any) -> pandas.DataFrame:
    """A DataFrame of records, or of columns by name.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingDependencyError("pandas", "notebook", "to_dataframe()") from error
    return pandas.DataFrame(content)


class Shown:
    """A value that prints as its document: text, HTML in a notebook, colours with rich; its repr is one line."""

    _elsewhere = ""
    """What shows all columns where a console is too narrow for them."""

    def document(self) -> Document | Documents:
        """The heading, the table, and the lines below."""
        raise NotImplementedError

    @property
    def in_words(self) -> str:
        """The value on one line."""
        return self.document().heading

    def __str__(self) -> str:
        return str(self.document())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.in_words}>"

    def _repr_html_(self) -> str:
        return self.document().html()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        lines = self.document().lines(coloured=True, width=options.max_width, elsewhere=self._elsewhere)
        yield Text.from_ansi("\n".join(lines))


class Lines(Shown):
    """A value that prints line by line, with tables of several kinds among the lines."""

    def lines(self) -> Iterator[str]:
        """The text."""
        raise NotImplementedError

    @property
    def in_words(self) -> str:
        """The first line."""
        return next(iter(self.lines()))

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        yield Text(str(self))


class Records(Shown):
    """A value with a row for each of its parts, as flat data whose names carry the unit.

    Iterating gives the rows, and ``len`` their number; ``value["conv1"]`` is a part by its name, and
    ``"conv1" in value`` says whether it is there. A :class:`hwcost.Network` alone is a mapping, which iterates over
    names.
    """

    _elsewhere = "to_dataframe()"

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each row, the same names in all of them."""
        raise NotImplementedError

    def to_dataframe(self) -> pandas.DataFrame:
        """The records as a DataFrame of pandas.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return as_dataframe(self.records())

    def __len__(self) -> int:
        return len(self.records())

    def __iter__(self) -> Iterator[Any]:
        return iter(self.records())
