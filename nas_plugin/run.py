"""A whole run: search, derive, train the winner and the reference, write it all down; and go on after a kill.

The run is a list of stages that advance by epochs. After each epoch everything that the rest depends on goes into one
checkpoint file, written whole or not at all; randomness is a function of seed, stage and epoch. A run that is killed at
any moment therefore repeats at most the step it was in (an epoch, a round of scores, or a network that a search
trains for comparison), and ends with the same bits.
"""

from __future__ import annotations

import contextlib
import functools
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwcost import SystolicArray
from nas_plugin import pictures
from nas_plugin.arch_def import ArchDef, parse_arch_def
from nas_plugin.data import Dataset, load
from nas_plugin.errors import RunError
from nas_plugin.files import write_json, write_json_lines, write_whole
from nas_plugin.folders import load_checkpoint, made_with, new_folder, only_one, read_folder, save_checkpoint, threads
from nas_plugin.methods import Searcher, searcher, winner_of
from nas_plugin.result import Outcome, SearchResult, array_dict, result_from, winner_toml
from nas_plugin.settings import Settings
from nas_plugin.training import Record, Training, accuracy

__all__ = ["Progress", "RunFolder", "execute", "read_run"]

Progress = Callable[[str, int, int, Record], None]
"""Called after each step with stage ("search", "winner", "reference"), step, how many there are, and its record."""

SCHEMA = "nas_plugin.run/4"
STAGES = ("search", "winner", "reference")


