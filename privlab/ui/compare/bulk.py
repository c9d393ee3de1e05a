"""What a person may do to many runs at once: pin, tag, note, rename, put away, stop, clone, delete and bring back."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import streamlit as st

from privlab.runs import control
from privlab.runs.store import UnknownRun
from privlab.runs.store.annotationtable import MOST_NAME, MOST_NOTE, MOST_TAG
from privlab.ui import sitemap
from privlab.ui.access import store
from privlab.ui.compare import state
from privlab.ui.compare.library import Entry
from privlab.ui.draft import fill
from privlab.ui.guard import attempted, escape, refuse
from privlab.ui.importing import bring_in

_DELETED, _DONE, _CLONE = "compare-deleted", "compare-done", "compare-clone"
#: Copies that one press launches at most.
_MOST = 40


def bulk(chosen: Sequence[Entry], shown: Sequence[Entry]) -> None:
    """The buttons for the chosen runs, or for all that are shown; and the way back from a deletion."""
    undo()
    if said := st.session_state.pop(_DONE, None):
        st.toast(said)
    if st.session_state.pop(_CLONE, False):
        # A callback cannot switch pages.
        st.switch_page(sitemap.lab())
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="bulk"):
        scope = st.segmented_control(
            "What the buttons act on",
            ["chosen", "shown"],
            format_func={"chosen": f"Chosen ({len(chosen)})", "shown": f"All shown ({len(shown):,})"}.get,
            default="chosen",
            required=True,
            label_visibility="collapsed",
            key="bulk-scope",
            help="What the buttons beside it act on: ticked rows, or every row that passes the filter.",
        )
        on = list(chosen if scope == "chosen" else shown)
        none = not on
        pinned, archived = all(e.said.pinned for e in on), all(e.said.archived for e in on)
        _button(
            "Unpin" if pinned and on else "Pin",
            "pin",
            none,
            "Pinned runs stand above all others.",
            _annotate,
            on,
            pinned=not pinned,
        )
        with st.popover("Tag", disabled=none, help="Adds or removes a word to find runs by: `tag:word` in the filter."):
            _tags(on)
        with st.popover("Name and note", disabled=len(on) != 1, help="Of one run; choose one."):
            if len(on) == 1:
                _name_and_note(on[0])
        _button(
            "Bring back from archive" if archived and on else "Archive", "archive", none,
            "Put away: listed only with “Archived too”. The ledger still counts it.", _annotate, on, archived=not archived,
        )  # fmt: skip
        stoppable = [e for e in on if "stop" in control.actions(e.run)]
        _button(
            "Stop", "stop", not stoppable, "Ends those that wait or train; what they have is kept.", _stop, stoppable
        )
        _clone(on)
        with st.popover("Delete", disabled=none, help="Hides runs; you can bring them back."):
            st.markdown(
                f"Delete **{len(on):,}** run{'' if len(on) == 1 else 's'}? Those that train are stopped. What they spent stays in the ledger."
            )
            _button(f"Delete {len(on):,}", "delete", none, "You can undo it.", _delete, on)
        bring_in()
        if chosen:
            st.button("Untick all", key="bulk-none", on_click=state.change, kwargs={"runs": ()}, type="tertiary")


def _button(
    label: str, key: str, disabled: bool, help: str, act: Callable[..., None], on: Sequence[Entry], **more
) -> None:
    st.button(
        label, key=f"bulk-{key}", disabled=disabled, help=help, on_click=act, args=([e.id for e in on],), kwargs=more
    )


def _annotate(ids: list[str], **changes) -> None:
    with attempted():
        store().annotate(ids, **changes)


def _tags(on: Sequence[Entry]) -> None:
    st.text_input("Tag", key="bulk-tag", max_chars=MOST_TAG, placeholder="paper", help="One word without spaces.")
    held = sorted({tag for entry in on for tag in entry.said.tags})
    with st.container(horizontal=True, gap="small"):
        st.button(f"Add to {len(on):,}", key="bulk-tag-add", type="primary", on_click=_tag, args=([e.id for e in on],))
        for tag in held:
            st.button(
                f"Remove “{tag}”", key=f"bulk-untag-{tag}", on_click=_annotate, args=([e.id for e in on],),
                kwargs={"remove_tags": [tag]},
            )  # fmt: skip


def _tag(ids: list[str]) -> None:
    tag = st.session_state["bulk-tag"].strip()
    if not tag:
        return refuse("No tag was written; give a word such as paper.")
    try:
        store().annotate(ids, add_tags=[tag])
    except ValueError as error:
        # The field keeps what was typed.
        return refuse(str(error))
    st.session_state["bulk-tag"] = ""


def _name_and_note(entry: Entry) -> None:
    name = st.text_input("Name", entry.run.name, key=f"bulk-name-{entry.id}", max_chars=MOST_NAME)
    note = st.text_area("Note", entry.said.note, key=f"bulk-note-{entry.id}", max_chars=MOST_NOTE, height=120)
    changed = name.strip() != entry.run.name or note != entry.said.note
    st.button(
        "Keep", key="bulk-keep", type="primary", disabled=not changed, on_click=_keep, args=(entry.id, name, note)
    )


def _keep(run_id: str, name: str, note: str) -> None:
    with attempted():
        store().rename(run_id, name)
        store().annotate([run_id], note=note)


def _stop(ids: list[str]) -> None:
    with attempted():
        for run_id in ids:
            control.stop(store(), run_id)


def _clone(on: Sequence[Entry]) -> None:
    """One run opens in the Lab; several are launched again, each with its own settings, after a question."""
    if len(on) <= 1:
        st.button(
            "Clone", key="bulk-clone", disabled=not on, on_click=_to_lab, args=(on[0],) if on else (),
            help="Opens the settings in the Lab; several runs are launched again.",
        )  # fmt: skip
        return
    with st.popover("Clone", help="Opens the settings in the Lab; several runs are launched again."):
        if len(on) > _MOST:
            st.markdown(f"{len(on):,} copies are more than one press launches ({_MOST}).")
            return
        st.markdown(f"Launch **{len(on)}** copies with the same settings? Each spends its own ε of its records.")
        # It is as old as the list that is asked about, so a double click launches it once.
        turn = st.session_state.setdefault("bulk-clone-key", secrets.token_hex(8))
        _button(f"Launch {len(on)} copies", "clones", False, "They wait in the queue.", _launch, on, turn=turn)


def _to_lab(entry: Entry) -> None:
    fill(control.clone_config(entry.run))
    st.session_state[_CLONE] = True


def _launch(ids: list[str], turn: str) -> None:
    with attempted():
        new = [control.launch(store(), control.clone_config(store().get(i)), launch_key=f"{turn}:{i}").id for i in ids]
        state.choose(new)
        st.session_state[_DONE] = f"{len(new)} copies are in the queue."
        st.session_state.pop("bulk-clone-key", None)


def _delete(ids: list[str]) -> None:
    with attempted():
        gone = []
        try:
            for run_id in ids:
                control.delete(store(), run_id)
                gone.append(run_id)
        finally:
            st.session_state[_DELETED] = gone


def undo() -> None:
    """What the last press deleted, and the way back; until it is used or waved away."""
    gone: list[str] = st.session_state.get(_DELETED, [])
    if not gone:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="bulk-deleted"):
        st.markdown(f"**{len(gone):,}** run{' is' if len(gone) == 1 else 's are'} deleted.")
        st.button("Undo", key="bulk-undo", type="primary", on_click=_bring_back, args=(gone,))
        st.button("Dismiss", key="bulk-dismiss", type="tertiary", on_click=st.session_state.pop, args=(_DELETED, None))


def _bring_back(ids: list[str]) -> None:
    lost = []
    with attempted():
        for run_id in ids:
            try:
                control.undelete(store(), run_id)
            except UnknownRun:
                lost.append(run_id)
        st.session_state.pop(_DELETED, None)
    if lost:
        refuse(f"Gone for good, so not brought back: {escape(', '.join(lost))}.")
