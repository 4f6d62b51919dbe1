"""``hwcost prune``: what it prints and writes, how it goes on where it was stopped, and what it refuses."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
from running import started  # noqa: E402

from hwcost import (  # noqa: E402
    InvalidValueError,
    MeasuredCosts,
    SystolicArray,
    from_torch,
    network_cost,
    read_costs,
    tabulate,
    write_costs,
)
from hwcost.cli.prune import IMPORTANCE  # noqa: E402
from hwcost.cli.shared.trained import read_source  # noqa: E402
from hwcost.importers.torch import load_model  # noqa: E402
from hwcost.importers.torch.loading import load_object  # noqa: E402
from hwcost.pruning.exporting import export_onnx  # noqa: E402
from hwcost.pruning.importance import SCORES  # noqa: E402
from hwcost.pruning.valuing import CURVES  # noqa: E402
from hwcost.torch import prune, pruned  # noqa: E402

FILE = """
import os
import signal

import torch
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        convs = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1)
        super().__init__(*convs, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(6, 16), nn.Linear(5, 16), nn.Linear(16, 2)

    def forward(self, one, other):
        return self.out((self.a(one) + self.b(other)).relu())


def made():
    torch.manual_seed(3)
    return Net()


fixed, number = made(), 7


def data():
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (96,), generator=random)
    pictures = torch.randn(96, 3, 8, 8, generator=random)
    pictures[torch.arange(96), labels % 3] += 1.0 + labels.float()[:, None, None]
    images = torch.utils.data.TensorDataset(pictures, labels)
    return torch.utils.data.DataLoader(images, 16, shuffle=True)


held_out = [next(iter(data()))]
held_out_as_one = held_out[0]
calls = 0


def loss(outputs, targets):
    global calls
    calls += 1
    if calls == int(os.environ.get("KILL_AT", 0)):
        if "KILL" not in os.environ:
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGKILL)
    with open("calls", "ab") as file:
        file.write(b".")
    return nn.functional.cross_entropy(outputs, targets)


def bad(outputs, targets):
    return outputs[number * number, targets]


