"""A report on a network as one page for a browser: totals, a table, stairs behind a slider, and pictures.

The page is one file that asks nothing of any other: styles, script and pictures are in it, and a policy in its head
forbids everything else. Names are shown as text, whatever they hold. Texts are made here, by the functions that the
tables of the command line use; the script moves them, and formats none.

page     the file, its totals, pictures and settings
table    the table of the text, with a total and what an opened row shows
stairs   the texts behind the slider
"""

from hwcost.reports.html.inline import inline_svg
from hwcost.reports.html.page import html_report

__all__ = ["html_report", "inline_svg"]

__dir__ = __all__.copy  # what tab completion offers
