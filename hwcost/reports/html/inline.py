"""Text and pictures in a form that can stand inside of a page."""

from __future__ import annotations

import html
import re

from hwcost.units import printable

__all__ = ["inline_svg", "text_of"]

_OUTSIDE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL)
_NAMESPACES = re.compile(r"\s+xmlns(?::\w+)?=\"[^\"]*\"")
_NAMES = re.compile(r"(\bid=\"|\bhref=\"#|url\(#)")


def text_of(value: object) -> str:
    r"""A value as the text of an element or attribute, on one line.

    >>> text_of("<script>\n")
    '&lt;script&gt;\\n'
    """
    return html.escape(printable(str(value)), quote=True)


def inline_svg(picture: str, prefix: str, label: str) -> str:
    """A picture as part of a page: without the header of a file, and with names that no other picture has.

    Args:
        picture: the text of an SVG file.
        prefix: before every name in it.
        label: a description for people who cannot see it.

    >>> inline_svg('<?xml version="1.0"?><svg xmlns="a:b"><g id="x"/><use href="#x"/></svg>', "p-", "a line")
    '<svg role="img" aria-label="a line"><g id="p-x"/><use href="#p-x"/></svg>'
    """
    bare = _NAMESPACES.sub("", _OUTSIDE.sub("", picture)).replace("xlink:href=", "href=").strip()
    named = _NAMES.sub(lambda found: found.group(1) + prefix, bare)
    return named.replace("<svg", f'<svg role="img" aria-label="{text_of(label)}"', 1)