class Skip(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


class Deep(nn.Sequential):
    def __init__(self):
        skips = [Skip(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()) for _ in range(3)]
        skips[1][1].weight.data.fill_(1e-5)
        stem, head = nn.Conv2d(3, 16, 3, padding=1), (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
        super().__init__(stem, nn.BatchNorm2d(16), nn.ReLU(), *skips, *head)
"""
BASE = "net.py:Net --weights w.safetensors --input 1,3,8,8 --s1 8 --s2 8"
DATA = f"{BASE} --data net.py:data --held-out net.py:held_out --loss net.py:loss --target 0.5"
TUNED = f"{DATA} --fine-tune 3"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a module, its weights and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(FILE)
    torch.manual_seed(0)
    safetensors.save_model(load_model("net.py", "Net", with_values=True), "w.safetensors")
    return tmp_path


@pytest.fixture
def run(hwcost, folder):
    return lambda command: hwcost("prune", *shlex.split(command))


@pytest.fixture
def no(refused, folder):
    return lambda command: refused("prune", *shlex.split(command))


@pytest.fixture
def document(run):
    """The document of a run that works."""

    def call(command):
        code, out, err = run(f"{command} --json")
        assert code == 0, err
        return json.loads(out)

    return call


def calls(folder):
    """How often the loss was computed since the last time."""
    path = folder / "calls"
    count = len(path.read_bytes()) if path.exists() else 0
    path.unlink(missing_ok=True)
    return count


def contents(folder):
    """The files of a folder, but for its lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


# ---------------------------------------------------------------- the result


def test_the_report_has_the_floor_first_and_everything_after(run):
    code, out, err = run(f"{TUNED} --out run")
    assert (code, err) == (0, "")
    order = [
        "Net on 8 x 8, weight stationary", "% of the cycles are left with every width at its least size",
        "\nlimit        target 0.5: ",
        "\ncycles ", "\nheld-out examples", "original", "pruned, norms re-estimated", "fine-tuned, 3 epochs",
        "\nwidth ", "\nlayer ",
        "left alone", "an output of the network", "numbers to change in the code:", "  0: out_channels 16 -> ",
    ]  # fmt: skip
    places = [out.index(each) for each in order]
    assert places == sorted(places)


def test_the_document_is_what_python_finds(document, folder):
    found = document(f"{TUNED} --out run")
    model = load_model("net.py", "Net", with_values=True)
    model.load_state_dict(safetensors.load_file("w.safetensors"))
    data, loss, held_out = (load_object("net.py", name, made=name == "data") for name in ("data", "loss", "held_out"))
    image = torch.zeros(1, 3, 8, 8)
    result = prune(model, image, SystolicArray(8, 8), target=0.5, data=data, loss=loss, held_out=held_out)
    result.fine_tune(epochs=3)
    assert found["schema"] == "hwcost.prune/1"
    expected = json.loads(json.dumps(result.report.as_dict()))
    for key in ("widths", "stages", "after", "before", "layers", "limit_cycles", "floor_cycles", "left_alone"):
        assert found[key] == expected[key], key
    small = pruned("run", load_model("net.py", "made", with_values=True))
    assert all(torch.equal(a, b) for a, b in zip(small.parameters(), result.model.parameters(), strict=True))
    priced = network_cost(from_torch(small, example_inputs=image), SystolicArray(8, 8)).total.cycles
    assert priced == found["after"]["cycles"] <= 0.5 * found["before"]["cycles"]
    assert found["changed_numbers"]["0"]["out_channels"] == [16, small[0].out_channels]
    assert found["files"] == {"out": "run", "onnx": None, "plot": None}
    report = json.loads((folder / "run" / "report.json").read_text())
    assert report == {key: each for key, each in found.items() if key not in ("schema", "version", "files")}


@pytest.mark.parametrize("limit", ["--cycles 1500", "--seconds 1.5e-6", "--cycles 1500 --clock 2GHz"])
def test_limits_of_every_kind(document, limit):
    found = document(f"{BASE} {limit}")
    assert 0.97 * 1500 <= found["after"]["cycles"] <= 1500 == found["limit_cycles"]


def test_what_is_asked_of_widths(document):
    found = document(f"{BASE} --target 0.8 --keep 0 --multiple 4 --least 0.5 --importance norm --seed 3")
    assert set(found["widths"]) == {"3"}
    assert found["widths"]["3"]["after"] % 4 == 0
    assert found["left_alone"]["0"] == "kept as asked"
    settings = {"importance": "norm", "keep": ["0"], "least": 0.5, "multiple": 4, "seed": 3}
    assert settings.items() <= found["settings"].items()
    assert (CURVES, *SCORES) == IMPORTANCE


def test_where_pytorch_computes(run, no, document):
    assert document(f"{BASE} --target 0.8 --torch-device cpu")["settings"]["device"] == "cpu"
    for device in ("meta", "nowhere", "cuda:77", "mps:x"):
        line = no(f"{BASE} --target 0.8 --torch-device {device}")
        assert "--torch-device" in line
        assert "one that this machine has: cpu, cuda" in line
        assert "Error: " not in line.removeprefix("Error: ")  # no name of an exception
        assert "xla" not in line  # nor what PyTorch knows elsewhere


def test_a_module_and_its_inputs_are_on_the_device(folder):
    there, here = (read_source("net.py:Net", ["1,3,8,8"], "w.safetensors", 0, torch.device(name))
                   for name in ("meta", "cpu"))  # fmt: skip
    assert {each.device.type for each in there.model.state_dict().values()} == {"meta"}
    assert [each.device.type for each in there.inputs] == ["meta"]
    assert there.network.widths == here.network.widths
    assert {each.device.type for each in here.model.state_dict().values()} == {"cpu"}


def test_inputs_by_name_and_several(document):
    by_place = document("net.py:Two --input 1,6 --input 1,5 --s1 8 --s2 8 --target 0.7")
    by_name = document("net.py:Two --input 1,6 --input other=1,5 --s1 8 --s2 8 --target 0.7")
    assert by_place["widths"] == by_name["widths"] == {"a": {"before": 16, "after": 8}}


@pytest.mark.parametrize(
    ("source", "words"),
    [("Net", "THE WEIGHTS ARE RANDOM"), ("made", "those that made() gives"), ("fixed", ""), ("Net --weights", "")],
)
def test_weights_that_nobody_gave_are_said_loudly(run, source, words):
    source = source.replace("--weights", "--weights w.safetensors")
    command = f"net.py:{source} --input 1,3,8,8 --s1 8 --s2 8 --target 0.8"
    code, out, err = run(command)
    assert (code, err) == (0, "")
    assert out.count("knows nothing of the task") == 1
    assert not words or out.count(words) == 1
    code, out, err = run(f"{command} --json")
    notes = [line for line in err.splitlines() if line.startswith("Note: ")]
    assert notes[-1].startswith("Note: NO DATA")
    assert len(notes) == 1 + bool(words)
    assert words in notes[0]
    assert words in " ".join(json.loads(out)["notes"])


def test_a_picture_and_an_onnx_file(run, folder):
    pytest.importorskip("matplotlib")
    pytest.importorskip("onnxscript")
    from hwcost import from_onnx

    code, _, err = run(f"{BASE} --target 0.5 --out run --plot a.svg --onnx a.onnx")
    assert code == 0, err
    found = json.loads((folder / "run" / "report.json").read_text())
    array = SystolicArray(8, 8)
    assert network_cost(from_onnx("a.onnx"), array).total.cycles == found["after"]["cycles"]
    files = {name: (folder / name).read_bytes() for name in ("a.svg", "a.onnx")}
    assert run(f"{BASE} --target 0.5 --out run --plot b.svg --onnx b.onnx")[0] == 0  # from the folder
    assert (folder / "b.svg").read_bytes() == files["a.svg"]
    assert network_cost(from_onnx("b.onnx"), array).total.cycles == found["after"]["cycles"]
    small = pruned("run", load_model("net.py", "made", with_values=True))
    with pytest.raises(InvalidValueError, match="and the module 7"):
        export_onnx(small, [torch.zeros(1, 3, 8, 8)], "c.onnx", array, 7)
    assert not (folder / "c.onnx").exists()


# ---------------------------------------------------------------- going on


def killed(folder, command, at):
    """The command in a process of its own, which kills itself at a call of the loss: whether it did."""
    script, environment = folder / "script.py", {"KILL_AT": str(at), "KILL": ""}
    script.write_text("import sys; from hwcost.cli import main; sys.exit(main(sys.argv[1:]))")
    process = started(script, "prune", *shlex.split(command), out=folder / "out", folder=folder, env=environment)
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.fixture
def stopped(run, monkeypatch):
    """A command that is interrupted, as by Ctrl-C, at a call of the loss: its exit code, and what it says."""

    def call(command, at):
        with monkeypatch.context() as patch:
            patch.setenv("KILL_AT", str(at))
            return run(command)

    return call


def test_a_run_that_was_killed_twice_ends_with_the_same_bytes(run, folder):
    code, text, err = run(f"{TUNED} --out whole")
    assert (code, err) == (0, "")
    whole = calls(
        folder
    )  # 6 batches for scores, then measurements, 2 stages, both networks and the first one with new norms,
    # 3 epochs of 6 batches, 1 stage with old norms and with new ones
    measurements = whole - 6 - 2 - 3 - 18 - 2
    command = f"{TUNED} --out run"
    assert killed(folder, command, at=6 + 4)  # in the fourth measurement
    assert calls(folder) == 6 + 3
    assert sorted(contents(folder / "run")) == ["losses.json", "run.json"]
    assert killed(folder, command, at=whole - 3 - 5)  # in the third epoch
    assert "fine-tuning" in contents(folder / "run")
    assert calls(folder) == 6 + measurements - 3 + 5 + 12 + 2
    found = run(command)
    assert found == (0, text, ""), found
    assert calls(folder) == 6 + 5 + 6 + 2
    assert contents(folder / "run") == contents(folder / "whole")
    assert sorted(contents(folder / "run")) == ["recipe.json", "report.json", "run.json", "weights.safetensors"]


def test_a_finished_folder_is_printed_and_nothing_is_computed(run, folder):
    command = f"{DATA} --out run"
    first, _ = run(command), calls(folder)
    before = contents(folder / "run")
    assert run(command) == first
    assert calls(folder) == 0
    assert contents(folder / "run") == before


def test_control_c_ends_with_130_and_how_to_go_on(stopped, folder):
    code, out, err = stopped(DATA, at=6 + 4)
    assert (code, out) == (130, "")
    assert err == "Note: stopped; with --out FOLDER a run can go on from where it was stopped\n\n"
    code, out, err = stopped(f"{DATA} --out run", at=6 + 4)
    assert (code, out) == (130, "")
    assert err == "Note: stopped; run the same command again with --out run to go on\n\n"
    assert sorted(contents(folder / "run")) == ["losses.json", "run.json"]


def test_the_fine_tuning_may_change_until_it_has_begun(run, stopped, no):
    assert stopped(f"{TUNED} --out run", at=6 + 4)[0] == 130
    assert run(f"{TUNED} --learning-rate 0.01 --out run")[0] == 0
    assert "another learning rate: 0.01, not 0.05" in no(f"{TUNED} --out run")


def edited(name, old, new):
    def change(folder):
        path = folder / name
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))

    return change


