"""``nas-plugin search FILE.py:NAME``: what it finds, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import os
import shlex

import numpy as np
import pytest
import safetensors.torch
import torch
from documents import checked_document
from PIL import Image
from running import started

from hwcost import InvalidValueError, SystolicArray, from_torch, network_cost
from hwcost.importers.torch import load_model
from hwcost.pruning.folder import lock_of
from hwcost.pruning.images import ImageFolder, examples_of, folder_digest
from hwcost.torch import pruned
from nas_plugin.cli import main

FILE = """
import os
import signal

import torch
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        convs = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1)
        super().__init__(*convs, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4))


class Images(torch.utils.data.Dataset):
    count = 0

    def __init__(self):
        random = torch.Generator().manual_seed(0)
        self.labels = torch.randint(4, (400,), generator=random)
        self.pictures = torch.randn(400, 3, 8, 8, generator=random)
        self.pictures[torch.arange(400), self.labels % 3] += 1.0 + self.labels.float()[:, None, None]

    def __len__(self):
        return 400

    def __getitem__(self, place):
        Images.count += 1
        if Images.count == int(os.environ.get("KILL_AT", 0)):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.pictures[place], self.labels[place]


def loader():
    return torch.utils.data.DataLoader(Images(), 20, shuffle=True)


held_out = [next(iter(loader()))]
"""
BASE = "net.py:Net --weights w.safetensors --input 1,3,8,8 --array 8x8 --train-epochs 1"
OF = {"prune": "", "one-shot": "--epochs 2 --candidates 6", "darts": "--epochs 2"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a module and its weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(FILE)
    torch.manual_seed(0)
    safetensors.torch.save_model(load_model("net.py", "Net", with_values=True), "w.safetensors")
    return tmp_path


@pytest.fixture
def run(capfd, folder):
    def call(command):
        code = main(["search", *shlex.split(command)])
        captured = capfd.readouterr()
        if code == 0 and "--json" in command:
            checked_document(captured.out)
        return code, captured.out, captured.err

    return call


@pytest.fixture
def no(run):
    """The message of a command that is refused."""

    def call(command):
        code, out, err = run(command)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
        return err.splitlines()[-1]

    return call


def contents(path):
    """The files of a folder, but for its lock."""
    files = [each for each in path.rglob("*") if each.is_file() and each.name != ".lock"]
    return {str(each.relative_to(path)): each.read_bytes() for each in files}


# ---------------------------------------------------------------- what it finds


@pytest.mark.parametrize("method", OF)
def test_every_limit_is_kept_and_every_network_is_in_the_folder(run, folder, method):
    code, out, err = run(
        f"{BASE} --data net.py:Images --method {method} {OF[method]} --target 0.75 --target 0.5 --out run"
    )
    assert code == 0, err
    assert err.startswith("Note: floor: with every width at its least size ")
    assert "40 of 400 examples are held out" in err
    lines = out.splitlines()
    assert lines[0] == f"Net on 8 x 8, weight stationary, ideal folds, by {method}"
    assert (out + err).count("floor") == 1
    assert lines[-1] == "Run folder: run"
    today = network_cost(from_torch(load_model("net.py", "Net"), (1, 3, 8, 8)), SystolicArray(8, 8)).total.cycles
    document = json.loads((folder / "run" / "report.json").read_text())
    assert [each["limit"] for each in document["results"]] == ["0.75", "0.5"]
    for share, found in zip((0.75, 0.5), document["results"], strict=True):
        small = pruned(folder / "run" / found["folder"], load_model("net.py", "Net", with_values=True))
        cycles = network_cost(from_torch(small, (1, 3, 8, 8)), SystolicArray(8, 8)).total.cycles
        assert cycles == found["after"]["cycles"] <= share * today
        assert len(found["stages"]) == 3
        assert (folder / "run" / found["folder"] / "network.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(each.name for each in (folder / "run").iterdir()) == [
        ".lock", "report.json", "run.json", "target-0.5", "target-0.75",
    ]  # fmt: skip
    code, again, err = run(
        f"{BASE} --data net.py:Images --method {method} {OF[method]} --target 0.75 --target 0.5 --out run"
    )
    assert (code, again) == (0, out)  # nothing is computed
    assert "batches" not in err
    code, again, _ = run(
        f"{BASE} --data net.py:Images --method {method} {OF[method]} --target 0.75 --target 0.5 --out run --json"
    )
    assert (code, json.loads(again)["results"]) == (0, document["results"])


@pytest.mark.parametrize("method", OF)
def test_a_run_that_was_killed_ends_with_the_same_bytes(folder, run, method):
    command = f"{BASE} --data net.py:Images --method {method} {OF[method]} --target 0.75 --target 0.5"
    assert run(f"{command} --out whole")[0] == 0
    (folder / "script.py").write_text("import sys; from nas_plugin.cli import main; sys.exit(main(sys.argv[1:]))")
    for at in (1300, 700):
        arguments = ("search", *shlex.split(command), "--out", "killed")
        options = {"out": folder / "out", "folder": folder, "env": {"KILL_AT": str(at)}}
        process = started(folder / "script.py", *arguments, **options)
        process.join()
        assert process.exitcode == -9
    assert "report.json" not in {each.name for each in (folder / "killed").iterdir()}
    assert run(f"{command} --out killed")[0] == 0
    assert contents(folder / "killed") == contents(folder / "whole")


def test_two_searches_do_not_write_into_one_folder(run, no, folder):
    (folder / "run").mkdir()
    lock = lock_of(folder / "run")
    command = f"{BASE} --data net.py:Images --target 0.6 --out run"
    assert "--out" in (line := no(command))
    assert "another process works in it" in line
    lock.release()
    assert run(command)[0] == 0


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ("sweep.json", "a search for a LeNet, or a sweep; choose another --out, or resume what it holds with --resume"),
        ("winner.toml", "it holds other files, like 'winner.toml'; give another folder"),
    ],
)
def test_a_folder_that_holds_something_else_is_left_alone(no, folder, held, words):
    (folder / "run").mkdir()
    (folder / "run" / held).write_text("mine")
    line = no(f"{BASE} --data net.py:Images --target 0.6 --out run")
    assert words in line
    assert "delete" not in line
    assert contents(folder / "run") == {held: b"mine"}


@pytest.mark.parametrize(("held", "is_a_run"), [("sweep.json", True), ("report.json", False), ("run.json", False)])
def test_a_search_for_a_lenet_offers_to_resume_what_can_be_resumed(no, folder, held, is_a_run):
    (folder / "run").mkdir()
    (folder / "run" / held).write_text("mine")
    line = no("--epochs 1 --out run")
    assert "run exists and is not empty; choose another --out" in line
    assert ("--resume" in line) == is_a_run


def test_loaders_and_held_out_batches_by_name(run):
    command = f"{BASE} --data net.py:loader --held-out net.py:held_out --target 3000cycles --json --out run"
    code, out, err = run(command)
    assert code == 0, err
    document = json.loads(out)
    assert document["results"][0]["after"]["cycles"] <= 3000
    assert document["results"][0]["limit"] == "3000cycles"
    assert document["run"] == "run"
    assert "examples are held out" not in err


def test_all_of_a_data_set_is_trained_on_if_others_are_held_out(run):
    pairs = torch.utils.data.TensorDataset(torch.randn(40, 3), torch.arange(40))
    found = examples_of(pairs, 8, 0, pairs)
    assert sorted(torch.cat([labels for _, labels in found.data]).tolist()) == list(range(40))
    assert torch.cat([labels for _, labels in found.held_out]).tolist() == list(range(40))
    batches = [(torch.randn(8, 3), torch.arange(8))]
    assert examples_of(pairs, 8, 0, batches).held_out is batches
    assert examples_of(batches, 8, 0, pairs).notes == ()
    for data in ("Images", "loader"):
        command = f"{BASE} --data net.py:{data} --held-out net.py:Images --target 0.6 --json --out {data}"
        code, out, err = run(command)
        assert code == 0, err
        assert "held out" not in err
        assert len(json.loads(out)["results"][0]["stages"]) == 3


def test_a_default_folder_and_widths_that_stay(run, folder):
    code, out, _ = run(f"{BASE} --data net.py:Images --target 0.8 --keep 0 --least 0.5 --multiple 4")
    assert code == 0
    assert out.splitlines()[-1] == f"Run folder: {os.path.join('runs', 'Net-prune')}"
    (found,) = json.loads((folder / "runs" / "Net-prune" / "report.json").read_text())["results"]
    assert set(found["widths"]) == {"3"}
    assert found["widths"]["3"]["after"] % 4 == 0


# ---------------------------------------------------------------- images


def pictures(folder, classes=("cat", "dog", "mouse"), count=12):
    """Images of one colour a class, of different sizes and kinds."""
    random = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 80, (9 + number, 12, 3), dtype=np.uint8)
            pixels[:, :, place % 3] += 150
            image = Image.fromarray(pixels)
            image = image.convert("L") if number == 0 else image
            image.save(folder / name / f"{number}.{'png' if number % 2 else 'jpg'}")
        (folder / name / "notes.txt").write_text("no image")
    return folder


def test_a_folder_of_images(tmp_path):
    found = ImageFolder(pictures(tmp_path / "photos"), (3, 8, 6), 0)
    assert (len(found), found.classes) == (36, ["cat", "dog", "mouse"])
    images = torch.stack([found[place][0] for place in range(36)])
    assert images.shape == (36, 3, 8, 6)
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    assert [found[place][1] for place in (0, 11, 12, 35)] == [0, 0, 1, 2]
    assert ImageFolder(tmp_path / "photos", (1, 8, 6), 0)[0][0].shape == (1, 8, 6)
    assert "36 images of 3 classes" in found.words
    examples = examples_of(found, 16, 0)
    assert sum(len(labels) for _, labels in examples.held_out) == 3
    assert all(len(labels) == 16 for _, labels in examples.data)


@pytest.mark.parametrize("turn", range(1, 9))
def test_images_are_upright_however_the_camera_was_held(tmp_path, turn):
    """The same picture under each of the eight notes of EXIF, of which six turn or mirror what is stored."""
    upright = np.zeros((8, 8, 3), dtype=np.uint8)
    upright[:3, :, 0], upright[:, :2, 1] = 250, 200
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: np.rot90(upright.transpose(1, 0, 2), 2), 8: np.rot90(upright, -1),
    }[turn]  # fmt: skip
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(upright).save(tmp_path / name / "plain.png")
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name / "turned.png", exif=exif)
    plain, turned = (ImageFolder(tmp_path, (3, 8, 8), 0)[place][0] for place in (0, 1))
    assert torch.equal(plain, turned)


def test_a_digest_is_of_the_pixels_and_names(tmp_path):
    path = pictures(tmp_path / "photos")
    seen = [folder_digest(path)]
    file = path / "cat" / "1.png"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1  # as many bytes as before
    file.write_bytes(content)
    seen.append(folder_digest(path))
    file.rename(path / "cat" / "one.png")
    seen.append(folder_digest(path))
    (path / "dog" / "2.jpg").rename(path / "cat" / "2 again.jpg")
    seen.append(folder_digest(path))
    assert len(set(seen)) == 4
    (path / "cat" / "notes.txt").write_text("not even this image")
    os.utime(path / "cat" / "2.jpg", (0, 0))
    assert folder_digest(path) == seen[-1]


def test_a_folder_named_like_an_image_is_no_image(tmp_path):
    path = pictures(tmp_path / "photos")
    (path / "cat" / "x.png").mkdir()
    (path / "cat" / "y.png").mkdir()
    Image.new("RGB", (9, 9), (200, 0, 0)).save(path / "cat" / "y.png" / "inside.jpg")
    before = folder_digest(path)
    found = ImageFolder(path, (3, 8, 6), 0)
    assert len(found) == 37
    assert all(found[place][0].isfinite().all() for place in range(37))
    (path / "cat" / "y.png" / "inside.jpg").unlink()
    assert folder_digest(path) != before


def test_a_search_on_a_folder_of_images(run, folder, no):
    pictures(folder / "photos", ("a", "b", "c", "d"))
    code, _, err = run(f"{BASE} --data photos --target 0.6 --out run --keep 0 --least 0.1 --json")
    assert code == 0, err
    assert "48 images of 4 classes, normalised by mean" in err
    (folder / "photos" / "a" / "1.png").unlink()
    assert "another data" in no(f"{BASE} --data photos --target 0.6 --out run --keep 0 --least 0.1")
    (folder / "photos" / "a" / "3.png").write_bytes(b"no image")
    assert "3.png" in no(f"{BASE} --data photos --target 0.6 --out other")


@pytest.mark.parametrize("name", ["spare", "missing"])
def test_outputs_that_are_no_class_of_a_folder_are_told(run, folder, no, name):
    pictures(folder / "photos", ("bee", "cat") if name == "spare" else ("a", "b", "c", "d", "e"))
    command = f"{BASE} --data photos --target 0.6 --out run"
    if name == "missing":
        line = no(command)
        assert "--data cannot be used" in line
        assert "5 classes, and the network 4 outputs" in line
        return
    code, _, err = run(command)
    assert code == 0, err
    assert "2 classes, and the network 4 outputs: 0 is bee, 1 is cat, and the other outputs are never right" in err


def test_sets_of_the_package(run, folder):
    (folder / "grey.py").write_text(
        FILE.replace("Conv2d(3, 16", "Conv2d(1, 16").replace("Linear(24, 4)", "Linear(24, 10)")
    )
    command = (
        "grey.py:Net --input 1,1,28,28 --array 8x8 --data fashion-mnist-cut --target 0.6 --train-epochs 1 --out run"
    )
    code, _, err = run(command)
    assert code == 0, err
    assert "THE WEIGHTS ARE RANDOM" in err
    assert "400 of 4000 examples are held out" in err


@pytest.mark.parametrize("name", ["none", "one class", "no folder", "two channels"])
def test_folders_that_are_none_of_images(name, tmp_path):
    path = tmp_path / "photos"
    if name != "no folder":
        pictures(path, {"none": (), "one class": ("a",)}.get(name, ("a", "b")))
        path.mkdir(exist_ok=True)
    with pytest.raises(InvalidValueError, match="N,1,H,W" if name == "two channels" else "folder"):
        ImageFolder(path, (2 if name == "two channels" else 3, 8, 8), 0)


# ---------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--target 0.5", "--data"),
        ("--data net.py:Images", "--target"),
        ("--data net.py:Images --target 2", "--target"),
        ("--data net.py:Images --target 0.01", "no widths can save the rest"),
        ("--data net.py:Images --target 0.5 --target 0.01 --target 0.9", "--target 0.01 cannot be used: with every"),
        ("--data net.py:Images --target 0.9 --target 2cycles", "--target 2cycles cannot be used: with every"),
        ("--data net.py:Images --target 0.5 --method random", "prune, one-shot, darts"),
        ("--data net.py:Images --target 0.5 --epochs 3", "--epochs"),
        ("--data net.py:Images --target 0.5 --torch-device nowhere", "--torch-device"),
        ("--data net.py:Images --target 0.5 --method darts --candidates 3", "--candidates"),
        ("--data net.py:Images --target 0.5 --train-epochs 0", "--train-epochs"),
        ("--data net.py:Images --target 0.5 --seed -1", "--seed"),
        ("--data net.py:Images --target 0.5 --multiple 0", "--multiple"),
        ("--data net.py:Images --target 0.5 --keep nothing", "--keep"),
        ("--data net.py:Images --target 0.5 --lambda 1", "--lambda"),
        ("--data net.py:Images --target 0.5 --arch-def x.toml", "--arch-def"),
        ("--data net.py:Images --target 0.5 --resume run", "--resume"),
        ("--data net.py:nothing --target 0.5", "--data"),
        ("--data net.py:Images --target 0.5 --keep 0 --keep 3", "every width would stay; leave out at least one of"),
        ("--data net.py:Images --target 0.5 --least 1", "--least cannot be used: with 1 no width has a smaller size"),
        ("--data net.py:Images --target 0.5 --multiple 100", "less than 24, the size of the largest width"),
        ("--data fashion-mnist-cut --target 0.5", "--input is 'N,3,8,8'; allowed: N,1,28,28, the shape of a batch of"),
        ("--data net.py:held_out --target 0.5 --method darts", "--data cannot be used: weights and alpha learn from"),
        ("--data nowhere --target 0.5", "--data"),
        ("--data net.py:Images --held-out photos --target 0.5", "--held-out"),
    ],
)
def test_options_that_do_not_go_together(no, more, words):
    assert words in no(f"{BASE} {more}")


def test_a_network_needs_an_array_and_inputs(no):
    line = no("net.py:Net --data net.py:Images --input 1,3,8,8 --target 0.5")
    assert "--array is missing" in line
    assert "--device" in line
    assert "--input" in no("net.py:Net --data net.py:Images --array 8x8 --target 0.5")
    assert "FILE.py:NAME" in no("net --data net.py:Images --array 8x8 --input 1,3,8,8 --target 0.5")


@pytest.mark.parametrize("method", OF)
def test_a_frozen_module_is_refused_before_any_work(no, folder, method):
    (folder / "net.py").write_text(
        FILE.replace("nn.Linear(24, 4))", "nn.Linear(24, 4))\n        self.requires_grad_(False)")
    )
    assert "all of its parameters are frozen" in no(
        f"{BASE} --data net.py:Images --method {method} --target 0.5 --out run"
    )
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    "option", ["--weights w", "--torch-device cpu", "--input 1,3,8,8", "--keep a", "--least 0.5", "--multiple 2"]
)
def test_options_of_a_network_need_one(no, option):
    assert option.split()[0] in no(f"{option} --epochs 1")


def test_a_lenet_has_one_limit(no):
    assert "nas-plugin sweep" in no("--target 0.5 --target 0.75")
