"""Every document of --json has a schema; the fixture that runs commands checks each against it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
SCHEMAS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (PROJECT / "docs" / "schemas").iterdir()}
COMMANDS = {
    "hwcost.estimate-1": "estimate --k 5 --c 6 --f 16 --s1 8 --s2 8",
    "hwcost.topology-1": "estimate --scalesim-topology net.csv --scalesim-config array.cfg",
    "hwcost.model-1": "model lenet.csv --device gemmini",
    "hwcost.model-buffers-1": "model lenet.csv --s1 8 --s2 8 --buffer 8k,64k --energy 45nm-textbook",
    "hwcost.compare-1": "compare lenet.csv residual.csv --devices gemmini,tpu-v1",
    "hwcost.advise-1": "advise lenet.csv --s1 16 --s2 16 --budget 0.8",
    "hwcost.sweep-1": "sweep lenet.csv --rows 8,16 --cols 8,16 --buffer 16k:64k",
    "hwcost.table-1": "table lenet.csv --s1 8 --s2 8 --widths conv1.out_channels --step 2",
    "hwcost.devices-1": "devices show gemmini",
    "hwcost.plot-1": "plot ceiling -o ceiling.png",
}
"""A command for each schema, but for those that take long: calibrate and prune, whose own tests check theirs."""
ELSEWHERE = {"hwcost.calibrate-1", "hwcost.prune-1"}
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


@pytest.mark.parametrize("name", COMMANDS)
def test_a_document_follows_its_schema(good, networks, name):
    (networks / "array.cfg").write_text(CONFIG)
    (networks / "net.csv").write_text(TOPOLOGY)
    document = json.loads(good(*COMMANDS[name].split(), "--json"))
    assert document["schema"].replace("/", "-") == name


def test_every_schema_of_a_command_is_there():
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "hwcost" / "cli").rglob("*.py")]
    found = (name for text in sources for name in re.findall(r'^SCHEMA = "(.*)"', text, re.MULTILINE))
    named = {name.replace("/", "-") for name in found}
    assert named <= set(SCHEMAS)
    assert set(COMMANDS) | ELSEWHERE == set(SCHEMAS)
    for schema in SCHEMAS.values():
        assert schema["properties"]["schema"]["const"] == schema["title"]
        assert {"schema", "version"} <= set(schema["required"])


def test_a_document_that_lacks_a_field_or_has_another_is_refused(good, networks):
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(good(*COMMANDS["hwcost.model-1"].split(), "--json"))
    for change in ({"rows": None}, {"more": 1}, {"left_out": "3"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document | change, SCHEMAS["hwcost.model-1"])
