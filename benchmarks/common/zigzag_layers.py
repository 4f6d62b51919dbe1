"""Runs zigzag-dse on layers, with a Python that has it and not hwcost: ``python zigzag_layers.py IN.json OUT.json``.

The machine: processing elements in rows and columns, weight stationary, a shared buffer, 8 bytes a cycle to DRAM,
elements of a byte, partial sums of four; energy by the figures in IN.json. Writes what each layer moves and takes, and
the CPU seconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORD, WIDE = 8, 2048
"""Bytes of a word, and of the widest access to the buffer, in which zigzag counts its accesses."""


def port(name: str, kind: str, least: int, most: int, moved: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "bandwidth_min": least,
        "bandwidth_max": most,
        "allocation": [each.replace("-", ", ") for each in moved],
    }


def memory(
    size: int, read: float, written: float, operands: list[str], ports: list[Any], served: list[str]
) -> dict[str, Any]:
    return {
        "size": size, "r_cost": read, "w_cost": written, "area": 0, "latency": 1, "operands": operands, "ports": ports,
        "served_dimensions": served,
    }  # fmt: skip


def machine(given: dict[str, Any]) -> dict[str, Any]:
    """The accelerator; costs are those of the widest access, in pJ."""
    sram, dram = 1e12 * WIDE * given["joules_per_sram_byte"], 1e12 * WORD * given["joules_per_dram_byte"]
    out_of = ["I1-tl", "I2-tl", "O-tl", "O-th"]
    into = ["I1-fh", "I2-fh", "O-fh", "O-fl"]
    sums = ["O-tl", "O-th", "O-fh", "O-fl"]
    weights = [port("r_port_1", "read", 8, 8, ["I2-tl"]), port("w_port_1", "write", 8, 8, ["I2-fh"])]
    partials = [
        port(f"{kind[0]}_port_{index + 1}", kind, 32, 32, [sums[2 * (kind == "write") + index]])
        for kind in ("read", "write")
        for index in (0, 1)
    ]
    registers = {
        "weights": memory(8, 0, 0, ["I2"], weights, []),
        "sums": memory(32, 0, 0, ["O"], partials, ["D2"]),
    }
    wide = [port("r_port_1", "read", 8 * WORD, 8 * WIDE, out_of), port("w_port_1", "write", 8 * WORD, 8 * WIDE, into)]
    channel = [port("rw_port_1", "read_write", 8 * WORD, 8 * WORD, [*into, *out_of])]
    return {
        "name": "common",
        "memories": registers
        | {
            "buffer": memory(8 * given["buffer_bytes"], sram, sram, ["I1", "I2", "O"], wide, ["D1", "D2"]),
            "dram": memory(10**12, dram, dram, ["I1", "I2", "O"], channel, ["D1", "D2"]),
        },
        "operational_array": {
            "unit_energy": 1e12 * given["joules_per_mac"],
            "unit_area": 1,
            "dimensions": ["D1", "D2"],
            "sizes": [given["cols"], given["rows"]],
        },
    }


def mapping(given: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": "default",
            "spatial_mapping": {"D1": [f"K, {given['cols']}"], "D2": [f"C, {given['rows']}"]},
            "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
        }
    ]


def workload(layer: dict[str, Any]) -> list[dict[str, Any]]:
    strides = layer["stride"]
    return [
        {
            "id": 0,
            "name": layer["name"],
            "operator_type": "Conv",
            "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
            "dimension_relations": [f"iy={strides[0]}*oy+1*fy", f"ix={strides[1]}*ox+1*fx"],
            "loop_dims": ["B", "K", "C", "OY", "OX", "FY", "FX"],
            "loop_sizes": [1, layer["n"], layer["c"], *layer["out"], *layer["kernel"]],
            "operand_precision": {"W": 8, "I": 8, "O": 32, "O_final": 8},
            "operand_source": {"W": 0, "I": 0},
        }
    ]


def main() -> None:
    from zigzag.api import get_hardware_performance_zigzag

    source, target = map(Path, sys.argv[1:])
    given = json.loads(source.read_text())
    logging.disable(logging.CRITICAL)
    found = []
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        Path("machine.yaml").write_text(json.dumps(machine(given)))  # JSON is YAML
        Path("mapping.yaml").write_text(json.dumps(mapping(given)))
        for layer in given["layers"]:
            start = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                energy, cycles, results = get_hardware_performance_zigzag(
                    workload(layer), "machine.yaml", "mapping.yaml", opt="energy", dump_folder=name,
                    pickle_filename=f"{name}/all.pickle", loma_show_progress_bar=False,
                )  # fmt: skip
            seconds = time.process_time() - start
            moved = results[0][1][0][0].memory_word_access
            words = sum(
                sum(levels[-1].data.values() if hasattr(levels[-1], "data") else [float("nan")])
                for levels in moved.values()
            )
            found.append({
                "name": layer["name"], "energy_joules": energy * 1e-12, "cycles": cycles, "dram_bytes": WORD * words,
                "cpu_seconds": seconds,
            })  # fmt: skip
            if sys.stderr.isatty():  # this process has no hwcost
                print(f"zigzag: {layer['name']} in {seconds:.1f} s", file=sys.stderr)
    target.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
