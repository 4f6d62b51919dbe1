"""Cycles of searched networks counted again by SCALE-Sim 3.0.0 itself, layer by layer: equal to hwcost's or not.

    python benchmarks/recount_scalesim.py                          # networks named in this file
    python benchmarks/recount_scalesim.py SWEEP/results.json       # the winners of a sweep, each once per array
    python benchmarks/recount_scalesim.py winners.json more.json   # those of other result files

A file is the ``results.json`` of ``nas-plugin sweep``, or holds ``{"array": {"rows": 16, "cols": 16}, "winners":
[{"choice": {"conv1.width": 7, ...}}, ...]}``: a size for every decision of the LeNet space of nas_plugin, or of the
architecture file that ``--arch-def`` names. Each network is written as a SCALE-Sim topology and simulated on that array
with its weights stationary. SCALE-Sim fills and drains the array for every fold, so that its cycles are those of
``fold_timing="serial"``, not of the ideal folds that a search counts by default. It prints the index of the last cycle
of a layer, one less than their number; that one is added here. The figures go into benchmarks/results, and a
difference ends with exit code 1.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import hwcost
from agreement_scalesim import Case, cells, interpreter, run_simulator
from common.side_by_side import report
from hwcost import InvalidValueError, Layer, SystolicArray, network_cost
from hwcost.importers.lists import write_scalesim
from hwcost.scalesim import Configuration, write_configuration
from nas_plugin import ArchDef, load_arch_def

LENET = {"conv1.width": 6, "conv1.kernel": 5, "conv2.width": 16, "conv2.kernel": 5, "fc1.width": 120, "fc2.width": 84}
KNOWN = (
    LENET,
    LENET | {"conv1.width": 7, "conv1.kernel": 3, "fc1.width": 112, "fc2.width": 64},
    LENET | {"conv1.width": 7, "conv1.kernel": 3, "fc1.width": 128, "fc2.width": 48},
)
ARRAYS = ((16, 16), (8, 8))


class Network(NamedTuple):
    """One network on one array: sizes by decision, the array's rows and columns, and where it was named."""

    choice: Mapping[str, int]
    rows: int
    cols: int
    origin: str


# ---------------------------------------------------------------- the networks


def known() -> Iterator[Network]:
    """LeNet-5 and two networks that were found, on both arrays."""
    for rows, cols in ARRAYS:
        for choice in KNOWN:
            yield Network(choice, rows, cols, "named in the benchmark")


def winners(path: Path) -> Iterator[Network]:
    """The networks of a result file.

    Raises:
        InvalidValueError: a file that cannot be read, or one without the fields above.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidValueError("file", str(path), f"a JSON file that can be read ({error})") from None
    if isinstance(content, dict) and re.fullmatch(r"nas_plugin\.sweep/[0-9]+/results", str(content.get("schema"))):
        yield from _of_sweep(content, path.name)
        return
    array, found = (content.get(key) for key in ("array", "winners")) if isinstance(content, dict) else (None, None)
    if not isinstance(array, dict) or not {"rows", "cols"} <= array.keys():
        raise InvalidValueError(f'"array" in {path}', array, '{"rows": R, "cols": C}')
    if not isinstance(found, list) or not found:
        raise InvalidValueError(f'"winners" in {path}', found, "a list of at least one network")
    for index, winner in enumerate(found):
        if not isinstance(winner, dict) or not isinstance(winner.get("choice"), dict):
            raise InvalidValueError(f'"winners"[{index}] in {path}', winner, '{"choice": {decision: size, ...}}')
        yield Network(winner["choice"], array["rows"], array["cols"], path.name)


def _of_sweep(content: Mapping[str, Any], origin: str) -> Iterator[Network]:
    """Every network that a sweep found, once on each array that it was found for, and the reference on each."""
    seen = set()
    sizes = {f"{array['rows']}x{array['cols']}": (array["rows"], array["cols"]) for array in content["arrays"]}
    reference = content["reference"]["choice"]
    pairs = [(size, reference) for size in sizes] + [(found["array"], found["choice"]) for found in content["searches"]]
    for size, choice in pairs:
        if (key := (size, *choice.values())) not in seen:
            seen.add(key)
            yield Network(choice, *sizes[size], origin)


# ---------------------------------------------------------------- one network in both


def write_case(folder: Path, layers: Mapping[str, Layer], array: SystolicArray) -> Case:
    """The simulator's files for one network."""
    folder.mkdir()
    write_configuration(folder / "scale.cfg", Configuration("run", array, 64, 64, 64))
    write_scalesim(folder / "net.csv", hwcost.Network.of_layers("net", layers))
    (folder / "layout.csv").write_text("Layer name,\n")  # the simulator wants one, of no effect
    return Case(folder, "conv")


