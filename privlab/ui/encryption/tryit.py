"""Tries to break a run: change a byte, guess the key, ask the model. Only differential privacy answers the last one."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache

import numpy as np
import streamlit as st

from privlab import paths
from privlab.charts.encryption import attack_figure
from privlab.encryption import SealError, open_vault, thief
from privlab.privacy.odds import trade_off
from privlab.runs import files
from privlab.runs.record import Run
from privlab.ui.access import store
from privlab.ui.guard import escape, guarded

_BARE = {"displayModeBar": False}
_RATES = tuple(np.unique(np.concatenate([np.logspace(-4, 0, 41), np.linspace(0, 1, 41)])))
_ATTACKED = "attacked-run"
#: Seconds that asking a model about its records may take.
_PATIENCE = 120


def try_it(run: Run) -> None:
    """Three tries side by side."""
    st.subheader("Try to break it", anchor=False)
    first, second, third = st.columns(3, gap="medium")
    with first, st.container(border=True, height="stretch"):
        _flip_a_byte(run)
    with second, st.container(border=True, height="stretch"):
        _guess_the_key(run)
    with third, st.container(border=True, height="stretch"):
        _ask_the_model(run)


@st.fragment
@guarded()
def _flip_a_byte(run: Run) -> None:
    st.markdown("**Change one bit of the checkpoint**")
    data = files.checkpoint_path(run.id).read_bytes()
    place = st.number_input(
        f"Byte, 0 to {len(data) - 1:,}", 0, len(data) - 1, min(200, len(data) - 1), key=f"flip-{run.id}",
        help="Its lowest bit is flipped in a copy, which is then opened; the run itself is not touched.",
    )  # fmt: skip
    if run.needs_passphrase:
        st.caption("Sealed with a passphrase: nothing here can tell a flipped bit from a wrong passphrase.")
        return
    if st.button("Flip it and open", key=f"flip-go-{run.id}"):
        said = _opened(run, thief.flip(data, int(place)))
        (st.error if said.opened else st.success)(escape(said.said))
        if thief.is_sealed(data):
            st.caption(f"The byte lies in {thief.part_of(data, int(place))}.")


def _opened(run: Run, data: bytes) -> thief.Tried:
    """Open a changed copy with the run's own key."""
    copy = files.checkpoint_path(run.id).with_name("tried.plab")
    try:
        copy.write_bytes(data)
        content = open_vault(run.config.encryption).read(copy)
    except SealError as error:
        return thief.Tried(False, f"Refused: {error}")
    finally:
        copy.unlink(missing_ok=True)
    return thief.Tried(True, f"Opened: {len(content):,} bytes, and nothing shows that one of them was changed.")


@st.fragment
@guarded()
def _guess_the_key(run: Run) -> None:
    st.markdown("**Guess the key**")
    with st.form(f"guess-{run.id}", clear_on_submit=True, border=False):
        guess = st.text_input("Passphrase to try", type="password", key=f"guess-passphrase-{run.id}", help="Each guess at a passphrase takes "
                              "some 0.4 s and 128 MB by design (scrypt).")  # fmt: skip
        if st.form_submit_button("Try it"):
            with st.spinner("Trying …"):
                said = thief.try_key(files.checkpoint_path(run.id).read_bytes(), guess)
            (st.error if said.opened else st.success)(escape(said.said))


@st.fragment
@guarded()
def _ask_the_model(run: Run) -> None:
    st.markdown("**Ask the model who was in the data**")
    st.caption(
        "Says “was trained on” where the model's loss on a record is small (Yeom et al. 2018). Encryption cannot help here: the "
        "model answers whoever may use it. The result is a private diagnostic."
    )
    if run.needs_passphrase:
        st.caption("Sealed with a passphrase: its weights cannot be opened here.")
        return
    asked = (run.id, run.step)
    if st.button("Attack", key=f"attack-{run.id}"):
        st.session_state[_ATTACKED] = asked
    if st.session_state.get(_ATTACKED) != asked:
        return
    with st.spinner("Asking about every record …"):
        found = _attack(run.id, run.step)
    if "problem" in found:
        st.error(escape(found["problem"]))
        return
    st.metric(
        "Advantage of the attack",
        f"{found['advantage']:.3f}",
        help=f"True minus false positives at the best threshold. An attack that knows nothing stays below {found['by_chance']:.3f} "
        f"in 95 of 100 cases, with {found['members']:,} members and {found['others']:,} others.",
    )
    bound = None
    if run.plan.is_private:
        reached = trade_off(run.plan.phases_until(run.step), _RATES, adjacency=run.plan.adjacency)
        bound = (_RATES, reached.tolist())
    st.plotly_chart(attack_figure(found["rates"], bound), key="attack", config=_BARE)
    if found["advantage"] < found["by_chance"]:
        st.success("The attack does no better than chance would.")
    else:
        st.warning("The attack recognises members better than chance would.")


@lru_cache(maxsize=32)
def _attack(run_id: str, _step: int) -> dict:
    run = store().get(run_id)
    try:
        weights = open_vault(run.config.encryption).read(files.weights_path(run))
    except (SealError, OSError) as error:
        return {"problem": str(error)}
    given = json.dumps(run.config.to_dict()).encode() + b"\n" + weights
    # A process of its own: the web process loads no torch.
    done = subprocess.run(
        [sys.executable, "-m", "privlab.training.attack"],
        input=given,
        capture_output=True,
        timeout=_PATIENCE,
        cwd=paths.SOURCE,
        check=False,
    )
    if done.returncode:
        return {"problem": f"The attack failed: {done.stderr.decode(errors='replace').strip().splitlines()[-1]}"}
    return json.loads(done.stdout)
