"""Python in another process, where what is imported, and what is missing, shows."""

from __future__ import annotations

import subprocess
import sys


def python(code, *args, warn="error"):
    """Runs code, by default with warnings as errors, and returns the finished process, its output as text."""
    run = [sys.executable, "-W", warn, "-c", code, *args]
    return subprocess.run(run, capture_output=True, text=True, check=False)
