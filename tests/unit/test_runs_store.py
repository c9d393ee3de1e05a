"""What every store must do: the same tests run on SQLite and, where a server can be started, on PostgreSQL."""

from __future__ import annotations

import importlib.util
import math
import multiprocessing
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from privlab import paths
from privlab.config import load_preset
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.runs.record import MOVES, Reason, Run, Status
from privlab.runs.store import LostRun, StatusConflict, Store, SweepConflict, UnknownRun, UnknownSweep
from privlab.runs.sweeprecord import SweepState, TrialRun

CHECKED = preflight(load_preset("clip-only"))


def new_run(store: Store, status: Status = Status.QUEUED, **options) -> Run:
    """A run brought to ``status`` along allowed moves."""
    run = store.create(CHECKED.config, CHECKED.plan, **options)
    ways = {
        Status.QUEUED: (),
        Status.STARTING: (Status.STARTING,),
        Status.RUNNING: (Status.STARTING, Status.RUNNING),
        Status.PAUSED: (Status.PAUSED,),
        Status.STOPPED: (Status.STOPPED,),
        Status.FINISHED: (Status.STARTING, Status.RUNNING, Status.FINISHED),
        Status.FAILED: (Status.FAILED,),
    }
    for step in ways[status]:
        run = store.move(run.id, step)
    return run


def point(step: int, **metrics: float) -> Point:
    return Point(step, step * 0.25, step * 0.5, step * 0.01, metrics or {"test_accuracy": step / 100})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return tmp_path / "home"


def _why_no_postgres() -> str | None:
    if not importlib.util.find_spec("psycopg"):
        return "psycopg is not installed"
    return None if _postgres_folder() else "no PostgreSQL server (initdb, pg_ctl) on this machine"


