"""Runs side by side: ``/compare?runs=A,B,C``; the whole view is in the address."""

from __future__ import annotations

from privlab.ui.compare.page import compare
from privlab.ui.guard import guarded


@guarded()
def page() -> None:
    compare()


page()
