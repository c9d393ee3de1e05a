"""Encrypted inference: draw a digit or pick a record, a server classifies the ciphertext, the page decrypts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import safetensors.numpy
import streamlit as st

from privlab.charts.encryption import bytes_figure, logits_figure
from privlab.config import load_preset
from privlab.data.digits import digits
from privlab.encryption import SealError, open_vault
from privlab.encryption.child import ChildError
from privlab.encryption.inference.layers import Layer, NotEncryptable, layers_of
from privlab.encryption.inference.service import Answer, classify
from privlab.metrics import size
from privlab.runs import control, files
from privlab.runs.record import Run, Status
from privlab.ui import labels, sitemap
from privlab.ui.access import store
from privlab.ui.encryption.drawing import draw_digit
from privlab.ui.guard import attempted, escape, guarded

_BARE = {"displayModeBar": False}
#: Models that can answer on ciphertext.
_MODELS = ("logistic", "mlp")
_DRAW, _PICK = "Draw a digit", "Pick a test picture"


@st.fragment
@guarded()
def encrypted_inference() -> None:
    """The whole view."""
    st.markdown(
        "The picture is encrypted with a key that only its **owner** has (CKKS). The **server** has the model and the "
        "ciphertext, computes on the ciphertext and never sees picture or answer. Both are processes of this machine, so their "
        "separation is simulated on one machine. The owner learns all ten scores; whoever may ask often enough can copy a model."
    )
    runs = _candidates()
    if not runs:
        return _train_first()
    called = labels.names(runs)
    left, right = st.columns([2, 3], gap="medium")
    with left, st.container(border=True):
        by_id = {run.id: run for run in runs}
        chosen = st.selectbox(
            "Model",
            list(by_id),
            format_func=lambda run_id: _title(by_id[run_id], called[run_id]),
            key="inference-model",
            help="Finished runs on the digits, with one or two dense layers. Convolutions would take about a second a picture.",
        )
        way = st.segmented_control(
            "Picture", [_DRAW, _PICK], key="inference-way", default=_DRAW, required=True, label_visibility="collapsed"
        )
        pixels = draw_digit("draw") if way == _DRAW else _picked()
        flip = st.toggle(
            "Flip one bit on the way",
            key="inference-flip",
            help="Homomorphic ciphertexts can be changed without a trace, so each travels inside authenticated encryption. Try it.",
        )
    with right, st.container(border=True, key="inference-answer", height="stretch"):
        if pixels is None:
            st.markdown(
                "Draw a digit on the black field; the encrypted answer stands here as soon as you lift the pen."
            )
        else:
            _ask(by_id[chosen], pixels, flip)


def _candidates() -> list[Run]:
    """Finished digits runs whose weights can be opened without asking for a passphrase, newest first."""
    return [
        run
        for run in store().list(status=(Status.FINISHED, Status.STOPPED, Status.PAUSED))
        if run.config.data.dataset == "digits"
        and run.config.model.name in _MODELS
        and not run.needs_passphrase
        and files.weights_path(run).exists()
    ]


def _title(run: Run, name: str) -> str:
    accuracy = run.metrics.get("test_accuracy")
    spent = "ε = ∞" if run.epsilon is None else f"ε = {run.epsilon:.3g}"
    return f"{name} · {run.config.model.name} · {spent}" + (
        f" · {100 * accuracy:.1f} %" if accuracy is not None else ""
    )


def _train_first() -> None:
    waiting = [
        run
        for run in store().list(status=(Status.QUEUED, Status.STARTING, Status.RUNNING))
        if run.config.data.dataset == "digits" and run.config.model.name in _MODELS
    ]
    if not waiting:
        st.info("A trained model is needed first. The digits demo trains one in seconds.")
        st.button("Train the digits demo", key="inference-train", type="primary", on_click=_train)
        return
    (run, *_) = waiting
    _watch(run.id)


@st.fragment(run_every=1.0)
def _watch(run_id: str) -> None:
    run = store().get(run_id)
    st.progress(min(1.0, run.step / max(1, run.steps)), f"Training the digits demo: step {run.step:,} of {run.steps:,}")
    sitemap.link_to_run(run_id, "Watch it")
    if run.status.is_over:
        st.rerun()


def _train() -> None:
    with attempted():
        control.launch(store(), load_preset("digits"))


def _picked() -> np.ndarray:
    pictures, truth = _pictures()
    place = st.slider(
        "Test picture", 0, len(pictures) - 1, 0, key="inference-place", help="Of the digits' test records."
    )
    st.image(
        np.kron(pictures[place].reshape(8, 8), np.ones((20, 20))), caption=f"The label says {truth[place]}", width=160
    )
    return pictures[place]


@lru_cache(maxsize=1)
def _pictures() -> tuple[np.ndarray, np.ndarray]:
    """The digits' test records, in 0…1, (n, 64), and their labels: known to everybody, nothing is trained on them."""
    _, test = digits()
    return test


