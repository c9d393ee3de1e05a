"""The tables of events and of choices for the whole lab."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from privlab.runs.migrations.tables import events, settings
from privlab.runs.record import RunEvent
from privlab.runs.store.database import Database
from privlab.runs.store.rows import add_event, find_run


class Notes(Database):
    """What happened to runs, and what a person chose for all of them."""

    def add_event(
        self, run_id: str, kind: str, message: str, data: dict[str, Any] | None = None, *, replace: bool = False
    ) -> None:
        """Record that something happened; ``replace`` drops the run's earlier events of that kind. Raises UnknownRun."""
        with self._write() as connection:
            find_run(connection, run_id)
            if replace:
                connection.execute(sa.delete(events).where(events.c.run_id == run_id, events.c.kind == kind))
            add_event(connection, run_id, kind, message, data=data)

    def events(self, run_id: str, after: int = 0) -> list[RunEvent]:
        """Events with ``id > after``, oldest first. Raises UnknownRun."""
        query = sa.select(events).where(events.c.run_id == run_id, events.c.id > after).order_by(events.c.id)
        with self._read() as connection:
            rows = connection.execute(query).all()
            if not rows:
                find_run(connection, run_id)
        return [RunEvent(r.id, r.run_id, r.time, r.kind, r.message, orjson.loads(r.data)) for r in rows]

    def setting(self, key: str, default: Any = None) -> Any:
        """A choice for the whole lab, for example ``max_concurrent``."""
        with self._read() as connection:
            text = connection.execute(sa.select(settings.c.value).where(settings.c.key == key)).scalar()
        return default if text is None else orjson.loads(text)

    def set_setting(self, key: str, value: Any) -> None:
        text = orjson.dumps(value).decode()
        query = self._insert(settings).values(key=key, value=text)
        with self._write() as connection:
            connection.execute(query.on_conflict_do_update(index_elements=["key"], set_={"value": text}))
