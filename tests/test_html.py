"""The page of a report: what is in it, and what a real browser makes of it."""

from __future__ import annotations

import functools
import http.server
import math
import re
import shutil
import subprocess
import threading
from html.parser import HTMLParser

import pytest
from nets import HOSTILE, LENET, ODD, TREE, residual

from hwcost import Linear, SystolicArray
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Operation
from hwcost.plot import PICTURES, network_figure, svg
from hwcost.reports import summarise
from hwcost.reports.html import html_report, inline_svg
from hwcost.reports.lines import html_lines

pytest.importorskip("matplotlib")

ARRAY = SystolicArray(16, 16, dram_bytes_per_s=2e9)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000",
]  # fmt: skip
browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


FREE = Network(
    "free",
    {
        "fc": Operation(Linear(40, 30), kind="linear", path="fc"),
        "drop:div": Operation(MemoryOnly("div", 30, 30), kind="div", path="drop"),
        "drop:mul": Operation(MemoryOnly("mul", 30, 30), kind="mul", path="drop"),
    },
)


@functools.cache
def page_of(name):
    """The page of one of the networks below, as the command makes it."""
    network = {"tree": TREE, "free": FREE, "odd": ODD, "residual": residual((1, 1, 1, 1)), "lenet": LENET}[name]
    summary = summarise(network, ARRAY, skip_unsupported=True)
    skip = bool(summary.missing)
    pictures = {each: svg(network_figure(summary, pictures=[each])) for each in PICTURES}
    missing = f"1 operation is not in these totals: {HOSTILE}" if skip else ""
    return html_report(
        f"{name} {HOSTILE}", {"source": HOSTILE}, summary.figures(), html_lines(summary), pictures,
        notes=[HOSTILE, *summary.notes], missing=missing,
    )  # fmt: skip


