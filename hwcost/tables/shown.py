"""Values that print as a table, and are data as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from hwcost.errors import MissingDependencyError, cut
from hwcost.tables.document import Document, Documents
from hwcost.tables.text import Column
from hwcost.units import printable

if TYPE_CHECKING:
    import pandas
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

__all__ = ["Facts", "Lines", "Records", "Shown", "as_dataframe"]


_LONGEST = 100
"""Characters of a value on one line."""


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
        return f"<{type(self).__name__}: {cut(printable(self.in_words), _LONGEST, start=0.45)}>"

    def _repr_html_(self) -> str:
        return self.document().html()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        lines = self.document().lines(coloured=True, width=options.max_width, elsewhere=self._elsewhere)
        yield Text.from_ansi("\n".join(lines))


class Facts(Shown):
    """A value that prints as a line, and a line for each of its figures."""

    def facts(self) -> Mapping[str, str]:
        """The figures in people's units, by name."""
        raise NotImplementedError

    @property
    def in_words(self) -> str:
        """The value on one line."""
        raise NotImplementedError

    def document(self) -> Document:
        """The line, and the figures without a head."""
        facts = list(self.facts().items())
        return Document(self.in_words, _FACTS if facts else (), facts)


_FACTS = (
    Column[tuple[str, str]]("", itemgetter(0), to_the_left=True),
    Column[tuple[str, str]]("", itemgetter(1), to_the_left=True, wraps=True),
)


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

    def document(self) -> Document | Documents:
        """The lines one by one, for HTML."""
        first, *others = self.lines()
        return Document(first, below={f" {index}": line for index, line in enumerate(others) if line})

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
