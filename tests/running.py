"""Python in another process, where what is imported, and what is missing, shows."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["torch"])


def python(code, *args, warn="error"):
    """Runs code, by default with warnings as errors, and returns the finished process, its output as text."""
    run = [sys.executable, "-W", warn, "-c", code, *args]
    return subprocess.run(run, capture_output=True, text=True, check=False)


def started(script, *arguments, out, folder, path=(), env=None, warn="error"):
    """A script in a process of its own that has PyTorch at hand, whose import takes longer than most scripts.

    Args:
        script: the path of a file.
        arguments: of its command line.
        out: a file for stdout; stderr goes next to it, to ``out`` with ``.err``.
        folder: where it runs.
        path: folders to import from, before all others.
        env: variables of the environment to add.
        warn: what a warning is.
    """
    given = (str(script), [str(each) for each in arguments], str(out), str(folder), [str(each) for each in path])
    process = _SERVER.Process(target=_run, args=(*given, dict(env or {}), warn))
    process.start()
    return process


def printed(script, *arguments, out, folder=None, **options):
    """What a script prints that has to end without an error."""
    process = started(script, *arguments, out=out, folder=folder or Path(script).parent, **options)
    process.join()
    assert process.exitcode == 0, Path(f"{out}.err").read_text(encoding="utf-8")
    return Path(out).read_text(encoding="utf-8")


def _run(script, arguments, out, folder, path, env, warn):
    for handle, name in ((1, out), (2, f"{out}.err")):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, handle)
        os.close(file)
    sys.stdout, sys.stderr = (open(handle, "w", closefd=False, buffering=1) for handle in (1, 2))  # noqa: SIM115
    os.environ.update(env)
    os.chdir(folder)
    sys.argv, sys.path[:0] = [script, *arguments], [*path, str(Path(script).parent)]
    warnings.simplefilter(warn)
    code = 1
    with contextlib.suppress(BaseException):
        try:
            runpy.run_path(script, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            raise
        except BaseException:
            traceback.print_exc()
            raise
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
