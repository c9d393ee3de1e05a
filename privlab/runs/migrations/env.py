"""Alembic's entry: migrates over the connection that :func:`privlab.runs.migrations.upgrade` hands over."""

from alembic import context

from privlab.runs.migrations.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
