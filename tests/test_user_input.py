"""What users bring: names of any length, and models whose code prints past Python or ends the process."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

NAME = "encoder." + "n" * 5000 + ".last"
SOURCES = {
    "layers.csv": f"name,kind,c,f\n{NAME},linear,30,12\n",
    "layers.toml": f'name = "{NAME}"\n[[layer]]\nname = "{NAME}"\nkind = "linear"\nc = 30\nf = 12\n',
    "topology.csv": "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, "
    f"Strides,\n{NAME}, 9, 7, 3, 3, 2, 6, 1,\n",
}
COMMANDS = {
    "model": "--s1 8 --s2 8",
    "advise": "--s1 8 --s2 8 --layers",
    "compare": "--devices gemmini,tpu-v1",
    "sweep": "--rows 1:8 --cols 1:8",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("source", SOURCES)
def test_long_names_leave_tables_readable(good, tmp_path, monkeypatch, source, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / source).write_text(SOURCES[source])
    piped = good(command, source, *COMMANDS[command].split())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    out = good(command, source, *COMMANDS[command].split())
    assert max(map(len, out.splitlines())) < 350
    if command in ("model", "advise"):
        assert re.search(r"\be\S*\.\.\.n+\.last", out)
        assert NAME not in out
        assert NAME in piped
    if command == "model":
        (row,) = json.loads(good(command, source, "--s1", 8, "--s2", 8, "--json"))["rows"]
        assert row["name"] == NAME


@pytest.mark.parametrize("source", SOURCES)
def test_long_names_leave_errors_and_pictures_readable(refused, hwcost, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / source).write_text(SOURCES[source])
    (tmp_path / "bad" / source).write_text(SOURCES[source].replace("12", "x").replace(" 6,", " x,"))
    refused("model", f"bad/{source}", "--s1", 8, "--s2", 8)
    code, out, err = hwcost("advise", source, "--s1", 8, "--s2", 8, "--take", "nothing=3", "--to-csv", "out.csv")
    assert (code, out) == (2, "")
    assert len(err) < 1000
    code, _, err = hwcost("model", source, "--s1", 8, "--s2", 8, "--plot", "a.svg", "--html", "a.html")
    assert (code, err) == (0, "wrote a.svg\nwrote a.html\n")
    assert "n" * 100 not in (tmp_path / "a.svg").read_text()


LOUD = """
import os, sys
from torch import nn

os.write(1, b"one ")
os.system("echo two")
print("three")

class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)

    def forward(self, x):
        os.write(1, b"four ")
        return super().forward(x)
"""


MODEL = ("--input", "1,4", "--s1", 8, "--s2", 8, "--json")


@pytest.fixture
def model(hwcost, tmp_path, monkeypatch):
    """Runs ``hwcost model`` on a module with a text in the place of another: exit code, stdout, stderr."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)

    def run(before="", after=""):
        (tmp_path / "own.py").write_text(LOUD.replace(before, after))
        return hwcost("model", "own.py:Net", *MODEL)

    return run


def test_what_a_model_prints_past_python_is_no_result(model):
    code, out, err = model()
    assert code == 0
    assert json.loads(out)["total"]["macs"] == 8
    assert sorted(set(err.split())) == ["four", "one", "three", "two"]


@pytest.mark.parametrize("end", ["os._exit(0)", "os._exit(3)", "sys.exit(0)", "sys.exit('enough')"])
@pytest.mark.parametrize("place", ["one", "four"])
def test_a_model_cannot_end_the_command(model, place, end):
    before = os._exit
    code, out, err = model(f'os.write(1, b"{place} ")', end)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("Error: ")
    assert "SystemExit" in err.splitlines()[-1]
    assert os._exit is before


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX warns of it, if another test has loaded it
def test_a_child_of_a_model_ends_as_it_wants(model):
    child = "if (pid := os.fork()) == 0:\n    os._exit(7)\nassert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7"
    assert model('os.write(1, b"one ")', child)[0] == 0
