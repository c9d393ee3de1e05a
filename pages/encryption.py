"""Encryption: who is protected from whom, what it costs, and tries to break it. The address names the view."""

from __future__ import annotations

from privlab.ui.encryption.views import VIEWS, choose_view
from privlab.ui.guard import guarded, show_notice


@guarded()
def page() -> None:
    show_notice()
    VIEWS[choose_view()].draw()


page()
