"""Put ``benchmarks/results`` into ``docs``: ``python -m benchmarks.publish``.

Figures are drawn by Plotly in a headless Chromium; tables of docs/performance.md stand between two marks.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from benchmarks import tables
from benchmarks.common import kept
from benchmarks.training.rivals import TITLES
from benchmarks.training.work import WORK
from privlab.charts.style import COLOURS
from tests.e2e.browser import FLAGS, find

DOCS = Path(__file__).parents[1] / "docs"
PAGE, IMAGES = DOCS / "performance.md", DOCS / "images"
_BLUE, _ORANGE, _GREEN, _GREY = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[-1]
_WIDTH, _BAR, _ROOM = 900, 22, 70


def colour(rival: str) -> str:
    """PrivLab blue, Opacus orange, training without privacy grey, all others green."""
    for start, found in (("privlab", _BLUE), ("opacus", _ORANGE), ("sgd", _GREY)):
        if rival.startswith(start):
            return found
    return _GREEN


def bars(rows: dict[str, dict], measure: str, title: str, digits: str, against: str) -> go.Figure:
    """One panel a row of work, one bar a rival, with a whisker from the least to the most turn where there are turns.

    Args:
        measure: key of a rival's figure: a number, or a median with its range.
        digits: format of the numbers.
        against: what the measure is a multiple of; ``{}`` stands for the row's baseline.
    """
    rows = {key: rows[key] for key in WORK if key in rows}
    sizes = [len(row["rivals"]) for row in rows.values()]
    height = sum(_BAR * size + _ROOM for size in sizes)
    figure = make_subplots(
        rows=len(rows),
        cols=1,
        row_heights=sizes,
        vertical_spacing=_ROOM / height,
        subplot_titles=[
            f"{row['title']} — {against.format(TITLES.get(row.get('baseline'), ''))}" for row in rows.values()
        ],
    )
    for place, row in enumerate(rows.values(), 1):
        names = list(reversed(row["rivals"]))
        found = [row["rivals"][name][measure] for name in names]
        spreads = [one if isinstance(one, dict) else {"median": one, "min": one, "max": one} for one in found]
        middles = [one["median"] for one in spreads]
        figure.add_bar(
            row=place,
            col=1,
            orientation="h",
            y=[TITLES[name] for name in names],
            x=middles,
            marker_color=[colour(name) for name in names],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [one["max"] - one["median"] for one in spreads],
                "arrayminus": [one["median"] - one["min"] for one in spreads],
                "color": "#444",
                "thickness": 1,
                "width": 3,
            },
        )
        # Beyond the whisker, not under it.
        figure.add_scatter(
            row=place,
            col=1,
            mode="text",
            x=[one["max"] for one in spreads],
            y=[TITLES[name] for name in names],
            text=[f"  {one:{digits}}" for one in middles],
            textposition="middle right",
        )
        figure.update_xaxes(row=place, col=1, range=[0, 1.15 * max(one["max"] for one in spreads)])
    figure.update_layout(title=title, showlegend=False, width=_WIDTH, height=height + 60, template="plotly_white")
    return figure.update_layout(margin={"l": 230, "r": 30, "t": 90, "b": 30}, font_size=12, bargap=0.25)


def race(rows: dict[str, dict]) -> go.Figure:
    """Seconds of the race, one panel a model, each side with its accuracy."""
    figure = make_subplots(cols=len(rows), subplot_titles=list(rows), horizontal_spacing=0.12)
    sides = {"opacus": "Opacus's example", "privlab": "PrivLab"}
    for place, row in enumerate(rows.values(), 1):
        seconds = [row["training s"][side]["median"] for side in sides]
        right = [row["accuracy"][side]["median"] for side in sides]
        figure.add_bar(
            row=1,
            col=place,
            x=list(sides.values()),
            y=seconds,
            marker_color=[colour(side) for side in sides],
            text=[f"{s:.1f} s<br>{100 * a:.1f} %" for s, a in zip(seconds, right, strict=True)],
            textposition="outside",
            cliponaxis=False,
        )
        figure.update_yaxes(row=1, col=place, title="seconds", range=[0, 1.2 * max(seconds)])
    first = next(iter(rows.values()))
    title = f"Fashion-MNIST to ε = {first['epsilon']:g} in {first['epochs']} epochs: seconds of training, test accuracy"
    return figure.update_layout(title=title, showlegend=False, width=_WIDTH, height=420, template="plotly_white")


def save(figures: dict[str, go.Figure]) -> None:
    """Write each figure as ``docs/images/NAME.svg``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=list(FLAGS))
        page = browser.new_page()
        page.set_content("<div id='chart'></div>")
        page.add_script_tag(content=get_plotlyjs())
        for name, figure in figures.items():
            made = page.evaluate(
                "figure => Plotly.toImage(figure, {format: 'svg', width: figure.layout.width, height: figure.layout.height})",
                figure.to_plotly_json() | {"layout": figure.layout.to_plotly_json()},
            )
            (IMAGES / f"{name}.svg").write_text(unquote(made.partition(",")[2]), encoding="utf-8")
        browser.close()


def write(name: str, table: str) -> None:
    """Replace what stands between ``<!-- NAME -->`` and ``<!-- end -->`` in docs/performance.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, mark, rest = text.partition(f"<!-- {name} -->\n")
    if not mark:
        raise SystemExit(f"{PAGE} has no mark <!-- {name} -->.")
    after = rest.partition("<!-- end -->")[2]
    PAGE.write_text(f"{before}{mark}{table}<!-- end -->{after}", encoding="utf-8")


def main() -> None:
    speed, memory, raced = kept("training_speed"), kept("training_memory"), kept("race")
    figures = {}
    if speed:
        figures["training-speed"] = bars(
            speed, "of baseline", "Training speed, one thread, processor time", ".2f", "times the speed of {}"
        )
    if memory:
        figures["training-memory"] = bars(
            memory, "x sgd", "Peak memory of the process", ".2f", "times that of SGD without privacy"
        )
    if raced:
        figures["race"] = race(raced)
    save(figures)
    for name, rows, table, about in (
        ("training_speed", speed, tables.speed, "Times the speed of Opacus's own example"),
        ("training_memory", memory, tables.memory, "Times the memory of training without privacy"),
        ("race", raced, tables.race, "Seconds of training to the same ε"),
    ):
        if rows:
            write(name, f"{table(rows)}\n![{about}](images/{name.replace('_', '-')}.svg)\n")
    print("drawn:", ", ".join(f"docs/images/{name}.svg" for name in figures))


if __name__ == "__main__":
    main()
