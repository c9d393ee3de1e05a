"""Trouble in plain words: one wrapper for what a page draws, one for what a person asks for."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from privlab.config import ConfigError
from privlab.data.fetch import FetchError
from privlab.encryption import SealError
from privlab.reports.importing import ImportRefused
from privlab.runs.control import RunActionError
from privlab.runs.store import StoreError

_log = logging.getLogger(__name__)
_NOTICE = "notice"
_PLAIN = (StoreError, RunActionError, FetchError, SealError, ImportRefused)


def explain(error: Exception) -> str:
    """What went wrong and what to do, in a sentence or two and without a stack trace."""
    if isinstance(error, ConfigError):
        return " ".join(problem.message for problem in error.problems)
    if isinstance(error, _PLAIN):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full. Free some space and try again; nothing stored is lost."
    if isinstance(error, PermissionError):
        return f"PrivLab may not use {error.filename}. Check the owner and permissions of its folder (PRIVLAB_HOME)."
    return (
        f"Something inside PrivLab went wrong ({type(error).__name__}). Reload the page; the details are in the terminal "
        "in which PrivLab runs. Training runs are separate processes and go on."
    )


@contextmanager
def guarded() -> Iterator[None]:
    """Draw the body; if it fails, say why instead. For page bodies and fragments, also as a decorator."""
    try:
        yield
    except Exception as error:
        _record(error)
        st.error(escape(explain(error)))


@contextmanager
def attempted() -> Iterator[None]:
    """Do what a person asked for; if it fails, keep the reason for :func:`show_notice`. For callbacks."""
    try:
        yield
    except Exception as error:
        _record(error)
        st.session_state[_NOTICE] = explain(error)


def refuse(message: str) -> None:
    """Keep ``message`` for :func:`show_notice`: what a person asked for was not done."""
    st.session_state[_NOTICE] = message


def show_notice() -> None:
    """Say, once, why the last thing that was asked for did not happen."""
    message = st.session_state.pop(_NOTICE, None)
    if message:
        st.error(escape(message))


def escape(text: str) -> str:
    """Text from anywhere, so that Markdown shows it as it is."""
    for mark in "\\`*_[]<>#:$~":
        text = text.replace(mark, f"\\{mark}")
    return text


def _record(error: Exception) -> None:
    if not isinstance(error, (*_PLAIN, ConfigError)):
        _log.exception("a page failed", exc_info=error)
