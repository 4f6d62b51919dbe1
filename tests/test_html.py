"""The page of a report: what is in it, and what a real browser makes of it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from nets import HOSTILE, LENET, ODD, SEARCHED, TREE, residual

from hwcost import Linear, SystolicArray, layer_cost, network_cost, report
from hwcost.machine.energies import with_energy
from hwcost.model.breakdown import KINDS
from hwcost.network.besides import read_besides
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Operation, Width
from hwcost.plot import PICTURES, network_figure, svg
from hwcost.reports import summarise
from hwcost.reports.html import html_report, inline_svg, stairs
from hwcost.reports.html.stairs import sizes_of, stairs_of
from hwcost.reports.lines import SORTS, lines_of
from hwcost.reports.shown import document_of
from hwcost.reports.tree import Module
from hwcost.units import BYTES, TIMES, in_unit, number, percent

pytest.importorskip("matplotlib")

ARRAY = SystolicArray(16, 16, dram_bytes_per_s=2e9)
WITH_ENERGY = with_energy(SystolicArray(16, 16, dram_bytes_per_s=2e9, buffer_bytes=65536), "45nm-textbook")

FREE = Network(
    "free",
    {
        "fc": Operation(Linear(40, 30), kind="linear", path="fc"),
        "drop:div": Operation(MemoryOnly("div", 30, 30), kind="div", path="drop"),
        "drop:mul": Operation(MemoryOnly("mul", 30, 30), kind="mul", path="drop"),
    },
)
NETWORKS = {
    "tree": TREE,
    "free": FREE,
    "odd": ODD,
    "residual": Network.of_layers("residual", residual((1, 1, 1, 1))),
    "lenet": Network.of_layers("lenet", LENET),
}


@functools.cache
def summary_of(name):
    return summarise(NETWORKS[name], WITH_ENERGY if name == "residual" else ARRAY, skip_unsupported=True)


@functools.cache
def page_of(name):
    """The page of one of the networks, as the command makes it."""
    summary = summary_of(name)
    pictures = {each: svg(network_figure(summary, pictures=[each])) for each in PICTURES}
    settings = {"source": HOSTILE} | summary.array.as_dict()
    return html_report(summary, NETWORKS[name], title=f"{name} {HOSTILE}", settings=settings, pictures=pictures)


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
    assert page.tags.count("style") - len(PICTURES) == 1
    assert page.tags.count("script") - text.count('<script type="application/json"') == 1
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


def test_names_in_the_values_of_the_slider_are_text():
    network = Network.of_layers("odd", {f"a.{HOSTILE}": Linear(40, 30), "b\x1b[31m": Linear(4, 3)})
    text = html_report(summarise(network, ARRAY), network)
    assert HOSTILE not in text
    assert "\x1b" not in text
    assert "\\u003cscript>alert(1)" in text


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


def cells_of(text):
    """The texts of the cells of all rows of the table, the total last."""
    body = text[text.index('<table id="layers">') : text.index("</tfoot>")]
    rows = re.findall(r"<tr class=\"[\w -]+\".*?</tr>", body)
    return [[re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]


@pytest.mark.parametrize("name", ["tree", "free", "residual"])
def test_the_table_is_that_of_the_text_and_has_a_total(name):
    summary = summary_of(name)
    lines = lines_of(summary, everything=True)
    whole = lines[0]._replace(part=summary.tree, label="total", depth=0, is_open=False)
    columns = document_of(summary).columns
    found = cells_of(page_of(name))
    assert len(found) == len(lines) + 1
    for line, cells in zip([*lines, whole], found, strict=True):
        expected = [column.text(line) for column in columns[2:]]
        assert [re.sub("&lt;", "<", cell).rstrip("\u2007") for cell in cells[1 : len(columns) - 1]] == expected
    assert f"{number(summary.cost.cycles)}" in found[-1]


def test_the_page_has_what_stands_below_the_text_and_explains_it():
    summary = summary_of("residual")
    words = " ".join(" ".join(Parsed(page_of("residual")).text).split())
    below = summary.document().below
    for label in ("total", "bytes", "energy"):
        assert label in below
        assert below[label] in words
    for kind, count in summary.breakdown.figures().items():
        assert (f"{KINDS[kind]} " in words) >= bool(count)
        assert not count or number(count) in words
    for meaning in summary.document().terms.values():
        assert meaning in words
    assert "memory-only" in "".join(Parsed(page_of("free")).text)
    tree = "".join(Parsed(page_of("tree")).text)
    assert "read with care" in tree


def test_numbers_that_are_names_say_so_and_small_shares_are_not_nothing():
    network = Network.of_layers("mlp", {"0": Linear(64, 32), "2": Linear(32, 8)}, is_chain=True)
    network = Network("mlp", {
        name: Operation(each.layer, {field: "0"}, inputs=each.inputs)
        for (name, each), field in zip(network.operations.items(), ("out_features", "in_features"), strict=True)
    }, {"0": Width(32)}, outputs=network.outputs)  # fmt: skip
    summary = report(network, "edge-tpu")
    assert 0 < summary.extrapolated_share < 0.005
    page = html_report(summary, network)
    assert "<dd>0 % of the time</dd>" not in page
    assert f"<dd>{percent(summary.extrapolated_share)} % of the time</dd>".replace("<0", "&lt;0") in page
    assert ">layer 0: 32, 2 layers</option>" in page
    assert "of activations at layer 0, " in str(summary)
    assert "like layer 0: " in str(summary)


def test_the_unit_of_times_is_that_of_the_largest():
    for features, unit in ((8, "ns"), (512, "us"), (16384, "ms")):
        layers = {"a": Linear(features, features), "b": Linear(features, features // 2)}
        summary = summarise(layers, SystolicArray(8, 8))
        page = html_report(summary)
        scale = next(scale for scale, name in TIMES if name == unit)
        assert f"time <small>[{unit}]</small>" in page
        for row in summary.rows:
            value = float(row.cost.seconds)
            text = re.search(rf'data-value="{value!r}">([\d,.]+)</td>', page).group(1)
            decimals = len(text.partition(".")[2])
            assert abs(float(text.replace(",", "")) - value / scale) <= 0.5001 * 10**-decimals


def test_a_total_does_not_change_the_units_of_the_text():
    network = Network.of_layers("bytes", {f"fc{i}": Linear(300, 300) for i in range(12)})
    summary = summarise(network, ARRAY)
    assert in_unit(summary.cost.dram_bytes, BYTES).endswith(" MB")
    titles = [column.title.partition("[") for column in summary.document().columns]
    page = html_report(summary)
    assert ("DRAM", "[", "kB]") in titles
    for name, _, unit in titles:
        assert not unit or f"{name} <small>[{unit}</small>" in page, name


def test_settings_are_in_units_of_people_and_say_what_they_are():
    page = html_report(summarise(LENET, ARRAY), settings=ARRAY.as_dict() | {"batch": [1, 3]})
    for text in ("16 PE", "1 GHz", "2 GB/s", "ws", "1, 3"):
        assert f"<dd>{text}</dd>" in page
    assert "height of the array" in page


# ---------------------------------------------------------------- stairs


@pytest.mark.parametrize("name", ["residual", "lenet", "searched"])
def test_the_slider_has_what_the_layers_cost(name):
    network = SEARCHED if name == "searched" else NETWORKS[name]
    array = WITH_ENERGY if name == "residual" else ARRAY
    made = stairs_of(network, array)
    today = {each: width.size for each, width in network.widths.items()}
    assert made.left_out == 0
    assert made.widths
    rng = np.random.default_rng(0)
    for width in made.widths:
        sizes = made.sizes[width["sizes"]]
        assert sizes[width["today"]] == today[width["name"]]
        places = {width["today"], *rng.integers(len(sizes), size=2).tolist()}
        for _, names, index in width["rows"]:
            texts = [filled(each) for each in made.series[index]]
            assert {len(each) for each in texts} == {len(sizes)}
            for layer, place in ((layer, place) for layer in names[:2] for place in places):
                cost = layer_cost(network.operations[layer].at(today | {width["name"]: sizes[place]}), array)
                expected = number(cost.cycles), percent(cost.utilization), in_unit(cost.dram_bytes, BYTES, 4)
                assert tuple(each[place] for each in texts) == expected


def sums():
    """Networks with residual sums: of layers, of inputs, of sums, of three results, of one that is scaled."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self, forward, **layers):
            super().__init__()
            for name, layer in layers.items():
                self.add_module(name, layer)
            self.function = forward

        def forward(self, x):
            return self.function(self, x)

    def conv(channels, filters, **more):
        return nn.Conv2d(channels, filters, 3, padding=1, **more)

    def blocks(net, x):
        x = net.stem(x)
        for up, down in ((net.a, net.b), (net.c, net.d)):
            x = torch.relu(x + down(torch.relu(up(x))))
        return net.head(x.mean((2, 3)))

    def scaled(net, x):
        x = net.a(x)
        return net.head((x + x * net.c(x.mean((2, 3), keepdim=True)).sigmoid()).flatten(1))

    image, hidden = (1, 3, 8, 8), (1, 5, 24)
    layers = {
        "stem": conv(3, 12),
        "a": conv(12, 20),
        "b": conv(20, 12),
        "c": conv(12, 12, groups=12),
        "d": conv(12, 12),
    }
    yield "blocks", Net(blocks, **layers, head=nn.Linear(12, 5)), image
    yield "inputs", Net(lambda net, x: net.c(net.b(x + net.a(x))), a=conv(3, 3), b=conv(3, 9), c=conv(9, 4)), image
    three = {each: nn.Linear(24, 16 if each != "d" else 24) for each in "abc"} | {"d": nn.Linear(16, 24)}
    yield "three", Net(lambda net, x: x + net.d(net.a(x) + net.b(x) + net.c(x)), **three), hidden
    yield "scaled", Net(scaled, a=conv(3, 8), c=nn.Conv2d(8, 8, 1), head=nn.Linear(8 * 64, 5)), image
    layer = nn.TransformerEncoderLayer(24, 4, 40, batch_first=True)
    yield "encoder", layer, hidden


