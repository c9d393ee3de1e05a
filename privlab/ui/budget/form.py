"""The Budget page's fields. The address holds what they say, so a link reproduces the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from privlab.ui.budget import address
from privlab.ui.budget.address import Entry
from privlab.ui.budget.case import UNKNOWNS, Case, up
from privlab.ui.guard import escape
from privlab.ui.settings import SETTINGS

#: Names of the fields in the address and in session_state.
FIND, ADJACENCY, ACCOUNTANT, GROUP = "find", "adjacency", "accountant", "group_size"


@dataclass(frozen=True)
class Field:
    """How one of the six numbers is asked for; ``start`` is what a first visit shows."""

    label: str
    short: str
    help: str
    start: float
    step: float
    format: str | None = None

    @property
    def is_whole(self) -> bool:
        return isinstance(self.start, int)

    def show(self, value: float) -> str:
        """``value`` as an answer: whole numbers in full, others to four digits (δ three, σ five), ε and δ rounded up."""
        if self.is_whole:
            return f"{value:,}"
        return self.format % (value if self.short == "σ" else up(value, 3 if self.short == "δ" else 4))

    def text(self, value: float | None) -> str:
        """``value`` as the field shows it."""
        return "" if value is None else (self.format or "%d") % value


FIELDS = {
    "epsilon": Field(
        "Privacy spent ε", "ε",
        "The privacy budget. By at most the factor e^ε can one record change the chance of any result, but for the "
        "probability δ. Smaller is more private; below 1 is strong, above 10 says little.",
        3.0, 0.5, "%.4g",
    ),
    "delta": Field(
        "Failure probability δ", "δ",
        "The small probability with which the ε bound may fail. It must stay below 1/N, since a mechanism that publishes "
        "one whole record at random would pass otherwise.",
        1e-5, 1e-6, "%.2e",
    ),
    "noise_multiplier": Field(
        "Noise multiplier σ", "σ",
        "Standard deviation of the Gaussian noise on the sum of clipped gradients, in multiples of the clipping bound C. "
        "C itself does not change ε.",
        1.1, 0.1, "%.5g",
    ),
    "records": Field(
        "Training records N", "N",
        "How many records are trained on. The number counts as public.",
        60_000, 1000,
    ),
    "batch_size": Field(
        "Batch size B", "B",
        "Expected records in a batch. Each record joins each batch by itself with probability q = B / N (Poisson "
        "sampling), so batches vary in size.",
        512, 64,
    ),
    "epochs": Field(
        "Epochs E", "E",
        "Expected passes over the data. They make T = E · N / B steps, rounded.",
        15, 1,
    ),
}  # fmt: skip

#: Two beside each other: what is promised, what the noise acts on, how long it goes on.
_ROWS = (("epsilon", "delta"), ("noise_multiplier", "records"), ("batch_size", "epochs"))
#: What slides in the explorer, and the axes of the trade-off curve.
SLIDES, AXES = ("batch_size", "epochs", "noise_multiplier"), ("linear", "log")

ENTRIES = {
    FIND: Entry("epsilon", UNKNOWNS),
    **{name: Entry(field.start) for name, field in FIELDS.items()},
    ADJACENCY: Entry("add-or-remove-one", tuple(SETTINGS["privacy.adjacency"].choices)),
    ACCOUNTANT: Entry("pld", tuple(SETTINGS["privacy.accountant"].choices)),
    GROUP: Entry(1),
    "slide": Entry("batch_size", SLIDES),
    "at": Entry(None, optional=True),
    "limit": Entry(None, optional=True),
    "axes": Entry("linear", AXES),
}


@dataclass(frozen=True)
class Asked:
    """What the fields say; None is an empty field."""

    unknown: str
    values: Mapping[str, float | None]
    adjacency: str
    accountant: str
    group_size: float | None


def asked() -> Asked:
    """What the fields say, before they are drawn: the answer need not wait for them."""
    address.begin(ENTRIES)
    said = st.session_state
    unknown = said[FIND]
    values = {name: None if name == unknown else said[name] for name in UNKNOWNS}
    return Asked(unknown, values, said[ADJACENCY], said[ACCOUNTANT], said[GROUP])


def draw_fields(unknown: str) -> dict[str, DeltaGenerator]:
    """Draw every field but the unknown's, whose place :func:`show_answer` fills; the container below each, by name."""
    _choose_unknown()
    below = {}
    for row in _ROWS:
        for name, column in zip(row, st.columns(2, gap="small"), strict=True):
            with column:
                if name != unknown:
                    _number(name)
                below[name] = st.container(key=f"below-{name}")
    with st.expander("Neighbours, groups, accountant", key="budget-more", expanded=_is_special()):
        first, second = st.columns(2, gap="small")
        with first:
            _choice(ADJACENCY)
            _choice(ACCOUNTANT)
        with second:
            _group()
            below[GROUP] = st.container(key=f"below-{GROUP}")
    return below


def remember(case: Case) -> None:
    """Keep the answer, so that asking for another number starts from it."""
    answer = case.answer
    address.put(case.unknown, answer if FIELDS[case.unknown].is_whole else up(answer, 5))


def keep_address() -> None:
    """Write what all fields say into the address."""
    address.keep(ENTRIES, st.session_state[FIND])


def take(case: Case) -> None:
    """Put σ, B and E of ``case`` into the fields; for a callback."""
    for name in SLIDES:
        address.put(name, getattr(case, name))


def show_answer(below: Mapping[str, DeltaGenerator], unknown: str, case: Case | None) -> None:
    """Fill the place of the unknown."""
    field = FIELDS[unknown]
    with below[unknown], st.container(key="found"):
        st.markdown(f"{field.label}", help=field.help)
        st.markdown(f"**= {field.show(case.answer)}**" if case else "–")


def show_problems(below: Mapping[str, DeltaGenerator], problems: Mapping[str, str]) -> None:
    """Say below each field what is wrong with it."""
    for name, message in problems.items():
        with below[name]:
            st.error(escape(message))


def _choose_unknown() -> None:
    st.segmented_control(
        "Which number do you want to know?",
        list(UNKNOWNS),
        format_func=lambda name: FIELDS[name].short,
        key=FIND,
        required=True,
        width="stretch",
        help="The other five are given; this one follows from them. Whole numbers are rounded to the safe side.",
    )


def _number(name: str) -> None:
    field = FIELDS[name]
    st.number_input(
        field.label,
        value=None,
        step=field.step,
        format=field.format,
        placeholder="a number",
        help=field.help,
        key=name,
    )


def _choice(name: str) -> None:
    setting = SETTINGS[f"privacy.{name}"]
    st.selectbox(
        setting.label,
        list(setting.choices),
        format_func=setting.choices.get,
        key=name,
        help=setting.help,
    )


def _group() -> None:
    st.number_input(
        "Group size k",
        value=None,
        step=1,
        placeholder="a number",
        key=GROUP,
        help="A person may have given several records. ε above protects one record; this asks what it is worth to a group "
        "of k records together.",
    )


def _is_special() -> bool:
    return any(st.session_state[name] != ENTRIES[name].start for name in (ADJACENCY, ACCOUNTANT, GROUP))