def serial(network: Network) -> SystolicArray:
    """The array that SCALE-Sim simulates."""
    return SystolicArray(network.rows, network.cols, dataflow="ws", fold_timing="serial")


def compared(network: Network, layers: Mapping[str, Layer], simulated: Path) -> dict[str, Any]:
    """Both counts of every layer and of the network, and the cycles with ideal folds."""
    ours = {name: cost.cycles for name, cost in network_cost(layers, serial(network)).layers.items()}
    lines = iter(cells(simulated / "run" / "COMPUTE_REPORT.csv")[:, 2].tolist())
    theirs = {  # a depthwise layer has a line for each channel
        name: sum(int(last) + 1 for last in itertools.islice(lines, getattr(layer, "groups", 1)))
        for name, layer in layers.items()
    }
    if list(lines):
        raise RuntimeError(f"{network.origin}: the simulator counted more layers")
    ideal = network_cost(layers, SystolicArray(network.rows, network.cols)).total.cycles
    return {
        "origin": network.origin,
        "array": {"rows": network.rows, "cols": network.cols},
        "choice": dict(network.choice),
        "cycles by hwcost": sum(ours.values()),
        "cycles by SCALE-Sim": sum(theirs.values()),
        "cycles with ideal folds": ideal,
        "layers": {name: {"hwcost": ours[name], "SCALE-Sim": theirs[name]} for name in ours},
        "equal": ours == theirs,
    }


def recount(networks: list[Network], arch: ArchDef, asked: str | None) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All networks in one run of the simulator, and its versions."""
    priced = [arch.space.at(network.choice) for network in networks]
    for network, layers in zip(networks, priced, strict=True):  # bad sizes end here, before the simulator starts
        network_cost(layers, serial(network))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = interpreter(asked, folder / "environment")
        made = [
            write_case(folder / f"network{index}", layers, serial(network))
            for index, (network, layers) in enumerate(zip(networks, priced, strict=True))
        ]
        versions = run_simulator(python, made)["versions"]
        parts = zip(networks, priced, made, strict=True)
        return [compared(network, layers, case.folder / "simulated") for network, layers, case in parts], versions


# ---------------------------------------------------------------- the run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="result files with winners (default: networks named here)")
    parser.add_argument("--name", default="recount_scalesim", help="of the result file")
    parser.add_argument("--arch-def", type=Path, help="the search space (default: the LeNet of nas_plugin)")
    parser.add_argument(
        "--python",
        default=os.environ.get("SCALESIM_PYTHON"),
        help="an interpreter that has scalesim (default: SCALESIM_PYTHON, or else one is made)",
    )
    options = parser.parse_args()
    try:
        networks = [network for path in options.files for network in winners(path)] or list(known())
        rows, versions = recount(networks, load_arch_def(options.arch_def), options.python)
    except InvalidValueError as error:
        sys.exit(f"Error: {error}")
    for row in rows:
        sizes = "-".join(str(size) for size in row["choice"].values())
        counts = f"{row['cycles by hwcost']:8,} {row['cycles by SCALE-Sim']:8,}"
        side = f"{row['array']['rows']}x{row['array']['cols']}"
        print(f"{side:8} {sizes:24} hwcost, SCALE-Sim: {counts}  {'equal' if row['equal'] else 'DIFFERENT'}")
    differ = sum(counts["hwcost"] != counts["SCALE-Sim"] for row in rows for counts in row["layers"].values())
    figures = {
        "networks": len(rows),
        "layers": sum(len(row["layers"]) for row in rows),
        "layers whose cycles differ": differ,
    }
    settings = {
        "files": [path.name for path in options.files],
        "seed": None,  # nothing is drawn at random
        "dataflow": "ws",
        "fold_timing": "serial",
        "simulator": versions,
    }
    goals = {"layers whose cycles differ": ("<=", 0.0)}
    return 0 if report(options.name, settings, figures, goals, more={"networks": rows}) else 1


if __name__ == "__main__":
    sys.exit(main())
