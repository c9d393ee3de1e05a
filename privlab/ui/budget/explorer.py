"""The iso-ε explorer: ε stays, one setting slides, and what must give way follows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import streamlit as st

from privlab.charts.iso import iso_figure
from privlab.privacy import LEAST_NOISE, MOST_NOISE, OutOfReach, steps_for
from privlab.privacy.calculator import MOST_EPOCHS
from privlab.privacy.calibration import scale_for
from privlab.privacy.phases import Phase
from privlab.privacy.quick import quick_noise
from privlab.ui.budget import address
from privlab.ui.budget.answer import live_answer
from privlab.ui.budget.case import Case, Refused, at_first, reckon
from privlab.ui.budget.form import FIELDS, keep_address, take
from privlab.ui.guard import escape, guarded

#: What slides, and what follows from it at the same ε.
_FOLLOWS = {"batch_size": "noise_multiplier", "epochs": "noise_multiplier", "noise_multiplier": "epochs"}
_WORDS = {
    "batch_size": "batch B → σ follows",
    "epochs": "epochs E → σ follows",
    "noise_multiplier": "noise σ → epochs follow",
}
_ROUND = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
#: Points of the curve.
_CURVE = 11
#: The slider reaches this many times below and above the present value.
_REACH = 32.0


@st.fragment
@guarded()
def explorer(case: Case) -> None:
    """Slider, what follows from it, and the chart of all settings that spend the same ε."""
    slides = st.segmented_control(
        "What slides",
        list(_FOLLOWS),
        format_func=_WORDS.get,
        key="slide",
        required=True,
        width="stretch",
        label_visibility="collapsed",
    )
    value = _slider(case, slides)
    keep_address()
    follows = _FOLLOWS[slides]
    facts = st.container(horizontal=True, key="explorer-facts")
    values, how = _values(case, slides, value), {"adjacency": case.adjacency, "accountant": case.accountant}
    with facts, st.container(key="slid", width="content"):
        live_answer("explorer-answer", follows, values, **how, options={slides: _options(case, slides)})
    # As on the page: what the browser asks for comes first.
    at_first(follows, values, **how)
    try:
        # Where nothing is slid, the case itself is the answer.
        point = reckon(follows, values, **how) if value != getattr(case, slides) else case
    except Refused as error:
        st.error(escape(str(error)))
        return
    with facts:
        st.metric("Steps T", f"{point.steps:,}", help="Steps of the training, E · N / B.")
        st.metric(
            "Noise on the mean, σ / B",
            f"{point.noise_multiplier / point.batch_size:.3g} · C",
            help="Standard deviation of the noise on the averaged gradient, in multiples of C. The smaller, the better the "
            "training sees: large batches win here although they need more σ.",
        )
        st.metric(
            "ε spent",
            FIELDS["epsilon"].show(point.epsilon),
            help=f"What these settings spend; at most {case.asked:.4g}.",
        )
    across = "epochs" if slides == "noise_multiplier" else slides
    places, sigmas, steps = _curve(case, across)
    st.plotly_chart(
        iso_figure(
            places,
            sigmas,
            steps,
            epsilon=case.asked,
            x_title=FIELDS[across].label,
            at=(getattr(point, across), point.noise_multiplier, point.steps),
        ),
        key="iso",
        config={"displayModeBar": False},
        alt=f"Noise and steps against {FIELDS[across].label} at ε = {case.asked:.4g}; now σ = "
        f"{point.noise_multiplier:.4g} and {point.steps:,} steps",
    )
    st.button(
        "Take these values above", key="take", on_click=take, args=(point,), help="Puts σ, B and E into the fields."
    )


def _slider(case: Case, slides: str) -> float:
    """The value that slides; it begins at the present one, anew when the case changes."""
    options, now = _options(case, slides), getattr(case, slides)
    if st.session_state.setdefault("explored", (case, slides)) != (case, slides):
        st.session_state["explored"] = (case, slides)
        address.put("at", None)
    wanted = st.session_state["at"]
    key = f"slider-{slides}"
    st.session_state[key] = _nearest(options, now if wanted is None else wanted)

    def moved() -> None:
        value = st.session_state[key]
        address.put("at", None if value == now else float(value))

    return st.select_slider(
        FIELDS[slides].label,
        options,
        key=key,
        format_func=FIELDS[slides].show,
        help=FIELDS[slides].help,
        on_change=moved,
    )


def _values(case: Case, slides: str, value: float) -> dict[str, float]:
    names = ("noise_multiplier", "batch_size", "epochs", "records", "delta")
    return {"epsilon": case.asked, **{name: getattr(case, name) for name in names}, slides: value}


@lru_cache(maxsize=64)
def _options(case: Case, name: str) -> tuple[float, ...]:
    """Round values around the present one, and that itself, ascending."""
    now = getattr(case, name)
    least, most = {
        "batch_size": (1, case.records),
        "epochs": (1, MOST_EPOCHS),
        "noise_multiplier": (LEAST_NOISE, MOST_NOISE),
    }[name]
    low, high = max(least, now / _REACH), min(most, now * _REACH)
    kind: Callable[[float], float] = int if FIELDS[name].is_whole else float
    found = {kind(now), *((kind(most),) if high == most else ())}
    for power in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1):
        for digit in _ROUND:
            value = float(f"{digit * 10.0**power:.3g}")
            if low <= value <= high and value == kind(value):
                found.add(kind(value))
    return tuple(sorted(found))


def _nearest(options: tuple[float, ...], value: float) -> float:
    place = min(bisect_left(options, value), len(options) - 1)
    return options[place - 1] if place and value - options[place - 1] < options[place] - value else options[place]


@lru_cache(maxsize=64)
def _curve(case: Case, across: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, σ and T of equal ε; σ is some 0.1 % more than the smallest, and NaN where none gives this ε."""
    options = _options(case, across)
    places = np.unique(np.geomspace(options[0], options[-1], _CURVE).round().astype(int))
    sigmas, steps = [], []
    for place in places:
        batch = int(place) if across == "batch_size" else case.batch_size
        epochs = int(place) if across == "epochs" else case.epochs
        steps.append(steps_for(epochs, case.records, batch))
        sigmas.append(_sigma(case, batch, steps[-1]))
    return places, np.array(sigmas), np.array(steps)


def _sigma(case: Case, batch: int, steps: int) -> float:
    if case.accountant == "pld":
        return quick_noise(case.asked, batch / case.records, steps, case.delta, case.adjacency)
    unit = (Phase(batch / case.records, 1.0, steps),)
    try:
        return scale_for(case.asked, unit, case.delta, accountant=case.accountant, adjacency=case.adjacency)
    except OutOfReach:
        return np.nan
