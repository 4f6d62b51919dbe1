"""``hwcost estimate --scalesim-topology``: the layers of a SCALE-Sim topology, next to the counts of SCALE-Sim."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli.shared.documents import csv_document, json_document
from hwcost.cli.shared.machines import Machine
from hwcost.cli.shared.options import value_of
from hwcost.console import note
from hwcost.errors import Faults, InvalidValueError
from hwcost.tables import even_percent, text_table
from hwcost.units import number

if TYPE_CHECKING:
    from hwcost.scalesim import Configuration, Topology

__all__ = ["estimate_topology"]

SCHEMA = "hwcost.topology/1"

_HEADINGS = ("layer", "M", "N", "K", "products", "cycles", "SCALE-Sim", "util[%]", "MACs")


def read_files(
    scalesim_topology: str | None, scalesim_config: str | None, scalesim_report: str | None
) -> tuple[Topology, Configuration]:
    """The topology and the array of two files.

    Raises:
        InvalidValueError: one of them is not given, or cannot be used; a report without both.
    """
    given = {"topology": scalesim_topology, "config": scalesim_config, "report": scalesim_report}
    if scalesim_topology is None or scalesim_config is None:
        have, need = ("topology", "config") if scalesim_config is None else ("config", "topology")
        have = have if given[have] is not None else "report"
        reason = f"--scalesim-{need} is missing"
        raise InvalidValueError(f"--scalesim-{have}", given[have], "give both", reason=reason)
    from hwcost.scalesim import read_configuration, read_topology

    faults = Faults()
    with faults.caught(), value_of("--scalesim-topology", scalesim_topology):
        network = read_topology(scalesim_topology)
    with faults.caught(), value_of("--scalesim-config", scalesim_config):
        machine = read_configuration(scalesim_config)
    faults.check()
    return network, machine


def estimate_topology(topology: str | None, config: str | None, report: str | None, *, form: str) -> None:
    """Prices a topology on the array of a configuration, prints it, and writes the report if one is asked for."""
    from hwcost.scalesim import write_compute_report

    network, machine = read_files(topology, config, report)
    for text in (*network.notes, *machine.notes):
        note(text)
    rows = list(_rows(network, machine))
    written = None if report is None else str(write_compute_report(report, network.layers, machine))
    if form == "json":
        click.echo(_json(network, machine, rows, written))
    elif form == "csv":
        click.echo(csv_document(SCHEMA, rows), nl=False)
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
    sums = _sums(rows)
    used = even_percent(row["utilization"] for row in [*rows, sums])
    cells = [_cells(row, used) for row in [*rows, sums | {"layer": "total"}]]
    lines = [f"{network.name} on {Machine(machine.array, None).label}", *text_table(_HEADINGS, cells)]
    return "\n".join(lines if written is None else [*lines, written])


def _cells(row: Mapping[str, Any], used: Callable[[float], str]) -> tuple[str, ...]:
    sizes = (number(row[name]) if name in row else "" for name in ("m", "n", "k", "count"))
    cycles = (number(row[name]) for name in ("cycles", "scalesim_total_cycles"))
    return (row["layer"], *sizes, *cycles, used(row["utilization"]), number(row["macs"]))


def _json(network: Topology, machine: Configuration, rows: list[dict[str, Any]], written: str | None) -> str:
    content = {
        "topology": network.name,
        "kind": network.kind,
        "run_name": machine.run_name,
        "array": machine.array.as_dict(),
        "notes": [*network.notes, *machine.notes],
        "report": written,
        "total": _sums(rows),
        "rows": rows,
    }
    return json_document(SCHEMA, content)
