"""Tables for people: one builder for the command line, for Python and for notebooks.

figures    one number of decimals for the figures of a column
text       aligned columns, plain if piped, coloured on a terminal
document   a heading, a table, lines below and what its terms mean, as text or HTML; several as one
shown      the mixin with which a value prints as its document, and is data as well
"""

from hwcost.tables.document import BLANK, Document, Documents
from hwcost.tables.figures import even, even_percent, even_unit
from hwcost.tables.shown import Facts, Lines, Records, Shown, as_dataframe
from hwcost.tables.text import (
    LONGEST,
    Column,
    bar,
    fitted,
    is_terminal,
    markdown_table,
    table,
    terminal_width,
    text_table,
)

__all__ = [
    "BLANK", "LONGEST", "Column", "Document", "Documents", "Facts", "Lines", "Records", "Shown", "as_dataframe", "bar",
    "even", "even_percent", "even_unit", "fitted", "is_terminal", "markdown_table", "table", "terminal_width",
    "text_table",
]  # fmt: skip

__dir__ = __all__.copy  # what tab completion offers
