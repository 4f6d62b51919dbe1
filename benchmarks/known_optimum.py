"""Regret of every latency estimator in a search whose optimum is known: no images, no training, only the estimator.

    python benchmarks/known_optimum.py

A chain of four convolutions has an open width each. What a network loses on data is a known function that falls with
every width, sum_l a_l (w_l / w_max)^-b_l, scaled so that it is 1 for the narrowest network and 0 for the widest. The
objective is

    J(w) = data(w) + lambda * cycles(w) / cycles(reference)

with exact cycles; its minimum over all choices is found by dynamic programming along the chain. Each estimator then
searches as a DARTS-like search does: Adam on architecture parameters, probabilities by softmax or by a Gumbel sample,
and the options with the largest parameters at the end. Only the latency term differs between estimators, and each is
divided by its own cost of the reference network. Noise on the data term is that of searches on images.

    regret = (J(found) - J*) / (J(a network drawn at random, on average) - J*)

All instances, lambdas and noises are rows of one batch.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.side_by_side import report
from hwcost import RELAXATIONS, Conv2d, Network, Operation, Relaxation, SystolicArray, network_cost
from hwcost.torch import CostTable, expected_cost, space_tables

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "known-optimum.png"
KERNELS = (3, 1, 3, 1)
MAP = 14
LAMBDAS = (0.05, 0.1, 0.2, 0.5, 1.0)
SIGNALS = (math.inf, 0.27, 0.12)
"""Mean over root mean square of the data term's gradient; infinite without noise. The others are the ends of what
searches on images have."""

Cycles = Callable[[Tensor], Tensor]
"""Probabilities (batch, layers, options) in, cycles (batch,) out."""


# ---------------------------------------------------------------- the problem


@dataclass(frozen=True)
class Setting:
    """Options of every width, and the machine."""

    name: str
    options: tuple[int, ...]
    array: SystolicArray

    @property
    def space(self) -> Network:
        """Four convolutions in a chain; the first reads as many channels as the array has rows."""
        operations, before = {}, int(self.array.rows)
        for index, kernel in enumerate(KERNELS):
            width = self.reference[f"w{index}"]
            layer = Conv2d(before, width, kernel, height=MAP, width=MAP, padding="same")
            sizes = {"out_channels": f"w{index}"} | ({"in_channels": f"w{index - 1}"} if index else {})
            operations[f"conv{index}"], before = Operation(layer, sizes), width
        return Network(self.name, operations).space({f"w{index}": self.options for index in range(len(KERNELS))})

    @property
    def reference(self) -> dict[str, int]:
        """The network in the middle of the options."""
        return {f"w{index}": self.options[len(self.options) // 2] for index in range(len(KERNELS))}

    @property
    def tables(self) -> dict[str, CostTable]:
        """Exact cycles of every layer, its input along the first axis and its output along the last."""
        found = space_tables(self.space, self.array)
        return {name: _in_chain_order(table) for name, table in found.items()}


def _in_chain_order(table: CostTable) -> CostTable:
    order = sorted(range(len(table.decisions)), key=lambda axis: table.decisions[axis])
    return CostTable(table.values.permute(order), tuple(table.decisions[axis] for axis in order))


def _machine(size: int, **more: Any) -> SystolicArray:
    return SystolicArray(size, size, **more)


LARGE, SMALL = tuple(range(64, 281, 8)), tuple(range(4, 65, 4))
SETTINGS = (
    Setting("128x128", LARGE, _machine(128)),
    Setting("16x16", SMALL, _machine(16)),
    # as many bytes a cycle as the array has rows: some layers of these networks wait for memory, some do not
    Setting("128x128 with memory", LARGE, _machine(128, dram_bytes_per_s=128e9)),
    Setting("16x16 with memory", SMALL, _machine(16, dram_bytes_per_s=16e9)),
)


@dataclass(frozen=True)
class Problems:
    """A batch of objectives over one setting.

    Attributes:
        scale, power: a_l and b_l, (batch, layers).
        weight: lambda, (batch,).
        options: (options,).
        tables: exact cycles of each layer.
        reference: exact cycles of the reference network.
    """

    scale: Tensor
    power: Tensor
    weight: Tensor
    options: Tensor
    tables: Mapping[str, CostTable]
    reference: float

    def losses(self, widths: Tensor) -> Tensor:
        """What each layer loses at those widths, (..., batch, layers); 0 at the largest."""
        return self.scale * ((widths / self.options[-1]) ** -self.power - 1)

    @property
    def table(self) -> Tensor:
        """The same for every option, (batch, layers, options)."""
        return self.losses(self.options[:, None, None]).movedim(0, -1)

    def objective(self, choice: Tensor) -> Tensor:
        """J of the options with those indices, (batch, layers) -> (batch,)."""
        data = self.losses(self.options[choice]).sum(1)
        return data + self.weight * self.cycles(choice) / self.reference

    def cycles(self, choice: Tensor) -> Tensor:
        """Exact cycles of the options with those indices."""
        axes = {f"w{index}": column for index, column in enumerate(choice.unbind(1))}
        return torch.stack(
            [table.values[tuple(axes[name] for name in table.decisions)] for table in self.tables.values()]
        ).sum(0)

    @property
    def of_random(self) -> Tensor:
        """J of a network drawn at random, on average: every option as likely as any other."""
        cycles = sum(table.values.mean() for table in self.tables.values())
        return self.table.mean(2).sum(1) + self.weight * cycles / self.reference

    def repeated(self, times: int) -> Problems:
        """The batch several times, one after the other."""
        rows = (part.repeat(times, *(1,) * (part.ndim - 1)) for part in (self.scale, self.power, self.weight))
        return Problems(*rows, self.options, self.tables, self.reference)

    def in_single(self) -> Problems:
        """The same in single precision, which is enough for a search."""
        rows = (part.float() for part in (self.scale, self.power, self.weight, self.options))
        return Problems(*rows, self.tables, self.reference)


def problems(setting: Setting, instances: int, seed: int) -> Problems:
    """Random instances by all lambdas: a_l log-uniform from 0.3 to 3 and b_l uniform from 0.3 to 1, then scaled."""
    random = np.random.default_rng(seed)
    shape = (instances, len(KERNELS))
    scale = np.exp(random.uniform(math.log(0.3), math.log(3), shape))
    power = random.uniform(0.3, 1.0, shape)
    spread = scale * ((setting.options[0] / setting.options[-1]) ** -power - 1)
    scale /= spread.sum(1, keepdims=True)
    weight = torch.tensor(LAMBDAS, dtype=torch.float64).repeat(instances)
    reference = network_cost(setting.space.at(setting.reference), setting.array).total.cycles
    return Problems(
        *(torch.from_numpy(part).repeat_interleave(len(LAMBDAS), 0) for part in (scale, power)),
        weight,
        torch.tensor(setting.options, dtype=torch.float64),
        setting.tables,
        float(reference),
    )


def optimum(given: Problems) -> tuple[Tensor, Tensor]:
    """The choice with the smallest J, and that J, by dynamic programming along the chain.

    best[j] is the smallest sum over all layers so far that ends in option j; each layer adds its loss and its cycles.
    """
    data, price = given.table, (given.weight / given.reference)[:, None, None]
    costs = [
        price * (table.values if table.values.ndim == 2 else table.values[None]) for table in given.tables.values()
    ]
    best = data[:, 0] + costs[0][:, 0]
    came_from = []
    for layer, cost in enumerate(costs[1:], 1):
        both = best[:, :, None] + cost
        smallest = both.min(1)
        best = smallest.values + data[:, layer]
        came_from.append(smallest.indices)
    value, last = best.min(1)
    choice = [last]
    for previous in reversed(came_from):
        choice.append(previous.gather(1, choice[-1][:, None])[:, 0])
    return torch.stack(choice[::-1], 1), value


# ---------------------------------------------------------------- the estimators


def of_nothing(setting: Setting) -> Cycles:
    """No latency term."""
    return lambda probs: 0 * probs.sum((1, 2))


def by_expectation(setting: Setting) -> Cycles:
    """The exact expectation: p^T R q for every layer."""
    tables = setting.tables

    def one(probs: Tensor) -> Tensor:
        return expected_cost(tables, {f"w{index}": row for index, row in enumerate(probs.unbind(0))})

    return torch.func.vmap(one)


def at_expected_widths(relaxation: Relaxation, *, memory: bool = True) -> Callable[[Setting], Cycles]:
    """The cost at the expected widths by a relaxation; without its memory where that is left out."""

    def make(setting: Setting) -> Cycles:
        space, options = setting.space, torch.tensor(setting.options)
        array = setting.array if memory else SystolicArray(setting.array.rows, setting.array.cols)

        def cycles(probs: Tensor) -> Tensor:
            widths = probs @ options.to(probs)
            sizes = {f"w{index}": column for index, column in enumerate(widths.unbind(1))}
            found: Tensor = network_cost(space.at(sizes), array, relaxation=relaxation).total.cycles
            return found

        return cycles

    return make


ESTIMATORS: Mapping[str, Callable[[Setting], Cycles]] = MappingProxyType(
    {
        "none": of_nothing,
        "FLOPs": at_expected_widths(RELAXATIONS["linear"], memory=False),
        "roofline": at_expected_widths(RELAXATIONS["linear"]),
        "straight-through": at_expected_widths(RELAXATIONS["straight-through"]),
        "logistic": at_expected_widths(RELAXATIONS["logistic"]),
        "shifted": at_expected_widths(RELAXATIONS["shifted"]),
        "generalized": at_expected_widths(RELAXATIONS["generalized"]),
        "expectation": by_expectation,
    }
)
"""Every estimator by name. A new one is a function of the setting, and a row here."""

Estimators = Mapping[str, Callable[[Setting], Cycles]]


# ---------------------------------------------------------------- the search


@dataclass(frozen=True)
class Search:
    """How all estimators search alike: Adam, and a softmax that gets ever sharper."""

    steps: int = 3000
    learning_rate: float = 0.01
    hottest: float = 2.0
    coldest: float = 0.5

    def tau(self, step: int) -> float:
        """The temperature of the softmax at a step, geometric."""
        return self.hottest * (self.coldest / self.hottest) ** (step / max(1, self.steps - 1))


class Condition(NamedTuple):
    """What differs between searches that run side by side."""

    estimator: str
    gumbel: bool
    data: str


def expected_loss(given: Problems, probs: Tensor) -> Tensor:
    """What is lost on average over the options: what a network sees whose options are drawn."""
    return (given.table * probs).sum((-2, -1))


def loss_at_expected_width(given: Problems, probs: Tensor) -> Tensor:
    """What is lost at the expected widths: what a network sees whose options are blended."""
    return given.losses(probs @ given.options).sum(-1)


DATA_TERMS = MappingProxyType({"expected loss": expected_loss, "expected width": loss_at_expected_width})


def search(
    given: Problems,
    setting: Setting,
    conditions: Sequence[Condition],
    how: Search,
    signal: Tensor,
    seed: int,
    estimators: Estimators = ESTIMATORS,
) -> tuple[Tensor, Tensor]:
    """Every condition on every problem: the options with the largest parameters, and the expected widths at the end.

    Noise and samples depend on seed, step and problem alone, so that all conditions see the same.

    Args:
        given: the problems, a batch.
        setting: of these problems.
        conditions: estimators and what goes with them.
        how: the optimiser.
        signal: mean over root mean square of the data term's gradient for each problem, (batch,).
        seed: of noise and samples.
        estimators: what the names in the conditions stand for.

    Returns:
        Indices and widths, both (conditions, batch, layers).
    """
    random = torch.Generator().manual_seed(seed)
    shape, dtype = given.table.shape, given.table.dtype
    sampled = torch.tensor([condition.gumbel for condition in conditions], dtype=dtype)[:, None, None, None]
    terms = _latencies(given, setting, conditions, estimators)
    deviation = deviations(given, signal)
    alpha = torch.zeros((len(conditions), *shape), dtype=dtype, requires_grad=True)
    optimiser = torch.optim.Adam([alpha], lr=how.learning_rate)
    for step in range(how.steps):
        uniform = torch.rand(shape, generator=random, dtype=dtype).clamp_(1e-7, 1 - 1e-7)
        noise = deviation * torch.randn(shape, generator=random, dtype=dtype)
        probs = torch.softmax((alpha - sampled * torch.log(-torch.log(uniform))) / how.tau(step), -1)
        loss = (noise * probs).sum()
        for data, chosen in _groups(condition.data for condition in conditions):
            loss = loss + DATA_TERMS[data](given, probs[chosen]).sum()
        for cycles, chosen in terms:
            loss = loss + (given.weight * cycles(probs[chosen].flatten(0, 1)).unflatten(0, (-1, shape[0]))).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return alpha.detach().argmax(-1), torch.softmax(alpha.detach() / how.coldest, -1) @ given.options


def deviations(given: Problems, signal: Tensor) -> Tensor:
    """The deviation of the noise on what each option loses, (batch, layers, 1).

    A mean over root mean square of s means noise sqrt(1 / s^2 - 1) times as large as what is to be seen, which is how
    the options differ.
    """
    times = torch.sqrt(signal.to(given.table.dtype) ** -2 - 1).where(signal.isfinite(), 0.0)
    return times[:, None, None] * given.table.std(2, keepdim=True)


def _groups(labels: Iterable[str]) -> list[tuple[str, list[int]]]:
    """The positions of each label."""
    found: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        found.setdefault(label, []).append(index)
    return list(found.items())


def _latencies(
    given: Problems, setting: Setting, conditions: Sequence[Condition], estimators: Estimators
) -> list[tuple[Cycles, list[int]]]:
    """Each estimator over its own cost of the reference network, and the conditions that it belongs to."""
    middle = torch.zeros((1, *given.table.shape[1:]), dtype=given.table.dtype)
    middle[:, :, len(setting.options) // 2] = 1
    found = []
    for name, chosen in _groups(condition.estimator for condition in conditions):
        cycles = estimators[name](setting)
        unit = cycles(middle).item() or 1.0
        found.append((lambda probs, cycles=cycles, unit=unit: cycles(probs) / unit, chosen))
    return found


def rounded_up(given: Problems, choice: Tensor) -> Tensor:
    """Every width grown through the options as far as the exact cycles stay equal, the last layer first."""
    before = None
    while before is None or not torch.equal(before, choice):
        before = choice.clone()
        for layer in reversed(range(choice.shape[1])):
            options = torch.arange(len(given.options)).repeat(len(choice), 1)
            tried = choice[:, None, :].repeat(1, len(given.options), 1)
            tried[:, :, layer] = options
            cycles = given.cycles(tried.flatten(0, 1)).unflatten(0, (len(choice), -1))
            as_fast = cycles <= given.cycles(choice)[:, None]
            choice[:, layer] = options.where(as_fast, 0).amax(1)
    return choice


# ---------------------------------------------------------------- what comes out


def evaluate(
    setting: Setting,
    signals: Sequence[float],
    how: Search,
    instances: int,
    seed: int,
    conditions: Sequence[Condition] | None = None,
    estimators: Estimators = ESTIMATORS,
) -> list[dict[str, Any]]:
    """A row for each condition and noise: regret by three ways to derive a network, and where the widths settle.

    Without conditions all estimators are searched with, in all combinations of sampling and data term.
    """
    conditions = conditions or [Condition(n, g, d) for g in (False, True) for d in DATA_TERMS for n in estimators]
    once = problems(setting, instances, seed)
    best, least = optimum(once)
    given, best, least = once.repeated(len(signals)), best.repeat(len(signals), 1), least.repeat(len(signals))
    unit = given.of_random - least
    signal = torch.tensor(signals).repeat_interleave(len(once.weight))
    found, soft = search(given.in_single(), setting, conditions, how, signal, seed, estimators)
    rows = []
    for condition, choice, widths in zip(conditions, found, soft.double(), strict=True):
        derived = {
            "regret": choice,
            "regret, nearest to the expected width": (widths[:, :, None] - given.options).abs().argmin(2),
            "regret, rounded up": rounded_up(given, choice.clone()),
        }
        regrets = {name: (given.objective(option) - least) / unit for name, option in derived.items()}
        relative = (given.objective(choice) - least) / least
        for index, level in enumerate(signals):
            part = slice(index * len(once.weight), (index + 1) * len(once.weight))
            rows.append(
                {"setting": setting.name, **condition._asdict(), "signal": None if math.isinf(level) else level}
                | _figures(regrets["regret"][part], instances)
                | {name: regret[part].mean().item() for name, regret in regrets.items() if name != "regret"}
                | {"J above the optimum's": relative[part].mean().item()}
                | {"share of optima found": (regrets["regret"][part] < 1e-9).double().mean().item()}
                | _places(setting, given.options, choice[part], best[part])
            )
    return rows


def _figures(regret: Tensor, instances: int) -> dict[str, float]:
    """Mean, deviation between instances (each averaged over lambdas), and the worst of all."""
    by_instance = regret.reshape(instances, -1).mean(1)
    deviation = by_instance.std().item() if instances > 1 else 0.0
    return {"regret": regret.mean().item(), "deviation": deviation, "worst": regret.max().item()}


def _places(setting: Setting, options: Tensor, choice: Tensor, best: Tensor) -> dict[str, float | None]:
    """Where widths lie between two tile boundaries along the columns; those at an end of the options aside."""
    tiles, inner = options[choice] / setting.array.cols, (choice > 0) & (choice < len(options) - 1)
    beyond = (tiles - tiles.floor())[inner]
    kinds = {
        "widths at a full tile": beyond == 0,
        "widths up to 1/4 tile past one": (beyond > 0) & (beyond <= 0.25),
        "widths up to 1/4 tile short of one": beyond >= 0.75,
    }
    shares = {name: kind.double().mean().item() if len(beyond) else None for name, kind in kinds.items()}
    off = (options[choice] - options[best]) / setting.array.cols
    return shares | {"tiles wider than the optimum": off.mean().item()}


def over_counts(setting: Setting) -> dict[str, float]:
    """How much more than the exact cycles each estimator counts where all columns are full, on average of networks."""
    full = [index for index, option in enumerate(setting.options) if option % setting.array.cols == 0]
    choice = torch.cartesian_prod(*[torch.tensor(full)] * len(KERNELS))
    probs = torch.nn.functional.one_hot(choice, len(setting.options)).double()
    exact = by_expectation(setting)(probs)
    return {name: (make(setting)(probs) / exact - 1).mean().item() for name, make in ESTIMATORS.items()}


def best_combinations(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The combination of sampling and data term that suits each estimator best, on average over rows."""
    found: dict[str, dict[str, Any]] = {}
    for name in ESTIMATORS:
        own = [row for row in rows if row["estimator"] == name]
        scores = {
            (gumbel, data): np.mean([r["regret"] for r in own if r["gumbel"] == gumbel and r["data"] == data])
            for gumbel in (False, True)
            for data in DATA_TERMS
        }
        gumbel, data = min(scores, key=lambda key: scores[key])
        found[name] = {"gumbel": gumbel, "data": data}
    return found


