"""The documentation: commands print what the pages show, and the site is built without a warning or a dead link."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

import hwcost
import nas_plugin
from hwcost.cli import main
from hwcost.devices import read_device
from page_tables import filled

PROJECT = Path(__file__).parent.parent
DOCS = PROJECT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.name != "command-line.md")  # tested in test_cli.py
TEXTS = {page.relative_to(DOCS).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
SHOWN = [
    (command, shown)
    for text in TEXTS.values()
    for command, shown in re.findall(r"^\$ hwcost (.*)\n((?!```).+\n(?:.*\n)*?)```", text, flags=re.MULTILINE)
]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
PRINTED = [
    found
    for text in (README, *TEXTS.values())
    for found in re.findall(
        r"^```python\n((?:(?!```|>>>).*\n)+)```\n\n```text\n((?:(?!```).*\n)*)```$", text, flags=re.MULTILINE
    )
]
COMMANDS = [
    line.removeprefix("hwcost ")
    for text in TEXTS.values()
    for block in re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("hwcost ")
]


# ---------------------------------------------------------------- the text


def test_pages_were_found():
    assert len(SHOWN) >= 3
    assert len(PRINTED) >= 2
    assert len(COMMANDS) >= 3
    assert "devices.md" in TEXTS


@pytest.mark.parametrize(("command", "shown"), SHOWN, ids=lambda text: text.splitlines()[0])
def test_commands_print_what_is_shown(capsys, tmp_path, monkeypatch, command, shown):
    monkeypatch.chdir(tmp_path)  # some write files
    (tmp_path / "examples").symlink_to(DOCS.parent / "examples")
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out.splitlines() == shown.splitlines()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_work(capsys, tmp_path, monkeypatch, command):
    if command.startswith("plot"):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("code", "shown"), PRINTED)
def test_python_prints_what_is_shown(capsys, code, shown):
    for library in ("torch", "pandas"):
        pytest.importorskip(library)
    exec(code, {})
    assert capsys.readouterr().out.splitlines() == shown.splitlines()


def test_the_quick_start_lists_every_extra():
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    rows = re.findall(r"^\| (`.*?`) \|", TEXTS["quick-start.md"], flags=re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(extras)


def test_the_device_file_on_the_page_is_one(tmp_path):
    (text,) = re.findall(r"^```toml\n(schema.*?)^```", TEXTS["devices.md"], flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    device = read_device(tmp_path / "mine.toml")
    assert device.facts["peak_ops_per_s"].value == 2 * device.array.pes * device.array.clock_hz


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if "<!-- table-of" in text])
def test_tables_are_those_of_the_package(name):
    assert filled(TEXTS[name]) == TEXTS[name], "python tools/refresh_pages.py puts them into the pages"


@pytest.mark.parametrize("name", TEXTS)
def test_links_hold_where_the_pages_are_read_as_files(name):
    prose = re.sub(r"^```.*?^```", "", TEXTS[name], flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not urlsplit(target).scheme and not target.startswith("#"):
            assert (DOCS / name).parent.joinpath(target.partition("#")[0]).exists(), target


# ---------------------------------------------------------------- the site


class Page(HTMLParser):
    """What a page refers to, and what may be referred to in it."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif value and (name == "src" or (name == "href" and tag in ("a", "link"))):
                self.targets.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("sphinx", "myst_parser", "furo", "torch", "safetensors"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f'{module} is not installed; the site needs: pip install "hwcost[docs]"')
    out = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "--keep-going", "-n", "-E", "-d", str(tmp_path_factory.mktemp("doctrees"))]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(DOCS), str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site):
    return {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_is_built(site, pages):
    missing = [name for name in TEXTS if (site / name).with_suffix(".html") not in pages]
    assert not missing


def test_links_anchors_and_pictures_are_there(pages):
    dead = []
    for path, page in pages.items():
        for target in page.targets:
            if urlsplit(target).scheme or target.startswith("//"):
                continue
            address, anchor = urldefrag(target)
            file = path if not address else (path.parent / unquote(urlsplit(address).path)).resolve()
            if not file.is_file() or (anchor and file in pages and unquote(anchor) not in pages[file].anchors):
                dead.append(f"{path.name}: {target}")
    assert not dead


def test_the_site_asks_nothing_of_other_hosts(site):
    for path in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"(?:https?:)?//[^\"]*", path.read_text("utf-8")
        )
        assert not loaded, path.name


LOOKED_AT = [
    "index", "quick-start", "notebook", "command-line", "devices", "gallery", "how-true", "genindex", "api/index",
    "api/hwcost",
]  # fmt: skip
CLIPPED = """() => {
    const scrolls = (each) => ["auto", "scroll"].includes(getComputedStyle(each).overflowX);
    const framed = (each) => each && each.tagName !== "ARTICLE" && (scrolls(each) || framed(each.parentElement));
    return Array.from(document.querySelectorAll("article *"))
        .filter((each) => each.getBoundingClientRect().right > innerWidth + 1 && !framed(each.parentElement))
        .map((each) => each.outerHTML.slice(0, 200));
}"""
"""What is wider than the screen, and not in a frame of the article that scrolls."""


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_clipped_on_a_phone_or_a_desktop(site, chromium, width):
    page = chromium.new_page(viewport={"width": width, "height": 900})
    for name in LOOKED_AT:
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(CLIPPED) == []
    page.evaluate("document.querySelector('article').innerHTML += '<p style=\"width: 2000px\">wide'")
    assert len(page.evaluate(CLIPPED)) == 1  # that would have been seen
    page.close()