def _postgres_folder() -> Path | None:
    found = [Path(p) for p in (shutil.which("initdb"),) if p]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    return found[0].resolve().parent if found else None


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own that listens on a UNIX socket only; gives a URL with a place for the database's name."""
    why = _why_no_postgres()
    if why:
        pytest.skip(why)
    tools = _postgres_folder()
    place = Path("/tmp") / f"privlab-pg-{os.getpid()}"
    place.mkdir(mode=0o700)
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(place, user)

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, user=user, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60
        )

    data = str(place / "data")
    try:
        run(str(tools / "initdb"), "-D", data, "-U", "postgres", "--auth=trust", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={place} -c fsync=off"
        run(str(tools / "pg_ctl"), "-D", data, "-o", options, "-l", str(place / "log"), "-w", "start")
        try:
            yield f"postgresql://postgres@/{{name}}?host={place}"
        finally:
            run(str(tools / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(place)


_databases = iter(range(1, 10_000))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    import psycopg

    server = request.getfixturevalue("postgres")
    name = f"lab{next(_databases)}"
    with psycopg.connect(server.format(name="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.format(name=name)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url)
    yield opened
    opened.close()


def test_a_run_comes_back_as_it_was_stored(store: Store) -> None:
    made = store.create(CHECKED.config, CHECKED.plan, group="race")
    again = store.get(made.id)
    assert again == made
    assert (again.config, again.plan, again.status) == (CHECKED.config, CHECKED.plan, Status.QUEUED)
    assert (again.steps, again.step, again.epsilon, again.metrics) == (CHECKED.plan.steps, 0, None, {})
    assert [event.kind for event in store.events(made.id)] == ["created"]


def test_an_unknown_run_is_named(store: Store) -> None:
    for ask in (store.get, store.points, store.columns, store.events, store.delete, store.undelete):
        with pytest.raises(UnknownRun, match=r"'\.\./\.\./etc'"):
            ask("../../etc")
    with pytest.raises(UnknownRun):
        store.append("nobody", point(1))
    with pytest.raises(UnknownRun):
        store.move("nobody", Status.STARTING)


def test_one_launch_key_makes_one_run(store: Store) -> None:
    first = store.create(CHECKED.config, CHECKED.plan, launch_key="click")
    second = store.create(CHECKED.config, CHECKED.plan, launch_key="click")
    other = store.create(CHECKED.config, CHECKED.plan, launch_key="another click")
    assert first.id == second.id != other.id
    assert len(store.list()) == 2
    assert len(store.events(first.id)) == 1


def test_launches_at_the_same_instant_make_one_run(store: Store) -> None:
    barrier, found = threading.Barrier(8), []

    def launch() -> None:
        barrier.wait()
        found.append(store.create(CHECKED.config, CHECKED.plan, launch_key="click").id)

    threads = [threading.Thread(target=launch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("source", list(Status))
@pytest.mark.parametrize("target", list(Status))
def test_only_allowed_moves_happen(tmp_path: Path, source: Status, target: Status) -> None:
    store = Store(f"sqlite:///{tmp_path / 'moves.sqlite'}")
    run = new_run(store, source)
    if target in MOVES[source]:
        assert store.move(run.id, target).status is target
    else:
        with pytest.raises(StatusConflict, match=f"is {source} and cannot become {target}"):
            store.move(run.id, target)
        assert store.get(run.id) == run
    store.close()


def test_of_two_writers_that_disagree_one_is_refused(store: Store) -> None:
    run = new_run(store, Status.RUNNING)
    outcomes: list[str] = []
    barrier = threading.Barrier(2)

    def end(to: Status) -> None:
        barrier.wait()
        try:
            store.move(run.id, to, expect=[Status.RUNNING], attempt=run.attempt)
            outcomes.append(to)
        except StatusConflict:
            outcomes.append("refused")

    threads = [threading.Thread(target=end, args=(to,)) for to in (Status.FINISHED, Status.FAILED)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("refused") == 1
    assert store.get(run.id).status in outcomes


def test_a_worker_that_was_replaced_writes_nothing(store: Store) -> None:
    first = new_run(store, Status.RUNNING)
    store.append(first.id, point(1), first.attempt)
    store.move(first.id, Status.QUEUED)
    store.move(first.id, Status.STARTING)
    second = store.move(first.id, Status.RUNNING)
    assert second.attempt == first.attempt + 1
    for write in (
        lambda: store.append(first.id, point(2), first.attempt),
        lambda: store.beat(first.id, first.attempt),
        lambda: store.set_resumed_from(first.id, 1, first.attempt),
    ):
        with pytest.raises(LostRun, match=f"attempt {first.attempt}"):
            write()
    with pytest.raises(StatusConflict):
        store.move(first.id, Status.FINISHED, attempt=first.attempt)
    assert [p.step for p in store.points(first.id)] == [1]
    store.append(second.id, point(2), second.attempt)


def test_the_app_takes_queued_runs_only_and_a_shell_any_that_rests(store: Store) -> None:
    for status in (Status.PAUSED, Status.STOPPED, Status.FAILED):
        run = new_run(store, status)
        with pytest.raises(StatusConflict):
            store.claim(run.id, foreground=False)
        taken = store.claim(run.id, foreground=True)
        assert (taken.status, taken.foreground, taken.attempt, taken.error) == (Status.STARTING, True, 1, None)
        with pytest.raises(StatusConflict):
            store.claim(run.id, foreground=True)
    assert not store.claim(new_run(store).id, foreground=False).foreground


def test_a_point_and_its_run_change_together(store: Store) -> None:
    run = new_run(store, Status.RUNNING)
    store.append(run.id, point(3, test_accuracy=0.5, train_loss=2.0), run.attempt)
    now = store.get(run.id)
    assert (now.step, now.seconds, now.epsilon) == (3, 1.5, 0.03)
    assert now.metrics == {"test_accuracy": 0.5, "train_loss": 2.0}
    assert store.points(run.id) == [point(3, test_accuracy=0.5, train_loss=2.0)]


def test_publishing_a_step_again_changes_nothing(store: Store) -> None:
    run = new_run(store, Status.RUNNING)
    for step in (1, 2, 3):
        store.append(run.id, point(step), run.attempt)
    store.append(run.id, point(2, test_accuracy=0.9), run.attempt)
    assert store.points(run.id) == [point(1), point(2), point(3)]
    assert store.get(run.id).step == 3
    store.append(run.id, point(9), run.attempt)
    with pytest.raises(ValueError, match="step=5 lies before step 9"):
        store.append(run.id, point(5), run.attempt)


def test_points_after_a_cursor(store: Store) -> None:
    run = new_run(store)
    for step in range(1, 8):
        store.append(run.id, point(step))
    assert [p.step for p in store.points(run.id, after=5)] == [6, 7]
    assert store.columns(run.id, after=5)["step"].tolist() == [6, 7]
    assert store.columns(run.id, after=99)["step"].size == 0


def test_columns_are_the_points(store: Store) -> None:
    run = new_run(store)
    assert {key: values.size for key, values in store.columns(run.id).items()} == dict.fromkeys(
        ("step", "epoch", "seconds", "epsilon"), 0
    )
    store.append(run.id, Point(1, 0.5, 1.0, None, {"test_accuracy": 0.1, "test_loss": math.inf}))
    assert math.isnan(store.columns(run.id)["epsilon"][0])
    store.append(run.id, Point(2, 1.0, 2.0, 0.25, {"test_accuracy": 0.2, "snr": 3.0}))
    for reader in (store, Store(store.url)):
        columns = reader.columns(run.id)
        assert columns["step"].dtype == np.int64
        np.testing.assert_array_equal(columns["step"], [1, 2])
        np.testing.assert_array_equal(columns["epsilon"], [np.nan, 0.25])
        np.testing.assert_array_equal(columns["test_accuracy"], [0.1, 0.2])
        np.testing.assert_array_equal(columns["test_loss"], [np.nan, np.nan])
        np.testing.assert_array_equal(columns["snr"], [np.nan, 3.0])
        with pytest.raises(ValueError, match="read-only"):
            columns["snr"][0] = 1.0
        if reader is not store:
            reader.close()


def test_a_request_reaches_the_worker_and_a_stop_is_not_weakened(store: Store) -> None:
    run = new_run(store, Status.RUNNING)
    assert store.beat(run.id, run.attempt) is None
    assert store.request(run.id, "pause").reason is Reason.PERSON
    assert store.beat(run.id, run.attempt) == "pause"
    store.request(run.id, None)
    assert store.beat(run.id, run.attempt) is None
    store.request(run.id, "stop")
    assert store.request(run.id, "pause").requested == "stop"
    assert store.beat(run.id, run.attempt) == "stop"
    with pytest.raises(ValueError, match="action='explode'"):
        store.request(run.id, "explode")
    with pytest.raises(StatusConflict, match="is queued"):
        store.request(new_run(store).id, "pause")


def test_a_request_that_was_taken_back_does_not_pause(store: Store) -> None:
    run = new_run(store, Status.RUNNING)
    store.request(run.id, "pause")
    store.request(run.id, None)
    with pytest.raises(StatusConflict):
        store.move(run.id, Status.PAUSED, requested="pause")


def test_a_new_try_forgets_how_the_last_one_ended(store: Store) -> None:
    run = new_run(store, Status.RUNNING)
    store.request(run.id, "pause")
    failed = store.move(run.id, Status.FAILED, error="killed")
    assert (failed.error, failed.pid, failed.requested) == ("killed", None, None)
    assert failed.ended == pytest.approx(time.time(), abs=60)
    again = store.move(run.id, Status.QUEUED)
    assert (again.error, again.ended, again.requested, again.reason) == (None, None, None, None)


def test_filters(store: Store) -> None:
    a = store.create(CHECKED.config.replace(name="First_try"), CHECKED.plan, group="g")
    b = store.create(CHECKED.config.replace(name="second"), CHECKED.plan)
    store.move(b.id, Status.STARTING)

    def ids(**filters) -> list[str]:
        return [run.id for run in store.list(**filters)]

    assert ids() == [b.id, a.id]
    assert ids(limit=1) == [b.id]
    assert ids(status=[Status.QUEUED]) == ids(group="g") == ids(text="first_") == [a.id]
    assert ids(dataset=a.config.data.dataset, model=a.config.model.name) == [b.id, a.id]
    assert ids(text="firstXtry") == ids(dataset="nothing") == ids(text="%") == []


def test_delete_is_undone_and_purge_is_not(store: Store, home: Path) -> None:
    kept, gone = new_run(store), new_run(store, Status.PAUSED)
    store.append(gone.id, point(1))
    (paths.run_dir(gone.id) / "checkpoint.plab").write_bytes(b"state")
    store.delete(gone.id)
    assert [run.id for run in store.list()] == [kept.id]
    assert [run.id for run in store.list(deleted=True)] == [gone.id]
    assert store.undelete(gone.id).deleted is None
    assert {run.id for run in store.list()} == {kept.id, gone.id}
    assert [e.kind for e in store.events(gone.id)][-2:] == ["deleted", "undeleted"]

    store.delete(gone.id)
    assert store.purge(older_than=3600) == []
    assert store.purge(older_than=0) == [gone.id]
    assert not (home / "runs" / gone.id).exists()
    with pytest.raises(UnknownRun):
        store.undelete(gone.id)
    assert [run.id for run in store.list(deleted=None)] == [kept.id]


def test_a_run_that_still_trains_is_not_purged(store: Store) -> None:
    run = new_run(store, Status.RUNNING)
    store.delete(run.id)
    assert store.purge(older_than=0) == []


def test_version_differs_after_each_change_and_only_then(store: Store, url: str) -> None:
    other = Store(url)
    run = new_run(store, Status.RUNNING)
    for change in (
        lambda: store.append(run.id, point(1), run.attempt),
        lambda: other.append(run.id, point(2), run.attempt),
        lambda: other.request(run.id, "pause"),
        lambda: store.set_setting("max_concurrent", 3),
    ):
        before = store.version(), other.version()
        assert (store.version(), other.version()) == before
        change()
        assert store.version() != before[0]
        assert other.version() != before[1]
    other.close()


def test_events_keep_their_order_and_replace_progress(store: Store) -> None:
    run = new_run(store)
    store.add_event(run.id, "progress", "Features 10 %", {"done": 1, "total": 10})
    store.add_event(run.id, "started", "Started.")
    store.add_event(run.id, "progress", "Features 50 %", {"done": 5, "total": 10}, replace=True)
    events = store.events(run.id)
    assert [(e.kind, e.message) for e in events[1:]] == [("started", "Started."), ("progress", "Features 50 %")]
    assert events[-1].data == {"done": 5, "total": 10}
    assert store.events(run.id, after=events[-2].id) == events[-1:]


def test_settings_last(store: Store, url: str) -> None:
    assert store.setting("max_concurrent", 7) == 7
    store.set_setting("max_concurrent", 2)
    store.set_setting("max_concurrent", 4)
    other = Store(url)
    assert other.setting("max_concurrent") == 4
    other.close()


def _write_points(url: str, run_id: str, attempt: int, count: int) -> None:
    store = Store(url)
    for step in range(1, count + 1):
        store.append(run_id, point(step), attempt)
        # Reads before it writes, in one transaction.
        store.add_event(run_id, "info", f"Step {step}.")
    store.close()


def test_many_processes_open_and_write_one_store(url: str) -> None:
    """Six writers, each opening the store by itself: no point lost, nobody told that the store is locked."""
    store = Store(url)
    runs = [new_run(store, Status.RUNNING) for _ in range(6)]
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_points, args=(url, run.id, run.attempt, 60)) for run in runs]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 6
    assert [[p.step for p in store.points(run.id)] for run in runs] == [list(range(1, 61))] * 6
    store.close()


def test_a_sweep_comes_back_as_it_was_stored(store: Store) -> None:
    made = store.create_sweep("s1", "C by σ", {"method": "grid", "seeds": 2}, launch_key="press", drawn=7)
    assert store.sweep("s1") == made == store.sweeps()[0]
    assert (made.state, made.settled, made.drawn, made.seconds) == (SweepState.RUNNING, True, 7, 0.0)
    assert store.create_sweep("s2", "again", {}, launch_key="press").id == "s1"
    for ask in (store.sweep, store.delete_sweep):
        with pytest.raises(UnknownSweep, match="nobody"):
            ask("nobody")


def test_a_sweeps_state_is_compared_before_it_is_set(store: Store) -> None:
    store.create_sweep("s1", "", {"trials": 3})
    store.move_sweep("s1", SweepState.PAUSED, expect=[SweepState.RUNNING], reason="why", settled=False)
    with pytest.raises(SweepConflict, match="is paused and cannot become finished"):
        store.move_sweep("s1", SweepState.FINISHED, expect=[SweepState.RUNNING])
    assert [sweep.id for sweep in store.sweeps(open_only=True)] == ["s1"]
    # It has left that state: what was settled is another one.
    store.settle_sweep("s1", SweepState.STOPPED)
    assert not store.sweep("s1").settled
    store.settle_sweep("s1", SweepState.PAUSED)
    assert store.sweeps(open_only=True) == []
    longer = store.move_sweep("s1", SweepState.RUNNING, expect=list(SweepState), spec={"trials": 5}, extended=1)
    assert (longer.spec, longer.extended, longer.reason, longer.ended) == ({"trials": 5}, 1, None, None)
    store.add_sweep_seconds("s1", 10)
    store.add_sweep_seconds("s1", 2.5)
    assert store.sweep("s1").seconds == 12.5
    assert store.move_sweep("s1", SweepState.STOPPED, expect=[SweepState.RUNNING]).ended is not None
    assert store.sweeps(place="elsewhere") == []


def test_trials_and_their_runs_are_kept_once(store: Store) -> None:
    store.create_sweep("s1", "", {})
    store.create_sweep("s2", "", {})
    for values in ({"training.epochs": 3}, {"training.epochs": 4}):
        store.add_trial("s1", 0, values)
    store.add_trial("s1", 1, {"training.epochs": 0.25}, refused="too few")
    for run_id in ("first", "second"):
        store.link_trial_run("s1", 0, 5, run_id)
    store.note_trial_run(
        "s1", 0, 5, pruned="hopeless", status="stopped", metrics={"a": 0.5}, epsilon=1.5, step=7, seconds=2.0
    )
    kept, refused = store.trials("s1")
    assert kept.values == {"training.epochs": 3} and refused.refused == "too few" and refused.runs == ()
    assert kept.runs == (TrialRun(5, "first", "hopeless", "stopped", {"a": 0.5}, 1.5, 7, 2.0),)
    assert store.trials("s2") == [] == store.trials("nobody")
    store.delete_sweep("s1")
    assert (store.trials("s1"), [sweep.id for sweep in store.sweeps()]) == ([], ["s2"])
