"""The Lab: settings and the live chart on one screen."""

from __future__ import annotations

import streamlit as st

from privlab.charts.live import TILES, lab_panels
from privlab.config import ConfigError, DataConfig
from privlab.ui import labels, urls
from privlab.ui.cards import preset_cards
from privlab.ui.costcard import show_costs
from privlab.ui.draft import build, draft, preset_of
from privlab.ui.fields import by_path
from privlab.ui.form import form
from privlab.ui.guard import guarded, show_notice
from privlab.ui.launching import launch
from privlab.ui.live import live_panel
from privlab.ui.news import watch_for_news
from privlab.ui.preview import look_ahead, show_preview, show_refusal
from privlab.ui.runlist import choose_runs, recent_runs


@guarded()
def page() -> None:
    values = draft()
    ahead, problems = None, ()
    try:
        ahead = look_ahead(build(values))
    except ConfigError as error:
        problems = error.problems
    preset_cards(preset_of(ahead.config) if ahead else None)
    settings, chart, preview = st.columns([25, 53, 22], gap="small")
    with settings:
        with st.container(key="settings", height=620):
            form(values, by_path(problems))
        with st.container(key="launch-buttons", horizontal=True, gap="small"):
            st.button("Launch", key="launch", type="primary", on_click=launch)
            st.button(
                "Launch four privacy levels",
                key="launch-levels",
                on_click=launch,
                kwargs={"levels": True},
                help="The same settings at ε = ∞ (neither clipping nor noise), 8, 3 and 1: four curves race.",
            )
    with chart, guarded():
        shown = choose_runs(urls.run_ids())
        drafted = ahead.config.data if ahead else DataConfig(dataset=values["data.dataset"])
        live_panel(
            "lab-live",
            runs=labels.live_runs(shown),
            panels=lab_panels(labels.topics([run.config.data for run in shown] or [drafted])),
            tiles=TILES,
            marks=labels.published(shown, values["data.dataset"]),
            height=450,
            rerun_on_status=True,
        )
        watch_for_news(frozenset(run.id for run in shown if run.status.is_active or run.status == "queued"))
    with preview:
        # Beside the settings, where it moves nothing that is being used.
        show_notice()
        if ahead:
            show_preview(ahead, values)
            show_costs(ahead.facts)
        else:
            show_refusal(problems)
    recent_runs(urls.run_ids())


page()
