"""Architectures that nobody here wrote: MACs as PyTorch counts them, widths as rebuilt modules have them, the page."""

from __future__ import annotations

import copy
import json
import re
import shlex
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
import models_macs  # noqa: E402
from common import more_models, real_models  # noqa: E402
from common.more_models import ALL_MODELS  # noqa: E402
from hwcost import from_torch, network_cost  # noqa: E402
from hwcost.cli import main  # noqa: E402
from hwcost.devices import read_device  # noqa: E402
from hwcost.importers.torch.resize import resized  # noqa: E402

ROOT = Path(__file__).parents[1]
RESULT = json.loads((ROOT / "benchmarks" / "results" / "models_macs.json").read_text(encoding="utf-8"))
ROWS = {row["model"]: row for row in RESULT["rows"]}
INSTALLED = [name for name in ALL_MODELS if more_models.is_installed(name)]
AGAIN = 9
"""PyTorch counts every ninth architecture anew, which takes as long as all the rest."""
PAGE = (ROOT / "docs" / "models-in.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.filterwarnings("ignore")  # of code that is not ours


@pytest.fixture(scope="module")
def networks():
    """Each architecture once: the network that was read, and the module."""
    found = {}

    def read(name):
        if name not in found:
            real = ALL_MODELS[name]
            model = real.module()
            found[name] = from_torch(model, **real.arguments(), name=name), model
        return found[name]

    return read


@pytest.mark.parametrize("name", INSTALLED)
def test_macs_are_those_of_pytorch_s_counter(name, networks):
    """Of every architecture as the benchmark counted them; of some they are counted again."""
    network, model = networks(name)
    real, once = ALL_MODELS[name], models_macs.made_once(network)
    counted = ROWS[name]["torch_macs"]
    if name in INSTALLED[::AGAIN]:
        assert counted == real_models.torch_macs(real, copy.deepcopy(model), "cpu" if real.with_data else "meta")
    found = {"model": name, "macs": network.macs, "made_once": once, "torch_macs": counted}
    assert models_macs.explained(found) == ROWS[name]["explained"]
    assert sorted({str(each.layer) for each in network.unsupported.values()}) == ROWS[name]["unsupported"]


@pytest.mark.parametrize("name", INSTALLED)
def test_at_todays_widths_it_is_the_same_network(name, networks):
    network, _ = networks(name)
    assert network.at({}) == dict(network)
    today = {width: own.size for width, own in network.widths.items()}
    assert {each: own.at(today) for each, own in network.operations.items()} == dict(network)


@pytest.mark.parametrize("name", ["gpt2_lm", "bert_mlm", "t5_lm", "llama_lm"])
def test_tied_heads_keep_their_name_their_vocabulary_and_their_tie(name, networks):
    network, model = networks(name)
    head = next(path for path, module in model.named_modules() if module is model.get_output_embeddings())
    assert network[head].out_features == model.config.vocab_size
    smaller = models_macs.other_widths(network)
    assert network.at(smaller)[head].out_features == model.config.vocab_size
    made = resized(ALL_MODELS[name].module(), network, smaller)
    assert made.get_output_embeddings().weight is made.get_input_embeddings().weight


@pytest.mark.parametrize("name", INSTALLED)
def test_modules_with_other_widths_are_what_was_predicted(name, networks):
    network, model = networks(name)
    sizes = models_macs.other_widths(network)
    assert models_macs.rebuilt(ALL_MODELS[name], network, sizes, copy.deepcopy(model)) == ROWS[name]["rebuilt"]


@pytest.mark.parametrize("name", INSTALLED)
def test_operations_are_named_after_modules(name, networks):
    network, model = networks(name)
    paths = {path for path, _ in model.named_modules()}
    assert {operation.path for operation in network.operations.values()} <= paths


# ---------------------------------------------------------------- the file and the page


def test_the_result_file_has_every_architecture():
    assert list(ROWS) == list(ALL_MODELS)
    assert len(ROWS) >= 70
    assert not RESULT["missing"]
    assert all(RESULT["met"].values())
    assert RESULT["figures"]["rebuilt with other widths as predicted"] == sum(
        row["rebuilt"] == "equal" for row in ROWS.values()
    )


def test_the_page_shows_the_result_file():
    shown = {
        name.strip("`"): (
            library,
            *(int(each.replace(",", "").replace("-", "0")) for each in (macs, once, counted, widths)),
            rebuilt,
        )
        for name, library, macs, once, counted, widths, rebuilt in rows_of("models")
    }
    expected = {
        name: (
            *(row[each] for each in ("library", "macs", "made_once", "torch_macs", "widths")),
            rebuilt_in_words(row["rebuilt"]),
        )
        for name, row in ROWS.items()
    }
    assert shown == expected


def rebuilt_in_words(text):
    return {"equal": "equal", "no width can change": "none can change"}.get(text, "does not run")


def test_whatever_differs_is_explained():
    """Other MACs, operations that are not supported, and modules that do not run have a reason on the page."""
    for name, row in ROWS.items():
        assert row["explained"] != "DIFFERS"
        told = row["explained"] or row["unsupported"] or "does not run" in row["rebuilt"] + row["advised"]
        assert not told or f"`{name}`" in PAGE.partition("<!-- table: models -->")[0], name


def test_the_page_shows_what_the_command_prints(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    ((command, shown),) = re.findall(
        r"^```console\n\$ hwcost ([^\n]*)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL
    )
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == shown


SPEED = json.loads((ROOT / "benchmarks" / "results" / "import_speed.json").read_text(encoding="utf-8"))["figures"]
WHOSE = {"ZigZag": "zigzag", "SCALE-Sim": "scalesim"}
READERS = {
    "PyTorch's `FlopCounterMode`": "FlopCounterMode",
    "the same on the meta device": "FlopCounterMode without data",
}


def rows_of(table):
    (text,) = re.findall(rf"<!-- table: {table} -->\n(.*?)<!-- end of table -->", PAGE, flags=re.DOTALL)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def test_the_page_states_how_fast_it_was():
    rows = {f"CPU of {READERS.get(name, name)} / from_torch": ratio for name, ratio in rows_of("importers")}
    rows |= {f"CPU of {WHOSE[name]} / hwcost model, {source}": ratio for name, source, ratio in rows_of("commands")}
    assert set(rows) == {name for name in SPEED if name.startswith("CPU of ")}
    for name, shown in rows.items():
        assert float(shown) == round(SPEED[name], len(shown.partition(".")[2])), name


def test_the_page_states_the_sums():
    figures = RESULT["figures"]
    assert f"{figures['architectures']} architectures" in PAGE
    assert f"{figures['rebuilt with other widths as predicted']} of {figures['with widths']}" in PAGE


def test_edge_tpu_has_the_times_that_its_notes_state():
    if not more_models.is_installed("mobilenet_v2"):
        pytest.skip("torchvision is not installed")
    (words,) = (note for note in read_device("edge-tpu").notes if "MobileNetV2" in note)
    stated = re.search(r"has ([\d.]+) and ([\d.]+) ms", words)
    models = real_models.loaded("torchvision")
    options = {"googlenet": {"init_weights": False, "aux_logits": False}}
    for name, text in zip(("mobilenet_v2", "googlenet"), stated.groups(), strict=True):
        model = getattr(models, name)(weights=None, **options.get(name, {})).eval()
        milliseconds = 1e3 * network_cost(from_torch(model, (1, 3, 224, 224)), "edge-tpu").total.seconds
        assert milliseconds == pytest.approx(float(text), abs=0.05), name