def other_weights(folder):
    state = safetensors.load_file(folder / "w.safetensors")
    safetensors.save_file({name: each + 1 for name, each in state.items()}, folder / "w.safetensors")


CHANGED = "run.json cannot be used: it was changed after it was written"
OTHERS = {
    "another target": (lambda folder: None, "another target: 0.5, not 0.4", DATA.replace("0.5", "0.4")),
    "another array": (lambda folder: None, "another array", DATA.replace("--s2 8", "--s2 4")),
    "another seed": (lambda folder: None, "another seed: 0, not 1", f"{DATA} --seed 1"),
    "an edited program": (edited("net.py", b"16,", b"16, "), "another file of model", DATA),
    "other weights": (other_weights, "another weights", DATA),
    "edited settings": (edited("run/run.json", b'"seed": 0', b'"seed": 1'), CHANGED, DATA),
    "half a file": (lambda folder: (folder / "run/run.json").write_bytes(b'{"a'), "it is not JSON", DATA),
    "an edited report": (edited("run/report.json", b'"cycles"', b'"Cycles"'), "report.json is not as", DATA),
    "damaged weights": (edited("run/weights.safetensors", b"F32", b"I32"), "weights.safetensors is not as", DATA),
    "no recipe": (lambda folder: (folder / "run/recipe.json").unlink(), "cannot be read", DATA),
    "another version": (edited("run/run.json", b"-run/1", b"-run/2"), "it is not of schema", DATA),
}


