"""What a run's model gives away of the secrets that were planted in its texts, and what its guarantee says to that."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import streamlit as st

from privlab.data.catalogue import DATASETS
from privlab.data.secrets import space
from privlab.metrics import EXPOSURE_CEILING, METRICS, SECRET_CODES
from privlab.privacy.recitation import recited_at_most
from privlab.runs.record import Run
from privlab.ui.access import store
from privlab.ui.claimcard import claim_of
from privlab.ui.guard import escape, guarded

#: Seconds between two looks while the run trains.
_EVERY = 3


def planted_secrets(run: Run) -> None:
    """Each watched secret with its exposure, and the bound that the guarantee gives; nothing where none are planted."""
    if not run.config.data.secrets:
        return

    @st.fragment(run_every=_EVERY if not run.status.is_over else None)
    @guarded()
    def card() -> None:
        st.subheader("Planted secrets", anchor=False)
        found = exposures_of(store().events(run.id))
        if found:
            _table(found)
        else:
            st.caption(
                "Which of them the model recites is listed here when the run pauses or ends; the charts show it before."
            )
        st.markdown(escape(guaranteed(store().get(run.id), void=claim_of(run.id).verdict == "void")))

    card()


def exposures_of(events: list[Any]) -> list[dict[str, Any]]:
    """What the last event that tells of exposures says of each secret; empty before there is one."""
    return next((event.data["exposures"] for event in reversed(events) if "exposures" in event.data), [])


def _table(found: list[dict[str, Any]]) -> None:
    frame = pd.DataFrame(
        {
            "Beginning": [secret["prefix"].strip() for secret in found],
            "Secret": [secret["code"] for secret in found],
            "Exposure": [secret["bits"] for secret in found],
            "Recited": [f"by {secret['by']}" if secret["by"] else "no" for secret in found],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        key="planted-secrets",
        alt="Planted secrets, their exposure, and whether the model recites them",
        column_config={
            "Exposure": st.column_config.ProgressColumn(
                format="%.1f bits", min_value=0, max_value=EXPOSURE_CEILING, help=METRICS["exposure_mean"].help
            ),
            "Recited": st.column_config.TextColumn(help=METRICS["recited"].help),
        },
    )


def guaranteed(run: Run, *, void: bool) -> str:
    """What the run's guarantee says about each of its planted secrets, in a few sentences; ``void`` says that it has none."""
    data, plan = run.config.data, run.plan
    whose = " of one user" if DATASETS[data.dataset].users else ""
    each = (
        f"Each secret stands in {data.secret_repeats:,} training record{'s' if data.secret_repeats > 1 else ''}{whose}"
    )
    codes = space(data.secret_kind)
    if not plan.is_private:
        return f"{each}. Nothing limits what a model without privacy may recite."
    if not run.step:
        return f"{each}. What the guarantee says to that follows with the first point."
    if void:
        return f"{each}. No privacy is claimed for this run, so nothing limits what its model may recite."
    said = recited_at_most(plan, codes, data.secret_units)
    first = recited_at_most(plan, SECRET_CODES, data.secret_units)
    many = (
        " The guarantee is for one record: what many records repeat it protects less." if data.secret_units > 1 else ""
    )
    return (
        f"{each} and is one of {codes:,} possible codes. By the guarantee the finished model recites it with a probability of "
        f"{_at_most(said)}, and finds it the likeliest of {SECRET_CODES:,} with {_at_most(first)}.{many}"
    )


def _at_most(probability: float) -> str:
    """A bound, rounded up."""
    if probability > 0.999:
        return "up to 100 %: no limit"
    if probability >= 0.01:
        return f"at most {math.ceil(1000 * probability) / 10:g} %"
    return f"at most 1 in {math.floor(1 / probability):,}"
