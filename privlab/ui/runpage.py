"""The parts of the page of one run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from privlab.charts.live import TILES, run_panels
from privlab.data.catalogue import DATASETS
from privlab.metrics import METRICS, PHASES
from privlab.privacy.pair import neighbours
from privlab.reports import bundle, claim_json, claim_markdown, points_csv, points_json, points_parquet, settings_toml
from privlab.runs.files import weights_path
from privlab.runs.ledger import ledger
from privlab.runs.record import Run
from privlab.ui import claimcard, labels, sitemap
from privlab.ui.access import store
from privlab.ui.controls import controls
from privlab.ui.guard import escape, guarded
from privlab.ui.handing import PARQUET, hand_on
from privlab.ui.live import live_panel
from privlab.ui.settings import SECTIONS, SETTINGS, values_of

_LISTED = 12
#: Seconds between two looks at the numbers in tables while the run trains.
_EVERY = 3

_DONE_IN_STEP = {
    "load": "Read the present parameters.",
    "decrypt": "Check and decrypt what the store's server sent.",
    "encrypt": "Seal the checkpoint, so that no parameter reaches the disk in clear.",
    "transfer": "Send ciphertext to the store's server, and wait for its sum.",
    "gradients": "One gradient for each record of the batch.",
    "clip": "Shorten each to at most C.",
    "perturb": "Add Gaussian noise with standard deviation σ·C to the sum.",
    "update": "Move the parameters along the noisy mean.",
    "repeat": "Flip each record's coin for the next batch.",
}


def choose(heading: str) -> None:
    """A list of the newest runs, or what to do when there is none."""
    runs = store().list(limit=_LISTED)
    if not runs:
        st.info("There are no runs yet. Launch one in the Lab, and its page opens from there.")
        return sitemap.link_to_lab()
    st.subheader(f"{heading}", anchor=False)
    called = labels.names(runs)
    for run in runs:
        name, state, created = st.columns([3, 3, 3], vertical_alignment="center")
        with name:
            sitemap.link_to_run(run.id, called[run.id])
        state.markdown(labels.state(run))
        created.markdown(labels.clock(run.created))
    sitemap.link_to_compare((), "All runs")


def header(run: Run) -> None:
    """Name, status and what may be done."""
    title, buttons = st.columns([1, 1], vertical_alignment="center")
    with title:
        st.title(escape(run.name or f"Run {run.id}"), anchor=False)
        came = "imported" if run.is_imported else "launched"
        st.markdown(f"{labels.state(run)} · run `{run.id}` · {came} {labels.clock(run.created)}")
        if (why := labels.reason(run)) and not run.error:
            st.caption(escape(why))
        if run.is_imported:
            st.caption(f"Trained elsewhere, as run `{run.origin}`; everything here is what its bundle says.")
    with buttons:
        controls(run)
    if run.error:
        st.error(escape(run.error))


def charts(run: Run) -> None:
    """Tiles and every measured side of the run, live."""
    live_panel(
        f"run-live-{run.id}",
        runs=labels.live_runs([run]),
        panels=run_panels(run.plan, run.config.data.task, _two_classes(run), bool(run.config.data.secrets)),
        tiles=TILES,
        marks=labels.published([run]),
        empty="Nothing is measured yet: the first point appears when the run has trained a step.",
        rerun_on_status=True,
    )


def _two_classes(run: Run) -> bool:
    facts = DATASETS.get(run.config.data.dataset)
    return facts is not None and facts.classes == 2


def _following(run: Run) -> Callable:
    """A fragment that follows the run's numbers while it trains and rests otherwise."""
    return st.fragment(run_every=_EVERY if not run.status.is_over else None)


def privacy(run: Run) -> None:
    @_following(run)
    @guarded()
    def box() -> None:
        claimcard.card(claimcard.claim_of(run.id))

    box()


def steps_of_algorithm(run: Run) -> None:
    """The seven steps of the article, with the time that each takes."""

    @_following(run)
    @guarded()
    def table() -> None:
        st.subheader("The seven steps, and their time", anchor=False)
        measured = store().get(run.id).metrics
        seconds = {phase: measured.get(f"time_{phase}") for phase in PHASES}
        whole = sum(value for value in seconds.values() if value)
        rows = [
            {
                "Step": label,
                "What happens": _what_happens(phase, run),
                "Time": "–" if seconds[phase] is None else f"{1000 * seconds[phase]:.2f} ms",
                "Share": "–" if not whole or seconds[phase] is None else f"{100 * seconds[phase] / whole:.0f} %",
            }
            for phase, label in PHASES.items()
        ]
        st.table(pd.DataFrame(rows).set_index("Step"))
        st.caption("Mean per training step since the point before. Steps 3 to 7 repeat for every batch.")

    table()


