"""Training whose data or weights nobody sees: on ciphertext, or in shares among three parties, beside the plain twin."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from privlab.charts.encryption import twin_figure
from privlab.encryption.shared.environment import available
from privlab.metrics import size
from privlab.ui import labels
from privlab.ui.encryption import jobs
from privlab.ui.encryption.jobs import Job
from privlab.ui.guard import attempted, escape, guarded

_BARE = {"displayModeBar": False}
_NAME = "job"
_WAYS = {
    "c2": "Data and weights encrypted (CKKS)",
    "c1": "Weights encrypted, data plain (CKKS)",
    "shared": "Shares among three parties (ABY3)",
}
_WHO = {
    "c2": "The records' owner has the key. The **server** computes every gradient on ciphertext, clips by construction, adds the "
    "noise inside the ciphertext and sees nothing but the noise that it drew. The owner renews the ciphertext once a step.",
    "c1": "The model's owner has the key. The **records' owner** computes on encrypted weights, never sees them, and adds noise "
    "that only it knows: encryption and differential privacy both matter here.",
    "shared": "Each record and each parameter is split into random shares. Three **parties** train on the shares, clip each record "
    "and add noise inside; one curious party alone learns nothing, two together learn all (honest-but-curious).",
}
_DATA = {
    "breast-cancer": "breast cancer, 455 records, 31 inputs",
    "digits01": "digits 0 and 1, 289 records, 63 inputs",
    "fashion-shoes": "shoe or not, 1,000 pictures: the last layer on a frozen one",
}
_MODELS = {"binary": "logistic, two classes", "logistic": "logistic, ten classes", "mlp": "MLP 64-32-10"}
_TWO_CLASSES = {
    "breast-cancer": "breast cancer, 455 records, 30 inputs",
    "odd-digits": "digits odd or even, 1,442 records, 64 inputs",
}


@guarded()
def on_ciphertext() -> None:
    """Choose, start, watch."""
    left, right = st.columns([2, 3], gap="medium")
    with left, st.container(border=True):
        way = st.radio("What is hidden", list(_WAYS), format_func=_WAYS.get, key="ct-way")
        st.markdown(_WHO[way])
        ready, why = available() if way == "shared" else (True, "")
        if way == "shared":
            (st.caption if ready else st.info)(escape(why))
        _start(way, *(_shared_settings() if way == "shared" else _fully_settings(way)), ready)
        st.caption("All parties are processes of this machine: their separation is simulated on one machine.")
    with right, st.container(border=True, height="stretch", key="ct-watch"):
        named = st.query_params.get(_NAME, "")
        job = jobs.read(named) if named.isalnum() else None
        if job is None:
            st.markdown(
                ("There is no training of this name here. " if named else "")
                + "Start a training: its accuracy on test records draws itself here beside its plain twin, which trains "
                "the same way without encryption."
            )
        else:
            st.fragment(_watch, run_every=2.0 if job.state == "running" else None)(job.id, job.state)


def _fully_settings(way: str) -> tuple[str, list[str], dict[str, Any]]:
    data = st.selectbox(
        "Data", list(_DATA), format_func=_DATA.get, key="ct-data", help="Two classes; both come with PrivLab."
    )
    steps = st.number_input(
        "Steps", 1, 200, 30, key="ct-steps", help="Full-batch steps: every record is in each of them."
    )
    sigma = st.number_input(
        "Noise multiplier σ", 0.0 if way == "c2" else 0.06, 1000.0, 10.0, 1.0, format="%.4g", key="ct-sigma",
        help="Standard deviation of the noise over the largest gradient that one record can have, which the circuit bounds.",
    )  # fmt: skip
    given = ["--dataset", data, "--mode", way, "--steps", str(int(steps)), "--sigma", repr(float(sigma))]
    return (
        "privlab.encryption.fully.job",
        given,
        {"title": f"{_DATA[data].split(',')[0]} · {way.upper()}", "steps": int(steps)},
    )


def _shared_settings() -> tuple[str, list[str], dict[str, Any]]:
    model = st.selectbox(
        "Model",
        list(_MODELS),
        format_func=_MODELS.get,
        key="ct-model",
        help="Records are dealt to three owners. What takes time is how often the parties talk: some 16 messages a step for two classes, "
        "where each owner knows by itself how much of its record's error may count; some 90 for ten classes, where the parties "
        "find that out on shares.",
    )
    data = "digits"
    if model == "binary":
        data = st.selectbox(
            "Data",
            list(_TWO_CLASSES),
            format_func=_TWO_CLASSES.get,
            key="ct-shared-data",
            help="The fewer the records, the more often each takes part, and the more ε the same noise spends.",
        )
    steps = st.number_input("Steps", 10, 2000, 200, 10, key="ct-shared-steps", help="Each draws its own Poisson batch.")
    sigma = st.number_input(
        "Noise multiplier σ", 0.05, 1000.0, 2.0, 0.5, format="%.4g", key="ct-shared-sigma",
        help="Of the noise of all three parties together; each adds its share from its own operating system's entropy.",
    )  # fmt: skip
    given = ["--model", model, "--dataset", data, "--steps", str(int(steps)), "--sigma", repr(float(sigma))]
    named = _TWO_CLASSES.get(data, data).split(",")[0]
    return "privlab.encryption.shared.job", given, {"title": f"{named} · {_MODELS[model]} · ABY3", "steps": int(steps)}


def _start(way: str, module: str, given: list[str], about: dict[str, Any], ready: bool) -> None:
    st.button(
        "Train", key=f"ct-start-{way}", type="primary", disabled=not ready, on_click=_begin, args=(module, given, about)
    )


def _begin(module: str, given: list[str], about: dict[str, Any]) -> None:
    with attempted():
        st.query_params[_NAME] = jobs.start(module, given, about)


@guarded()
def _watch(job_id: str, state_before: str) -> None:
    job = jobs.read(job_id)
    assert job is not None
    if job.state != state_before:
        # The rhythm of this fragment changes with the state.
        st.rerun()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{escape(job.about['title'])}** · {_state(job)}")
        if job.state == "running":
            st.button(
                "Stop", key="ct-stop", on_click=jobs.stop, args=(job_id,), help="Ends after the step that is under way."
            )
    points = [point for point in job.points if point["step"]]
    if not points:
        if job.state == "running":
            st.caption("Making keys and encrypting the records …")
        return
    last, steps = points[-1], job.about["steps"]
    _numbers(job, last)
    if job.state == "running":
        pace = job.seconds / max(1, last["step"])
        st.progress(
            last["step"] / steps,
            f"Step {last['step']} of {steps}, about {labels.duration(pace * (steps - last['step']))} left",
        )
    started = job.lines[0]
    if "holds_against" in started:
        st.caption(escape(started["holds_against"]))
    _chart(points)
    _cost(job, last)


def _state(job: Job) -> str:
    words = {
        "running": "● training",
        "finished": "✓ finished",
        "stopped": "■ stopped",
        "interrupted": "✕ interrupted when the app ended",
        "refused": "✕ refused",
        "failed": "✕ failed",
    }
    return words[job.state] + (f": {escape(job.message)}" if job.message else "")


def _numbers(job: Job, last: dict[str, Any]) -> None:
    with st.container(horizontal=True, key="ct-numbers"):
        st.metric("Test accuracy, encrypted", f"{last['accuracy']:.2%}")
        if last.get("twin_accuracy") is not None:
            st.metric("Plain twin", f"{last['twin_accuracy']:.2%}", help="The same training without encryption.")
        epsilon = last["epsilon"]
        delta = job.lines[0].get("delta")
        st.metric(
            "ε spent",
            "∞" if epsilon is None else f"{math.ceil(1000 * epsilon) / 1000:.4g}",
            help=f"At δ = {delta:g}; the derivation is in docs/encryption.md. It bounds what the released weights tell about a record; "
            "encryption adds nothing to it." if delta else None,
        )  # fmt: skip
        if last.get("epsilon_party") is not None:
            st.metric(
                "ε towards a party",
                f"{math.ceil(1000 * last['epsilon_party']) / 1000:.4g}",
                help="One of the three parties knows its own share of the noise, so the noise that is left protects less.",
            )
        difference = last.get("weight_difference", last.get("drift"))
        if difference is not None:
            st.metric(
                "Weights differ by", f"{difference:.1e}", help="Largest difference of a weight from the plain twin's."
            )


def _chart(points: list[dict[str, Any]]) -> None:
    with_epsilon = all(point["epsilon"] is not None for point in points)
    x = [point["epsilon"] if with_epsilon else point["step"] for point in points]
    curves = {"encrypted": [point["accuracy"] for point in points]}
    if all(point.get("twin_accuracy") is not None for point in points):
        curves["plain twin"] = [point["twin_accuracy"] for point in points]
    title = "ε spent (smaller is more private)" if with_epsilon else "step (no noise: nothing is guaranteed)"
    st.plotly_chart(
        twin_figure("Accuracy against ε, encrypted and plain", title, x, curves), key="ct-chart", config=_BARE
    )


def _cost(job: Job, last: dict[str, Any]) -> None:
    said = []
    if isinstance(last["seconds"], dict):
        phases = ", ".join(f"{phase} {1000 * seconds:.0f} ms" for phase, seconds in last["seconds"].items())
        said.append(f"The last step took {sum(last['seconds'].values()):.2f} s: {phases}.")
        said.append(f"{size(last['bytes_up'])} went to the server and {size(last['bytes_down'])} came back.")
        said.append(f"Levels left in the result: {last['levels_left']}; the key holder renews them at each step.")
    else:
        said.append(
            f"A step took {1000 * last['seconds']:.0f} ms; the parties sent each other {size(last['bytes_sent'])}."
        )
        # Trainings of earlier versions have not counted them.
        if "messages" in last:
            said.append(f"Computing it took {last['messages']:.0f} messages of each.")
    st.caption(" ".join(said))