@pytest.mark.parametrize(
    "array",
    [
        SystolicArray(16, 16),
        ARRAY,
        WITH_ENERGY,
        SystolicArray(8, 8, buffer_bytes=4096.0, double_buffered=True),
        SystolicArray(8, 8, weight_buffer_bytes=4096.0, input_buffer_bytes=2048.0, output_buffer_bytes=2048.0),
        SystolicArray(8, 8, dram_bytes_per_s=1e9, vector_bytes_per_s=1e9, buffer_bytes=16384.0),
    ],
)
def test_the_slider_is_at_the_row_of_the_table_today(array):
    from hwcost import from_torch

    sums_read = 0
    for name, model, shape in sums():
        network = from_torch(model, shape, name=name)
        rows = {row.name: row.cost for row in summarise(network, array).rows}
        made = stairs_of(network, array)
        assert made.left_out == 0
        assert made.widths
        for width in made.widths:
            shown = [names for _, names, _ in width["rows"] if names]
            for _, names, index in width["rows"]:
                costs = [rows[each] for each in names[:1] or itertools.chain(*shown)]
                cost = sum(costs[1:], start=costs[0])
                expected = number(cost.cycles), percent(cost.utilization), in_unit(cost.dram_bytes, BYTES, 4)
                assert tuple(filled(each)[width["today"]] for each in made.series[index]) == expected
                assert {rows[each].dram_bytes for each in names} <= {cost.dram_bytes}
        sums_read += len(read_besides(network, array))
    is_fused = array.vector_bytes_per_s == math.inf  # else sums are operations of their own
    assert (sums_read > 0) == (array.has_buffers and is_fused)


