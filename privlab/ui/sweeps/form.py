"""The form of a new sweep: what varies, how it is searched, when it ends; and what that would be, before it is launched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from privlab.analysis.settings import SECTIONS, SETTINGS
from privlab.config import PRESETS, ConfigError, RunConfig
from privlab.metrics import METRICS
from privlab.runs.store import UnknownRun
from privlab.sweeps import control
from privlab.sweeps.spec import METHODS, MOST_RUNS, SEARCHABLE, SweepSpec
from privlab.ui import urls
from privlab.ui.access import store
from privlab.ui.fields import by_path
from privlab.ui.guard import attempted, escape, refuse
from privlab.ui.sweeps import draft
from privlab.ui.sweeps.ahead import show_ahead, show_nothing_ahead
from privlab.ui.sweeps.base import shared_config, shared_fields, shared_values

_PRUNE = {
    "none": "let every run finish",
    "epsilon": "end the hopeless, at equal ε",
    "step": "end the hopeless, at equal step",
}
_SPREADS = {False: "linear", True: "log"}


def new_sweep(start: str) -> None:
    """The form around the settings of ``start``: a preset, or a run."""
    draft.begin(start)
    try:
        base = draft.start_config(start)
    except UnknownRun as error:
        st.error(escape(str(error)))
        start = next(iter(PRESETS))
        base = draft.start_config(start)
    title, back = st.columns([4, 1], vertical_alignment="center")
    title.title("New sweep", anchor=False)
    with back, st.container(horizontal=True, horizontal_alignment="right"):
        st.button("All sweeps", key="sweep-all", type="tertiary", on_click=urls.show_sweep, args=(None,))
    left, right = st.columns([3, 2], gap="medium")
    values = shared_values(base)
    shared, refused = shared_config(base, values)
    problems = {f"base.{path}": messages for path, messages in refused.items()}
    with left:
        raw, spots = _fields(start, shared, values, refused)
    spec = None
    if not problems:
        try:
            spec = SweepSpec.read(raw)
        except ConfigError as error:
            problems = by_path(error.problems)
    for path, spot in spots.items():
        for message in problems.pop(path, ()):
            spot.error(escape(message))
    with right, st.container(border=True, key="sweep-ahead"):
        st.subheader("Before you launch", anchor=False)
        if spec is None:
            show_nothing_ahead(problems)
        else:
            show_ahead(spec)
        st.button(
            "Launch sweep",
            key="launch-sweep",
            type="primary",
            disabled=spec is None,
            on_click=_launch,
            args=(raw, draft.launch_key()),
        )


def _launch(raw: Mapping[str, Any], key: str) -> None:
    """A second press of the same button, drawn with the same ``key``, finds the sweep of the first."""
    with attempted():
        try:
            sweep = control.create(store(), SweepSpec.read(raw), launch_key=key)
        except ConfigError as error:
            return refuse("Nothing was launched. " + " ".join(problem.message for problem in error.problems))
        draft.forget()
        urls.show_sweep(sweep.id)


# Fields --------------------------------------------------------------------------------------------------------------


def _fields(
    start: str, base: RunConfig, values: Mapping[str, Any], refused: Mapping[str, list[str]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw them; what they say as the entries of a file, and where the problems of each entry go.

    ``base``: what all runs share. ``values``: what its fields say, of which ``refused`` are the problems.
    """
    raw: dict[str, Any] = {"base": base.to_dict()}
    spots: dict[str, Any] = {}
    with st.container(border=True):
        _start(start, base)
        raw["name"] = _text("sw-name", "Name of the sweep", base.name or "sweep")
        shared = st.container()
    with st.container(border=True):
        st.subheader("What varies", anchor=False)
        raw["space"] = _space(base, spots)
    with shared:
        spots |= {f"base.{path}": spot for path, spot in shared_fields(values, raw["space"], refused).items()}
    with st.container(border=True):
        st.subheader("How it is searched", anchor=False)
        raw |= _search(base, spots)
    with st.container(border=True):
        st.subheader("When it ends", anchor=False)
        raw["budget"] = _budget(spots)
    return raw, spots


def _start(start: str, base: RunConfig) -> None:
    known = {key: f"preset {preset.title}" for key, preset in PRESETS.items()}
    if start not in known:
        known = {start: f"run {base.name or start}", **known}
    chosen = st.selectbox(
        "Start from",
        list(known),
        index=list(known).index(start),
        format_func=known.get,
        key=f"sweep-start-{start}",
        help="Every setting that is neither changed nor varied below is taken from here.",
    )
    if chosen != start:
        urls.show_sweep(None, chosen)
        st.rerun()


