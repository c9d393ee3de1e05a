"""Which settings decided: one bar each."""

from __future__ import annotations

import plotly.graph_objects as go

from privlab.analysis.importance import Importances
from privlab.charts.figure import base_layout, below, heading, plain
from privlab.charts.style import COLOURS
from privlab.metrics import METRICS, Release

_MOST = 12


def importance_figure(found: Importances) -> go.Figure:
    """Bars with their spread over folds and shuffles, largest above; what was refused is said in the chart's place."""
    told = METRICS.get(found.target)
    label, release = (told.label, told.release) if told else ("ε spent", Release.RELEASED)
    shown = found.settings[:_MOST][::-1]
    about = f"{found.runs:,} runs" + (f", R² {found.r2:.2f} on unseen settings" if found.settings else "")
    figure = go.Figure(
        layout=base_layout(
            height=max(240, 130 + 34 * len(shown)),
            showlegend=False,
            title=below(heading(f"What decided {label[0].lower()}{label[1:]}", [release]), about),
            xaxis={
                "title": {"text": "fall of R² when the setting is shuffled (0: it did not matter)"},
                "zeroline": True,
            },
            yaxis={"automargin": True, "zeroline": False},
        )
    )
    if not shown:
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        figure.add_annotation(
            text="<br>".join(_lines(plain(found.refusal))), showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper"
        )
        return figure
    figure.add_bar(
        x=[each.value for each in shown],
        y=[plain(each.label) for each in shown],
        orientation="h",
        marker={"color": COLOURS[0]},
        error_x={
            "type": "data",
            "array": [each.sd for each in shown],
            "color": COLOURS[7],
            "thickness": 1.5,
            "width": 4,
        },
        customdata=[[each.sd, each.values, each.path] for each in shown],
        hovertemplate=(
            "%{y} (%{customdata[2]})<br>R² falls by %{x:.3f} ± %{customdata[0]:.3f}<br>%{customdata[1]} values tried"
            "<extra></extra>"
        ),
    )
    return figure


def _lines(text: str, width: int = 70) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