@dataclass
class RunFolder:
    """Where a run keeps what it has: settings.json, arch_def.toml, log.jsonl, checkpoint.pt, and the results."""

    path: Path

    def create(self, arch: ArchDef, settings: Settings) -> None:
        """A new folder with the settings.

        Raises:
            RunError: the folder holds a run already, or cannot be made.
        """
        content = {"settings": settings.as_dict(), "array": array_dict(arch.array), "made_with": made_with()}
        with new_folder(self.path) as begun:
            write_whole(begun / "arch_def.toml", arch.text.encode())
            write_json(begun / "settings.json", {"schema": SCHEMA} | content)

    def open(self) -> tuple[ArchDef, Settings]:
        """The search space and settings of a run that was begun.

        Raises:
            RunError: no run folder, or a damaged one.
        """
        content, text = read_folder(self.path, "settings.json", SCHEMA)
        try:
            array = SystolicArray(**content["array"])
            settings = Settings(**content["settings"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.path / 'settings.json'} is damaged: {error}; start a new run") from None
        return parse_arch_def(text, str(self.path / "arch_def.toml"), array), settings

    def save(self, state: Mapping[str, Any], log: list[Record]) -> None:
        """The checkpoint, then the log (which the checkpoint can always rebuild)."""
        save_checkpoint(self.path, state)
        write_json_lines(self.path / "log.jsonl", log)

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint; None where a run was killed before its first.

        Raises:
            RunError: a damaged file.
        """
        state = load_checkpoint(self.path)
        if state is not None and state.get("schema") != SCHEMA:
            raise RunError(f"{self.path / 'checkpoint.pt'} is no checkpoint of schema {SCHEMA!r}; start a new run")
        return state


@dataclass
class _Run:
    """The stages of a run and how far they are."""

    arch: ArchDef
    settings: Settings
    train: Dataset
    test: Dataset
    search: Searcher
    log: list[Record] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    training: Training | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of everything that the result depends on: a checkpoint that was made of something else must not be used."""
        content = repr((self.arch.text, array_dict(self.arch.array), self.settings.as_dict())).encode()
        sums = [part.fingerprint for part in (self.train, self.test)]
        return f"{zlib.crc32(content):08x}-{sums[0]:08x}-{sums[1]:08x}"

    def choice_of(self, stage: str) -> dict[str, int]:
        if stage == "reference":
            return self.arch.reference
        return winner_of(self.arch, self.settings, self.derived)

    @functools.cached_property
    def derived(self) -> dict[str, int]:
        """What the search found; asked for when it is done."""
        return self.search.derived()

    @property
    def stage(self) -> str | None:
        """The stage that is to go on; None when all are done."""
        if not self.search.done:
            return "search"
        return next((stage for stage in STAGES[1:] if stage not in self.outcomes), None)

    def run_epoch(self, stage: str) -> Record:
        if stage == "search":
            return {"stage": stage} | self.search.run_epoch()
        if self.training is None:
            self.training = Training(self.arch, self.choice_of(stage), self.settings, self.train)
        record = {"stage": stage} | self.training.run_epoch()
        if self.training.done:  # the only look at the test images
            network = self.training.network
            self.outcomes[stage] = Outcome(self.choice_of(stage), network, accuracy(network, self.test))
            self.training = None
        return record

    def state_dict(self) -> dict[str, Any]:
        outcomes = {
            stage: {"choice": o.choice, "weights": o.network.state_dict(), "test_accuracy": o.test_accuracy}
            for stage, o in self.outcomes.items()
        }
        training = None if self.training is None else self.training.state_dict()
        derived = self.derived if self.search.done else None
        state = {"search": self.search.state_dict(), "training": training, "outcomes": outcomes, "log": self.log}
        state["derived"] = derived
        return {"schema": SCHEMA, "fingerprint": self.fingerprint} | state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.search.load_state_dict(state["search"])
        self.log = list(state["log"])
        self.outcomes = {stage: Outcome.rebuilt(self.arch, **kept) for stage, kept in state["outcomes"].items()}
        if state["training"] is not None:
            assert self.stage is not None
            self.training = Training(self.arch, self.choice_of(self.stage), self.settings, self.train)
            self.training.load_state_dict(state["training"])


def execute(
    arch: ArchDef, settings: Settings, folder: RunFolder | None = None, progress: Progress | None = None
) -> SearchResult:
    """Runs what is left of a run, from the folder's last checkpoint on, and writes the results.

    Args:
        arch: the search space on its array.
        settings: of the run.
        folder: made by :meth:`RunFolder.create`; None keeps everything in memory.
        progress: called after each epoch.
    """
    with threads(settings.threads), contextlib.nullcontext() if folder is None else only_one(folder.path):
        train, test = load(settings.data, classes=arch.classes, shape=(arch.height, arch.width), images=settings.images)
        run = _Run(arch, settings, train, test, searcher(arch, settings, train))
        kept = None if folder is None else folder.load()
        if kept is not None and folder is not None:
            if kept.get("fingerprint") != run.fingerprint:
                raise RunError(f"{folder.path} was begun with other settings, search space or images; start a new run")
            run.load_state_dict(kept)
        totals = {"search": run.search.steps} | dict.fromkeys(STAGES[1:], settings.train_epochs)
        while (stage := run.stage) is not None:
            record = run.run_epoch(stage)
            run.log.append(record)
            if folder is not None:
                folder.save(run.state_dict(), run.log)
            if progress is not None:
                progress(stage, record["epoch"], totals[stage], record)
        result = result_from(arch, settings, run.derived, run.outcomes, run.log, made_with())
        if folder is not None:
            write_results(folder.path, result)
    return result


def write_results(path: Path, result: SearchResult) -> None:
    """What people look for in a finished run: result.json, winner.toml, the weights, and pictures.

    There is no picture of the search where nothing was searched.
    """
    write_json(path / "result.json", result.as_dict())
    write_whole(path / "winner.toml", winner_toml(result).encode())
    for stage in STAGES[1:]:
        write_whole(path / f"{stage}.safetensors", result.outcomes[stage].weights())
    if any(record["stage"] == "search" for record in result.log):
        pictures.save(pictures.search_figure(result), path / "search.png")
    pictures.save(pictures.winner_figure(result), path / "winner.png")


def read_run(path: str | Path) -> SearchResult:
    """The result of a finished run, from its folder.

    Raises:
        RunError: no run folder, or a run that has not ended.
    """
    folder = RunFolder(Path(path))
    arch, settings = folder.open()
    state = folder.load()
    if state is None or set(state["outcomes"]) != set(STAGES[1:]):
        raise RunError(f"{path} holds a run that has not ended; go on with --resume {path}")
    outcomes = {stage: Outcome.rebuilt(arch, **kept) for stage, kept in state["outcomes"].items()}
    written = json.loads((folder.path / "settings.json").read_text(encoding="utf-8"))
    return result_from(arch, settings, state["derived"], outcomes, list(state["log"]), written["made_with"])
