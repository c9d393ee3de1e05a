"""Keys on the Encryption page: which there are, what needs them, and making, rotating and destroying one.

Passphrases are asked in forms, whose fields reach the server only when the form is sent; what they did is then done in the
callback, which empties them before anything is drawn. So no passphrase is left in the session's state.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from privlab.encryption import Passphrase, keybook
from privlab.encryption.keybook import KeyInfo
from privlab.runs.keyuse import KeyUse, key_uses
from privlab.runs.record import Run
from privlab.ui import labels, sitemap
from privlab.ui.access import store
from privlab.ui.guard import attempted, escape, refuse
from privlab.ui.passphrase import passphrase_field, take

#: What the last action did, in words; shown once.
_SAID = "keys-said"
_NEW = "new-key"
#: Runs named in a row; all are named before a key is destroyed.
_NAMED = 5
_SOURCES = {
    "keyfile": "key file: opens by itself; anybody who takes the whole disk has it too",
    "passphrase": "passphrase: asked whenever a run starts or goes on",
    "keyring": "OS keyring: opens while you are logged in",
}


def keys_panel() -> None:
    """Draw the list of keys with their actions, and the form for a new one."""
    if said := st.session_state.pop(_SAID, None):
        st.success(escape(said))
    found = keybook.list_keys()
    uses = key_uses(store(), {info.name: info.files for info in found})
    called = labels.names([run for use in uses.values() for run in (*use.runs, *use.waiting)])
    if not found:
        st.info("No key yet. The default key is made by itself when a run is first sealed; a named one you make here.")
    for info in found:
        with st.container(key=f"key-{info.name}", border=True):
            _row(info, uses[info.name], called)
    if direct := keybook.usage().by_passphrase:
        st.caption(
            f"Sealed with a passphrase directly: {_count(len(direct), 'file')}. There is no key that could be rotated or destroyed: "
            "whoever knows the passphrase opens them."
        )
    with st.expander("New key", expanded=not found):
        _new_key()
    st.caption(
        "Keep a backup of each key in a safe place: `python -m privlab keys export NAME --out FILE`, and `keys import FILE` to "
        "bring it back."
    )


def _row(info: KeyInfo, use: KeyUse, called: dict[str, str]) -> None:
    about, needed, buttons = st.columns([4, 5, 3], vertical_alignment="center")
    with about:
        st.markdown(f"**{escape(info.name)}**{' (default)' if info.name == keybook.DEFAULT else ''}")
        if info.entry:
            where = f" in {info.entry.folder}" if info.entry.folder else ""
            st.caption(
                escape(
                    f"{keybook.SOURCES[info.entry.source]}{where}, made {keybook.day(info.entry.created)}; {info.state}"
                )
            )
        else:
            st.error(escape(info.state))
    with needed:
        _runs(use, called)
    if info.entry:
        with buttons, st.container(horizontal=True, horizontal_alignment="right"):
            with st.popover(
                "Rotate", help="Puts a new key in the place of this one; every file is then opened by the new one."
            ):
                _rotation(info)
            with st.popover("Destroy", help="Makes everything that this key sealed unreadable for good."):
                _destruction(info, use, called)


def _runs(use: KeyUse, called: dict[str, str]) -> None:
    if not (use.runs or use.waiting or use.others):
        st.caption("No run needs it.")
        return
    with st.container(horizontal=True, gap="small"):
        for run in use.runs[:_NAMED]:
            sitemap.link_to_run(run.id, called[run.id])
    more = [
        *([_count(len(use.runs) - _NAMED, "more run")] if len(use.runs) > _NAMED else []),
        *([f"{_count(len(use.waiting), 'run')} with nothing sealed yet"] if use.waiting else []),
        *([f"{_count(len(use.others), 'file')} of no run known here"] if use.others else []),
    ]
    if more:
        st.caption(", ".join(more))


# New key ------------------------------------------------------------------------------------------------------------------


def _new_key() -> None:
    source = st.radio(
        "Kept as",
        list(_SOURCES),
        format_func=_SOURCES.get,
        key=f"{_NEW}-source",
        help="Where the 256 random bits are kept.",
    )
    with st.form(f"{_NEW}-form", border=False):
        st.text_input(
            "Name",
            key=f"{_NEW}-name",
            max_chars=40,
            placeholder="for example: lab",
            help="Small letters, digits, - and _. Runs find the key by this name, which is not secret.",
        )
        if source == "passphrase":
            passphrase_field(
                f"{_NEW}-passphrase", help="Opens the key. It is never written down: keep it, nobody can recover it."
            )
            passphrase_field(f"{_NEW}-again-passphrase", "Passphrase again", "The same once more.")
        _submit("Make the key", f"{_NEW}-make", _create, source)


def _create(source: str) -> None:
    """Callback."""
    name = st.session_state[f"{_NEW}-name"].strip()
    given, again = take(f"{_NEW}-passphrase"), take(f"{_NEW}-again-passphrase")
    with attempted():
        if source == "passphrase" and given != again:
            return refuse("The two passphrases differ; no key was made.")
        secret = Passphrase(given) if source == "passphrase" and given else None
        keybook.create_key(name, source, passphrase=secret)
        st.session_state[f"{_NEW}-name"] = ""
        st.session_state[_SAID] = (
            f"Made the key {name}. Choose it in the Lab: Encryption sealed, Key {keybook.SOURCES[source]}, Key name {name}."
        )


# Rotation -----------------------------------------------------------------------------------------------------------------


def _rotation(info: KeyInfo) -> None:
    st.markdown(
        f"A new key takes the place of **{escape(info.name)}** in front of {_count(len(info.files), 'file')}. The contents stay as they are: each file "
        "has a data key of its own, which is wrapped anew. Training runs go on. Backups and exports made before need the old key."
    )
    with st.form(f"rotate-{info.name}", border=False):
        if info.entry and info.entry.source == "passphrase":
            passphrase_field(f"rotate-{info.name}-passphrase", help="The present passphrase of this key.")
            passphrase_field(
                f"rotate-{info.name}-new-passphrase",
                "New passphrase",
                "Takes the place of the present one; empty keeps that.",
            )
            passphrase_field(
                f"rotate-{info.name}-again-passphrase", "New passphrase again", "The same once more, or empty."
            )
        st.checkbox(
            "Encrypt the contents anew too",
            key=f"rotate-{info.name}-fresh",
            help="For when somebody may have had the old key together with a file. Takes about as long as writing every file again.",
        )
        _submit("Rotate", f"rotate-{info.name}-now", _rotate, info.name)


def _rotate(name: str) -> None:
    """Callback."""
    now, later, again = (take(f"rotate-{name}-{each}passphrase") for each in ("", "new-", "again-"))
    with attempted():
        if later != again:
            return refuse(f"The two new passphrases differ; the key {name} was not rotated.")
        done = keybook.rotate_key(
            name,
            passphrase=Passphrase(now) if now else None,
            new_passphrase=Passphrase(later) if later else None,
            fresh_data_keys=st.session_state[f"rotate-{name}-fresh"],
        )
        first = "The interrupted rotation was finished. " if done.resumed else ""
        st.session_state[_SAID] = (
            f"{first}The new key {name} is in place, in front of {_count(done.files, 'file')}; the old one is destroyed. A backup of "
            "the key made before does not open them: make a new one."
        )


# Destruction --------------------------------------------------------------------------------------------------------------


def _destruction(info: KeyInfo, use: KeyUse, called: dict[str, str]) -> None:
    if info.entry is None:
        return
    lost = [f"{called[run.id]} ({_state(run)})" for run in use.runs]
    lost += [f"{called[run.id]} ({_state(run)}; nothing sealed yet, it could not start)" for run in use.waiting]
    lost += [str(path) for path in use.others]
    if lost:
        st.error(
            f"This cannot be undone. The sealed files of these are lost for good ({_count(len(info.files), 'file')}):"
        )
        st.markdown("\n".join(f"- {escape(each)}" for each in lost))
    else:
        st.markdown("No sealed file here needs this key.")
    st.caption("What destroying it cannot make sure of:")
    st.caption("\n".join(f"- {sentence}" for sentence in keybook.cannot_guarantee(info.entry)))
    with st.form(f"destroy-{info.name}", border=False):
        st.text_input(f"Type {info.name} to destroy it", key=f"destroy-{info.name}-name", autocomplete="off")
        _submit("Destroy for good", f"destroy-{info.name}-now", _destroy, info.name)


def _destroy(name: str) -> None:
    """Callback."""
    typed = st.session_state[f"destroy-{name}-name"].strip()
    with attempted():
        if typed != name:
            return refuse(f"You typed “{typed}”, not “{name}”: nothing was destroyed.")
        done = keybook.destroy_key(name)
        st.session_state[_SAID] = (
            f"The key {name} is destroyed. {_count(len(done.files), 'sealed file')} lost for good."
        )


def _submit(label: str, key: str, act: Callable[..., None], *given: str) -> None:
    st.form_submit_button(label, key=key, type="primary", on_click=act, args=given)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _state(run: Run) -> str:
    return f"{run.status}, deleted" if run.deleted else str(run.status)
