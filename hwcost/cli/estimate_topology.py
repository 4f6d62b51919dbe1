"""``hwcost estimate --scalesim-topology``: every layer of a SCALE-Sim topology, and what SCALE-Sim itself counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hwcost._version import __version__
from hwcost.errors import InvalidValueError

if TYPE_CHECKING:
    from hwcost.scalesim import Configuration, Topology

__all__ = ["estimate_topology", "topology_options"]

SCHEMA = "hwcost.topology/1"

_F = TypeVar("_F", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--scalesim-topology", metavar="FILE", help="Price the layers of a SCALE-Sim topology instead."),
    click.option("--scalesim-config", metavar="FILE", help="The SCALE-Sim configuration that says the array."),
    click.option("--scalesim-report", metavar="DIR", help="Write SCALE-Sim's COMPUTE_REPORT.csv into this folder."),
)
_HEADINGS = ("layer", "M", "N", "K", "products", "cycles", "SCALE-Sim", "utilization[%]", "MACs")


def topology_options(command: _F) -> _F:
    """Adds the options that read and write SCALE-Sim's files."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def estimate_topology(topology: str | None, config: str | None, report: str | None, *, form: str) -> None:
    """Prices a topology on the array of a configuration, prints it and writes the report where one is asked for.

    Raises:
        InvalidValueError: an option without the ones that it needs, a file that cannot be read or written.
    """
    if topology is None or config is None:
        have, need = ("topology", "config") if config is None else ("config", "topology")
        if topology is None and config is None:
            have = "report"
        given = {"topology": topology, "config": config, "report": report}[have]
        raise InvalidValueError(f"--scalesim-{have}", given, f"together with --scalesim-{need}")
    from hwcost.scalesim import read_configuration, read_topology, write_compute_report

    network, machine = read_topology(topology), read_configuration(config)
    for note in (*network.notes, *machine.notes):
        click.echo(f"Note: {note}", err=True)
    rows = list(_rows(network, machine))
    written = None if report is None else str(write_compute_report(report, network.layers, machine))
    if form == "json":
        click.echo(_json(network, machine, rows, written))
    elif form == "csv":
        click.echo(_csv(rows))
    else:
        click.echo(_text(network, machine, rows, written))


def _rows(network: Topology, machine: Configuration) -> Iterator[dict[str, Any]]:
    from hwcost.network.pricing import network_cost
    from hwcost.scalesim import counts

    layers = network.by_name()
    for name, cost in network_cost(layers, machine.array).layers.items():
        (gemm,) = layers[name].gemms()
        try:
            counted = counts(gemm, machine.array)
        except InvalidValueError as error:
            raise error.at(f"layer {name!r}: {error.field}") from None
        yield {
            "layer": name,
            "m": gemm.m,
            "n": gemm.n,
            "k": gemm.k,
            "count": gemm.count,
            **cost.as_dict(),
            "scalesim_total_cycles": counted.total_cycles * gemm.count,
            "scalesim_overall_util": counted.overall_util,
            "scalesim_mapping_eff": counted.mapping_eff,
            "scalesim_compute_util": counted.compute_util,
        }


def _sums(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("cycles", "scalesim_total_cycles", "macs", "seconds", "pe_cycles")
    sums = {name: sum(row[name] for row in rows) for name in names}
    return sums | {"utilization": sums["macs"] / sums["pe_cycles"]}


def _text(network: Topology, machine: Configuration, rows: list[dict[str, Any]], written: str | None) -> str:
    array, sums = machine.array, _sums(rows)
    table = [_HEADINGS, *(_cells(row) for row in rows), _cells(sums | {"layer": "total"})]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [f"{network.name} on {array.rows} x {array.cols}, {array.dataflow_row.summary}, {array.fold_timing} folds"]
    for first, *others in table:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *cells)))
    return "\n".join(lines if written is None else [*lines, written])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    sizes = (str(row.get(name, "")) for name in ("m", "n", "k", "count"))
    cycles = (str(row[name]) for name in ("cycles", "scalesim_total_cycles"))
    return (row["layer"], *sizes, *cycles, f"{100 * row['utilization']:.2f}", str(row["macs"]))


def _csv(rows: list[dict[str, Any]]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, ["schema", "version", *rows[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"schema": SCHEMA, "version": __version__, **row} for row in rows)
    return text.getvalue().rstrip("\n")


def _json(network: Topology, machine: Configuration, rows: list[dict[str, Any]], written: str | None) -> str:
    import json

    content = {
        "schema": SCHEMA,
        "version": __version__,
        "topology": network.name,
        "kind": network.kind,
        "run_name": machine.run_name,
        "array": machine.array.as_dict(),
        "notes": [*network.notes, *machine.notes],
        "report": written,
        "total": _sums(rows),
        "rows": rows,
    }
    return json.dumps(content, indent=2)
