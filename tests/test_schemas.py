"""Every document of --json has a schema; the fixture that runs commands checks each against it."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path

import pytest

from hwcost import SystolicArray
from hwcost.devices import FIELD_UNITS, DeviceFile, Entry, device_names, write_device

PROJECT = Path(__file__).parent.parent
SCHEMAS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (PROJECT / "docs" / "schemas").iterdir()}
CNN = "modules.py:Plain --input 1,3,8,8"
DECODER = "modules.py:Decoder --input 1,16:int64"
LIST = "lenet.csv"
NETWORKS = (CNN, DECODER, LIST)
ON = "--s1 16 --s2 16"
ROOM = f"{ON} --buffer 64k --energy 45nm-textbook"
DEVICES = [f"--device {name}" for name in device_names()]
MACHINES = [*DEVICES, "--device own.toml", ON, ROOM]
SPREAD = [(NETWORKS[place % 3], machine) for place, machine in enumerate(MACHINES)]
"""Every machine, with one of the networks."""
LAYER = "estimate --k 3 --f 16 --h 8 --w 8"
COMMANDS = {
    "hwcost.estimate/1": [
        *(f"{LAYER} --c 8 {machine} --explain" for machine in MACHINES),
        *(f"{LAYER} --c 8,16 {machine}" for machine in MACHINES),
        f"{LAYER} --c 8 {ON} --padding same",
        f"{LAYER} --c 8 {ON} --padding 1x2 --relaxation straight-through",
    ],
    "hwcost.topology/1": ["estimate --scalesim-topology net.csv --scalesim-config array.cfg"],
    "hwcost.model/1": [
        *(f"model {network} {machine}" for network in NETWORKS for machine in MACHINES),
        f"model {CNN} {ROOM} --keep-activations --sort energy --top 2",
        f"model {DECODER} --device edge-tpu --extrapolate --depth 1 --all",
        f"model modules.py:Odd --input 1,40 {ON} --skip-unsupported",
    ],
    "hwcost.model-buffers/1": [
        f"model {network} {ON} --buffer 8k,64k {more}"
        for network in NETWORKS
        for more in ("", "--energy 45nm-textbook", "--clock 700MHz")
    ],
    "hwcost.compare/1": [
        *(f"compare {network} {LIST} --devices all" for network in NETWORKS[:2]),
        *(f"compare {network} {machine}" for network in NETWORKS for machine in (ON, ROOM)),
        f"compare {LIST} --device gemmini-firesim",
    ],
    "hwcost.advise/1": [
        *(f"advise {network} {machine}" for network, machine in SPREAD),
        *(f"advise {network} {ROOM} --budget 0.8 --for {what}" for network in NETWORKS for what in ("time", "energy")),
        *(f"advise {CNN} {machine} --budget 0.9 --apply" for machine in (ON, "--device gemmini-firesim")),
        f"advise {LIST} --table costs.csv --budget 0.8",
        f"advise {LIST} {ON} --take conv1.out_channels=5 --to-csv less.csv",
    ],
    "hwcost.sweep/1": [
        *(f"sweep {network} --rows 8,16 --cols 16 {machine}" for network, machine in SPREAD[:-2]),
        f"sweep {LIST} --rows 8,16 --cols 8,16 --buffer 16k:64k --energy 45nm-textbook --clock 700MHz,1GHz",
        f"sweep {LIST} --rows 8,16 --cols 8 --bandwidth 8e9,inf --dataflow ws,os --bytes --pe-budget 200",
        f"sweep {LIST} --rows 8 --cols 8 --bandwidth 8e9 --vary overlap=0,1 --vary fold_timing=ideal,serial",
    ],
    "hwcost.table/1": [f"table {network} {machine} --step 16" for network, machine in SPREAD[:-1]],
    "hwcost.devices/1": ["devices"],
    "hwcost.devices-show/1": [f"devices show {name}" for name in (*device_names(), "own.toml")],
    "hwcost.prune/1": [
        f"prune {CNN} --target 0.9 {machine} --out run-{place}"
        for place, machine in enumerate((ON, "--device gemmini", "--device ethos-u55-128"))
    ],
    "hwcost.calibrate/1": [
        f"calibrate measured.csv --starts 1 --folds 2 --shuffles 1 {more}"
        for more in (
            "--device gemmini",
            "--device gemmini-firesim --free stairs --grid size=16,32 --plot a.png -o fitted.toml --force",
            f"{ON} --prior none --free cycles_per_row,cycles_per_layer --grid dataflow=ws,os",
        )
    ],
    "hwcost.plot/1": [
        "plot ceiling -o a.png",
        *(f"plot stairs --k 3 --c 8 --h 8 --w 8 --f 1:20 {machine} -o a.png" for machine in (ON, "--device edge-tpu")),
        *(
            f"plot {name} {network} {machine} -o a.png"
            for name in ("memory", "timeline")
            for network, machine in (*SPREAD[:-2:10], (CNN, ON), (LIST, f"{ON} --buffer 64k"))
            if name == "timeline" or network != LIST
        ),
    ],
}
"""Commands for each schema."""
OF_SEARCHES = {"nas_plugin.result/1", "nas_plugin.network-search/1", "nas_plugin.sweep/5/results"}
"""Schemas of searches, whose own tests check each document that they print."""
COSTS = "layer,in,out,ms\nconv1,1,6,2\nconv1,1,5,1\n"
CONFIG = """[general]
run_name = net