def table(rows: Sequence[Mapping[str, Any]], best: Mapping[str, Mapping[str, Any]], figure: str) -> list[str]:
    """Lines of a Markdown table: an estimator a row, a setting and noise a column, each in what suits it best."""
    places = list(dict.fromkeys((row["setting"], row["signal"]) for row in rows))
    heads = [f"{setting}, {'no noise' if signal is None else f'signal {signal:g}'}" for setting, signal in places]
    lines = [f"| {' | '.join(['estimator', 'searches with', *heads])} |", f"|{' --- |' * (len(heads) + 2)}"]
    for name, way in best.items():
        own = {(row["setting"], row["signal"]): row for row in rows if _is_of(row, name, way)}
        cells = [_cell(own[place], figure) for place in places]
        sampling = "Gumbel" if way["gumbel"] else "softmax"
        lines.append(f"| {' | '.join([name, sampling + ', ' + way['data'], *cells])} |")
    return lines


PLACES = ("widths at a full tile", "widths up to 1/4 tile past one", "widths up to 1/4 tile short of one")


def places_table(rows: Sequence[Mapping[str, Any]], best: Mapping[str, Mapping[str, Any]], setting: str) -> list[str]:
    """The same for where widths lie, of one setting without noise; "none" has none between the ends of the options."""
    lines = [f"| {' | '.join(['estimator', *PLACES])} |", f"|{' --- |' * (len(PLACES) + 1)}"]
    for name, way in best.items():
        (row,) = (r for r in rows if _is_of(r, name, way) and (r["setting"], r["signal"]) == (setting, None))
        if row[PLACES[0]] is not None:
            lines.append(f"| {' | '.join([name, *(f'{100 * row[place]:.0f} %' for place in PLACES)])} |")
    return lines