def test_the_slider_follows_what_a_layer_reads_besides_its_operands():
    pytest.importorskip("torch")
    from hwcost import from_torch

    _, model, shape = next(sums())
    network = from_torch(model, shape)
    array = SystolicArray(16, 16, buffer_bytes=65536.0)
    made = stairs_of(network, array)
    width = next(each for each in made.widths if each["name"] == "stem")
    sizes = made.sizes[width["sizes"]]
    index = next(index for _, names, index in width["rows"] if "b" in names)
    texts = filled(made.series[index][2])
    for place, size in enumerate(sizes):
        cost = network_cost(network.at({width["name"]: size}), array).layers["b"]
        assert texts[place] == in_unit(cost.dram_bytes, BYTES, 4)


def filled(joined):
    """The texts of a series, each over all sizes."""
    found = []
    for text in joined.split("|"):
        found.append(text or found[-1])
    return found


def test_layers_that_follow_a_width_are_together_in_the_first_row():
    two = {"a": Operation(Linear(8, 3), {"out_features": "a"}), "b": Operation(Linear(3, 5), {"in_features": "a"})}
    network = Network("two", two, {"a": Width(3)})
    made = stairs_of(network, SystolicArray(8, 2))
    (width,) = made.widths
    cycles = [filled(made.series[index][0]) for _, _, index in width["rows"]]
    assert [label for label, *_ in width["rows"]] == ["together", "a", "b"]
    assert [int(whole) for whole in cycles[0]] == [int(a) + int(b) for a, b in zip(*cycles[1:], strict=True)]
    assert made.of_layers() == {"a": 0, "b": 0}


