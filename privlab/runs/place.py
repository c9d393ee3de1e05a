"""Which PrivLab folder this is. Runs in a shared database belong to the folder that holds their files."""

from __future__ import annotations

import os
import secrets

from privlab import paths


def place_id() -> str:
    """A name for this ``PRIVLAB_HOME``, drawn once and kept in it, so it survives a change of host name or path."""
    file = paths.home() / "place"
    if not file.exists():
        # Written aside and linked: of two processes that come at once, the first one's name stays, whole.
        draft = file.with_name(f"place.{os.getpid()}.{secrets.token_hex(4)}")
        draft.write_text(secrets.token_hex(8))
        try:
            os.link(draft, file)
        except FileExistsError:
            return file.read_text()
        finally:
            draft.unlink()
    return file.read_text()
