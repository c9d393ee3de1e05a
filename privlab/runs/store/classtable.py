"""The tables of class sessions, of who joined them, and of what they said before each launch."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from privlab.runs.migrations.tables import class_launches, classes, participants, runs
from privlab.runs.record import Run
from privlab.runs.store.database import Database
from privlab.runs.store.errors import NameTaken, UnknownClass
from privlab.runs.store.rows import to_run


@dataclass(frozen=True)
class ClassRow:
    """A class session as stored.

    Attributes:
        key: the teacher's; whoever has it may close the session.
        lesson: its rules, plain values.
        created, closed: Unix times in seconds; None for an open one.
    """

    id: str
    key: str
    lesson: dict[str, Any]
    created: float
    closed: float | None


@dataclass(frozen=True)
class Participant:
    """Somebody who joined. ``id`` is their own key and is shown to nobody else."""

    id: str
    class_id: str
    name: str
    joined: float


@dataclass(frozen=True)
class ClassRun:
    """A run that a participant launched, and the accuracy that they said it would reach (a share, or None)."""

    run: Run
    participant: Participant
    guess: float | None


class ClassTable(Database):
    """Class sessions."""

    def create_class(self, lesson: dict[str, Any]) -> ClassRow:
        """Store a new session under a fresh id and a fresh key of its teacher."""
        row = ClassRow(secrets.token_hex(4), secrets.token_hex(8), lesson, time.time(), None)
        values = vars(row) | {"lesson": orjson.dumps(lesson).decode()}
        with self._write() as connection:
            connection.execute(sa.insert(classes).values(values))
        return row

    def find_class(self, class_id: str) -> ClassRow:
        """Raises UnknownClass."""
        with self._read() as connection:
            row = connection.execute(sa.select(classes).where(classes.c.id == class_id)).one_or_none()
        if row is None:
            raise UnknownClass(class_id)
        return ClassRow(row.id, row.key, orjson.loads(row.lesson), row.created, row.closed)

    def set_class_closed(self, class_id: str, closed: bool) -> None:
        """Close a session, or open it again. Raises UnknownClass."""
        query = sa.update(classes).where(classes.c.id == class_id).values(closed=time.time() if closed else None)
        with self._write() as connection:
            if not connection.execute(query).rowcount:
                raise UnknownClass(class_id)

    def join_class(self, class_id: str, name: str) -> Participant:
        """Store somebody new. Raises UnknownClass; NameTaken, whatever the case of the letters."""
        who = Participant(secrets.token_hex(8), class_id, name, time.time())
        self.find_class(class_id)
        query = self._insert(participants).values(vars(who) | {"folded": name.casefold()})
        with self._write() as connection:
            made = connection.execute(
                query.on_conflict_do_nothing(index_elements=["class_id", "folded"]).returning(participants.c.id)
            )
            if made.one_or_none() is None:
                raise NameTaken(name)
        return who

    def participants(self, class_id: str) -> list[Participant]:
        """Who joined, first come first."""
        query = sa.select(participants).where(participants.c.class_id == class_id)
        with self._read() as connection:
            rows = connection.execute(query.order_by(participants.c.joined, participants.c.id)).all()
        return [_to_participant(row) for row in rows]

    def say_before_launch(self, launch_key: str, participant_id: str, guess: float | None) -> None:
        """Record a guess before the run of ``launch_key`` is launched. Said again, the first one stands."""
        row = {"launch_key": launch_key, "participant_id": participant_id, "guess": guess, "made": time.time()}
        with self._write() as connection:
            connection.execute(
                self._insert(class_launches).values(row).on_conflict_do_nothing(index_elements=["launch_key"])
            )

    def class_runs(self, class_id: str) -> list[ClassRun]:
        """The session's runs, oldest first; deleted ones too, since what they have spent stays spent."""
        said = (
            sa.select(class_launches)
            .join(participants, participants.c.id == class_launches.c.participant_id)
            .where(participants.c.class_id == class_id)
        )
        people = {who.id: who for who in self.participants(class_id)}
        with self._read() as connection:
            launches = {row.launch_key: row for row in connection.execute(said) if row.participant_id in people}
            query = sa.select(runs).where(runs.c.launch_key.in_(launches)).order_by(runs.c.created, runs.c.id)
            rows = connection.execute(query).all()
        found = ((to_run(row), launches[row.launch_key]) for row in rows)
        return [ClassRun(run, people[launch.participant_id], launch.guess) for run, launch in found]


def _to_participant(row: sa.Row) -> Participant:
    return Participant(row.id, row.class_id, row.name, row.joined)
