"""``nas-plugin search FILE.py:NAME``: the widths of any network, within one limit or several."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from torch.utils.data import TensorDataset

from hwcost import InvalidValueError
from hwcost.advice.tables import Allowed
from hwcost.cli.shared.machines import ArrayOptions, Machine
from hwcost.cli.shared.networks import changed_lines, note_extrapolation
from hwcost.cli.shared.options import option_names
from hwcost.cli.shared.progress import progress_of_unknown
from hwcost.cli.shared.trained import Source, errors_of_users, identity_of, object_of, read_source
from hwcost.cli.shared.values import parse_member
from hwcost.console import note, user_code
from hwcost.errors import MISSING
from hwcost.network.limits import Target
from hwcost.plot import pruning_figure
from hwcost.plot import save as save_picture
from hwcost.pruning import Pruned, PruningReport, darts, prune, supernet
from hwcost.pruning.choosing import check_floor, kept_widths, limit_of
from hwcost.pruning.folder import RunFolder
from hwcost.pruning.images import Examples, ImageFolder, examples_of, folder_digest
from hwcost.pruning.recipe import RECIPE, WEIGHTS
from hwcost.pruning.tuning import trainable
from hwcost.tables import text_table
from nas_plugin.cli.options import free_folder
from nas_plugin.images import CUT, FULL, load

__all__ = ["search_network"]

SCHEMA = "nas_plugin.network-search/1"
EPOCHS = {"one-shot": 5, "darts": 6}
TRAIN_EPOCHS, CANDIDATES, BATCH = 4, 60, 128
_OPTIONS = {name: f"--{name.replace('_', '-')}" for name in (
    "target", "data", "held_out", "keep", "least", "multiple", "seed", "weights", "epochs", "candidates",
)} | {
    "folder": "--out", "checkpoint": "--out", "a batch of data": "--data", "a batch of held_out": "--held-out",
    "folder of images": "--data", "the shape of an image": "--input",
}  # fmt: skip
"""The option behind each field of an error."""


class Work(NamedTuple):
    """A search: the module, the machine, the examples, the options with their defaults, and the folder."""

    given: Source
    machine: Machine
    examples: Examples
    options: Mapping[str, Any]
    folder: RunFolder


def search_network(source: str, given: Mapping[str, Any], out: Path | None, *, as_json: bool) -> None:
    """Runs the command; ``given`` are the options that were given."""
    options = _with_defaults(given)
    targets = _targets(options)
    rows, cols = given.get("array", (None, None))
    machine = ArrayOptions(given.get("device"), rows, cols, given.get("dataflow"), given.get("fold_timing")).read()
    path = out or free_folder(f"{parse_member('model', source)[1]}-{options['method']}")
    members = [parse_member("model", source), *(options[name] for name in ("data", "held_out"))]
    own = [each[0] for each in members if isinstance(each, tuple)]
    folder = None
    try:
        with option_names(_OPTIONS), errors_of_users(source, own):
            with user_code():
                module = read_source(source, options["inputs"], options["weights"], options["seed"])
            trainable(module.model)
            _say_floor(module, machine, options, targets)
            folder = RunFolder(path, _identity(module, machine, options), {})
            if not folder.is_finished:
                with user_code():
                    _run(Work(module, machine, _examples(module, options), options, folder), targets)
            document, lines = folder.result()
    except KeyboardInterrupt:
        if folder is not None and folder.has_begun:
            note(f"stopped; run the same command again with --out {path} to go on")
        raise
    note_extrapolation(module.network, machine)
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, **document, "run": str(path)}, indent=2))
    else:
        click.echo("\n".join([*lines, f"Run folder: {path}"]))


def _with_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of the work; raises if one is missing, or has no effect with the method."""
    method = given.get("method", "prune")
    if method not in (allowed := ("prune", *EPOCHS)):
        raise InvalidValueError("--method", method, f"with a network of your own, one of: {', '.join(allowed)}")
    for name, users in (("epochs", tuple(EPOCHS)), ("candidates", ("one-shot",))):
        if name in given and method not in users:
            reason = f"{method} does not use it; --train-epochs sets the length of a fine-tuning"
            raise InvalidValueError(
                f"--{name}", given[name], f"leave it out, or choose {' or '.join(users)}", reason=reason
            )
    if "data" not in given:
        raise InvalidValueError("--data", MISSING, f"a folder of images, FILE.py:NAME, {CUT} or {FULL}")
    names = {"inputs": (), "weights": None, "held_out": None, "least": None, "multiple": 1, "keep": (), "seed": 0}
    found = {"method": method, "candidates": CANDIDATES, "epochs": EPOCHS.get(method), "train_epochs": TRAIN_EPOCHS}
    found |= names | {"threads": 1} | {name: value for name, value in given.items() if value is not None}
    for name in ("epochs", "train_epochs", "candidates", "multiple", "threads"):
        if found[name] is not None and found[name] < 1:
            raise InvalidValueError(f"--{name.replace('_', '-')}", found[name], "an integer of at least 1")
    if found["seed"] < 0:
        raise InvalidValueError("--seed", found["seed"], "an integer of at least 0")
    for name in ("data", "held_out"):
        if found[name] is not None and ".py:" in str(found[name]):
            found[name] = parse_member(f"--{name.replace('_', '-')}", found[name])
    if isinstance(found["held_out"], str):
        raise InvalidValueError("--held-out", found["held_out"], "FILE.py:NAME")
    torch.set_num_threads(found["threads"])
    return found