def test_sizes_are_those_that_a_width_may_take():
    assert sizes_of(Width(12, multiple=4)).tolist() == [4, 8, 12, 16, 20, 24]
    assert sizes_of(Width(3, above=-1, multiple=2, is_kernel=True)).tolist() == [1, 3, 5]
    assert sizes_of(Width(64), (32, 96)).tolist() == [32, 64, 96]
    large = sizes_of(Width(5000))
    assert large[:512].tolist() == list(range(1, 513))
    assert (large[-1], 5000 in large) == (10000, True)
    assert len(large) < 600


def test_equal_layers_are_priced_once(monkeypatch):
    calls = []
    monkeypatch.setattr(stairs, "layer_cost", lambda layer, array: calls.append(layer) or layer_cost(layer, array))
    network = Network.of_layers("equal", {f"l{i}": Linear(64, 64) for i in range(6)})
    made = stairs_of(network, ARRAY)
    assert len(made.widths) == 12
    assert (
        sum(isinstance(each.out_features, np.ndarray) or isinstance(each.in_features, np.ndarray) for each in calls)
        == 2
    )


def test_a_page_is_bounded_and_says_what_it_left_out(monkeypatch):
    monkeypatch.setattr(stairs, "_MOST", 10)
    network = NETWORKS["lenet"]
    made = stairs_of(network, ARRAY)
    assert (len(made.widths), made.left_out) == (1, len(network.widths) - 1 - sum(
        bool(each.fixed) for each in network.widths.values()))  # fmt: skip
    assert f"{made.left_out} widths that cost less than these left out" in html_report(summary_of("lenet"), network)


def test_without_widths_there_are_no_stairs():
    assert "explorer" not in Parsed(page_of("tree")).ids
    assert "explorer" not in Parsed(html_report(summary_of("lenet"))).ids
    assert "explorer" in Parsed(page_of("lenet")).ids


