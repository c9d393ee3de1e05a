"""The chosen runs over one another: each run live, or each group of repeats as mean and band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

import streamlit as st

from privlab.analysis.seeds import Group, groups
from privlab.analysis.settings import SETTINGS
from privlab.charts.bands import Repeats, bands_figure
from privlab.charts.colouring import Colouring, colouring
from privlab.charts.compare import Curve, overlay_figure
from privlab.charts.figure import origins
from privlab.charts.live import compare_panels, settings_line
from privlab.charts.style import style
from privlab.metrics import UTILITY
from privlab.ui import labels
from privlab.ui.access import store
from privlab.ui.compare.library import Entry, library
from privlab.ui.compare.view import View
from privlab.ui.live import live_panel

#: How often bands of runs that train are drawn anew, seconds.
_EVERY = 3


def curves(chosen: Sequence[Entry], view: View, metric: str) -> None:
    """The chart of the chosen runs, with its legend of colours and its download."""
    chosen = sorted(chosen, key=lambda entry: entry.run.created)
    runs = [entry.run for entry in chosen]
    colours = colouring([entry.facts for entry in chosen], view.colour) if view.colour else None
    if colours:
        colour_legend(colours)
    if view.grouped:
        active = any(not run.status.is_over for run in runs)
        st.fragment(_bands, run_every=_EVERY if active else None)([run.id for run in runs], metric, colours)
        return
    marks, topics = labels.published(runs), labels.topics(run.config.data for run in runs)
    drawn = [
        replace(run, colour=colours.by_run[run.id]) if colours else run for run in labels.live_runs(runs, equal=True)
    ]
    live_panel("compare-live", runs=drawn, panels=compare_panels(topics), marks=marks, rerun_on_status=True)
    st.caption(origins(entry.facts.provenance for entry in chosen) + (" · stars: published results" if marks else ""))

    def page() -> str:
        called, looks = labels.names(runs), labels.looks(runs)
        found = [
            Curve(run.id, called[run.id], store().columns(run.id), settings_line(run.plan), looks[run.id])
            for run in runs
        ]
        key = UTILITY["classify" if "classify" in topics else "language"].key
        return overlay_figure(found, marks, metric=key).to_html(include_plotlyjs=True, full_html=True)

    st.download_button(
        "Chart, HTML (works offline)", page, file_name="privlab-compare.html", mime="text/html", on_click="ignore",
        key="download-html", help="PNG and SVG: the buttons above the chart.",
    )  # fmt: skip


def _bands(ids: Sequence[str], metric: str, colours: Colouring | None) -> None:
    found = library(store()).entries()
    entries = [found[run_id] for run_id in ids if run_id in found]
    repeats = dressed(groups(library(store()).with_curves(entries)), colours)
    marks = labels.published([entry.run for entry in entries])
    st.plotly_chart(bands_figure(repeats, metric, marks), key="compare-bands", config={"displaylogo": False})
    void = [entry for entry in entries if entry.facts.void]
    if void:
        st.caption(f"{len(void)} void runs are left out: their mechanism was not what the plan says.")


def dressed(found: Sequence[Group], colours: Colouring | None = None) -> list[Repeats]:
    """Groups with names that tell them apart and looks of their own, or with the colours of a setting."""
    names: dict[str, int] = {}
    dressed = []
    for place, group in enumerate(found):
        name = group.label
        names[name] = names.get(name, 0) + 1
        called = f"{name} · {group.first.id[:4]}" if names[name] > 1 else name
        look = style(place)
        if colours:
            look = replace(look, colour=colours.by_run.get(group.first.id, look.colour))
        dressed.append(Repeats(group, called, look))
    return dressed


def colour_legend(colours: Colouring) -> None:
    """What each colour says."""
    joined = " … " if colours.is_scale else "&ensp;"
    words = joined.join(f'<span style="color:{colour}">●</span> {escape(text)}' for text, colour in colours.legend)
    label = escape(SETTINGS[colours.path].label)
    st.html(f'<div data-testid="colour-legend" style="font-size:0.875rem">{label}:&ensp;{words}</div>')
