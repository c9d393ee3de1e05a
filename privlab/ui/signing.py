"""Signed tickets: which runs a page may stream. Streamlit's own login does not cover custom routes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

#: Drawn anew by each server process, and never written down: a ticket dies with the server that gave it.
_SECRET = secrets.token_bytes(32)

#: A ticket holds for 12 to 13 hours. Its end falls on a whole hour, so that reruns of a page give the same ticket.
_HOUR = 3600
_LIFE = 12 * _HOUR


class TicketError(ValueError):
    """The ticket was changed, is not from this server process, or has ended."""


@dataclass(frozen=True)
class Ticket:
    """Leave to stream ``run_ids`` until ``expires`` (Unix seconds), given to ``user`` (empty without login)."""

    run_ids: tuple[str, ...]
    user: str
    expires: int


def sign(run_ids: Sequence[str], user: str = "", now: float | None = None) -> str:
    """A ticket for ``run_ids`` as URL-safe text, authenticated with HMAC-SHA256."""
    moment = time.time() if now is None else now
    expires = (int(moment) // _HOUR + 1) * _HOUR + _LIFE
    body = orjson.dumps([list(run_ids), user, expires])
    return f"{_encode(body)}.{_encode(_seal(body))}"


def verify(ticket: str, now: float | None = None) -> Ticket:
    """What a ticket allows.

    Raises:
        TicketError: it is malformed, not signed by this process, or past its end.
    """
    try:
        body, seal = (_decode(part) for part in ticket.split("."))
    except (ValueError, binascii.Error) as error:
        raise TicketError("The ticket is malformed.") from error
    if not hmac.compare_digest(seal, _seal(body)):
        raise TicketError("The ticket was not given by this server.")
    run_ids, user, expires = orjson.loads(body)
    if (time.time() if now is None else now) >= expires:
        raise TicketError("The ticket has ended.")
    return Ticket(tuple(run_ids), user, expires)


def _seal(body: bytes) -> bytes:
    return hmac.digest(_SECRET, b"privlab-stream\x00" + body, hashlib.sha256)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
