"""What people say about runs: names, tags, notes, pins, and what is put away."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson
import sqlalchemy as sa

from privlab.runs.migrations.tables import annotations, runs
from privlab.runs.record import Annotation
from privlab.runs.store.database import Database
from privlab.runs.store.errors import UnknownRun

#: Longest tag, name and note, characters.
MOST_TAG, MOST_NAME, MOST_NOTE = 40, 200, 20_000
#: A filter reads `tag:word` up to the next space or comma.
_TAG = re.compile(r"[^\s,\"“”]+")
_ROW = tuple(column.name for column in annotations.c if column.name != "run_id")


class AnnotationTable(Database):
    """What a person says about runs; training and privacy know nothing of it."""

    def annotations(self) -> dict[str, Annotation]:
        """By run id; runs of which nothing was said are left out."""
        with self._read() as connection:
            return {row.run_id: _read(row) for row in connection.execute(sa.select(annotations))}

    def annotate(
        self,
        run_ids: Iterable[str],
        *,
        add_tags: Iterable[str] = (),
        remove_tags: Iterable[str] = (),
        note: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> None:
        """Change what is said about all of ``run_ids`` at once, or about none; what is not given stays.

        Raises:
            ValueError: a tag that holds a space, comma or quotation mark, or a text that is too long.
            UnknownRun: the first id that is not here.
        """
        added, removed = {_tag(tag) for tag in add_tags}, set(remove_tags)
        if note is not None and len(note) > MOST_NOTE:
            raise ValueError(f"The note has {len(note):,} characters; at most {MOST_NOTE:,} are kept.")
        changes = {"note": note, "pinned": pinned, "archived": archived}
        with self._write() as connection:
            for run_id in dict.fromkeys(run_ids):
                if connection.execute(sa.select(runs.c.id).where(runs.c.id == run_id)).one_or_none() is None:
                    raise UnknownRun(run_id)
                row = connection.execute(sa.select(annotations).where(annotations.c.run_id == run_id)).one_or_none()
                before = Annotation() if row is None else _read(row)
                after = replace(before, tags=(before.tags | added) - removed)
                self._say(connection, run_id, replace(after, **{k: v for k, v in changes.items() if v is not None}))

    def rename(self, run_id: str, name: str) -> None:
        """Call a run ``name``; its settings keep the name that it was launched with. Raises ValueError, UnknownRun."""
        name = name.strip()
        if len(name) > MOST_NAME:
            raise ValueError(f"The name has {len(name):,} characters; at most {MOST_NAME} are kept.")
        with self._write() as connection:
            if not connection.execute(sa.update(runs).where(runs.c.id == run_id).values(name=name)).rowcount:
                raise UnknownRun(run_id)

    def _say(self, connection: sa.Connection, run_id: str, said: Annotation) -> None:
        values = {name: getattr(said, name) for name in _ROW} | {"tags": orjson.dumps(sorted(said.tags)).decode()}
        query = self._insert(annotations).values(run_id=run_id, **values)
        connection.execute(query.on_conflict_do_update(index_elements=["run_id"], set_=values))


def _read(row: sa.Row) -> Annotation:
    values: dict[str, Any] = {name: getattr(row, name) for name in _ROW}
    return Annotation(**values | {"tags": frozenset(orjson.loads(row.tags))})


def _tag(tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise ValueError(f"The tag “{tag}” is refused: a tag is one word without spaces, commas and quotation marks.")
    if len(tag) > MOST_TAG:
        raise ValueError(f"The tag “{tag[:12]}…” has {len(tag)} characters; at most {MOST_TAG} are kept.")
    return tag