@pytest.mark.parametrize("name", OTHERS)
def test_folders_of_others_and_damaged_ones_are_refused(run, no, folder, name):
    change, words, command = OTHERS[name]
    assert run(f"{DATA} --out run")[0] == 0
    change(folder)
    line = no(f"{command} --out run")
    assert words in line
    assert "--out" in line
    assert "delete" not in line


def test_losses_that_were_edited_or_belong_to_another_run(no, stopped, folder):
    assert stopped(f"{DATA} --out run", at=6 + 4)[0] == 130
    assert stopped(f"{DATA} --seed 1 --out other", at=6 + 4)[0] == 130
    (folder / "other" / "losses.json").replace(folder / "run" / "losses.json")
    assert "losses.json is of another run" in no(f"{DATA} --out run")


def test_losses_that_were_edited_and_folders_of_something_else(no, stopped, folder):
    assert stopped(f"{DATA} --out run", at=6 + 4)[0] == 130
    path = folder / "run" / "losses.json"
    content = path.read_text()
    path.write_text(content.replace('": 1.', '": 2.', 1))
    assert "losses.json cannot be used: it was changed after it was written" in no(f"{DATA} --out run")
    (folder / "other").mkdir()
    (folder / "other" / "a.txt").write_text("mine")
    line = no(f"{DATA} --out other")
    assert "it holds other files, like 'a.txt'" in line


def test_two_processes_do_not_write_into_one_folder(run, no, stopped, folder):
    assert stopped(f"{DATA} --out run", at=6 + 4)[0] == 130
    before = contents(folder / "run")
    holder = (
        "import sys\nfrom hwcost.pruning.folder import lock_of\nlock = lock_of('run')\n"
        "print('held', flush=True)\nsys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", holder], cwd=folder, **pipes) as other:
        assert other.stdout.readline() == "held\n"
        line = no(f"{DATA} --out run")
        assert "--out 'run' cannot be written: another process works in it" in line
        assert contents(folder / "run") == before
        other.stdin.close()
    assert run(f"{DATA} --out run")[0] == 0
    assert run(f"{DATA} --out run")[0] == 0  # it is free again


# ---------------------------------------------------------------- depth

DEEP = "net.py:Deep --input 1,3,8,8 --s1 256 --s2 256 --data net.py:data --held-out net.py:held_out --loss net.py:loss"
DEEP += " --target 0.76 --depth"


