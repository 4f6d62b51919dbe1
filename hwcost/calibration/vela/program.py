"""Prices TFLite files with Vela: a program for an interpreter that has it.

    python program.py ACCELERATOR FILE.tflite ...

Prints a line of JSON for each file: the row of Vela's summary and, in "layers", the cycles of operators by the name of
their output. Vela is called once for each file, in one process, since starting it takes longer than a small file does.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def priced(file: str, accelerator: str) -> dict[str, Any]:
    """The row of Vela's summary of a file, and the cycles of its operators by the name of their output."""
    from ethosu.vela import vela

    with tempfile.TemporaryDirectory() as folder:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            vela.main([file, "--accelerator-config", accelerator, "--output-dir", folder, "--verbose-performance"])
        (summary,), (operators,) = (_rows(folder, name) for name in ("*_summary_*.csv", "*_per-layer.csv"))
    layers: dict[str, float] = {}
    for operator in operators:
        layers[operator["Name"]] = layers.get(operator["Name"], 0.0) + float(operator["Op Cycles"])
    return {**summary[0], "layers": layers}


def _rows(folder: str, pattern: str) -> list[list[dict[str, str]]]:
    """The rows of each table of a name."""
    return [list(csv.DictReader(table.read_text("utf-8").splitlines())) for table in Path(folder).glob(pattern)]


if __name__ == "__main__":
    for each in sys.argv[2:]:
        print(json.dumps(priced(each, sys.argv[1])), flush=True)
