"""Errors carry their facts, read as sentences, and survive a process boundary."""

from __future__ import annotations

import copy
import pickle

import pytest

from hwcost import InvalidValueError, MissingDependencyError, MixedLibrariesError, NoGradientError
from hwcost.errors import MISSING, Faults, InvalidValuesError, check_one_of, unknown

ERRORS = [
    InvalidValueError("Conv2d.stride", 0, "an integer of at least 1"),
    InvalidValueError("--input", MISSING, "a shape"),
    InvalidValueError("dataflow", "oss", ("ws", "os", "is")),
    InvalidValueError("dataflow", "oss", "one of: ws, os, is; or a Dataflow", names=("ws", "os", "is")),
    InvalidValueError("--dim", "batch=8", "leave it out", reason="the model has no dynamic sizes"),
    InvalidValueError("probs", "{b}", ("a", "c"), form=unknown("decision")),
    MissingDependencyError("scipy", "fit", "a fit"),
    MixedLibrariesError("numpy and torch"),
    NoGradientError("no gradient"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_travel(error, travel):
    again = travel(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("error", ERRORS[:6], ids=str)
def test_an_error_under_another_name_keeps_its_other_facts(error):
    moved = error.at("elsewhere")
    assert vars(moved) == vars(error) | {"field": "elsewhere"}
    assert str(moved) == str(error).replace(error.field, "elsewhere")
    assert vars(error.at("elsewhere", allowed="this")) == vars(moved) | {"allowed": "this", "names": ()}


def test_a_missing_value_is_not_shown_as_one():
    assert "'" not in str(InvalidValueError("--input", MISSING, "a shape"))
    assert str(InvalidValueError("--input", "missing", "a shape")).count("'") == 2


@pytest.mark.parametrize(
    ("value", "names", "offered"),
    [
        ("wss", ("ws", "os", "is"), "ws"),
        ("TPU-V1", ("tpu-v1", "gemmini"), "tpu-v1"),
        ("lenet", ("LeNet", "AlexNet"), "LeNet"),
        ("Ner", ("Net", "net"), "Net"),
        ("Ner", ("net", "Net"), "Net"),
        ("nex", ("Net", "net"), "net"),
        ("horse", ("ws", "os"), ""),
        (3, ("ws", "os"), ""),
        (MISSING, ("ws", "os"), ""),
    ],
)
def test_the_closest_name_is_offered(value, names, offered):
    error = InvalidValueError("field", value, names)
    assert (error.allowed, error.names) == (f"one of: {', '.join(names)}", names)
    assert ("did you mean" in str(error)) == bool(offered)
    question = f" (did you mean {offered!r}?)" if offered else ""
    if value is not MISSING:
        assert str(error) == f"field is {value!r}{question}; allowed: one of: {', '.join(names)}"


@pytest.mark.parametrize("value", ["fc3", "{field}", 3, MISSING])
@pytest.mark.parametrize("names", [("fc1", "conv"), ()])
def test_an_unknown_name_is_not_shown_as_the_value_of_the_field(value, names):
    with pytest.raises(InvalidValueError) as caught:
        check_one_of("options", value, names, what="width")
    error = caught.value
    assert (error.field, error.value, error.names) == ("options", value, names)
    assert error.allowed == ("one of: fc1, conv" if names else "none")
    question = " (did you mean 'fc1'?)" if value == "fc3" and names else ""
    assert str(error) == f"unknown width {value!r} in options{question}; known: {', '.join(names) or 'none'}"


# ---------------------------------------------------------------- all faults at once


def test_all_faults_of_a_command_line_are_told_at_once(hwcost, networks):
    lines = {
        "estimate --k x --c 8 --f y --s1 8 --s2 8": ["--k", "--f"],
        "estimate --k 5": ["--c", "--f", "--s1", "--s2"],
        "model lenet.csv --s1 8 --s2 8 --sort cyles --top x --clock fast": ["--clock", "--sort", "--top"],
        "advise lenet.csv --s1 8 --s2 0 --budget 2 --for x": ["--s2", "--budget", "--for"],
    }
    for line, options in lines.items():
        code, out, err = hwcost(*line.split())
        assert (code, out) == (2, "")
        told = [text.removeprefix("Error: ").split()[0] for text in err.splitlines()]
        assert sorted(told) == sorted(options)


def test_all_faults_of_a_device_file_are_told_at_once(hwcost, networks):
    entries = {
        "rows": 'value = 16\nunit = "rows"\nstatus = "guessed"\nsource = "me"',
        "cols": 'value = "16"\nunit = "PE"\nstatus = "assumed"\nsource = ""',
        "clock_hz": 'value = "400MHz"\nunit = "Hz"\nstatus = "assumed"\nsource = "me"',
    }
    text = 'schema = "hwcost.device/1"\nname = "mine"\nsummary = "x"\n'
    text += "".join(f"[array.{name}]\n{entry}\n" for name, entry in entries.items())
    (networks / "mine.toml").write_text(text)
    code, _, err = hwcost("model", "lenet.csv", "--device", "mine.toml")
    assert code == 2
    places = [line.split()[2] for line in err.splitlines()]
    assert places == [
        "array.rows.unit", "array.rows.status", "array.cols.value", "array.cols.source", "array.clock_hz.value",
        "array.dataflow", "array.fold_timing",
    ]  # fmt: skip


def test_several_faults_are_one_error_that_can_be_pickled():
    faults = Faults()
    for name in ("a", "b", "a"):
        with faults.caught():
            raise InvalidValueError(name, 0, "1")
    with pytest.raises(InvalidValuesError) as caught:
        faults.check()
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value) == "a is 0; allowed: 1\nb is 0; allowed: 1"
    assert (error.field, [each.field for each in error.errors]) == ("a", ["a", "b"])
    assert str(error.at("c")) == "c is 0; allowed: 1\nb is 0; allowed: 1"


def test_a_file_without_a_name_lists_what_is_there(refused, networks):
    (networks / "net.py").write_text(
        "import torch\nclass Net(torch.nn.Module): pass\ndef make(): ...\ndef _own(): ...\n"
    )
    usual = ("--device", "gemmini", "--input", "1,3")
    assert "like net.py:Net; it has Net, make" in refused("model", "net.py", *usual)
    (networks / "broken.py").write_text("class (\n")
    assert "broken.py:NAME" in refused("model", "broken.py", *usual)
    assert "--devices tpu-v1,gemmini" in refused("compare", "lenet.csv", "--device", "tpu-v1,gemmini")
