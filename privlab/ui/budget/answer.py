"""The number asked for, which the browser fetches by itself while a person types."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import streamlit as st

from privlab.ui import served
from privlab.ui.access import user
from privlab.ui.budget.form import FIELDS
from privlab.ui.budget.route import path
from privlab.ui.signing import sign

_CSS = """
.privlab-answer { font-size: var(--privlab-answer-size); line-height: 1.15; white-space: nowrap; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.privlab-answer[data-state="old"] { opacity: 0.6; }
"""


def live_answer(
    key: str,
    unknown: str,
    values: Mapping[str, float | None],
    *,
    adjacency: str,
    accountant: str,
    options: Mapping[str, tuple[float, ...]] | None = None,
    size: str = "1.3rem",
) -> None:
    """Show ``unknown`` as it follows from ``values``, with its name, and follow the fields without a script run.

    Args:
        key: unique name; the number's ``data-testid``.
        unknown: one of :data:`privlab.ui.budget.case.UNKNOWNS`.
        values: what the script knows; None is an empty field.
        options: sliders in place of fields: what each place of the slider ``slider-NAME`` stands for.
        size: of the number, as a CSS length.
    """
    field = FIELDS[unknown]
    st.markdown(field.label, help=field.help)
    if options is None:
        watched = {
            name: {"selector": f".st-key-{name} input", "text": FIELDS[name].text(value)}
            for name, value in values.items()
            if name != unknown
        }
    else:
        watched = {
            name: {"selector": f".st-key-slider-{name} input", "options": list(places)}
            for name, places in options.items()
        }
    _component(key, size)(
        key=key,
        data={
            "module": served.url("answer.js"),
            "path": path(),
            "ticket": sign((), user()),
            "how": {"unknown": unknown, "adjacency": adjacency, "accountant": accountant},
            "values": {name: value for name, value in values.items() if name != unknown},
            "fields": watched,
        },
    )


@cache
def _component(key: str, size: str) -> Any:
    return st.components.v2.component(
        f"privlab_{key.replace('-', '_')}",
        html=f'<div class="privlab-answer" data-testid="{key}" aria-live="polite" style="--privlab-answer-size: {size}; '
        f'min-height: calc(1.15 * {size})"></div>',
        css=_CSS,
        js=served.boot(),
        isolate_styles=False,
    )
