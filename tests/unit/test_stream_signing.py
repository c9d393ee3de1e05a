"""Tickets: who may stream which runs."""

from __future__ import annotations

import pytest

from privlab.ui import signing
from privlab.ui.signing import TicketError, sign, verify

NOON = 1_700_000_000.0


def test_a_ticket_says_what_was_signed():
    ticket = verify(sign(["a", "b"], "eva@example.org", now=NOON), now=NOON)
    assert (ticket.run_ids, ticket.user) == (("a", "b"), "eva@example.org")


def test_a_rerun_within_the_hour_gives_the_same_ticket():
    """Otherwise each rerun of a page would change the live panel's data."""
    hour = NOON - NOON % 3600
    assert sign(["a"], now=hour) == sign(["a"], now=hour + 3599)
    assert sign(["a"], now=hour) != sign(["a"], now=hour + 3600)


def test_a_ticket_ends_after_twelve_to_thirteen_hours():
    ticket = sign(["a"], now=NOON)
    verify(ticket, now=NOON + 12 * 3600)
    with pytest.raises(TicketError, match="ended"):
        verify(ticket, now=NOON + 13 * 3600)


@pytest.mark.parametrize("place", range(0, 60, 7))
def test_a_changed_ticket_is_refused(place):
    ticket = sign(["abcdefgh"], now=NOON)
    other = "A" if ticket[place] != "A" else "B"
    with pytest.raises(TicketError):
        verify(ticket[:place] + other + ticket[place + 1 :], now=NOON)


@pytest.mark.parametrize("ticket", ["", ".", "a", "a.b.c", "ä.ö", "$$.$$", "YQ.YQ"])
def test_nonsense_is_refused(ticket):
    with pytest.raises(TicketError):
        verify(ticket, now=NOON)


def test_a_ticket_of_another_process_is_refused(monkeypatch):
    ticket = sign(["a"], now=NOON)
    monkeypatch.setattr(signing, "_SECRET", b"x" * 32)
    with pytest.raises(TicketError, match="not given by this server"):
        verify(ticket, now=NOON)
