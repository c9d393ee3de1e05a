"""The kept results as Markdown tables."""

from __future__ import annotations

from benchmarks.training.rivals import TITLES
from benchmarks.training.work import WORK


def speed(rows: dict[str, dict]) -> str:
    """One line a rival, one column a row of work: records a second, and how many times the baseline's (range)."""

    def cell(row: dict, name: str) -> str:
        found = row["rivals"].get(name)
        if not found:
            return ""
        count, times = _short(found["records/s"]["median"]), found.get("of baseline")
        if not times or name == row["baseline"]:
            return f"{count}/s ×1"
        return f"{count}/s ×{times['median']:.3g} ({times['min']:.3g}–{times['max']:.3g})"

    return _table("records a second, times the baseline (range)", rows, cell) + _taken(rows)


def memory(rows: dict[str, dict]) -> str:
    """One line a rival: peak MB, and how many times that of training without privacy."""

    def cell(row: dict, name: str) -> str:
        found = row["rivals"].get(name)
        return f"{found['peak MB']:.0f} MB ×{found['x sgd']:.2f}" if found else ""

    return _table("peak of the process, times SGD's", rows, cell) + _taken(rows)


def race(rows: dict[str, dict]) -> str:
    text = (
        "| model | Opacus's example: seconds, accuracy | PrivLab: seconds, accuracy | times as fast (range) | whole |\n"
    )
    text += "|---|---|---|---|---|\n"
    for name, row in rows.items():
        sides = [
            f"{row['training s'][side]['median']:.1f} s, {100 * row['accuracy'][side]['median']:.2f} %"
            for side in ("opacus", "privlab")
        ]
        times, whole = row["times as fast"], row["times as fast, whole"]["median"]
        told = f"**{times['median']:.3g}** ({times['min']:.3g}–{times['max']:.3g})"
        text += f"| {name} | {' | '.join(sides)} | {told} | {whole:.3g} |\n"
    return text + _taken(rows)


def _table(corner: str, rows: dict[str, dict], cell) -> str:
    rows = {key: rows[key] for key in WORK if key in rows}
    text = f"| {corner} | {' | '.join(row['title'] for row in rows.values())} |\n|---{'|---' * len(rows)}|\n"
    for name, title in TITLES.items():
        cells = [cell(row, name) for row in rows.values()]
        if any(cells):
            mark = "**" if name == "privlab" else ""
            text += f"| {mark}{title}{mark} | {' | '.join(cells)} |\n"
    return text


def _taken(rows: dict[str, dict]) -> str:
    """Where and when; what differs between rows is told with all its values."""
    facts: dict[str, dict[str, None]] = {}
    for row in rows.values():
        for key, value in row["machine"].items():
            facts.setdefault(key, {})[str(value)] = None
    days = sorted({row["taken"][:10] for row in rows.values()})
    told = ", ".join(f"{key} {' / '.join(values)}" for key, values in facts.items())
    return f"\nTaken {', '.join(days)}: {told}.\n"


def _short(count: float) -> str:
    return f"{count / 1000:.3g}k" if count >= 1000 else f"{count:.3g}"
