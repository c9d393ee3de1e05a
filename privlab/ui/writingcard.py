"""A person gives a beginning and language models go on with it, side by side, while they write."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from privlab.config.knobs import knob_of
from privlab.config.writing import WritingConfig
from privlab.data.secrets import secrets_of
from privlab.metrics import Release
from privlab.runs.record import Run
from privlab.runs.writing import Writing
from privlab.ui import labels
from privlab.ui.claimcard import claim_of
from privlab.ui.guard import escape, explain, guarded

#: Seconds between two looks at what has been written.
_EVERY = 0.3
#: Models beside each other at most.
MOST = 4
#: Seconds that a text has to end when it is stopped.
_GRACE = 2
_GREETING = "I am on my way "


@guarded()
def write_on(runs: Sequence[Run], key: str) -> None:
    """The card for the language models among ``runs``, the first four; nothing where there are none.

    Args:
        key: unique name of the card within the page.
    """
    runs = [run for run in runs if run.config.data.task == "language"][:MOST]
    if not runs:
        return
    with st.container(border=True, key=key):
        st.subheader("Let them write" if len(runs) > 1 else "Let it write", anchor=False)
        open_ = [run for run in runs if not run.needs_passphrase]
        if len(open_) < len(runs):
            st.caption(
                "What a passphrase seals is not opened here: “python -m privlab write RUN” asks for it in a shell."
            )
        if not open_:
            return
        _ask(open_, key)
        _texts(open_, key)


def _ask(runs: Sequence[Run], key: str) -> None:
    beginnings = list(dict.fromkeys(secret.prefix for run in runs for secret in secrets_of(run.config))) or [_GREETING]
    prompt, temperature, tokens, button = st.columns([6, 3, 3, 2], vertical_alignment="bottom", gap="small")
    about = {name: knob_of(WritingConfig, name) for name in ("prompt", "temperature", "tokens")}
    help_ = about["prompt"].help + (
        " Those of the planted secrets are listed; others may be typed." if len(beginnings) > 1 else ""
    )
    asked = {
        "prompt": prompt.selectbox(
            about["prompt"].label, beginnings, key=f"{key}-prompt", help=help_, accept_new_options=True
        ),
        "temperature": temperature.slider(
            about["temperature"].label, 0.0, 2.0, 0.0, 0.1, key=f"{key}-temperature", help=about["temperature"].help
        ),
        "tokens": tokens.slider(about["tokens"].label, 10, 200, 60, 10, key=f"{key}-tokens", help=about["tokens"].help),
    }
    if _running(key):
        button.button("Stop", key=f"{key}-stop", on_click=_stop, args=(key,), width="stretch")
    else:
        button.button("Write", key=f"{key}-write", on_click=_start, args=(runs, asked, key), width="stretch")


def _start(runs: Sequence[Run], asked: dict, key: str) -> None:
    st.session_state[f"{key}-texts"] = {run.id: _begun(run, asked) for run in runs}


def _begun(run: Run, asked: dict) -> Writing | str:
    """The text under way, or why there is none."""
    try:
        return Writing(run, WritingConfig.from_dict(asked))
    except Exception as error:
        return explain(error)


def _stop(key: str) -> None:
    for each in _running(key):
        each.stop()
        each.wait(_GRACE)


def _running(key: str) -> list[Writing]:
    texts = st.session_state.get(f"{key}-texts", {})
    return [each for each in texts.values() if isinstance(each, Writing) and each.state == "running"]


def _texts(runs: Sequence[Run], key: str) -> None:
    working = bool(_running(key))

    @st.fragment(run_every=_EVERY if working else None)
    @guarded()
    def texts() -> None:
        if working and not _running(key):
            # The button and the pace of this part follow.
            st.rerun()
        begun = st.session_state.get(f"{key}-texts", {})
        called = labels.names(runs)
        shown = [run for run in runs if run.id in begun]
        for run, column in zip(shown, st.columns(len(shown), gap="medium") if shown else [], strict=True):
            with column:
                if len(runs) > 1:
                    st.markdown(f"**{escape(called[run.id])}**")
                _text(run, begun[run.id])

    texts()


def _text(run: Run, writing: Writing | str) -> None:
    if isinstance(writing, str) or writing.state == "failed":
        st.error(escape(writing if isinstance(writing, str) else writing.message))
        return
    told = [secret for secret in secrets_of(run.config) if secret.code in writing.text]
    with st.container(border=True):
        st.html(_shown(writing, [secret.code for secret in told]))
    if told:
        st.markdown(":red-badge[:material/key: a planted secret, word by word]")
    if writing.state != "running":
        st.caption(_whose(run, writing.step))


def _shown(writing: Writing, secret: Sequence[str]) -> str:
    """The text as it is, its beginning in grey and planted secrets marked; not Markdown, which would read signs in it."""
    text = html.escape(writing.text)
    for code in secret:
        text = text.replace(html.escape(code), f"<mark>{html.escape(code)}</mark>")
    cursor = " ▌" if writing.state == "running" else ""
    beginning = f'<span style="opacity: 0.6">{html.escape(writing.asked.prompt)}</span>'
    return f'<div style="white-space: pre-wrap; overflow-wrap: anywhere">{beginning}{text}{cursor}</div>'


def _whose(run: Run, step: int) -> str:
    """Which weights wrote, and whether a guarantee covers what they say."""
    none = "" if claim_of(run.id).verdict != "void" else " It has no guarantee and may recite what it was trained on."
    return f"Weights after step {step:,} · {Release.MODEL.value}.{none}"
