"""A report on a network as one page for a browser: totals, pictures, and a table that folds and sorts.

The page is one file that asks nothing of any other: styles, script and pictures are in it, and a policy in its head
forbids everything else. Names are shown as text, whatever they hold.
"""

from hwcost.reports.html.inline import inline_svg
from hwcost.reports.html.page import html_report

__all__ = ["html_report", "inline_svg"]
