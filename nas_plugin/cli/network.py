"""``nas-plugin search FILE.py:NAME``: the widths of any network, within one limit or several."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch
from torch.utils.data import TensorDataset

from hwcost import InvalidValueError
from hwcost.cli.shared.machines import ArrayOptions
from hwcost.cli.shared.networks import note_extrapolation
from hwcost.cli.shared.options import option_names
from hwcost.cli.shared.outputs import free_folder
from hwcost.cli.shared.progress import progress_of_unknown
from hwcost.cli.shared.trained import examples_from
from hwcost.cli.shared.values import parse_member
from hwcost.cli.shared.work import OPTIONS, Ask, changed_text, document_of, work_on
from hwcost.console import note
from hwcost.errors import MISSING
from hwcost.network.limits import Target
from hwcost.network.operations import whole
from hwcost.pruning.images import folder_digest
from hwcost.pruning.tuning import trainable
from hwcost.pruning.within import Search, Subject, comparison, finish, floor_share, networks_within
from hwcost.units import percent
from nas_plugin.images import load
from nas_plugin.sources import CUT, FULL

__all__ = ["search_network"]

SCHEMA = "nas_plugin.network-search/1"
_OPTIONS = {name: f"--{name.replace('_', '-')}" for name in (*Search._fields, "threads")} | {
    **OPTIONS, "folder of images": "--data", "the shape of an image": "--input",
}  # fmt: skip
"""The option behind each field of an error."""


def search_network(source: str, given: Mapping[str, Any], out: Path | None, *, as_json: bool) -> None:
    """Runs the command; ``given`` are the options that were given."""
    with option_names(_OPTIONS):
        names = Search._fields
        search = Search.checked(**{name: value for name, value in given.items() if name in names})
        threads = whole(given.get("threads", 1), "threads")
    targets, (data, members) = _targets(given), _data(given)
    if "array" not in given and "device" not in given:
        raise InvalidValueError("--array", MISSING, "the rows and columns of the array, like 16x16, or a --device")
    rows, cols = given.get("array", (None, None))
    machine = ArrayOptions(given.get("device"), rows, cols, given.get("dataflow"), given.get("fold_timing")).read()
    path = out or free_folder(f"{parse_member('model', source)[1]}-{search.method}")
    inputs = given.get("inputs", ())
    fields = {**_OPTIONS, **{f"target {each}": f"--target {each}" for each in targets}}
    ask = Ask(source, inputs, given.get("weights"), search.seed, members, path, given.get("torch_device"), fields)
    settings = search._asdict() | {"target": list(map(str, targets)), "threads": threads}
    if not isinstance(data, tuple):
        settings["data"] = data if data in _SETS else folder_digest(data)
    torch.set_num_threads(threads)
    with work_on(ask, machine, settings, {}) as (module, folder):
        assert folder is not None
        trainable(module.model)
        share = floor_share(module.network, machine.array, targets, search)
        left = f"{percent(share, 2)} % of the cycles are left"
        note(f"floor: with every width at its least size {left}; no widths save more")
        if not folder.is_finished:
            examples = examples_from(module, data, members["held_out"], search.seed, _SETS)
            for text in (*module.notes, *examples.notes):
                note(text)
            subject = Subject(module.model, module.inputs, machine.array, module.network.name, machine.label)
            found = networks_within(targets, subject, search, examples, folder, progress_of_unknown)
            results = [{"limit": str(each), "folder": f"target-{each}", **document_of(found[each])} for each in targets]
            document = {"model": module.name, "settings": folder.settings, "results": results}
            changes = [line for each in targets for line in changed_text(found[each], f" for {each}")]
            finish(folder, targets, document, [*comparison(found, search.method), *changes])
        document, lines = folder.result()
    note_extrapolation(module.network, machine)
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, **document, "run": str(path)}, indent=2))
    else:
        click.echo("\n".join([*lines, f"Run folder: {path}"]))


def _data(given: Mapping[str, Any]) -> tuple[Any, dict[str, tuple[str, str] | None]]:
    """The data as they are named, and the objects that --data and --held-out name."""
    if "data" not in given:
        raise InvalidValueError("--data", MISSING, f"a folder of images, FILE.py:NAME, {' or '.join(_SETS)}")
    data = given["data"]
    member = parse_member("--data", data) if ".py:" in data else None
    return member or data, {"data": member, "held_out": given.get("held_out")}


def _targets(given: Mapping[str, Any]) -> list[Target]:
    if not given.get("target"):
        raise InvalidValueError("--target", MISSING, "a limit like 0.5, 2100cycles or 0.002ms; repeat it for several")
    return list(dict.fromkeys(map(Target.parse, given["target"])))


def _of_the_package(name: str) -> Any:
    """From the shape of an image to the training images of a set by name."""

    def read(shape: tuple[int, ...]) -> TensorDataset:
        if shape != (1, 28, 28):
            allowed = f"N,1,28,28, the shape of a batch of {name}, or images of your own as --data"
            raise InvalidValueError("--input", ",".join(map(str, ("N", *shape))), allowed)
        train = load(name, classes=10, shape=shape[1:])[0]
        return TensorDataset(train.images.contiguous(), train.labels)

    return read


_SETS = {name: _of_the_package(name) for name in (CUT, FULL)}
