"""A trained module within several limits, by one of three methods, in a folder from which the work goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from torch import nn

from hwcost.advice.tables import Allowed
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.network.limits import Target
from hwcost.network.network import Network
from hwcost.network.operations import whole
from hwcost.plot import pruning_figure
from hwcost.plot import save as save_picture
from hwcost.pruning.batches import seed_of
from hwcost.pruning.choosing import check_floor, check_room, kept_widths, limit_of, stairs
from hwcost.pruning.cutting import prune
from hwcost.pruning.folder import RunFolder, keeping
from hwcost.pruning.images import Examples
from hwcost.pruning.recipe import RECIPE, WEIGHTS
from hwcost.pruning.report import PruningReport
from hwcost.pruning.result import Pruned
from hwcost.pruning.searching import darts
from hwcost.pruning.supernetwork import supernet
from hwcost.tables import text_table
from hwcost.units import number, percent

__all__ = ["EPOCHS", "Bar", "Search", "Subject", "comparison", "finish", "floor_share", "networks_within"]

EPOCHS: Mapping[str, int | None] = MappingProxyType({"prune": None, "one-shot": 5, "darts": 6})
"""The methods, each with the epochs of its search; None if it has none."""

Bar: TypeAlias = Callable[[str], AbstractContextManager[Callable[[int, int], Any]]]
"""From what is counted to a function to call with the number that is done and that of all."""


class Subject(NamedTuple):
    """What is searched.

    Attributes:
        model, example_inputs, array: as for :func:`hwcost.torch.prune`.
        name: of the network.
        array_name: of the array, in reports.
    """

    model: nn.Module
    example_inputs: Any
    array: SystolicArray
    name: str
    array_name: str


class Search(NamedTuple):
    """How networks within limits are found.

    Attributes:
        method: a name of :data:`EPOCHS`.
        epochs: of the search.
        train_epochs: of the fine-tuning of each network found.
        candidates: networks that "one-shot" measures for each limit.
        keep, least, multiple, seed: as for :func:`hwcost.torch.prune`.
    """

    method: str
    epochs: int | None
    train_epochs: int
    candidates: int
    keep: tuple[str, ...]
    least: float | None
    multiple: int
    seed: int

    @classmethod
    def checked(cls, method: str = "prune", **given: Any) -> Search:
        """A search; what is not given has its default.

        Raises:
            InvalidValueError: an unknown method, a value that it does not use or that is not allowed.

        >>> Search.checked("darts").epochs, Search.checked().train_epochs
        (6, 4)
        """
        if method not in EPOCHS:
            raise InvalidValueError("method", method, f"with a network of your own, one of: {', '.join(EPOCHS)}")
        for name, users in (("epochs", [each for each in EPOCHS if EPOCHS[each]]), ("candidates", ["one-shot"])):
            if name in given and method not in users:
                allowed = f"leave it out, or choose {' or '.join(users)}"
                reason = f"{method} does not use it; the length of a fine-tuning is that of train_epochs"
                raise InvalidValueError(name, given[name], allowed, reason=reason)
        for name in given.keys() & {"epochs", "train_epochs", "candidates", "multiple"}:
            whole(given[name], name)
        defaults = {"epochs": EPOCHS[method], "train_epochs": 4, "candidates": 60, "keep": (), "least": None}
        search = cls(**{"method": method, **defaults, "multiple": 1, "seed": 0, **given})
        return search._replace(seed=seed_of(search.seed))


def floor_share(network: Network, array: SystolicArray, targets: Sequence[Target], search: Search) -> float:
    """The share of today's cycles that no widths can save.

    Raises:
        InvalidValueError: a limit that is below it, or is none; no width that is allowed to change.
    """
    least = (0.0 if search.method == "prune" else 0.25) if search.least is None else search.least
    allowed = Allowed.checked(search.multiple, least, search.keep)
    allowed = allowed._replace(keep=kept_widths(network, allowed.keep))
    check_room(network, allowed, lambda tried: stairs(network, array, tried))
    for each in targets:
        try:
            limit = limit_of(network, array, **each.given)
            share = check_floor(network, array, limit, allowed) / limit.today  # the same for each
        except InvalidValueError as error:
            raise error.at(f"target {each}" if error.reason and error.field in each.given else error.field) from None
    return share


def networks_within(
    targets: Sequence[Target], subject: Subject, search: Search, examples: Examples, folder: RunFolder, bar: Bar
) -> dict[Target, Pruned]:
    """The module within each limit, fine-tuned; each network is written into a folder ``target-LIMIT`` of its own.

    Args:
        targets: the limits.
        subject: the module, and the array.
        search: how networks are found.
        examples: to train on, and to measure on.
        folder: of the run.
        bar: shows progress.

    Raises:
        InvalidValueError: as :func:`hwcost.torch.prune`, :func:`hwcost.torch.supernet` or :func:`hwcost.torch.darts`.
    """
    folder.begin()
    find = _finder(subject, search, examples, folder, bar)
    results, states = {}, []
    for target in targets:
        result = find(target)
        result.report.array = subject.array_name
        states.append(folder.path / f"tuning-{target}")
        with bar(f"batches of fine-tuning to {target}") as show:
            result.fine_tune(epochs=search.train_epochs, checkpoint=states[-1], progress=show)
        result.save(folder.path / f"target-{target}")
        save_picture(pruning_figure(result.report), folder.path / f"target-{target}" / "network.png")
        results[target] = result
    return results


def finish(folder: RunFolder, targets: Sequence[Target], document: Mapping[str, Any], lines: Sequence[str]) -> None:
    """Writes the report of a search, and removes what it would have gone on from."""
    folder.finish(document, lines, [f"target-{target}/{name}" for target in targets for name in (RECIPE, WEIGHTS)])
    for pattern in ("tuning-*", "search*"):
        for state in folder.path.glob(pattern):
            state.unlink()


def _finder(
    subject: Subject, search: Search, examples: Examples, folder: RunFolder, bar: Bar
) -> Callable[[Target], Pruned]:
    """From a target to the network that the method finds; a super-network is trained here."""
    common: dict[str, Any] = {
        "data": examples.data, "held_out": examples.held_out, "keep": search.keep, "multiple": search.multiple,
        "seed": search.seed, "name": subject.name,
    } | ({} if search.least is None else {"least": search.least})  # fmt: skip
    common_of_searches = {**common, "epochs": search.epochs}
    model, inputs, array, known = subject.model, subject.example_inputs, subject.array, folder.losses()

    def shown(what: str, call: Callable[..., Any], *given: Any, **settings: Any) -> Any:
        """The result of a call with a bar, which keeps the losses that it measures."""
        with bar(what) as show:
            return call(*given, **settings, progress=keeping(folder, known, show))

    def pruned(target: Target) -> Any:
        what = f"measurements for {target}"
        return shown(what, prune, model, inputs, array, known_losses=known, **common, **target.given)

    def searched(target: Target) -> Any:
        own = {"checkpoint": folder.path / f"search-{target}", **common_of_searches, **target.given}
        return shown(f"batches of the search for {target}", darts, model, inputs, array, **own)

    def within(target: Target) -> Any:
        what = f"measurements for {target}"
        return shown(what, shared.within, array, candidates=search.candidates, **target.given)

    if search.method != "one-shot":
        return pruned if search.method == "prune" else searched
    own = {"checkpoint": folder.path / "search", "known_losses": known, **common_of_searches}
    shared = shown("batches of the super-network", supernet, model, inputs, **own)
    return within


def comparison(results: Mapping[Target, Pruned], method: str) -> Iterator[str]:
    """The networks within several limits for people: notes and a table."""
    first = next(iter(results.values())).report
    yield f"{first.name} on {first.array}, by {method}"
    for text in dict.fromkeys(text for each in results.values() for text in each.report.notes):
        yield f"note: {text}"
    yield ""
    titles = ["limit", "cycles", "of today's[%]", "of the limit[%]", "MACs", "accuracy", "before fine-tuning"]
    first_costs = number(first.before.cycles), "100.00", "", number(first.before.macs)
    rows: list[tuple[str, ...]] = [("none", *first_costs, _accuracy(first, 0), "")]
    for target, result in results.items():
        report = result.report
        used = (f"{100 * share:.2f}" for share in (report.after.cycles / report.before.cycles, report.used))
        found = _accuracy(report, -1), _accuracy(report, -2)
        rows.append((str(target), number(report.after.cycles), *used, number(report.after.macs), *found))
    yield from text_table(titles, rows)


def _accuracy(report: PruningReport, stage: int) -> str:
    """On the held-out examples; the loss where outputs are no scores of classes."""
    measured = report.stages[stage].measured
    return f"loss {measured.loss:.4f}" if measured.accuracy is None else f"{percent(measured.accuracy, 2)} %"