[architecture_presets]
ArrayHeight: 8
ArrayWidth: 8
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: ws
Bandwidth: 10

[run_presets]
InterfaceBandwidth: CALC
"""
TOPOLOGY = (
    "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides,\nc,8,8,3,3,3,8,1,\n"
)
OWN = SystolicArray(
    8, 16, lowering="kernel-position", cycles_per_layer=500.5, weight_bytes_per_s=8e9,
    input_bytes_per_s=math.inf, cycles_per_run=100.5, col_stairs=0.25, dram_bytes_per_s=9e9,
)  # fmt: skip
"""An array with a bandwidth that is stated to have no limit."""


@pytest.fixture
def folder(networks, measured_csv):
    """A working folder with every file that the commands read."""
    for library in ("torch", "matplotlib"):
        pytest.importorskip(library)
    (networks / "array.cfg").write_text(CONFIG)
    (networks / "net.csv").write_text(TOPOLOGY)
    (networks / "costs.csv").write_text(COSTS)
    entries = {name: Entry(value, FIELD_UNITS[name], "assumed", "a guess") for name, value in OWN.as_dict().items()}
    write_device("own.toml", DeviceFile("own", "An array", (), entries))
    return networks


@pytest.mark.parametrize("name", COMMANDS)
def test_every_document_on_every_device_follows_its_schema(hwcost, folder, name):
    for command in COMMANDS[name]:
        code, out, err = hwcost(*shlex.split(command), "--json")
        assert code == 0, f"{command}: {err}"
        assert json.loads(out, parse_constant=pytest.fail)["schema"] == name


def test_every_schema_of_a_command_is_there():
    folders = (PROJECT / "hwcost" / "cli", PROJECT / "nas_plugin" / "cli")
    sources = [path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py")]
    found = {name for text in sources for name in re.findall(r'^\w*SCHEMA = "(.*)"', text, re.MULTILINE)}
    titles = {schema["title"] for schema in SCHEMAS.values()}
    assert found <= titles
    assert set(COMMANDS) | OF_SEARCHES == titles
    for stem, schema in SCHEMAS.items():
        assert schema["properties"]["schema"]["const"] == schema["title"]
        assert schema["title"].replace("/", "-") == stem
        versions = "settings" if schema["title"] in OF_SEARCHES else "version"
        assert {"schema", versions} <= set(schema["required"])


@pytest.mark.parametrize("stem", SCHEMAS)
def test_no_schema_depends_on_the_names_of_one_network_or_on_how_a_figure_was_rounded(stem):
    def walk(name, schema):
        kinds = {schema["type"]} if isinstance(schema.get("type"), str) else set(schema.get("type", ()))
        assert kinds != {"null"}, name
        if name.endswith(("_bytes", "_joules", "cycles", "seconds", "_watts", "_per_s", "utilization", "folds")):
            assert "integer" not in kinds, name
        for key, own in schema.get("properties", {}).items():
            assert re.fullmatch(r"[a-z0-9_ ]+", key), key  # some settings of a search have names of several words
            walk(key, own)
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                walk(name, schema[key])

    walk("", SCHEMAS[stem])


def test_a_document_that_lacks_a_field_or_has_another_is_refused(good, networks):
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(good("model", "lenet.csv", "--device", "gemmini", "--json"))
    for change in ({"rows": None}, {"more": 1}, {"left_out": "3"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document | change, SCHEMAS["hwcost.model-1"])
