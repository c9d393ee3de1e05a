"""The live panel: tiles and charts that draw themselves while runs train, without rerunning the script."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import streamlit as st

from privlab.charts.live import X_AXES, Mark, Panel, Tile, settings_line
from privlab.charts.style import COLOURS, styles
from privlab.runs.record import Run
from privlab.ui import served
from privlab.ui.access import user
from privlab.ui.signing import sign
from privlab.ui.stream import MAX_RUNS

_FILES = {"css": "live.css", "plotly": "plotly.min.js"}
#: Pixels that the page keeps free before the browser has drawn anything: tiles, another row of them, toolbar, gap of the grid.
_TILES_HEIGHT, _TILE_ROW, _BAR_HEIGHT, _GAP = 154, 126, 40, 12
#: On a low window (a projector) a single chart gives way to what stands above it, but never below this height, pixels.
_ABOVE, _LOWEST = 416, 290


@dataclass(frozen=True)
class LiveRun:
    """One run as the live panel shows it.

    Attributes:
        id: the run's id in the store.
        label: its name in legends and tiles.
        colour: ``#rrggbb``; empty takes :func:`privlab.charts.style.styles` over the panel's runs, in the given order.
        dash: Plotly dash name; empty as above.
        symbol: Plotly symbol of its points; empty as above.
        settings: one line of settings for the hover text, see :func:`privlab.charts.live.settings_line`.
        status: the status that the page was drawn with, see ``rerun_on_status``.
        active: drawn strong and eligible for the tiles; False (a pinned, earlier run) is drawn thinner.
    """

    id: str
    label: str
    colour: str = ""
    dash: str = ""
    symbol: str = ""
    settings: str = ""
    status: str = ""
    active: bool = True


def live_run(run: Run, *, active: bool = True) -> LiveRun:
    """A stored run as the live panel shows it; its name, or its id where it has none, is the label."""
    return LiveRun(
        id=run.id,
        label=run.name or run.id,
        settings=settings_line(run.plan),
        status="deleted" if run.deleted is not None else run.status.value,
        active=active,
    )


def live_panel(
    key: str,
    *,
    runs: Sequence[LiveRun],
    panels: Sequence[Panel],
    tiles: Sequence[Tile] = (),
    marks: Sequence[Mark] = (),
    x: str = "epsilon",
    height: int | None = None,
    columns: int = 2,
    tile_columns: int | None = None,
    empty: str = "Press Launch to train a model and watch its curve draw itself here.",
    rerun_on_status: bool = False,
) -> None:
    """Mount the live panel: tiles, a toolbar and one chart per panel, fed by its own WebSocket.

    The node in the page stays the same over reruns while ``key`` stays the same; zoom, the x axis and the other toolbar
    choices survive and are remembered per browser under ``key``. Several live panels may share a page. The runs are
    given oldest first: the last active one that is at work is what the tiles show.

    Args:
        key: unique name of the panel within the app; part of its CSS class ``st-key-<key>``.
        runs: what to show; may be empty. At most 60.
        panels: charts, from :func:`privlab.charts.live.lab_panels` or ``run_panels``; one fills the width, more form a grid.
        tiles: live numbers above the charts, usually :data:`privlab.charts.live.TILES`.
        marks: published results, from :func:`privlab.charts.live.reference_marks`; drawn on panels with ``marks=True``.
        x: first x axis (``epsilon``, ``step``, ``epoch`` or ``seconds``) until the person chooses another.
        height: pixels of each chart; None takes 460 for one chart and 300 in a grid. A chart alone is lower on a window
            that could not show it whole below the tiles.
        columns: charts beside each other in a grid, on a wide screen.
        tile_columns: tiles beside each other on a wide screen; None puts all in one row.
        empty: what the chart area says when there are no runs.
        rerun_on_status: rerun the script (or the fragment that the panel is in) once whenever a run's status becomes
            another than ``LiveRun.status``, so that buttons around the panel follow. The chart itself needs no rerun.

    Raises:
        ValueError: more than 60 runs, a run given twice, or an unknown ``x``.
    """
    ids = [run.id for run in runs]
    if len(ids) > MAX_RUNS:
        raise ValueError(f"{len(ids)} runs: a live panel shows at most {MAX_RUNS}.")
    if len(set(ids)) < len(ids):
        raise ValueError(f"runs={ids}: each run may be given once.")
    if x not in X_AXES:
        raise ValueError(f"x={x!r} is not one of {', '.join(X_AXES)}.")
    size = height or (460 if len(panels) == 1 else 300)
    rows = math.ceil(len(panels) / max(1, columns))
    chart = f"clamp({_LOWEST}px, 100vh - {_ABOVE}px, {size}px)" if len(panels) == 1 else f"{size}px"
    beside = tile_columns or len(tiles)
    tile_rows = math.ceil(len(tiles) / beside) if tiles else 0
    others = (rows - 1) * _GAP + _BAR_HEIGHT + (_TILES_HEIGHT + (tile_rows - 1) * _TILE_ROW if tiles else 0)
    _component(f"calc({rows} * {chart} + {others}px)")(
        key=key,
        data={
            "key": key,
            "module": served.url("live.js"),
            "stream": f"{served.stream_path()}?ticket={sign(ids, user())}",
            "files": {name: served.url(file) for name, file in _FILES.items()},
            "runs": _styled(runs),
            "panels": [panel.to_dict() for panel in panels],
            "tiles": [tile.to_dict() for tile in tiles],
            "marks": [asdict(mark) for mark in marks],
            "axes": X_AXES,
            "colours": COLOURS,
            "x": x,
            "height": chart,
            "tile_columns": beside,
            "columns": columns,
            "empty": empty,
            "rerun_on_status": rerun_on_status,
        },
        on_status_change=_nothing,
        on_renew_change=_nothing,
    )


def _styled(runs: Sequence[LiveRun]) -> list[dict[str, Any]]:
    looks = styles([run.id for run in runs])
    return [
        asdict(run)
        | {"colour": run.colour or looks[run.id].colour, "dash": run.dash or looks[run.id].dash}
        | {"symbol": run.symbol or looks[run.id].symbol}
        for run in runs
    ]


@cache
def _component(height: str) -> Any:
    """The component, whose place in the page has the CSS ``height`` from the first paint on, so that nothing jumps."""
    return st.components.v2.component(
        f"privlab_live_{zlib.crc32(height.encode()):x}",
        html=f'<div class="privlab-live" style="min-height: {height}"></div>',
        js=served.boot(),
        isolate_styles=False,
    )


def _nothing() -> None:
    """A rerun is all that the browser asks for."""