def _ask(run: Run, pixels: np.ndarray, flip: bool) -> None:
    try:
        layers, activation = _layers(run)
        with st.spinner("Encrypting, classifying, decrypting …"):
            said = classify(
                layers, pixels, activation, calibration=_pictures()[0], on_the_way=_flipped if flip else None
            )
    except ChildError as error:
        st.error(escape(str(error)))
        # Any run of the script asks again, and starts both processes anew.
        st.button("Ask again", key="inference-again", help="Starts both processes anew, with new keys.")
        return
    except (NotEncryptable, SealError, OSError) as error:
        st.error(escape(str(error)))
        if flip:
            st.caption(
                "One bit was flipped between owner and server, and the ciphertext was refused. Switch it off to go on."
            )
        return
    _show(said)


def _layers(run: Run) -> tuple[list[Layer], str | None]:
    raw = open_vault(run.config.encryption).read(files.weights_path(run))
    return layers_of(safetensors.numpy.load(raw))


def _flipped(message: bytes) -> bytes:
    middle = len(message) // 2
    return message[:middle] + bytes([message[middle] ^ 1]) + message[middle + 1 :]


def _show(said: Answer) -> None:
    total = sum(said.seconds.values())
    with st.container(horizontal=True, key="inference-facts"):
        st.metric("Encrypted answer", str(said.label), help="The largest of the decrypted scores.")
        st.metric("Time", f"{1000 * total:,.0f} ms", help=_phases(said))
        st.metric("To the server", size(said.bytes_up), help="The encrypted picture.")
        st.metric("From the server", size(said.bytes_down), help="The encrypted scores.")
    if said.agrees:
        near = "less than 0.001" if said.error < 1e-3 else f"at most {said.error:.2g}"
        st.success(f"The plain model says {said.plain_label} too; scores differ by {near}.")
    else:
        st.warning(
            f"The plain model says {said.plain_label}: its scores for {said.label} and {said.plain_label} are nearly the same, "
            f"and the encrypted ones differ by up to {said.error:.2g}."
        )
    if said.setup_seconds:
        st.caption(
            f"Once for this model: keys and encoding took {said.setup_seconds:.1f} s, and {size(said.keys_bytes)} of "
            "evaluation keys went to the server."
        )
    scores, seen = st.columns(2, gap="small")
    with scores:
        st.plotly_chart(logits_figure(said.logits.tolist(), said.plain_logits.tolist()), key="logits", config=_BARE)
    with seen:
        st.plotly_chart(bytes_figure(said.sent, "What the server sees of it"), key="seen", config=_BARE)


def _phases(said: Answer) -> str:
    words = {"encrypt": "owner encrypts", "server": "server computes", "decrypt": "owner decrypts"}
    return "; ".join(f"{words[phase]}: {1000 * seconds:.1f} ms" for phase, seconds in said.seconds.items())