def home_of(package, name):
    """The module in a package that defines a name."""
    names = (f"{package.__name__}.{each.name}" for each in pkgutil.iter_modules(package.__path__))
    return next(each for each in names if name in getattr(importlib.import_module(each), "__all__", ()))


_INSIDE = (
    "hwcost.calibration.vela", "hwcost.importers.lists", "hwcost.importers.torch", "hwcost.reports.html",
    "hwcost.torch.adapters", "nas_plugin.errors", "nas_plugin.pictures",
)  # fmt: skip
"""Public modules inside of others."""


def is_placed(name, anchors):
    """Whether a public name has an anchor: there, or in the module that defines it."""
    package, _, own = name.rpartition(".")
    value = getattr(importlib.import_module(package), own)
    home = f"{getattr(value, '__module__', package)}.{getattr(value, '__qualname__', own)}"
    inside = any(each.startswith(f"{package}.") and each.endswith(f".{own}") for each in anchors)
    return inside or name in anchors or home in anchors or f"hwcost.{own}" in anchors


def public_names():
    """Every name that a public module offers; modules whose names the package offers need no page."""
    names = ("arrays", "cli", "console", "errors", "files", "pruning", "units")
    internal = {f"hwcost.{name}" for name in names}
    for info in pkgutil.iter_modules(hwcost.__path__, "hwcost."):
        if not info.name.startswith("hwcost._") and info.name not in internal:
            module = importlib.import_module(info.name)
            hands_on = info.name in ("hwcost.model", "hwcost.network")  # what their modules define, or hwcost itself
            for name in getattr(module, "__all__", ()):
                if not hands_on or name not in hwcost.__all__:
                    yield f"{home_of(module, name) if hands_on else info.name}.{name}"
    for name in _INSIDE:
        module = importlib.import_module(name)
        yield from (f"{name}.{each}" for each in module.__all__)
    for package in (hwcost, nas_plugin):
        yield from (f"{package.__name__}.{name}" for name in package.__all__ if name != "__version__")


def test_pictures_are_links_to_themselves_and_lie_on_light_ground(site, chromium):
    page = chromium.new_page(viewport={"width": 390, "height": 900}, color_scheme="dark")
    page.goto((site / "gallery.html").as_uri())
    pictures = page.evaluate("""[...document.querySelectorAll("article img")].map(
        (each) => [each.closest("a")?.href === each.src, getComputedStyle(each).backgroundColor])""")
    page.close()
    assert len(pictures) > 10
    assert all(each == [True, "rgb(255, 255, 255)"] for each in pictures)


def functions():
    """What the pages call, or name as the function of a command."""
    command_line = (DOCS / "command-line.md").read_text(encoding="utf-8")
    for text in (README, *TEXTS.values(), command_line):
        yield from re.findall(r"\b((?:hwcost|nas_plugin)(?:\.\w+)+)\(", text)
    for cell in re.findall(r"^\| `hwcost [^|]*`[^|]*\|([^|]*)\|$", command_line, flags=re.MULTILINE):
        yield from re.findall(r"`(hwcost(?:\.\w+)+)`", cell)


@pytest.mark.parametrize("name", sorted(set(functions())))
def test_what_pages_call_can_be_called(name):
    assert callable(pkgutil.resolve_name(name))


def test_every_schema_is_linked():
    text = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert all(f"](schemas/{path.name})" in text for path in (DOCS / "schemas").iterdir())


def test_every_public_name_has_a_place(pages):
    known = set().union(*(page.anchors for page in pages.values()))
    missing = [name for name in public_names() if not is_placed(name, known)]
    assert not missing
    assert not is_placed("hwcost.tables.LONGEST", known - {"hwcost.tables.text.LONGEST"})


def test_every_public_name_is_two_clicks_away(site):
    """From the front page to a page, and from there to the place of the name; by what the pages themselves link to."""

    def links(path):
        (article,) = re.findall(r"<article.*?</article>", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        return {(path.parent / urldefrag(target)[0]).resolve() for target in Page(article).targets if ".html" in target}

    first = links(site / "index.html")
    reached = set().union(first, *(links(path) for path in first if path.is_file()))
    places = set().union(*(Page(path.read_text(encoding="utf-8")).anchors for path in reached if path.is_file()))
    assert not [name for name in public_names() if not is_placed(name, places)]


@pytest.mark.parametrize(("page", "package"), [("hwcost", hwcost), ("sweep", hwcost.sweep)])
def test_signatures_that_are_written_by_hand(page, package):
    text = (DOCS / "api" / f"{page}.md").read_text(encoding="utf-8")
    written = re.findall(r"py:function:: (\w+)\((.*)\)", text)
    assert written
    for name, arguments in written:
        parameters = inspect.signature(getattr(package, name)).parameters.values()
        expected = [f"{p.name}={p.default!r}" if p.default is not p.empty else p.name for p in parameters]
        assert [each for each in arguments.split(", ") if each != "*"] == expected, name