# ---------------------------------------------------------------- a browser


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens a page, of a network by name or of a text; what it asks for and complains of is at hand."""
    contexts = []

    def made(name="", text="", anchor="", width=1280, **more):
        path = tmp_path / f"{name or 'page'}.html"
        path.write_text(text or page_of(name), encoding="utf-8")
        contexts.append(chromium.new_context(viewport={"width": width, "height": 800}, **more))
        page = contexts[-1].new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(f"{path.as_uri()}{anchor}")
        return page

    yield made
    for each in contexts:
        each.close()


NAMES = """() => Array.from(document.querySelectorAll("#layers tbody tr:not(.rest)"))
    .filter((row) => row.getClientRects().length)
    .map((row) => row.querySelector(row.classList.contains("layer") ? ".of-layer .full" : ".full").textContent)"""
HEADS = """() => Array.from(document.querySelectorAll("#layers thead th"))
    .filter((head) => head.getClientRects().length).map((head) => head.dataset.key)"""


def rows(page):
    """Full name of every row that is to be seen, in order."""
    return page.evaluate(NAMES)


def labels(name, *, everything=False):
    """Full names in the tree; a module with one layer is that layer, unless operations that only move memory show."""
    found, deepest = [], math.inf
    for line in lines_of(summary_of(name), everything=True):
        deepest = deepest if line.depth > deepest else math.inf
        own = line.part.rows if isinstance(line.part, Module) else (line.part,)
        shown = [row for row in own if row.state != "memory-only" or row.cost.cycles]
        is_single = [row.state for row in shown] == ["priced"] and isinstance(line.part, Module) and not everything
        if line.depth <= deepest and (everything or shown):
            found.append(shown[0].name if is_single else line.name)
        if is_single:
            deepest = min(deepest, line.depth)
    return found


def leaves(name, key):
    """Full names of the layers, sorted."""
    return [row.name for row in sorted(summary_of(name).of("priced"), key=key)]


def test_a_page_opens_as_a_tree_asks_for_nothing_and_does_not_complain(opened):
    page = opened("tree")
    assert rows(page) == labels("tree")
    assert page.locator("figure svg").count() == 4
    assert (page.complaints, len(page.asked)) == ([], 1)


def test_what_a_page_asks_for_and_complains_of_would_be_seen(opened):
    page = opened(text='<img src="http://127.0.0.1:9/b.png"><script>console.error("broken")</script>')
    assert len(page.asked) == 2
    assert "broken" in page.complaints


def test_names_do_not_run_and_the_policy_holds(opened):
    assert opened("odd", anchor="#sort=cycles").complaints == []
    page = opened(text=page_of("tree").replace("</body>", "<script>document.title = 'ran'</script></body>"))
    assert page.title() != "ran"
    assert len(page.complaints) == 1
    assert "Content Security Policy" in page.complaints[0]


SORTED_BY = {"macs": lambda row: -row.cost.macs, "waste": lambda row: -row.breakdown.idle}


def test_addresses_and_headings_sort(opened):
    page = opened("residual", anchor="#sort=cycles")
    assert rows(page) == leaves("residual", lambda row: -row.cost.cycles)
    assert 0 <= page.locator("#layers").bounding_box()["y"] < 400
    for anchor, key in {
        "#sort=cycles&reverse": lambda row: row.cost.cycles,
        "#sort=utilization": lambda row: row.cost.utilization,
        "#sort=bytes": lambda row: -row.cost.dram_bytes,
        "#sort=energy": lambda row: -row.cost.energy_joules,
        "#sort=rows": lambda row: -row.breakdown.shares["ragged_rows"],
        "#sort=util": lambda row: row.cost.utilization,
        "#sort=DRAM&reverse": lambda row: row.cost.dram_bytes,
        "#sort=name": lambda row: row.name,
    }.items():
        page.evaluate(f"location.hash = '{anchor}'")
        column = anchor.removeprefix("#sort=").partition("&")[0]
        column = {"util": "utilization", "DRAM": "bytes"}.get(column, column)
        is_rising = anchor.endswith("&reverse") or column in ("utilization", "name")
        page.wait_for_selector(
            f"[data-key={column}][aria-sort={'ascending' if is_rising else 'descending'}]", state="attached"
        )
        assert page.locator("[aria-sort]").count() == 1
        assert rows(page) == leaves("residual", key), anchor
    for key, title in {"macs": "MACs", "waste": "waste"}.items():  # which have no column
        page.evaluate(f"location.hash = '#sort={key}'")
        page.wait_for_function(f"document.querySelector('#sort').value === '{key}'")
        assert rows(page) == leaves("residual", SORTED_BY[key]), key
        assert page.locator("#sort option:checked").text_content() == title
    for key in SORTS:
        page.evaluate(f"location.hash = '#sort={key}'")
        page.wait_for_function(f"document.querySelector('#sort').value === '{'' if key == 'order' else key}'")
    for anchor in ("#sort=constructor&x=<script>", "#tree"):
        page.evaluate(f"location.hash = '{anchor}'")
        page.wait_for_selector("[aria-sort]", state="detached")
        assert rows(page) == labels("residual")
    head = page.locator("th[data-key=cycles] button")
    for expected in ("descending", "ascending"):
        head.click()
        page.wait_for_selector(f"[data-key=cycles][aria-sort={expected}]")
    page.locator("nav a >> nth=1").click()
    assert page.locator("[aria-sort]").count() == 1, "a link to a section keeps the order"
    head.click()
    page.wait_for_selector("[aria-sort]", state="detached")
    assert rows(page) == labels("residual")
    page.select_option("#sort", "bytes")
    page.wait_for_selector("[data-key=bytes][aria-sort=descending]")
    assert rows(page) == leaves("residual", lambda row: -row.cost.dram_bytes)
    assert page.complaints == []


def test_modules_fold_and_operations_without_products_show(opened):
    page = opened("tree")
    page.locator("#shut").click()
    assert rows(page) == ["stem", "body", "head"]
    page.locator("#open").click()
    page.locator("tr:not(.layer) .fold >> nth=0").click()
    assert rows(page) == [name for name in labels("tree") if not name.startswith("body.")]
    page.locator("#open").click()
    page.locator("#free").click()
    assert rows(page) == labels("tree", everything=True)
    free = opened("free")
    assert rows(free) == ["fc"]
    free.locator("#free").click()
    assert rows(free) == ["fc", "drop", "drop:div", "drop:mul"]


def test_what_only_moves_memory_but_takes_time_is_shown_as_in_the_text(opened):
    summary = summarise(TREE, dataclasses.replace(ARRAY, vector_bytes_per_s=1e9), skip_unsupported=True)
    page = opened(text=html_report(summary))
    assert any(row.state == "memory-only" and row.cost.cycles for row in summary.rows)
    assert rows(page) == [line.name for line in lines_of(summary)]
    assert page.complaints == []


def test_a_large_tree_opens_as_far_as_one_can_read(opened):
    layers = {f"block{i}.{j}.fc": Linear(8, 8) for i in range(20) for j in range(10)}
    page = opened(text=html_report(summarise(layers, ARRAY)))
    assert rows(page) == [f"block{i}" for i in range(20)]
    page.locator("#filter").fill("block3.7")
    assert rows(page) == ["block3", "block3.7.fc"]
    page.locator("#filter").fill("")
    page.locator("#open").click()
    assert len(rows(page)) == 220


def test_a_box_filters_by_name_shape_and_bound(opened):
    page = opened("residual")
    page.locator("#shut").click()
    page.locator("#filter").fill("layer2.0.CONV")
    assert rows(page) == ["layer2", "layer2.0", *(f"layer2.0.conv{i}" for i in (1, 2, 3))]
    assert page.locator("#found").text_content() == "3 found"
    assert page.locator("tfoot .name").inner_text() == "total of the whole network"
    page.locator("#filter").fill("2048 -> 1000")
    assert rows(page) == ["fc"]
    page.evaluate("location.hash = '#sort=cycles'")
    page.locator("#filter").fill("memory")
    page.wait_for_selector("[aria-sort]")
    bound = [row for row in summary_of("residual").of("priced") if row.cost.bound == "memory"]
    assert rows(page) == [row.name for row in sorted(bound, key=lambda row: -row.cost.cycles)]
    page.locator("#filter").fill("")
    assert rows(page) == leaves("residual", lambda row: -row.cost.cycles)
    assert page.locator("tfoot .name").inner_text() == "total"


@pytest.mark.parametrize("width", [390, 768, 1200])
def test_words_of_names_are_not_broken(opened, width):
    page = opened("residual", width=width)
    broken = page.evaluate("""[...document.querySelectorAll("#layers .name .short")]
        .flatMap((name) => [...name.childNodes]).filter((node) => {
            const range = document.createRange();
            range.selectNodeContents(node);
            return node.nodeType === Node.TEXT_NODE && range.getClientRects().length > 1;
        }).map((node) => node.textContent)""")
    assert broken == []


def test_what_takes_no_energy_shows_none():
    network = Network("free", {"a": Operation(Linear(8, 8), inputs=("",)), "b": Operation(MemoryOnly("norm", 8, 8))})
    page = html_report(summarise(network, WITH_ENERGY))
    (free,) = [row for row in page.split("<tr") if row.startswith(' class="memory-only free"')]
    assert '<td class="extra"></td>' in free


@pytest.mark.parametrize("energy", [False, True])
def test_the_heading_of_bytes_names_the_energy_that_is_there(energy):
    array = WITH_ENERGY if energy else SystolicArray(8, 8)
    page = html_report(summarise({"fc": Linear(64, 64)}, array), pictures={"memory": "<svg></svg>"})
    assert ("of every layer, and its energy</h2>" in page) is energy
    assert "of every layer</h2>" in page or energy


def test_a_row_opens_and_leads_to_the_stairs_of_its_width(opened):
    page = opened("residual", width=390)
    page.locator("tr:has-text('layer1.0.conv2')").locator("visible=true").locator(".short").last.click()
    rest = page.locator("tr.rest")
    assert rest.count() == 1
    texts = rest.locator("div").all_inner_texts()
    row = next(row for row in summary_of("residual").rows if row.name == "layer1.0.conv2")
    assert any(each.startswith("shape") and row.shape in each for each in texts)
    assert f"MACs\n{number(row.cost.macs)}" in texts
    assert f"cycles\n{number(row.cost.cycles)}" in texts
    rest.locator("button").click()
    assert page.locator("#width option:checked").text_content().startswith("layer1.0.conv2.out_channels: 64")
    page.locator(".short:visible >> nth=3").press("Enter")
    assert rest.count() == 2
    page.locator("#filter").fill("fc")
    assert page.locator("tr.rest:visible").count() == 0
    assert page.complaints == []


def test_a_slider_shows_cycles_utilization_and_bytes_of_other_sizes(opened):
    page = opened("lenet", width=390)
    page.select_option("#width", label="conv1.out_channels: 6, 1 layer")
    layer, size = LENET["conv1"], page.locator("#size")
    assert (size.get_attribute("min"), size.get_attribute("max"), size.input_value()) == ("1", "12", "6")
    before = page.locator("#chart .now").get_attribute("d")
    for act, expected in ((lambda: size.fill("11"), 11), (lambda: page.locator("#fewer").click(), 10)):
        act()
        cost = layer_cost(type(layer)(1, expected, 5, height=28, width=28, padding=2), ARRAY)
        texts = page.locator("#at td").evaluate_all("cells => cells.map((cell) => cell.firstChild.textContent)")
        assert texts == [number(cost.cycles), percent(cost.utilization), in_unit(cost.dram_bytes, BYTES, 4)]
        assert page.locator("#chosen").text_content() == f"{expected} (today 6)"
    assert page.locator("#at small >> nth=0").text_content() == number(layer_cost(layer, ARRAY).cycles)
    assert page.locator("#chart .now").get_attribute("d") != before
    assert page.complaints == []


def test_without_script_the_table_is_whole(opened):
    page = opened("residual", width=768, java_script_enabled=False)
    shown = page.locator("#layers tbody tr:visible")
    assert shown.count() == len(lines_of(summary_of("residual"), everything=True))
    assert page.locator("#layers thead th:visible").count() == page.locator("#layers thead th[data-key]").count()
    assert page.locator(".tools:visible").count() == 0
    assert page.locator(".scripted:visible").count() == 1


OVERFLOW = """() => {
    const found = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
    const frame = document.querySelector(".wide").getBoundingClientRect();
    const boxes = [];
    for (const cell of document.querySelectorAll("#layers :is(th, td), .kinds :is(th, td)")) {
        const box = cell.getBoundingClientRect();
        if (!box.width) continue;
        const text = document.createRange();
        text.selectNodeContents(cell);
        for (const each of text.getClientRects()) {
            if (each.width < 1 || each.height < 1) continue;
            if (each.left < box.left - 1 || each.right > box.right + 1) found.push(`cut: ${cell.textContent}`);
            boxes.push([cell, each]);
        }
        if (box.right > frame.right + 1 || box.left < frame.left - 1) found.push(`outside: ${cell.textContent}`);
    }
    boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([two, b]) => {
        const isBeside = a.right <= b.left + 1 || b.right <= a.left + 1;
        const isBelow = a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
        if (one !== two && !isBeside && !isBelow) found.push(`overlap: ${one.textContent} and ${two.textContent}`);
    }));
    return [...found, boxes.length > 40 ? "" : "no cells"].filter(Boolean);
}"""
CONTRAST = """() => {
    const parse = (text) => {
        const [, r, g, b, a] = text.match(/rgba?\\(([\\d.]+), ([\\d.]+), ([\\d.]+)(?:, ([\\d.]+))?\\)/);
        return [r, g, b, a ?? 1].map(Number);
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((each, i) => a * each + (1 - a) * below[i]);
    const light = (rgb) => rgb.map((each) => each / 255)
        .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
        .reduce((sum, each, i) => sum + each * [0.2126, 0.7152, 0.0722][i], 0);
    const grounds = (element) => { // all colours that lie below the text of an element
        if (!element) return [[255, 255, 255]];
        const style = getComputedStyle(element);
        const own = grounds(element.parentElement).map((each) => over(parse(style.backgroundColor), each));
        const fills = style.backgroundImage.match(/rgba?\\([^)]*\\)/g) ?? [];
        return [...own, ...fills.flatMap((fill) => own.map((each) => over(parse(fill), each)))];
    };
    const found = [];
    let count = 0;
    for (const element of document.querySelectorAll("body *:not(script):not(svg):not(svg *)")) {
        const hasText = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
        if (!hasText || !element.getClientRects().length) continue;
        count += 1;
        for (const ground of grounds(element)) {
            const ink = light(parse(getComputedStyle(element).color).slice(0, 3));
            const contrast = (Math.max(ink, light(ground)) + 0.05) / (Math.min(ink, light(ground)) + 0.05);
            if (contrast < 4.5) found.push(`${element.textContent.slice(0, 30)} ${contrast}`);
        }
    }
    return count > 40 ? found : ["no text"];
}"""


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_a_page_is_legible_on_phone_tablet_and_desktop(opened, width):
    page = opened("residual", width=width)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.locator(".short:visible >> nth=2").click()
    columns = page.evaluate(HEADS)
    assert columns[0] == "name"
    assert {"time", "share", "bound"} <= set(columns)
    assert len(columns) >= {390: 4, 768: 7, 1280: 13}[width]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(255, 255, 255)") is (scheme == "light")
        assert page.evaluate(CONTRAST) == []
    assert page.evaluate(OVERFLOW) == []
    page.evaluate("location.hash = '#sort=utilization'")
    page.wait_for_selector("[aria-sort]")
    assert "utilization" in page.evaluate(HEADS)
    assert page.evaluate(OVERFLOW) == []
    pictures = page.locator("figure svg").evaluate_all("all => all.map((each) => each.getBoundingClientRect().width)")
    assert min(pictures) > 700
    assert page.complaints == []


@pytest.mark.parametrize("name", ["odd", "lenet", "free"])
def test_small_pages_do_not_scroll_sideways(opened, name):
    page = opened(name, width=390)
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(50)
        found = page.evaluate(OVERFLOW)
        assert [each for each in found if each != "no cells"] == []


def test_checks_of_the_layout_see_what_is_wrong(opened):
    page = opened("residual", width=390)
    page.add_style_tag(content="#layers td { position: relative; left: -120px } .note, h2 { color: #aaa }")
    assert any(each.startswith("overlap") for each in page.evaluate(OVERFLOW))
    assert page.evaluate(CONTRAST) != []


def test_a_screenshot_is_not_blank(opened):
    image = pytest.importorskip("PIL.Image")
    page = opened("tree", width=1200)
    import io

    shot = image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    colours = {colour for _, colour in shot.getcolors(10**7)}
    assert {(255, 255, 255), (0, 114, 178)} <= colours
    assert len(colours) > 50