def _what_happens(phase: str, run: Run) -> str:
    encryption = run.config.encryption
    if phase == "encrypt" and not encryption.is_sealed:
        return "Nothing: encryption is off."
    if phase in ("decrypt", "transfer") and not encryption.is_store:
        return "Nothing: no server keeps the parameters."
    if phase == "encrypt" and encryption.is_store:
        return "Encrypt each owner's update, and seal the checkpoint."
    if phase == "clip" and run.plan.max_grad_norm is None:
        return "Nothing: clipping is off."
    if phase == "perturb" and not run.plan.noise_multiplier:
        return "Nothing: no noise is added."
    return _DONE_IN_STEP[phase]


def settings(run: Run) -> None:
    """Every setting in words, and what follows from them."""
    st.subheader("Settings", anchor=False)
    values, plan = values_of(run.config), run.plan
    rows = [
        {
            "Group": SECTIONS[path.split(".")[0]],
            "Setting": SETTINGS[path].label_and_unit,
            "Value": SETTINGS[path].show(value),
        }
        for path, value in values.items()
        if path != "name" and value is not None
    ]
    follows = {
        f"Training {plan.unit}s N": f"{plan.records:,}",
        "Sampling rate q = B / N": f"{plan.sample_rate:.5g}",
        "Steps T": f"{plan.steps:,}",
        "Noise multiplier σ (× C)": f"{plan.noise_multiplier:.5g}",
        "Accountant": plan.accountant.upper(),
        "Neighbouring data sets": neighbours(plan.adjacency, plan.unit),
    }
    rows += [{"Group": "What follows", "Setting": name, "Value": value} for name, value in follows.items()]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height=420, key="settings-table", alt="Settings of the run")
    sitemap.link_to_new_sweep(run.id, "Sweep around these settings")


def events(run: Run) -> None:
    """What happened to the run, newest first."""

    @_following(run)
    @guarded()
    def table() -> None:
        st.subheader("Events", anchor=False)
        happened = store().events(run.id)
        rows = [{"Time": labels.clock(e.time), "What": e.kind, "Message": e.message} for e in reversed(happened)]
        if rows:
            st.dataframe(
                pd.DataFrame(rows), hide_index=True, height="content", key="events-table", alt="Events of the run"
            )
        else:
            st.caption("Nothing happened yet.")

    table()


def exports(run: Run) -> None:
    """Files of this run to keep."""
    st.subheader("Hand it on", anchor=False)
    hand_on(run)
    st.subheader("Downloads", anchor=False)

    def curve() -> list[tuple[Run, Any]]:
        return [(store().get(run.id), store().points(run.id))]

    base = f"privlab-{run.id}"
    with st.container(horizontal=True, gap="small", key="downloads"):
        for label, name, mime, make in (
            ("Points, CSV", f"{base}.csv", "text/csv", lambda: points_csv(curve())),
            ("Points, Parquet", f"{base}.parquet", PARQUET, lambda: points_parquet(curve())),
            (
                "Points, JSON",
                f"{base}.json",
                "application/json",
                lambda: points_json(curve(), {run.id: store().events(run.id)}),
            ),
            (
                "Claim, Markdown",
                f"{base}-claim.md",
                "text/markdown",
                lambda: claim_markdown(claimcard.claim_of(run.id)),
            ),
            ("Claim, JSON", f"{base}-claim.json", "application/json", lambda: claim_json(claimcard.claim_of(run.id))),
            ("Bundle to verify, ZIP", f"{base}.zip", "application/zip", partial(_bundle, run.id)),
            ("Settings, TOML", f"{base}.toml", "application/toml", partial(settings_toml, run)),
        ):
            st.download_button(label, make, file_name=name, mime=mime, on_click="ignore", key=f"download-{name}")
        weights = weights_path(run)
        if weights.exists():
            sealed = run.config.encryption.is_sealed
            st.download_button(
                "Weights, sealed" if sealed else "Weights, safetensors",
                weights.read_bytes,
                file_name=f"{base}{weights.suffix}",
                mime="application/octet-stream",
                on_click="ignore",
                key="download-weights",
            )
    if run.config.encryption.mode == "ckks":
        st.warning(
            "Whoever kept this store's ciphertexts, its server above all, can compute the key from the opened weights (Li and Micciancio "
            "2021) and then read every update. Choose BFV or the masked store for a model that is to be published."
        )
    private = [METRICS[key].label for key in run.metrics if key in METRICS and METRICS[key].release.name == "PRIVATE"]
    if private:
        st.caption("Points hold private diagnostics (for example gradient norms), which the guarantee does not cover.")


def _bundle(run_id: str) -> bytes:
    run = store().get(run_id)
    return bundle(run, store().points(run_id), store().events(run_id), ledger(store(), run.config.data.dataset))