def _targets(options: Mapping[str, Any]) -> list[Target]:
    if not options.get("target"):
        raise InvalidValueError("--target", MISSING, "a limit like 0.5, 2100cycles or 0.002ms; repeat it for several")
    return list(dict.fromkeys(map(Target.parse, options["target"])))


def _say_floor(module: Source, machine: Machine, options: Mapping[str, Any], targets: Sequence[Target]) -> None:
    """Notes what no widths can save; raises if a limit is below it, or is none."""
    network, least = module.network, options["least"]
    share = (0.0 if options["method"] == "prune" else 0.25) if least is None else least
    allowed = Allowed.checked(options["multiple"], share, options["keep"])
    allowed = allowed._replace(keep=kept_widths(network, allowed.keep))
    limits = [limit_of(network, machine.array, **each.given) for each in targets]
    floor = max(check_floor(network, machine.array, limit, allowed) for limit in limits)  # the same for each
    share = floor / limits[0].today
    note(f"floor: with every width at its least size {share:.2%} of the cycles are left; no widths save more")


def _identity(module: Source, machine: Machine, options: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the run follows from, as plain data."""
    members = {name: each if isinstance(each := options[name], tuple) else None for name in ("data", "held_out")}
    found = identity_of(module, options["inputs"], machine, members)
    data, names = (
        options["data"],
        ("method", "epochs", "train_epochs", "candidates", "least", "multiple", "seed", "threads"),
    )
    if not isinstance(data, tuple):
        found["data"] = data if data in (CUT, FULL) else folder_digest(data)
    more = {"keep": list(options["keep"]), "target": list(map(str, options["target"]))}
    return found | {name: options[name] for name in names} | more


def _examples(module: Source, options: Mapping[str, Any]) -> Examples:
    """Batches to train on and held-out ones."""
    data, seed, notes = options["data"], options["seed"], tuple(module.notes)
    held_out = object_of("--held-out", options["held_out"], module.files)
    if isinstance(data, tuple):
        found = examples_of(object_of("--data", data, module.files), BATCH, seed, held_out)
    else:
        inputs = module.inputs if isinstance(module.inputs, (tuple, list)) else [module.inputs]
        shape = tuple(inputs[0].shape[1:])
        if data in (CUT, FULL):
            train = load(data, classes=10, shape=shape[1:])[0]
            found = examples_of(TensorDataset(train.images.contiguous(), train.labels), BATCH, seed, held_out)
        else:
            images = ImageFolder(data, shape, seed)
            found = examples_of(images, BATCH, seed, held_out)
            notes += (images.words,)
    for text in (*notes, *found.notes):
        note(text)
    return found


def _run(work: Work, targets: Sequence[Target]) -> None:
    """All targets; writes the result into the folder."""
    folder, options = work.folder, work.options
    folder.begin()
    known = folder.losses()
    find = _method(work, known)
    results, states = {}, []
    for target in targets:
        result = find(target)
        result.report.array = work.machine.label
        states.append(folder.path / f"tuning-{target}")
        with progress_of_unknown(f"batches of fine-tuning to {target}") as show:
            result.fine_tune(epochs=options["train_epochs"], checkpoint=states[-1], progress=show)
        own = folder.path / f"target-{target}"
        result.save(own)
        save_picture(pruning_figure(result.report), own / "network.png")
        results[str(target)] = result
    document, lines = _document(work, results), list(_lines(work, results))
    files = [f"target-{target}/{name}" for target in targets for name in (RECIPE, WEIGHTS)]
    folder.finish(document, lines, files)
    for state in (*states, *folder.path.glob("search*")):
        state.unlink(missing_ok=True)


def _method(work: Work, known: dict[str, dict[int, float]]) -> Callable[[Target], Pruned]:
    """From a target to the network that the method finds."""
    module, options, path = work.given, work.options, work.folder.path
    common: dict[str, Any] = {
        "data": work.examples.data, "held_out": work.examples.held_out, "keep": options["keep"],
        "multiple": options["multiple"], "seed": options["seed"], "name": module.network.name,
    } | ({} if options["least"] is None else {"least": options["least"]})  # fmt: skip
    epochs = {"epochs": options["epochs"]}
    array = work.machine.array

    def shown(what: str, call: Callable[..., Any]) -> Any:
        """The result of a call with a progress bar, which keeps the losses that it measures."""
        with progress_of_unknown(what) as show:

            def progress(done: int, whole: int) -> None:
                work.folder.keep(known)
                show(done, whole)

            return call(progress=progress)

    if options["method"] == "prune":
        cut = functools.partial(prune, module.model, module.inputs, array, known_losses=known, **common)
        return lambda target: shown(f"measurements for {target}", functools.partial(cut, **target.given))
    if options["method"] == "darts":
        search = functools.partial(darts, module.model, module.inputs, array, **common, **epochs)

        def searched(target: Target) -> Pruned:
            state = path / f"search-{target}"
            call = functools.partial(search, checkpoint=state, **target.given)
            found: Pruned = shown(f"batches of the search for {target}", call)
            return found

        return searched
    train = functools.partial(
        supernet, module.model, module.inputs, checkpoint=path / "search", known_losses=known, **common, **epochs
    )
    within = functools.partial(shown("batches of the super-network", train).within, array)
    within = functools.partial(within, candidates=options["candidates"])
    return lambda target: shown(f"measurements for {target}", functools.partial(within, **target.given))


def _document(work: Work, results: Mapping[str, Pruned]) -> dict[str, Any]:
    """Everything as plain data."""
    found = []
    for target, result in results.items():
        changes = {
            path: {name: list(pair) for name, pair in own.items()} for path, own in result.changed_numbers.items()
        }
        found.append(
            {"limit": target, "folder": f"target-{target}", **result.report.as_dict(), "changed_numbers": changes}
        )
    return {"model": work.given.name, "settings": work.folder.settings, "results": found}


def _lines(work: Work, results: Mapping[str, Pruned]) -> Iterator[str]:
    """The results for people: a table, and the numbers to change for each limit."""
    first = next(iter(results.values())).report
    yield f"{first.name} on {first.array}, by {work.options['method']}"
    yield f"floor: with every width at its least size {first.floor / first.before.cycles:.2%} of the cycles are left"
    for text in dict.fromkeys(text for each in results.values() for text in each.report.notes):
        yield f"note: {text}"
    yield ""
    titles = ["limit", "cycles", "of today's", "of the limit", "MACs", "accuracy", "before fine-tuning"]
    rows = [("none", f"{first.before.cycles:,}", "100.00%", "", f"{first.before.macs:,}", _accuracy(first, 0), "")]
    for target, result in results.items():
        report = result.report
        used = f"{report.after.cycles / report.before.cycles:.2%}", f"{report.used:.2%}"
        found = _accuracy(report, -1), _accuracy(report, -2)
        rows.append((target, f"{report.after.cycles:,}", *used, f"{report.after.macs:,}", *found))
    yield from text_table(titles, rows)
    for target, result in results.items():
        yield f"\nnumbers to change in the code for {target}:"
        yield from changed_lines(result.changed_numbers)


def _accuracy(report: PruningReport, stage: int) -> str:
    """On the held-out examples; the loss where outputs are no scores of classes."""
    measured = report.stages[stage].measured
    return f"loss {measured.loss:.4f}" if measured.accuracy is None else f"{measured.accuracy:.2%}"
