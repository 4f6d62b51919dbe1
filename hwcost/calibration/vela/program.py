"""Prices TFLite files with Vela: a program for an interpreter that has it.

    python program.py ACCELERATOR FILE.tflite ...

Prints a line of JSON for each file: the row of Vela's summary. Vela is called once for each file, in one process, since
starting it takes longer than a small file does.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
import tempfile
from pathlib import Path


def priced(file: str, accelerator: str) -> dict[str, str]:
    """The row of Vela's summary of a file."""
    from ethosu.vela import vela

    with tempfile.TemporaryDirectory() as folder:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            vela.main([file, "--accelerator-config", accelerator, "--output-dir", folder])
        (table,) = Path(folder).glob("*_summary_*.csv")
        with table.open(encoding="utf-8") as rows:
            (row,) = csv.DictReader(rows)
    return row


if __name__ == "__main__":
    for each in sys.argv[2:]:
        print(json.dumps(priced(each, sys.argv[1])), flush=True)
