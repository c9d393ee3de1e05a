"""Schema of the store and the steps that lead to it (alembic, run by the program itself)."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

#: The newest revision in ``versions/``. Known here so that opening an up-to-date store need not import alembic.
HEAD = "0007"


class NewerSchema(Exception):
    """The store was written by a later PrivLab. The argument is its revision."""


def current(connection: sa.Connection) -> str | None:
    """Revision of the open store, None for an empty one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def upgrade(connection: sa.Connection) -> None:
    """Bring the store to :data:`HEAD` inside the caller's transaction, which must exclude other writers.

    Raises:
        NewerSchema: if the store's revision is not one of ours.
    """
    found = current(connection)
    if found == HEAD:
        return

    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise NewerSchema(found)
    command.upgrade(config, "head")