def test_blocks_that_go_are_in_the_document_and_the_text(document, run, folder):
    found = document(f"{DEEP} --fine-tune 1 --out run")
    torch.manual_seed(0)
    model = load_model("net.py", "Deep", with_values=True)
    data, held_out = (load_object("net.py", name, made=name == "data") for name in ("data", "held_out"))
    image, array = torch.zeros(1, 3, 8, 8), SystolicArray(256, 256)
    result = prune(model, image, array, target=0.76, data=data, held_out=held_out, depth=True)
    assert found["depth"] == json.loads(json.dumps(result.report.as_dict()["depth"]))
    assert found["depth"]["dropped"] == list(result.dropped)
    assert result.dropped
    small = pruned("run", load_model("net.py", "Deep", with_values=True))
    assert network_cost(from_torch(small, example_inputs=image), array).total.cycles == found["after"]["cycles"]
    code, text, _ = run(f"{DEEP} --fine-tune 1 --out run")
    assert code == 0
    assert "blocks to leave out of the code:\n  " + "\n  ".join(result.dropped) in text


def test_a_run_that_drops_blocks_goes_on_to_the_same_bytes(run, folder):
    code, text, err = run(f"{DEEP} --fine-tune 1 --out whole")
    assert code == 0
    whole = calls(folder)
    command = f"{DEEP} --fine-tune 1 --out run"
    assert killed(folder, command, at=3)  # while blocks are measured
    assert killed(folder, command, at=whole // 2)
    assert "losses.json" in contents(folder / "run")
    assert run(command) == (0, text, err)
    assert contents(folder / "run") == contents(folder / "whole")
    calls(folder)
    assert run(command)[:2] == (0, text)
    assert calls(folder) == 0


def test_a_picture_and_an_onnx_file_without_blocks(run, folder):
    pytest.importorskip("matplotlib")
    pytest.importorskip("onnxscript")
    code, _, err = run(f"{DEEP} --out run --plot a.svg --onnx a.onnx")
    assert code == 0, err
    assert "dropped" in (folder / "a.svg").read_text()
    assert run(f"{DEEP} --out run --onnx b.onnx")[0] == 0  # from the folder


def test_depth_needs_examples_and_a_folder_is_of_one_depth(run, no, folder):
    line = no("net.py:Deep --input 1,3,8,8 --s1 32 --s2 32 --target 0.7 --depth")
    assert "--depth" in line
    assert "there are no data" in line
    assert run(f"{DEEP} --out run")[0] == 0
    assert "another depth: True, not False" in no(f"{DEEP.replace(' --depth', '')} --out run")


# ---------------------------------------------------------------- what is refused


def test_weights_that_do_not_fit(no, folder):
    state = safetensors.load_file("w.safetensors")
    others = {name: each for name, each in state.items() if not name.startswith("0.")}
    safetensors.save_file({"b": torch.zeros(1), **others}, "names.safetensors")
    safetensors.save_file({**state, "0.weight": torch.zeros(16, 3, 1, 1)}, "shapes.safetensors")
    torch.save(state, "pickle.safetensors")
    (folder / "text.safetensors").write_text("weights")
    for name, words in {
        "names": "the file has no '0.weight', '0.bias'; the module has no 'b'",
        "shapes": "'0.weight' is (16, 3, 1, 1) in the file, and (16, 3, 3, 3) in the module",
        "pickle": "a pickle, which may run any code",
        "text": "no file of safetensors",
        "nothing": "cannot be read",
    }.items():
        line = no(BASE.replace("w.saf", f"{name}.saf") + " --target 0.5")
        assert words in line
        assert "--weights" in line


TOGETHER = {
    "--fine-tune 3": "there are no data",
    "--importance taylor": "it needs data",
    "--loss net.py:loss": "there are no data",
    "--distil 0.5": "there is no fine-tuning",
    "--learning-rate 0.1": "there is no fine-tuning",
    "--cycles 100": "--target is given",
    "--data net.py:number": "a loader or a list",
    "--data net.py:nothing": "unknown name 'nothing' in net.py; known:",
    "--data net.py:data --loss net.py:number": "a function of outputs and targets",
    "--data net.py:data --loss net.py:bad": "line 59 of net.py raises IndexError",
    "--held-out net.py:Two": "a loader or a list",
    "--keep nope": "names of widths or modules",
    "--keep 0 --keep 3": "every width would stay; leave out at least one of: 0, 3",
    "--least 1": "with 1 no width has a smaller size; at most 0.937, with which '0' may have 15 instead of 16",
    "--multiple 24": "no width has a smaller multiple of 24; less than 24, the size of the largest width",
    "--data net.py:held_out_as_one": "--data cannot be used: they are one batch, and no list of batches; a list of",
}


@pytest.mark.parametrize("more", TOGETHER)
def test_options_that_do_not_go_together(no, more):
    line = no(f"{BASE} --target 0.5 {more}")
    assert TOGETHER[more] in line
    assert shlex.split(more)[-2] in line or "bad" in more


def test_a_frozen_module_is_not_tuned_and_refused_before_anything_is_measured(no, folder):
    (folder / "net.py").write_text(
        FILE.replace("nn.Linear(24, 4))", "nn.Linear(24, 4))\n        self.requires_grad_(False)")
    )
    assert "all of its parameters are frozen" in no(TUNED)
    assert calls(folder) == 0


def test_a_limit_below_the_floor_is_refused_before_anything_is_measured(no, folder):
    line = no(f"{DATA.replace('0.5', '0.01')} --out run")
    assert "no widths can save the rest" in line
    assert "--target" in line
    assert calls(folder) == 0
    assert not (folder / "run").exists()


@pytest.mark.parametrize("source", ["net.onnx", "net.py", "net.csv"])
def test_only_modules_are_pruned(no, source):
    assert "only modules of PyTorch" in no(f"{source} --input 1,3,8,8 --s1 8 --s2 8 --target 0.5")
    assert "--target" in no("net.py:Net --input 1,3,8,8 --s1 8 --s2 8")
    assert "pass inputs that it takes\n" in no("net.py:Net --input 0,3 --s1 8 --s2 8 --target 0.5")
    assert "--input" in no("net.py:Net --s1 8 --s2 8 --target 0.5")


def test_an_operation_without_a_price_is_named(no, folder):
    (folder / "own.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Own(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.fc = nn.Linear(8, 8)\n\n    def forward(self, x):\n"
        "        return torch.fft.fft(self.fc(x)).real\n"
    )
    assert "fft" in no("own.py:Own --input 1,8 --s1 8 --s2 8 --target 0.5")


# ---------------------------------------------------------------- measured costs


@pytest.fixture
def table(folder):
    """Measured times: of an array, some of them exchanged, so that they do not rise with the width."""
    costs = tabulate(from_torch(load_model("net.py", "Net"), (1, 3, 8, 8)), SystolicArray(8, 8), step=2, least=0)
    rows = costs.layers["0"].copy()
    rows[:-1, 2] = rows[-2::-1, 2]
    write_costs("times.csv", MeasuredCosts({**costs.layers, "0": rows}, "cycles"))
    text = (folder / "times.csv").read_text().replace("cycles", "us")
    (folder / "times.csv").write_text(text)
    return "net.py:Net --weights w.safetensors --input 1,3,8,8 --table times.csv --target 0.6 --importance magnitude"


def test_a_module_is_pruned_by_measured_times(run, document, folder, table):
    found = document(table)
    costs = read_costs("times.csv")
    assert found["measure"] == "seconds"
    assert found["after"]["seconds"] <= found["limit_seconds"] == pytest.approx(0.6 * found["before"]["seconds"])
    network = from_torch(load_model("net.py", "Net"), (1, 3, 8, 8))
    sizes = {name: own["after"] for name, own in found["widths"].items()}
    assert costs.report(network.at(sizes)).total.seconds == pytest.approx(found["after"]["seconds"])
    code, text, _ = run(table)
    assert code == 0
    assert text.startswith("Net on times.csv: measured costs,")
    assert "cycles" not in text.partition("layer ")[0]


def test_a_run_by_a_table_goes_on_only_with_that_table(run, no, folder, table):
    first = run(f"{table} --out run")[:2]
    assert run(f"{table} --out run")[:2] == first
    (folder / "times.csv").write_text((folder / "times.csv").read_text().replace("0,3,16,", "0,3,16,1"))
    assert "another array" in no(f"{table} --out run")


def test_options_that_do_not_go_with_a_table(no, table):
    assert "--device" in no(f"{table} --device gemmini")
    assert "--onnx" in no(f"{table} --onnx a.onnx")
    assert "--plot" in no(f"{table} --plot a.png")
    assert "--cycles" in no(table.replace("--target 0.6", "--cycles 100"))
    assert "line 2" in no(table.replace("times.csv", _broken()))


def _broken():
    with open("broken.csv", "w") as file:
        file.write("layer,in,out,ms\n0,3,0,1\n")
    return "broken.csv"