def _is_of(row: Mapping[str, Any], name: str, way: Mapping[str, Any]) -> bool:
    return row["estimator"] == name and row["gumbel"] == way["gumbel"] and row["data"] == way["data"]


def _cell(row: Mapping[str, Any], figure: str) -> str:
    spread = f" ± {row['deviation']:.3f}" if figure == "regret" else ""
    return f"{row[figure]:.3f}{spread}"


def draw(rows: Sequence[Mapping[str, Any]], best: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Bars of regret with the spread over instances, a panel for each setting; "none" is left out: too long a bar."""
    from hwcost.plot import save
    from hwcost.plot.style import COLOURS, GREY, MARGINS, STYLE, load_matplotlib

    matplotlib = load_matplotlib()
    names = [name for name in best if name != "none"]
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(10.0, 4.4), layout="constrained")
        for axes, setting in zip(
            figure.subplots(1, len(settings), sharey=True, squeeze=False)[0], settings, strict=True
        ):
            rounded_label: str | None = "after rounding up at equal cycles"
            for index, signal in enumerate(SIGNALS):
                level = None if math.isinf(signal) else signal
                own = [
                    next(r for r in rows if _is_of(r, n, best[n]) and (r["setting"], r["signal"]) == (setting, level))
                    for n in names
                ]
                places = np.arange(len(names)) + 0.26 * (index - 1)
                label = "no noise" if level is None else f"mean / rms of the gradient {level:g}"
                means = [row["regret"] for row in own]
                least = [min(row["regret"], row["deviation"]) for row in own]
                axes.bar(places, means, 0.24, color=COLOURS[index], label=label)
                spread = [least, [row["deviation"] for row in own]]
                axes.errorbar(places, means, spread, fmt="none", ecolor=GREY, elinewidth=1.2, capsize=2)
                rounded = [row["regret, rounded up"] for row in own]
                axes.plot(places, rounded, "o", mfc="white", mec="black", markersize=5, zorder=5, label=rounded_label)
                rounded_label = None
            axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
            axes.set_title(f"{setting}")
            axes.grid(visible=False, axis="x")
        figure.axes[0].set_ylabel("regret (0: the optimum, 1: a random network)")
        figure.axes[-1].legend(loc="upper right")
        figure.get_layout_engine().set(**MARGINS)
        save(figure, path)


# ---------------------------------------------------------------- the run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=12, help="random data terms (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=Search.steps, help="of every search (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few and short searches without noise; writes nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        rows = [row for setting in SETTINGS[:2] for row in quick(setting, options.seed)]
        print("\n".join(table(rows, best_combinations(rows), "regret")))
        return 0
    start = time.process_time()
    how = Search(options.steps)
    rows = []
    for setting in SETTINGS:  # those with memory without noise: they are there for the roofline's sake
        signals = SIGNALS if setting in SETTINGS[:2] else SIGNALS[:1]
        rows += evaluate(setting, signals, how, options.instances, options.seed)
        print(f"{setting.name}: {time.process_time() - start:.0f} s", file=sys.stderr)
    return 0 if write(rows, how, options, time.process_time() - start) else 1


def quick(setting: Setting, seed: int = 0) -> list[dict[str, Any]]:
    """A few short searches without noise: seconds."""
    return evaluate(setting, SIGNALS[:1], Search(500, 0.05), instances=3, seed=seed)


def write(rows: list[dict[str, Any]], how: Search, options: argparse.Namespace, seconds: float) -> bool:
    named = {setting.name for setting in SETTINGS[:2]}
    main_rows = [row for row in rows if row["setting"] in named]
    best = best_combinations(main_rows)
    memory = [row for row in rows if row["setting"] not in named]
    for part, figure in ((main_rows, "regret"), (main_rows, "regret, rounded up"), (memory, "regret")):
        print(f"\n{figure}\n", *table(part, best, figure), "", sep="\n")
    draw(main_rows, best, IMAGE)
    figures: dict[str, Any] = {"CPU seconds": seconds}
    goals = {}
    for setting in SETTINGS:
        quiet = [row for row in rows if row["setting"] == setting.name and row["signal"] is None]
        worst = max(row["regret"] for row in quiet if row["estimator"] == "expectation")
        rival = min(row["regret"] for row in quiet if row["estimator"] not in ("expectation", "none"))
        figures[f"{setting.name}: regret of expectation, worst of its combinations"] = worst
        figures[f"{setting.name}: regret of the best other estimator, best combination"] = rival
        goals[f"{setting.name}: regret of expectation, worst of its combinations"] = ("<=", 0.05)
    settings = {
        "seed": options.seed,
        "instances": options.instances,
        "lambdas": list(LAMBDAS),
        "signals": [None if math.isinf(signal) else signal for signal in SIGNALS],
        "widths": {setting.name: list(setting.options) for setting in SETTINGS},
        "arrays": {setting.name: setting.array.as_dict() for setting in SETTINGS},
        "kernels": list(KERNELS),
        "map": MAP,
        "search": asdict(how) | {"optimiser": "Adam"},
    }
    more = {
        "best combination": best,
        "over-count at full tiles": {setting.name: over_counts(setting) for setting in SETTINGS[:2]},
        "rows": rows,
    }
    return report("known_optimum", settings, figures, goals, more=more)


if __name__ == "__main__":
    sys.exit(main())
