"""Opening a store: new, old, newer, damaged, full, unwritable, and by several processes at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from privlab.config import load_preset
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.runs import migrations
from privlab.runs.migrations.tables import metadata
from privlab.runs.store import Store, StoreError, StoreFull

CHECKED = preflight(load_preset("clip-only"))
PRIVATE = preflight(load_preset("digits"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return tmp_path / "home"


def test_the_default_is_a_file_in_the_home(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Store().path == home / "runs.sqlite"
    monkeypatch.setenv("PRIVLAB_STORE", f"sqlite:///{tmp_path / 'else' / 'where.sqlite'}")
    assert Store().path == tmp_path / "else" / "where.sqlite"
    assert (tmp_path / "else" / "where.sqlite").exists()


def test_the_file_is_in_wal_mode_and_points_have_no_rowid(home: Path) -> None:
    Store().close()
    with sqlite3.connect(home / "runs.sqlite") as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        made = raw.execute("SELECT sql FROM sqlite_master WHERE name = 'points'").fetchone()[0]
    raw.close()
    assert made.strip().endswith("WITHOUT ROWID")


def test_migrations_lead_to_the_tables_that_the_code_uses(home: Path) -> None:
    Store().close()
    engine = sa.create_engine(f"sqlite:///{home / 'runs.sqlite'}")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert differences == []


def test_head_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [migrations.HEAD]


def _without_later_tables(raw: sqlite3.Connection) -> None:
    """What came with the schemas 0005 to 0007."""
    for table in ("trial_runs", "trials", "sweeps", "annotations", "class_launches", "participants", "classes"):
        raw.execute(f"DROP TABLE {table}")


def test_a_store_of_the_first_schema_keeps_its_runs(home: Path) -> None:
    store = Store()
    run = store.create(PRIVATE.config, PRIVATE.plan)
    store.append(run.id, Point(1, 0.1, 0.2, 0.3, {}))
    store.set_setting("max_concurrent", 3)
    before = store.get(run.id)
    store.close()
    with sqlite3.connect(home / "runs.sqlite") as raw:
        _without_later_tables(raw)
        raw.execute("DROP TABLE spent")
        raw.execute("ALTER TABLE runs DROP COLUMN origin")
        raw.execute("UPDATE alembic_version SET version_num = '0001'")
    raw.close()
    store = Store()
    assert store.get(run.id) == before
    assert [(point.step, point.epsilon) for point in store.points(run.id)] == [(1, 0.3)]
    assert store.setting("max_concurrent") == 3
    assert store.sweeps() == []
    store.delete(run.id)
    store.purge(older_than=-1)
    assert [(each.run_id, each.step, each.void) for each in store.spent("digits")] == [(run.id, 1, False)]
    store.close()


def test_what_purged_runs_spent_outlives_an_upgrade(home: Path) -> None:
    Store().close()
    with sqlite3.connect(home / "runs.sqlite") as raw:
        _without_later_tables(raw)
        raw.execute("ALTER TABLE spent DROP COLUMN void")
        raw.execute("ALTER TABLE spent DROP COLUMN imported")
        raw.execute("ALTER TABLE runs DROP COLUMN origin")
        plan = json.dumps(PRIVATE.plan.to_dict())
        raw.execute("INSERT INTO spent VALUES ('abc', 'mine', 'digits', 'private', ?, 7, 1.0)", (plan,))
        raw.execute("UPDATE alembic_version SET version_num = '0002'")
    raw.close()
    store = Store()
    (kept,) = store.spent("digits")
    assert (kept.run_id, kept.step, kept.plan, kept.is_private) == ("abc", 7, PRIVATE.plan, True)
    store.close()


def test_an_up_to_date_store_opens_without_alembic(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store().close()
    monkeypatch.setitem(__import__("sys").modules, "alembic", None)
    Store().close()


def test_what_is_stored_is_there_after_opening_again() -> None:
    store = Store()
    run = store.create(CHECKED.config, CHECKED.plan)
    store.append(run.id, Point(1, 0.1, 0.2, None, {}))
    store.close()
    again = Store()
    assert again.get(run.id).step == 1
    again.close()


def test_a_store_of_a_newer_privlab_is_refused(home: Path) -> None:
    Store().close()
    with sqlite3.connect(home / "runs.sqlite") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(StoreError, match=r"newer PrivLab .its schema is 9999.*Update PrivLab"):
        Store()


@pytest.mark.parametrize("damage", ["not a database", "torn"])
def test_a_damaged_store_is_named_with_a_way_on(home: Path, damage: str) -> None:
    store = Store()
    for _ in range(50):
        store.create(CHECKED.config, CHECKED.plan)
    store.close()
    file = home / "runs.sqlite"
    if damage == "torn":
        whole = file.read_bytes()
        file.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    else:
        file.write_bytes(b"this is a letter to my grandmother" * 200)
    with pytest.raises(StoreError, match=r"is damaged .*Move that file away") as caught:
        Store().list()
    assert str(file) in str(caught.value)
    assert str(home / "runs") in str(caught.value)
    file.rename(file.with_suffix(".damaged"))
    assert Store().list() == []


def test_a_full_disk_is_said_plainly_and_loses_nothing() -> None:
    store = Store()
    run = store.create(CHECKED.config, CHECKED.plan)
    store.append(run.id, Point(1, 0.1, 0.2, None, {}))
    store.close()

    @sa.event.listens_for(store._engine, "connect")
    def small(connection, _record) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    with pytest.raises(StoreFull, match=r"disk that holds .*runs\.sqlite is full"):
        for step in range(2, 2000):
            store.append(run.id, Point(step, 0.1, 0.2, None, {"test_accuracy": 0.123456789}))
    stored = [p.step for p in store.points(run.id)]
    assert stored == list(range(1, len(stored) + 1))
    assert store.get(run.id).step == stored[-1]
    store.close()


def test_a_folder_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path / 'file' / 'runs.sqlite'}")


@pytest.mark.parametrize(
    ("url", "said"),
    [("no url", "not a database URL"), ("mysql://localhost/x", "cannot be a mysql database")],
)
def test_a_wrong_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        Store(url)


def test_a_password_in_the_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError) as caught:
        Store("postgresql://someone:hunter2@127.0.0.1:9/nothing?connect_timeout=1")
    assert "hunter2" not in str(caught.value)


def _open(url: str, gate) -> None:
    gate.wait()
    Store(url).close()


def test_processes_that_open_a_new_store_at_once_make_it_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(5)
    openers = [context.Process(target=_open, args=(url, gate)) for _ in range(5)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(60)
    assert [opener.exitcode for opener in openers] == [0] * 5
    assert Store(url).list() == []