class Parsed(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.targets, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "data", "action", "srcset"):
                self.targets.append(value)

    def handle_data(self, data):
        self.text.append(data)


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize("name", ["tree", "odd", "residual"])
def test_a_page_asks_for_nothing_and_runs_one_script(name):
    text = page_of(name)
    page = Parsed(text)
    assert page.tags.count("script") == page.tags.count("style") - len(PICTURES) == 1
    assert not {"link", "img", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert all(target.startswith("#") for target in page.targets)
    assert "://" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert len(page.ids) == len(set(page.ids))
    assert {target[1:] for target in page.targets} <= set(page.ids)
    assert "default-src 'none'" in text
    assert "unsafe-eval" not in text


def test_names_are_text():
    text = page_of("odd")
    assert HOSTILE not in text
    assert f"a.{HOSTILE}" in "".join(Parsed(text).text)
    assert "\x1b" not in text
    assert "<b>product" not in text


def test_the_same_network_makes_the_same_page():
    again = page_of.__wrapped__("tree")
    assert again == page_of("tree")


def test_several_pictures_on_a_page_share_no_names():
    one, two = (
        inline_svg(svg(network_figure(summarise(LENET, ARRAY), pictures=["time"])), f"{i}-", "a <b>") for i in range(2)
    )
    assert one != two
    assert len(Parsed(one).ids) > 10
    assert set(Parsed(one).ids).isdisjoint(Parsed(two).ids)
    assert {target[1:] for target in Parsed(one).targets} <= set(Parsed(one).ids)
    assert one.startswith('<svg role="img" aria-label="a &lt;b&gt;"')
    assert "<!--" not in one
    assert "metadata" not in one


# ---------------------------------------------------------------- a browser


def opened(folder, name, *more, page="page.html", anchor=""):
    """What the browser says of a page of this name: its output and its messages."""
    path = folder / page
    if not path.exists():
        path.write_text(page_of(name), encoding="utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [BROWSER, *OPTIONS, profile, *more, f"{path.as_uri()}{anchor}"],
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def rows(dom):
    """Full name of every row that is to be seen, in order."""
    body = re.search(r"<tbody>(.*?)</tbody>", dom, flags=re.DOTALL).group(1)
    found = re.findall(r"<tr class=\"[\w -]+\"([^>]*)>.*?<span class=\"full\">(.*?)</span>", body, flags=re.DOTALL)
    return [name for attributes, name in found if "hidden" not in attributes]


def labels(name, *, states=("module", "priced", "unsupported")):
    """Full names in the tree; a module with one layer is that layer, unless operations that only move memory show."""
    network = {"tree": TREE, "residual": residual((1, 1, 1, 1))}[name]
    found, deepest = [], math.inf
    for line in html_lines(summarise(network, ARRAY)):
        deepest = deepest if line["depth"] > deepest else math.inf
        if line["depth"] <= deepest and line["state"] in states:
            found.append(line["name"])
        if line["is_single"] and "memory-only" not in states:
            deepest = min(deepest, line["depth"])
    return found


def leaves(name, key):
    network = {"tree": TREE, "residual": residual((1, 1, 1, 1))}[name]
    summary = summarise(network, ARRAY)
    lines = [line for line in html_lines(summary) if line["state"] == "priced"]
    return [line["name"] for line in sorted(lines, key=key)]


@browser
def test_a_page_opens_as_a_tree_without_a_word_on_the_console(tmp_path):
    dom, console = opened(tmp_path, "tree", "--dump-dom")
    assert console == []
    assert rows(dom) == labels("tree")
    assert dom.count("<svg") == 4


@browser
@pytest.mark.parametrize(
    ("anchor", "key"),
    [
        ("#sort=cycles", lambda line: -line["cycles"]),
        ("#sort=cycles&reverse", lambda line: line["cycles"]),
        ("#sort=utilization", lambda line: line["utilization"]),
        ("#sort=bytes", lambda line: -line["dram_bytes"]),
        ("#sort=name", lambda line: line["name"]),
    ],
)
def test_the_address_sorts(tmp_path, anchor, key):
    dom, console = opened(tmp_path, "residual", "--dump-dom", anchor=anchor)
    assert console == []
    assert rows(dom) == leaves("residual", key)
    assert dom.count("aria-sort") == 1 + page_of("residual").count("aria-sort")


@browser
def test_a_wrong_address_is_the_tree(tmp_path):
    dom, console = opened(tmp_path, "tree", "--dump-dom", anchor="#sort=constructor&x=<script>")
    assert (console, rows(dom)) == ([], labels("tree"))


ON_LOAD = "<script>addEventListener('load', () => {{ {} }});</script>"
CLICK = "document.querySelector('th[data-key={}] button').click();"
STEPS = {
    "sorted": CLICK.format("cycles"),
    "turned": f"{CLICK.format('cycles')} setTimeout(() => {{ {CLICK.format('cycles')} }}, 50);",
    "tree": "location.hash = 'sort=cycles&reverse'; setTimeout(() => { " + CLICK.format("cycles") + " }, 50);",
    "shut": "document.getElementById('shut').click();",
    "one": "document.querySelector('tr:not(.layer) .fold').click();",
    "width": "document.title = document.documentElement.scrollWidth - innerWidth;",
    "all": "document.getElementById('free').click();",
    "broken": "console.error('broken');",
}


def clicked(folder, step, name="tree", *more):
    """The page with a script that clicks, which its policy would not let run."""
    text = re.sub(r"<meta http-equiv[^>]*>", "", page_of(name))
    path = folder / f"{step}.html"
    path.write_text(text.replace("</body>", ON_LOAD.format(STEPS[step]) + "</body>"), encoding="utf-8")
    return opened(folder, name, "--dump-dom", *more, page=path.name)


@browser
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("sorted", lambda: leaves("tree", lambda line: -line["cycles"])),
        ("turned", lambda: leaves("tree", lambda line: line["cycles"])),
        ("tree", lambda: labels("tree")),
        ("shut", lambda: ["stem", "body", "head"]),
        ("one", lambda: [name for name in labels("tree") if not name.startswith("body.")]),
        ("all", lambda: labels("tree", states=("module", "priced", "memory-only"))),
    ],
)
def test_clicks_sort_fold_and_show(tmp_path, step, expected):
    dom, console = clicked(tmp_path, step)
    assert console == []
    assert rows(dom) == expected()


@browser
@pytest.mark.parametrize("name", ["residual", "odd", "lenet"])
def test_a_page_does_not_scroll_sideways(tmp_path, name):
    dom, console = clicked(tmp_path, "width", name, "--window-size=1280,900")
    assert console == []
    assert int(re.search(r"<title>(.*?)</title>", dom)[1]) <= 0


def test_a_module_with_one_layer_is_that_layer():
    lines = html_lines(summarise(TREE, ARRAY))
    stem, conv = (line for line in lines if line["name"] == "stem")
    assert (stem["is_single"], stem["state"], conv["state"]) == (True, "module", "priced")
    assert all(stem[name] == conv[name] for name in ("shape", "cycles", "macs", "pe_cycles"))
    assert labels("tree").count("stem") == 1
    assert not any(line["is_single"] for line in lines if line["name"] == "body")


