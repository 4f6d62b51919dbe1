"""The documentation site: `make docs`, or `sphinx-build -W --keep-going -n docs build/docs`.

Every page is plain Markdown that reads as well on a code forge, tables included. While Sphinx reads a page, links to
files outside docs/ that are pages of the site are turned to those pages.
Sphinx itself is not imported here, so that pytest can collect this file without it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PROJECT = DOCS.parent
sys.path.insert(0, str(PROJECT))

import hwcost  # noqa: E402  # found by the path above

# ---------------------------------------------------------------- the project

project = "hwcost"
author = "The hwcost developers"
copyright = author  # noqa: A001  # the name that Sphinx asks for
version = release = hwcost.__version__

# ---------------------------------------------------------------- reading

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = True
myst_heading_anchors = 3  # the anchors that code forges give to headings

# Signatures name these as the source does: `Size`, not the Any that it is an alias of. api/index.md documents each.
_ALIASES = """
    Array Choice Importance Integers Kept Kind Layers Letter Loss MakeOptimizer Operand PathLike Probabilities Progress
    Record Relaxations Size Value
"""
autodoc_type_aliases = {name: name for name in _ALIASES.split()}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autoclass_content = "class"
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_param = False  # "m, n, k: the sizes" stays one line
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]  # the same for attributes; fields are not listed twice

# References that have no target on the site. Other libraries' names are here because there is no intersphinx: a build
# needs no network. A public name of this project does not belong here; give it a place on a page under api/.
nitpick_ignore_regex = [
    (r"py:.*", r"(builtins|collections|fractions|importlib|matplotlib|numpy|os|pandas|pathlib|torch|types|typing)\..*"),
    (r"py:class", r"Figure|Tensor"),
    (r"py:class", r"(hwcost|nas_plugin)\..*\._[A-Z]"),  # variables of types
]
suppress_warnings = ["ref.python"]  # Network and Summary have a place in two rooms of hwcost each
nitpick_ignore = [("py:attr", "options")]  # a field of Relaxation, which is described with its class

# ---------------------------------------------------------------- writing

html_theme = "furo"
html_title = f"hwcost {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

# ---------------------------------------------------------------- links

HOMES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files outside docs/, and the page of the site that shows each."""

_LINK = re.compile(rf"\]\(\.\./({'|'.join(map(re.escape, HOMES))})(#[^)]*)?\)")


def with_links(text: str) -> str:
    """A page with links to files that are pages here turned to those pages.

    >>> with_links("See [how](../CONTRIBUTING.md#numbers).")
    'See [how](contributing.md#numbers).'
    """
    return _LINK.sub(lambda found: f"]({HOMES[found[1]]}{found[2] or ''})", text)


def _read(app: Any, page: str, source: list[str]) -> None:
    source[0] = with_links(source[0])


def _pictures(app: Any, doctree: Any) -> None:
    """Every picture is a link to itself in full size, which Sphinx makes of those that have a scale."""
    from docutils.nodes import image

    for node in doctree.findall(image):
        if "://" not in node["uri"]:
            node["scale"] = 100


# ---------------------------------------------------------------- docstrings


def formulas_literal(lines: list[str]) -> list[str]:
    """Docstring lines in which an indented block after an empty line is literal, as in Markdown.

    >>> formulas_literal(["It is", "", "    a = b * c", "", "for all a."])
    ['It is', '', '::', '', '    a = b * c', '', 'for all a.']
    """
    found, literal = [], False
    for number, line in enumerate(lines):
        indented = line.startswith("    ")
        if indented and not literal and number > 0 and not lines[number - 1]:
            literal = not lines[number - 2].startswith((" ", "::"))
            found += ["::", ""] if literal else []
        elif line and not indented:
            literal = False
        found.append(line)
    return found


def _docstring(app: Any, what: str, name: str, subject: Any, options: Any, lines: list[str]) -> None:
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment, or napoleon takes the words before a colon for a type
    lines[:] = formulas_literal(lines)


def _signature(
    app: Any, what: str, name: str, subject: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Defaults like <factory>, which are no Python and would leave the whole signature without links, as three dots."""
    return signature and re.sub(r"= <[^<>]*>", "= ...", signature), returns


def _skip(app: Any, what: str, name: str, subject: Any, skip: bool, options: Any) -> bool | None:
    """Skips fields of named tuples: their own docstrings are only numbers."""
    return True if (getattr(subject, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    from sphinx.util.inspect import TypeAliasForwardRef

    TypeAliasForwardRef.__repr__ = lambda alias: alias.name  # how an alias inside another type is shown
    app.connect("source-read", _read)
    app.connect("doctree-read", _pictures)
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
