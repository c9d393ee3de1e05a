"""See a run as a thief, as the server or as the owner sees it. Everything shown is the run's real bytes."""

from __future__ import annotations

from math import isqrt
from pathlib import Path

import numpy as np
import streamlit as st

from privlab.charts.encryption import bytes_figure, pictures_figure
from privlab.encryption import SealError, open_vault, thief
from privlab.encryption.modes import MODES
from privlab.runs import files
from privlab.runs.record import Run, Status
from privlab.ui import labels, sitemap
from privlab.ui.access import store
from privlab.ui.encryption.tryit import try_it
from privlab.ui.guard import escape, guarded

_BARE = {"displayModeBar": False}
_EYES = {"thief": "Thief of the disk", "server": "Server", "owner": "Owner of the key"}
#: Side of the grid of pictures that the first layer of a model on pictures makes.
_MOST_PICTURES = 32


@guarded()
def through_other_eyes() -> None:
    """Choose a run and whose eyes to see it through, then try to break it."""
    runs = [
        run for run in store().list(status=(Status.FINISHED, Status.STOPPED, Status.PAUSED)) if file_of(run).exists()
    ]
    if not runs:
        st.info("No finished run is here yet. Launch some under **Modes side by side**, or in the Lab.")
        return sitemap.link_to_lab()
    called, by_id = labels.names(runs), {run.id: run for run in runs}
    left, right = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
    chosen = left.selectbox(
        "Run",
        list(by_id),
        format_func=lambda run_id: f"{called[run_id]} · {MODES[by_id[run_id].config.encryption.mode].title}",
        key="eyes-run",
        help="Finished, stopped or paused runs, the newest first.",
    )
    eye = right.segmented_control(
        "See it as", list(_EYES), format_func=_EYES.get, key="eyes-eye", default="thief", required=True, width="stretch"
    )
    run = by_id[chosen]
    facts = MODES[run.config.encryption.mode]
    with st.container(border=True, key="eyes-view"):
        st.markdown(f"**{_EYES[eye]}** · {escape(facts.sees[eye])}")
        {"thief": _thief, "server": _server, "owner": _owner}[eye](run)
    try_it(run)


def file_of(run: Run) -> Path:
    """What a thief would take: the released weights, or the checkpoint while there are none."""
    weights = files.weights_path(run)
    return weights if weights.exists() else files.checkpoint_path(run.id)


def _thief(run: Run) -> None:
    loot, data = thief.steal(file_of(run)), file_of(run).read_bytes()
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("\n".join(f"- {escape(sentence)}" for sentence in loot.can_read))
        st.metric(
            "Entropy",
            f"{loot.entropy:.3f} bits a byte",
            help=f"How evenly the bytes are spread. As many random bytes would show {loot.entropy_of_random:.3f}. The low digits "
            "of plain weights look random too, so this alone proves nothing.",
        )
        st.code(loot.first_bytes, language=None, wrap_lines=True)
        if loot.texts:
            with st.expander("Text in the file"):
                st.code("\n".join(loot.texts), language=None, wrap_lines=True)
    with right:
        _numbers(thief.weights(data), data, "The stolen file, byte by byte")


def _server(run: Run) -> None:
    held = [
        bytes.fromhex(event.data["held_by_server"])
        for event in store().events(run.id)
        if "held_by_server" in event.data
    ]
    if not MODES[run.config.encryption.mode].is_store:
        st.caption("Choose a run with an encrypted store to look into its server.")
        return
    if not held:
        st.caption("This run has not recorded a look into its server; it does so when it ends or pauses.")
        return
    st.plotly_chart(
        bytes_figure(held[-1], "The parameters in the server's memory, first bytes"), key="eyes-server", config=_BARE
    )
    st.code(held[-1][:64].hex(" "), language=None, wrap_lines=True)
    st.caption("Owners and server are processes of this machine: their separation is simulated on one machine.")


def _owner(run: Run) -> None:
    if run.needs_passphrase:
        st.caption(
            "This run is sealed with a passphrase, which is not kept: export its weights on its own page to see them."
        )
        return
    try:
        data = open_vault(run.config.encryption).read(file_of(run))
    except (SealError, OSError) as error:
        st.error(escape(str(error)))
        return
    _numbers(thief.weights(data), data, "The opened file, byte by byte")


def _numbers(tensors: dict[str, np.ndarray], data: bytes, title: str) -> None:
    """What can be made of a file: the weights as pictures where they are readable, or the bare bytes."""
    first = next((array for name, array in tensors.items() if name.endswith("1.weight") and array.ndim == 2), None)
    side = isqrt(first.shape[1]) if first is not None else 0
    if first is not None and side * side == first.shape[1]:
        shown = first[:_MOST_PICTURES]
        st.plotly_chart(
            pictures_figure(shown, (side, side), "The model, read from the file: what each unit looks for", 8),
            key="eyes-numbers",
            config=_BARE,
        )
    else:
        st.plotly_chart(bytes_figure(data, title), key="eyes-bytes", config=_BARE)
