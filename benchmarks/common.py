"""What every benchmark shares: the machine's description and the two ways to print."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any


def arguments(about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def machine(*packages: str) -> dict[str, Any]:
    """Where a figure was taken: without this a figure means nothing."""
    return {
        "cpu": _processor() or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    } | {name: version(name) for name in packages}


def _processor() -> str:
    """The processor's name and its widest vector instructions, where Linux tells."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    facts = dict(line.partition(":")[::2] for line in told.splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = facts.get("flags", "").split()
    widest = [name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if name in flags]
    return " ".join([facts.get("model name", ""), *widest[:1]]).strip()


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median with its range."""
    kept = sorted(values)
    return {"median": statistics.median(kept), "min": kept[0], "max": kept[-1], "n": len(kept)}


RESULTS = Path(__file__).parent / "results"


def keep(name: str, title: str, rows: dict[str, dict[str, Any]]) -> None:
    """Replace or add ``rows`` in ``benchmarks/results/NAME.json``; each row says itself where and when it was taken."""
    path = RESULTS / f"{name}.json"
    text = json.dumps({"title": title, "rows": kept(name) | rows}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def kept(name: str) -> dict[str, dict[str, Any]]:
    """The rows of ``benchmarks/results/NAME.json``; none where there is no such file."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else {}


def report(as_json: bool, title: str, where: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Print ``rows`` as one JSON object or as an aligned table with the machine's description below."""
    if as_json:
        print(json.dumps({"title": title, "machine": where, "rows": list(rows)}))
        return
    print(title)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_text(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    for line in (columns, *cells):
        print("  " + "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    print("  " + ", ".join(f"{key} {value}" for key, value in where.items()))


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
