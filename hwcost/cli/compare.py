"""``hwcost compare``: networks on arrays, side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from hwcost._version import __version__
from hwcost.cli.shared.networks import array_label, array_options, model_options, read_array, read_model
from hwcost.errors import InvalidValueError

if TYPE_CHECKING:
    from hwcost.network.network import Network
    from hwcost.reports import Summary

__all__ = ["compare"]

SCHEMA = "hwcost.compare/1"
_MOST_PAIRS = 10_000

_EXAMPLES = """\b
Examples:
  hwcost compare net.onnx --devices tpu-v1,gemmini,edge-tpu
  hwcost compare small.csv large.csv --device tpu-v5e --plot sizes.png
"""


@dataclass(frozen=True, eq=False)
class Pair:
    """A network on an array.

    Attributes:
        source: where the network was read from.
        device: the name of the device; None for an array made of options alone.
        label: of the array, in words.
        summary: of the network on the array.
        ratio: its time over that of the first pair.
    """

    source: str
    device: str | None
    label: str
    summary: Summary
    ratio: float

    @property
    def array_name(self) -> str:
        """The device, or the size of the array."""
        return self.device or f"{self.summary.array.rows} x {self.summary.array.cols}"


@click.command(short_help="Networks on arrays, side by side.", epilog=_EXAMPLES)
@click.argument("sources", metavar="MODEL...", nargs=-1, required=True)
@model_options
@click.option("--devices", metavar="NAMES", help="Some devices, with commas.")
@array_options
@click.option("--skip-unsupported", is_flag=True, help="Leave out operations that cannot be priced, and name them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a header.")
@click.option("--plot", "picture", metavar="FILE", help="Draw time and utilization: .png, .svg or .pdf.")
def compare(
    *,
    sources: tuple[str, ...],
    inputs: tuple[str, ...],
    dims: tuple[str, ...],
    devices: str | None,
    device: str | None,
    skip_unsupported: bool,
    as_json: bool,
    as_csv: bool,
    picture: str | None,
    **array: str | None,
) -> None:
    """Time, cycles and utilization of one or several networks on one or several devices.

    Each MODEL is what hwcost model takes. Ratios are to the time of the first line; options of the array hold for every
    device.
    """
    from hwcost.cli.shared.summaries import check_picture, priced, say_extrapolation

    if as_json and as_csv:
        raise click.UsageError("--csv is given; allowed: not together with --json")
    check_picture("--plot", picture)
    names = _devices(device, devices)
    if len(sources) * len(names) > _MOST_PAIRS:
        raise InvalidValueError("the number of pairs", len(sources) * len(names), f"at most {_MOST_PAIRS}")
    arrays = [read_array(name, array["s1"], array["s2"], *(array[o] for o in _TIMING)) for name in names]
    networks = _networks(sources, inputs, dims)
    pairs: list[Pair] = []
    for source, network in zip(sources, networks, strict=True):
        for machine, file in arrays:
            summary = priced(network, machine, skip_unsupported=skip_unsupported)
            say_extrapolation(network, file)
            first = pairs[0].summary if pairs else summary
            ratio = summary.cost.seconds / first.cost.seconds if first.cost.seconds else 1.0
            name = None if file is None else file.name
            pairs.append(Pair(source, name, array_label(machine, file), summary, ratio))
    click.echo(_json(pairs) if as_json else _csv(pairs) if as_csv else _text(pairs), nl=not as_csv)
    _say_missing(pairs)
    if picture is not None:
        _draw(picture, pairs, len(arrays))


_TIMING = ("dataflow", "fold_timing", "clock")


def _devices(device: str | None, devices: str | None) -> list[str | None]:
    if devices is None:
        return [device]
    if device is not None:
        raise InvalidValueError("--device", device, "not together with --devices")
    names = [name.strip() for name in devices.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise InvalidValueError("--devices", devices, "names with commas, each once, like tpu-v1,gemmini")
    return list(names)


def _networks_with_dims(
    sources: Sequence[str], kinds: Sequence[str], inputs: tuple[str, ...], dims: tuple[str, ...]
) -> list[Network]:
    """All networks, each ONNX graph with those sizes whose names it has; a name that none has is refused."""
    found, unknown = [], dict.fromkeys(dims, 0)
    refused: InvalidValueError | None = None
    for source, kind in zip(sources, kinds, strict=True):
        own = dims if kind == "onnx" else ()
        while True:
            try:
                found.append(read_model(source, inputs if kind == "torch" else (), own))
                break
            except InvalidValueError as error:
                less = tuple(text for text in own if text.rpartition("=")[0] != error.value)
                if error.field != "a name in dims" or less == own:
                    raise
                own, refused = less, error
        for text in set(dims) - set(own):
            unknown[text] += 1
    if refused is not None and len(sources) in unknown.values():
        raise refused
    return found


def _networks(sources: Sequence[str], inputs: tuple[str, ...], dims: tuple[str, ...]) -> list[Network]:
    """All networks, each with those options that go with its kind."""
    from hwcost.importers import source_kind

    kinds = [source_kind(source) for source in sources]
    if kinds.count("onnx") > 1 and dims:
        return _networks_with_dims(sources, kinds, inputs, dims)
    # what none of the models takes is refused by the first one
    for_torch = inputs if "torch" in kinds else None
    for_onnx = dims if "onnx" in kinds else None
    return [
        read_model(
            source,
            inputs if for_torch is None or kind == "torch" else (),
            dims if for_onnx is None or kind == "onnx" else (),
        )
        for source, kind in zip(sources, kinds, strict=True)
    ]


# ---------------------------------------------------------------- forms


def _text(pairs: Sequence[Pair]) -> str:
    from hwcost.cli.model_output import TIMES
    from hwcost.cli.shared.tables import Column, alike, is_terminal, printable, table, unit_of

    scale, unit = unit_of(max(pair.summary.cost.seconds for pair in pairs), TIMES)
    cycles = alike(pair.summary.cost.cycles for pair in pairs)
    columns = [
        Column[Pair]("network", lambda pair: printable(pair.summary.name), to_the_left=True),
        Column[Pair]("array", lambda pair: pair.label, to_the_left=True),
        Column[Pair]("cycles", lambda pair: cycles(pair.summary.cost.cycles)),
        Column[Pair](f"time[{unit}]", lambda pair: f"{pair.summary.cost.seconds / scale:.5g}"),
        Column[Pair]("ratio", lambda pair: f"{pair.ratio:.3f}"),
        Column[Pair]("util[%]", lambda pair: f"{100 * pair.summary.cost.utilization:.1f}"),
        Column[Pair]("mostly bound by", _mostly, to_the_left=True),
    ]
    if any(pair.summary.missing for pair in pairs):
        columns.append(Column[Pair]("MISSING", lambda pair: str(len(pair.summary.missing) or "")))
    return "\n".join(table(columns, pairs, coloured=is_terminal()))


def _mostly(pair: Pair) -> str:
    summary = pair.summary
    whole = sum(summary.seconds_by_bound.values())
    share = summary.seconds_by_bound[summary.mostly_bound] / whole if whole else 1.0
    return f"{summary.mostly_bound} ({100 * share:.0f} %)"


def _row(pair: Pair) -> dict[str, Any]:
    summary, array = pair.summary, pair.summary.array
    return {
        "network": summary.name,
        "source": pair.source,
        "device": pair.device,
        **{name: getattr(array, name) for name in ("rows", "cols", "dataflow", "fold_timing", "clock_hz")},
        **{name: getattr(summary.cost, name) for name in ("macs", "cycles", "seconds", "utilization")},
        "ratio": pair.ratio,
        "mostly_bound": summary.mostly_bound,
        **{f"seconds_bound_by_{name}": each for name, each in summary.seconds_by_bound.items()},
        "missing": len(summary.missing),
    }


def _json(pairs: Sequence[Pair]) -> str:
    import json

    from hwcost.cli.model_output import settings_of

    rows = [
        _row(pair) | {"missing": list(pair.summary.missing), "array": settings_of(pair.summary, pair.device)}
        for pair in pairs
    ]
    return json.dumps({"schema": SCHEMA, "version": __version__, "rows": rows}, indent=2, allow_nan=False)


def _csv(pairs: Sequence[Pair]) -> str:
    from hwcost.cli.shared.tables import printable

    rows = [{"schema": SCHEMA, "version": __version__} | _row(pair) for pair in pairs]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "" if v is None else printable(v) if isinstance(v, str) else v for k, v in row.items()})
    return text.getvalue()


def _say_missing(pairs: Sequence[Pair]) -> None:
    from hwcost.cli.model_output import missing_text
    from hwcost.cli.shared.tables import printable

    said = {pair.source: pair.summary for pair in pairs if pair.summary.missing}
    for summary in said.values():
        click.echo(f"Note: {printable(summary.name)}: {missing_text(summary)}", err=True)


def _draw(path: str, pairs: Sequence[Pair], width: int) -> None:
    from hwcost import plot
    from hwcost.cli.shared.summaries import written

    rows = [pairs[i : i + width] for i in range(0, len(pairs), width)]
    figure = plot.comparison_figure(
        [row[0].summary.name for row in rows],
        [pair.array_name for pair in rows[0]],
        [[pair.summary.cost.seconds for pair in row] for row in rows],
        [[pair.summary.cost.utilization for pair in row] for row in rows],
    )
    written("--plot", path, lambda path: plot.save(figure, path))
