"""Runs the command lines of a Markdown file, unchanged, in the current folder.

    python .ci/readme_commands.py README.md [--without-extras]

Lines of ``sh`` blocks that begin with ``hwcost`` or ``nas-plugin`` are run; each must succeed. Without extras, those
that need one must print one line with what to install; those that resume what an earlier one would have made are left
out.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

NEEDS_EXTRA = ("hwcost plot", "nas-plugin search", "nas-plugin sweep")


def commands(text: str) -> list[str]:
    """Command lines in ``sh`` blocks, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith(("hwcost ", "nas-plugin "))]


def main(path: Path, *, without_extras: bool) -> int:
    found = commands(path.read_text(encoding="utf-8"))
    if not found:
        print(f"{path} holds no command lines", file=sys.stderr)
        return 1
    for command in found:
        if without_extras and " --resume " in command:
            continue
        print(f"$ {command}", flush=True)
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        if without_extras and command.startswith(NEEDS_EXTRA):
            lines = done.stderr.splitlines()
            good = done.returncode == 2 and len(lines) == 1 and "pip install" in lines[0]
        else:
            good = done.returncode == 0 and "Traceback" not in done.stderr
        print("\n".join((done.stdout + done.stderr).splitlines()[-12:]), flush=True)
        if not good:
            print(f"{command!r} ended with {done.returncode}, which it must not", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), without_extras="--without-extras" in sys.argv))
