"""The store: every run, point and event, in SQLite or PostgreSQL. All SQL of PrivLab is here and in ``migrations/``.

Who may change what: a person (through :mod:`privlab.runs.control`) creates runs, asks for pause and stop, deletes. The
dispatcher moves queued runs to starting and reports dead workers. A worker writes points and the end of its own
attempt. Each change of status names the states it may come from, so of two writers that disagree one is refused.
"""

from __future__ import annotations

from privlab.runs.store.annotationtable import AnnotationTable
from privlab.runs.store.classtable import ClassRow, ClassRun, ClassTable, Participant
from privlab.runs.store.errors import (
    LostRun,
    NameTaken,
    StatusConflict,
    StoreError,
    StoreFull,
    SweepConflict,
    UnknownClass,
    UnknownRun,
    UnknownSweep,
)
from privlab.runs.store.notes import Notes
from privlab.runs.store.pointtable import PointTable
from privlab.runs.store.progress import RunProgress
from privlab.runs.store.runtable import RunTable, new_id
from privlab.runs.store.sweeptable import SweepTable


class Store(RunTable, RunProgress, PointTable, SweepTable, AnnotationTable, ClassTable, Notes):
    """All runs of one database. Safe to share between threads; after a fork, open a new one.

    Args:
        url: SQLAlchemy URL (``sqlite:///…`` or ``postgresql+psycopg://…``). Default: ``$PRIVLAB_STORE``, else the file
            ``runs.sqlite`` in ``PRIVLAB_HOME``.

    Raises:
        StoreError: if the store cannot be opened, is damaged, or was written by a newer PrivLab.
    """


__all__ = [
    "ClassRow",
    "ClassRun",
    "LostRun",
    "NameTaken",
    "Participant",
    "StatusConflict",
    "Store",
    "StoreError",
    "StoreFull",
    "SweepConflict",
    "UnknownClass",
    "UnknownRun",
    "UnknownSweep",
    "new_id",
]