def _space(base: RunConfig, spots: dict[str, Any]) -> dict[str, Any]:
    paths = draft.can_vary(base)
    draft.kept("sw-paths", paths[:2])
    chosen = st.multiselect(
        "Settings",
        paths,
        format_func=lambda path: f"{SECTIONS[path.split('.')[0]]}: {SETTINGS[path].label}",
        key="sw-paths",
        placeholder="type to search",
        help="Choose one or more. Two with a list of values each make a map of cells.",
    )
    draft.keep("sw-paths")
    spots["space"] = st.container()
    space = {}
    for path in chosen:
        with st.container(key=f"axis-{path}"):
            space[path] = _axis(path, base)
            spots[f"space.{path}"] = st.container()
    return space


def _axis(path: str, base: RunConfig) -> Any:
    setting = SETTINGS[path]
    unit = f" :small[:gray[{setting.knob.unit}]]" if setting.knob.unit else ""
    if not setting.is_number:
        return _words(path, base, unit)
    name, how, where = st.columns([5, 6, 8], gap="small", vertical_alignment="center")
    name.markdown(f"**{setting.label}**{unit}", help=setting.help)
    draft.kept(f"sw-kind-{path}", draft.LISTED)
    with how:
        kind = st.selectbox("Kind", [draft.LISTED, draft.RANGED], key=f"sw-kind-{path}", label_visibility="collapsed")
    draft.keep(f"sw-kind-{path}")
    with where:
        return _listed(path, base) if kind == draft.LISTED else _ranged(path, base)


def _words(path: str, base: RunConfig, unit: str) -> list[str]:
    setting = SETTINGS[path]
    if not setting.choices:
        return [
            part.strip() for part in _text(f"sw-values-{path}", f"{setting.label}{unit}", "").split("|") if part.strip()
        ]
    group, leaf = path.split(".")
    draft.kept(f"sw-values-{path}", [getattr(getattr(base, group), leaf)])
    found = st.multiselect(
        f"{setting.label}{unit}",
        list(setting.choices),
        format_func=setting.choices.get,
        key=f"sw-values-{path}",
        help=setting.help,
    )
    draft.keep(f"sw-values-{path}")
    return found


def _listed(path: str, base: RunConfig) -> list[Any]:
    text = _text(
        f"sw-values-{path}",
        "Values",
        draft.usual(path, base),
        hidden=True,
        hint="0.1, 0.3, 1",
        help="Numbers with commas between.",
    )
    return draft.read_values(path, text)


def _ranged(path: str, base: RunConfig) -> dict[str, Any]:
    setting = SETTINGS[path]
    around = draft.read_values(path, draft.usual(path, base))
    low, high, look, count = st.columns([3, 3, 4, 3], gap="xsmall")
    raw: dict[str, Any] = {}
    for name, place, first in (("low", low, around[0]), ("high", high, around[-1])):
        draft.kept(f"sw-{name}-{path}", first if setting.is_integer else float(first))
        raw[name] = place.number_input(
            "From" if name == "low" else "To", value=None, key=f"sw-{name}-{path}",
            format=None if setting.is_integer else "%.4g",
            step=1 if setting.is_integer else 0.1,
        )  # fmt: skip
        draft.keep(f"sw-{name}-{path}")
    draft.kept(f"sw-log-{path}", setting.knob.symbol in ("C", "η"))
    raw["log"] = look.selectbox("Spread", list(_SPREADS), format_func=_SPREADS.get, key=f"sw-log-{path}")
    draft.keep(f"sw-log-{path}")
    draft.kept(f"sw-count-{path}", 3)
    raw["count"] = count.number_input(
        "Values", value=None, min_value=2, max_value=MOST_RUNS, step=1, key=f"sw-count-{path}", placeholder="any",
        help="How many, evenly spread. Empty takes any value between, which a grid cannot.",
    )  # fmt: skip
    draft.keep(f"sw-count-{path}")
    return {name: value for name, value in raw.items() if value is not None}


