"""The files that the Compare page hands out."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from privlab.metrics import Point
from privlab.reports import points_csv, points_json, points_parquet
from privlab.runs.record import Run
from privlab.ui.access import store
from privlab.ui.handing import PARQUET, report_buttons


def everything_json(runs: Sequence[Run]) -> str:
    """Points, settings and claims of ``runs``; their events hold the self-checks, on which each claim rests."""
    return points_json(_curves(runs), {run.id: store().events(run.id) for run in runs})


def _curves(runs: Sequence[Run]) -> list[tuple[Run, list[Point]]]:
    return [(run, store().points(run.id)) for run in runs]


def downloads(runs: Sequence[Run]) -> None:
    """The points of ``runs`` as files."""
    st.subheader("Downloads", anchor=False)
    runs = sorted(runs, key=lambda run: run.created)

    with st.container(horizontal=True, gap="small", key="downloads"):
        st.download_button(
            "Points, CSV", lambda: points_csv(_curves(runs)), file_name="privlab-compare.csv", mime="text/csv",
            on_click="ignore", key="download-csv",
        )  # fmt: skip
        st.download_button(
            "Points, Parquet", lambda: points_parquet(_curves(runs)), file_name="privlab-compare.parquet", mime=PARQUET,
            on_click="ignore", key="download-parquet",
        )  # fmt: skip
        st.download_button(
            "Points and settings, JSON", lambda: everything_json(runs), file_name="privlab-compare.json",
            mime="application/json", on_click="ignore", key="download-json",
        )  # fmt: skip
        report_buttons(runs, "privlab-compare")
