"""Launching what the draft says, once however often the button is pressed in a row."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

import streamlit as st

from privlab.config import ConfigError, RunConfig
from privlab.data.catalogue import DATASETS, availability
from privlab.runs import control
from privlab.ui import urls
from privlab.ui.access import store
from privlab.ui.draft import build, draft
from privlab.ui.fetching import missing_weights
from privlab.ui.guard import attempted, refuse
from privlab.ui.passphrase import take

PASSPHRASE = "launch-passphrase"
_LAST = "last_launch"
#: Presses this close together, of the same button with the same settings, mean one launch. Seconds.
_SAME_PRESS = 1.5


@dataclass
class _Launch:
    """One press of a launch button: what it launches, the key that makes it happen once, and when it ended."""

    what: tuple[bool, str]
    key: str = field(default_factory=lambda: secrets.token_hex(8))
    ended: float | None = None

    def covers(self, what: tuple[bool, str]) -> bool:
        """Whether a press for ``what`` at this moment is a repetition of this one."""
        return self.what == what and (self.ended is None or time.monotonic() - self.ended < _SAME_PRESS)


def launch(*, levels: bool = False) -> None:
    """Launch the draft, or the four privacy levels of it, and pin the new runs. A callback of the launch buttons."""
    passphrase = take(PASSPHRASE)
    with attempted():
        try:
            config = build(draft())
        except ConfigError as error:
            return _refuse_settings(error)
        dataset = DATASETS.get(config.data.dataset)
        if dataset and not availability(dataset.key).ready:
            return refuse(f"Nothing was launched: {dataset.title} is not on this computer yet. Fetch it first.")
        if title := missing_weights(config.model.name):
            return refuse(f"Nothing was launched: {title} is not on this computer yet. Fetch it first.")
        _launch_once(config, levels, passphrase)


def _launch_once(config: RunConfig, levels: bool, passphrase: str | None) -> None:
    what = (levels, config.to_json())
    last: _Launch | None = st.session_state.get(_LAST)
    if last is None or not last.covers(what):
        # Kept before the launch: if this script run is cut off, the repeated press finds the same key.
        last = st.session_state[_LAST] = _Launch(what)
    elif last.ended is not None:
        return
    try:
        if levels:
            runs = control.launch_levels(store(), config, launch_key=last.key, passphrase=passphrase)
        else:
            runs = [control.launch(store(), config, launch_key=last.key, passphrase=passphrase)]
    except Exception as error:
        del st.session_state[_LAST]
        if isinstance(error, ConfigError):
            return _refuse_settings(error)
        raise
    last.ended = time.monotonic()
    urls.pin(*(run.id for run in runs))


def _refuse_settings(error: ConfigError) -> None:
    refuse("Nothing was launched. " + " ".join(problem.message for problem in error.problems))