def _search(base: RunConfig, spots: dict[str, Any]) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    one, two, three = st.columns(3, gap="small")
    raw["method"] = _choice(
        one, "sw-method", "Method", METHODS, "grid",
        "A grid trains all. Random draws, and finds good settings of many with fewer runs. A guided search "
        "(Optuna) proposes what earlier "
        "results make promising; then what was spent depends on results.",
    )  # fmt: skip
    if raw["method"] == "grid":
        two.text_input("Combinations", "all", disabled=True, key="sweep-all-of-them", help="A grid trains every one.")
    else:
        raw["trials"] = _whole(two, "sw-trials", "Combinations", 20, "How many are tried.")
    raw["seeds"] = _whole(
        three, "sw-seeds", "Seeds each", 2, "Each combination is trained with so many seeds: one run alone says little."
    )
    one, two, three = st.columns(3, gap="small")
    metrics = {key: METRICS[key].label for key in SEARCHABLE}
    raw["metric"] = _choice(
        one, "sw-metric", "Goal", metrics, draft.metric_of(base),
        "Measured on test records, which are treated as public. Numbers of training records would leave the guarantee.",
    )  # fmt: skip
    raw["prune"] = _choice(
        two, "sw-prune", "Hopeless runs", _PRUNE, "none",
        "A run whose best score is below the median of the others at the same ε or step is ended, and its "
        "other seeds are spared. What "
        "was spent then depends on results.",
    )  # fmt: skip
    raw["at_once"] = _whole(
        three, "sw-at-once", "Runs at once", 4, "In the queue or training at a time, so that other runs get a turn."
    )
    for name in ("method", "trials", "seeds", "metric", "prune", "at_once", "name", "trials_drawn", "seed"):
        spots[name] = st.container()
    if raw["method"] in ("tpe", "nsga2"):
        draft.kept("sw-epsilon-too", True)
        raw["least_epsilon"] = st.toggle(
            "A small ε is a goal, too",
            key="sw-epsilon-too",
            help="The search then looks for the whole front: the best score for each ε.",
        )
        draft.keep("sw-epsilon-too")
    if raw["method"] == "random":
        draft.kept("sw-drawn", False)
        raw["trials_drawn"] = st.toggle(
            "Draw the number of combinations at random",
            key="sw-drawn",
            help="From a geometric distribution with the mean above, before the first run. Only then does publishing "
            "nothing but the best "
            "run cost less than all runs (Papernot and Steinke 2022). It may be 1, or a few times the mean.",
        )
        draft.keep("sw-drawn")
    if raw["method"] != "grid":
        raw["seed"] = _whole(
            st, "sw-seed", "Seed of the search", 0, "The same seed and the same results propose the same combinations."
        )
    return raw


def _budget(spots: dict[str, Any]) -> dict[str, Any]:
    one, two, three = st.columns(3, gap="small")
    raw = {
        "runs": _optional(one, "sw-budget-runs", "Most runs", 1, "Seeds included. Empty: as many as there are."),
        "hours": _optional(
            two, "sw-budget-hours", "Most hours", 0.5, "Time in which the sweep is at work; pauses do not count."
        ),
        "epsilon": _optional(
            three,
            "sw-budget-epsilon",
            "Most ε together",
            1.0,
            "No run is launched that would take all its runs together above this ε.",
        ),
    }
    for name in raw:
        spots[f"budget.{name}"] = st.container()
    return {name: value for name, value in raw.items() if value is not None}


# Widgets -------------------------------------------------------------------------------------------------------------


def _text(
    key: str, label: str, first: str, *, hidden: bool = False, hint: str | None = None, help: str | None = None
) -> str:
    draft.kept(key, first)
    st.text_input(
        label,
        key=key,
        placeholder=hint,
        help=None if hidden else help,
        label_visibility="collapsed" if hidden else "visible",
        max_chars=400,
    )
    return draft.keep(key) or ""


def _choice(where, key: str, label: str, words: Mapping[str, str], first: str, help: str) -> str:
    draft.kept(key, first)
    where.selectbox(label, list(words), format_func=words.get, key=key, help=help)
    return draft.keep(key)


def _whole(where, key: str, label: str, first: int, help: str) -> int:
    draft.kept(key, first)
    where.number_input(label, value=None, step=1, key=key, help=help)
    return draft.keep(key)


def _optional(where, key: str, label: str, step: float, help: str) -> float | None:
    draft.kept(key, None)
    where.number_input(label, value=None, step=step, min_value=step * 0, key=key, placeholder="no limit", help=help)
    return draft.keep(key)
