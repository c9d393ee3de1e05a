"""Run every benchmark, one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NOT_SCRIPTS = {"__init__", "__main__", "common", "publish", "tables"}


def main() -> int:
    failed = []
    for script in sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_SCRIPTS):
        print(f"\n== {script}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *sys.argv[1:]], cwd=HERE.parent).returncode:
            failed.append(script)
    if failed:
        print("failed:", ", ".join(failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