def test_settings_have_units():
    lines = html_lines(summarise(LENET, ARRAY))
    page = html_report("x", ARRAY.as_dict() | {"batch": [1, 3]}, summarise(LENET, ARRAY).figures(), lines, {})
    for text in ("16 PE", "1 GHz", "2 GB/s", "ws", "1, 3"):
        assert f"<dd>{text}</dd>" in page


@browser
def test_a_module_that_only_moves_memory_is_shown_with_what_is_in_it(tmp_path):
    assert rows(opened(tmp_path, "free", "--dump-dom")[0]) == ["fc"]
    assert rows(clicked(tmp_path, "all", "free")[0]) == ["fc", "drop", "drop:div", "drop:mul"]


@browser
def test_an_error_on_the_console_would_be_seen(tmp_path):
    assert len(clicked(tmp_path, "broken")[1]) == 1


@browser
def test_names_do_not_run_and_the_policy_holds(tmp_path):
    dom, console = opened(tmp_path, "odd", "--dump-dom", anchor="#sort=cycles")
    assert console == []
    assert dom.count("<script") == 1
    text = page_of("tree").replace("</body>", "<script>document.title = 'ran'</script></body>")
    (tmp_path / "injected.html").write_text(text, encoding="utf-8")
    dom, console = opened(tmp_path, "tree", "--dump-dom", page="injected.html")
    assert "<title>ran" not in dom
    assert len(console) == 1
    assert "Content Security Policy" in console[0]


class Counting(http.server.SimpleHTTPRequestHandler):
    """A server that remembers what it was asked for."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


def requests_of(folder, text):
    """What a page that is served asks its server for, and how many requests of the browser have a page behind them."""
    (folder / "page.html").write_text(text, encoding="utf-8")
    asked, log = [], folder / "net.json"
    handler = functools.partial(type("Handler", (Counting,), {"asked": asked}), directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/page.html"
        options = [*OPTIONS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--dump-dom"]
        subprocess.run([BROWSER, *options, address], capture_output=True, timeout=600, check=True)
        server.shutdown()
    by_page = re.findall(r"\"initiator\":\"http[^\"]*\"", log.read_text(encoding="utf-8", errors="replace"))
    return asked, len(by_page)


@browser
def test_a_page_that_is_served_asks_for_nothing_else(tmp_path):
    assert requests_of(tmp_path, page_of("residual")) == (["/page.html"], 0)


@browser
def test_a_page_that_asks_would_be_seen(tmp_path):
    asked, by_page = requests_of(tmp_path, '<img src="a.png"><img src="http://127.0.0.1:9/b.png">')
    assert "/a.png" in asked
    assert by_page >= 2


@browser
def test_a_screenshot_is_not_blank(tmp_path):
    matplotlib_image = pytest.importorskip("matplotlib.image")
    picture = tmp_path / "page.png"
    opened(tmp_path, "tree", f"--screenshot={picture}", "--window-size=1200,1500", "--hide-scrollbars")
    pixels = matplotlib_image.imread(picture)
    assert pixels.shape[:2] == (1500, 1200)
    colours = {tuple(pixel) for pixel in (255 * pixels[::3, ::3, :3]).astype(int).reshape(-1, 3).tolist()}
    assert (255, 255, 255) in colours
    assert (0, 114, 178) in colours
    assert len(colours) > 50


def test_figures_of_the_page_are_those_of_the_summary():
    summary, text = summarise(TREE, ARRAY), page_of("tree")
    rows = re.findall(r"<tr class=\"priced\".*?</tr>", text)
    idle = re.findall(r"data-key=\"idle-(\w+)\"", text)
    assert all(shares < 0.0005 for kind, shares in summary.breakdown.shares.items() if kind not in {"useful", *idle})
    for html, row in zip(rows, summary.of("priced"), strict=True):
        values = [float(value) for value in re.findall(r"data-value=\"([\d.e+-]+)\"", html)]
        cost, shares = row.cost, row.breakdown.shares
        assert values[:5] == [cost.macs, cost.cycles, cost.seconds, summary.share(row), cost.utilization]
        assert values[5] == cost.folds
        assert values[6:-1] == pytest.approx([shares[kind] for kind in idle])
        assert values[-1] == cost.dram_bytes
    assert f"<dd>{summary.cost.macs:,}</dd>" in text
