"""The worker in this process, with a training that does what each test needs."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from privlab.config import load_preset
from privlab.dpsgd.guards import MechanismError
from privlab.encryption.sealing import is_sealed
from privlab.metrics import Point
from privlab.privacy import logged_steps
from privlab.reports import claim
from privlab.runs import control, files
from privlab.runs.ledger import ledger
from privlab.runs.record import Reason, Run, Status
from privlab.runs.store import Store
from privlab.runs.worker import work
from privlab.training import trainer
from privlab.training.checkpoint import Checkpoint
from privlab.training.events import Event
from privlab.training.train import train

CONFIG = load_preset("digits").replace(
    model__name="logistic",
    privacy__noise_multiplier=2.0,
    training__epochs=2,
    training__curve_points=4,
    performance__device="cpu",
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    opened = Store()
    yield opened
    opened.close()


def go(store: Store, run: Run, train=train, **options) -> Run:
    """Train as a process of its own would, but in the foreground: this one must not be ended."""
    started = store.move(run.id, Status.STARTING)
    return work(store, run.id, started.attempt, in_background=False, train=train, **options)


def test_a_run_is_trained_and_its_weights_written(store: Store) -> None:
    run = control.launch(store, CONFIG)
    seen = []
    done = go(store, run, on_item=seen.append)
    assert (done.status, done.step, done.error) == (Status.FINISHED, run.plan.steps, None)
    assert [item for item in seen if isinstance(item, Point)] == store.points(run.id)
    assert done.metrics == store.points(run.id)[-1].metrics
    assert files.weights_path(run).exists()
    kinds = [event.kind for event in store.events(run.id)]
    assert kinds[:3] == ["created", "starting", "running"]
    assert kinds[-1] == "finished"


def test_the_checkpoint_is_durable_before_its_point_is_published(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = control.launch(store, CONFIG)
    publish = store.append
    on_disk = []

    def append(run_id: str, point: Point, attempt: int) -> None:
        saved = Checkpoint.from_bytes(files.checkpoint_path(run_id).read_bytes())
        on_disk.append((saved.step, point.step))
        publish(run_id, point, attempt)

    monkeypatch.setattr(store, "append", append)
    go(store, run)
    assert on_disk
    assert all(saved == point for saved, point in on_disk)


@pytest.mark.parametrize("last", [False, True], ids=["in the middle", "at the end"])
def test_a_point_that_a_crash_kept_from_the_store_is_published(
    store: Store, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    """The process dies between writing the checkpoint and publishing its point."""
    run = control.launch(store, CONFIG)
    publish = store.append
    lost: list[Point] = []

    def append(run_id: str, point: Point, attempt: int) -> None:
        if point.step == run.steps or (not last and store.get(run_id).step):
            lost.append(point)
            raise SystemExit
        publish(run_id, point, attempt)

    monkeypatch.setattr(store, "append", append)
    with pytest.raises(SystemExit):
        go(store, run)
    monkeypatch.setattr(store, "append", publish)
    store.move(run.id, Status.FAILED)
    control.resume(store, run.id)
    done = go(store, run)
    assert (done.status, done.step, done.resumed_from) == (Status.FINISHED, run.steps, lost[0].step)
    found = next(point for point in store.points(run.id) if point.step == lost[0].step)
    assert (found.epoch, found.epsilon) == (lost[0].epoch, pytest.approx(lost[0].epsilon, abs=1e-3))
    assert found.metrics["test_accuracy"] == lost[0].metrics["test_accuracy"]
    assert found.metrics["test_loss"] == pytest.approx(lost[0].metrics["test_loss"])


def pause_after_one(store: Store, run: Run) -> Run:
    """Train one batch for real; a person asks for the pause."""

    def asked(config, **options):
        control.pause(store, run.id)
        yield from _paused_after_one(config, **options)

    paused = go(store, run, asked)
    assert paused.status is Status.PAUSED
    return paused


def weights_step(run: Run) -> int:
    with safe_open(files.weights_path(run), "pt") as weights:
        return int(weights.metadata()["step"])


def test_a_run_stopped_while_paused_has_the_weights_of_its_last_checkpoint(store: Store) -> None:
    run = control.launch(store, CONFIG)
    paused = pause_after_one(store, run)
    stopped = control.stop(store, run.id)
    assert (stopped.status, weights_step(run)) == (Status.STOPPED, paused.step)


def test_weights_older_than_the_checkpoint_are_not_kept(store: Store) -> None:
    """A process that is killed cannot write weights, and those of an earlier pause are no longer the run's."""
    run = control.launch(store, CONFIG)
    assert pause_after_one(store, run).step == weights_step(run) == 1
    control.resume(store, run.id)

    def killed(item: Point | Event) -> None:
        if isinstance(item, Point) and item.step > 1:
            raise SystemExit

    with pytest.raises(SystemExit):
        go(store, run, on_item=killed)
    assert not files.weights_path(run).exists()
    store.move(run.id, Status.FAILED)
    control.resume(store, run.id)
    assert go(store, run).step == weights_step(run) == run.steps


def test_published_steps_without_their_checkpoint_are_not_done_again(store: Store) -> None:
    run = control.launch(store, CONFIG)
    store.append(run.id, Point(3, 0.5, 1.0, 0.1, {}))
    failed = go(store, run)
    assert failed.status is Status.FAILED
    assert "Results up to step 3 are published, but there is no checkpoint" in failed.error


def test_training_that_measures_without_saving_publishes_nothing(store: Store) -> None:
    run = control.launch(store, CONFIG)

    def careless(config, **_):
        yield Point(1, 0.1, 0.1, 0.1, {})

    assert "measured without a checkpoint" in go(store, run, careless).error
    assert store.points(run.id) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full, so the checkpoint could not be written"),
        (MemoryError(), "Memory ran out"),
        (torch.OutOfMemoryError("x"), "too little memory"),
        (ZeroDivisionError("division by zero"), r"ZeroDivisionError: division by zero. The details are in .*\.log"),
    ],
)
def test_an_error_fails_the_run_in_plain_words(store: Store, error: Exception, said: str) -> None:
    def broken(config, **_):
        yield Event("started", "Started.")
        raise error

    failed = go(store, control.launch(store, CONFIG), broken)
    assert failed.status is Status.FAILED
    assert failed.ended
    with pytest.raises(Exception, match=said):
        raise Exception(failed.error)


def test_a_wrong_passphrase_asks_again(store: Store) -> None:
    sealed = CONFIG.replace(encryption__mode="sealed", encryption__key="passphrase")
    run = control.launch(store, sealed, passphrase="right")
    assert go(store, run, passphrase="right", train=_paused_after_one).status is Status.PAUSED
    control.resume(store, run.id, passphrase="wrong")
    again = go(store, run, passphrase="wrong")
    assert (again.status, again.reason) == (Status.PAUSED, Reason.PASSPHRASE)
    assert again.error
    control.resume(store, run.id, passphrase="right")
    assert go(store, run, passphrase="right").status is Status.FINISHED
    assert not files.checkpoint_path(run.id).read_bytes().startswith(b"{")


def _paused_after_one(config, **options) -> Iterator:
    """Real training that is asked to pause after its first batch; while it prepares, asking would end it without one."""
    begun = threading.Event()
    for item in train(config, **(options | {"control": lambda: "pause" if begun.is_set() else None})):
        if isinstance(item, Event) and item.kind == "started":
            begun.set()
        yield item


def test_a_request_reaches_the_training_loop(store: Store) -> None:
    run = control.launch(store, CONFIG)

    def patient(config, *, control, **_):
        yield Event("started", "Started.")
        _ask_to_pause(store, run.id)
        deadline = time.monotonic() + 5
        while (wish := control()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        yield Event("paused" if wish == "pause" else "finished", "The end.")

    paused = go(store, run, patient)
    assert (paused.status, paused.reason, paused.requested) == (Status.PAUSED, Reason.PERSON, None)


def _ask_to_pause(store: Store, run_id: str) -> None:
    control.pause(store, run_id)


def test_a_pause_taken_back_in_the_last_instant_is_not_lost(store: Store) -> None:
    run = control.launch(store, CONFIG)
    started = store.move(run.id, Status.STARTING)
    store.move(run.id, Status.RUNNING)
    from privlab.runs.worker import _end

    running = store.get(run.id)
    ended = _end(store, running, Status.PAUSED, {}, "Paused after step 3.")
    assert (ended.status, ended.attempt) == (Status.QUEUED, started.attempt)


def test_a_worker_that_lost_its_run_leaves_it_alone(store: Store) -> None:
    run = control.launch(store, CONFIG)

    def overtaken(config, *, save, **_):
        yield Event("started", "Started.")
        store.move(run.id, Status.FAILED, error="thought dead")
        yield from train(config, save=save)

    left = go(store, run, overtaken)
    assert (left.status, left.error) == (Status.FAILED, "thought dead")
    assert store.points(run.id) == []


def test_heartbeat_and_process_are_recorded(store: Store) -> None:
    run = control.launch(store, CONFIG)
    seen = []

    def look(config, **_):
        first = store.get(run.id)
        time.sleep(2.6)
        seen.extend([first, store.get(run.id)])
        yield Event("finished", "The end.")

    done = go(store, run, look)
    assert seen[0].pid == os.getpid()
    assert seen[1].heartbeat > seen[0].heartbeat + 1
    assert done.pid is None


def test_progress_replaces_itself(store: Store) -> None:
    run = control.launch(store, CONFIG)

    def slow(config, **_):
        for done in range(5):
            yield Event("info", f"Features {done}", {"done": done, "total": 5})
        yield Event("finished", "The end.")

    go(store, run, slow)
    assert [e.message for e in store.events(run.id) if e.kind == "progress"] == ["Features 4"]


def test_ctrl_c_in_a_shell_pauses(store: Store) -> None:
    run = control.launch(store, CONFIG)

    def interrupted(config, **_):
        yield Event("started", "Started.")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(store, run, interrupted)
    assert (store.get(run.id).status, store.get(run.id).reason) == (Status.PAUSED, Reason.PERSON)


@pytest.mark.parametrize("released", [False, True], ids=["before step 1", "after a point"])
def test_a_failed_check_voids_the_claim(store: Store, released: bool) -> None:
    run = control.launch(store, CONFIG)

    def broken(config, **options):
        for item in train(config, **options):
            if isinstance(item, Point) == released:
                if released:
                    yield item
                raise MechanismError("The noise is 0.5 × σ·C.")
            yield item

    done = go(store, run, broken)
    assert done.status is Status.FAILED
    assert bool(done.step) == released
    said = claim(done, store.events(run.id), ledger(store, "digits"))
    assert (said.verdict, said.epsilon) == ("void", None)
    assert "The noise is 0.5 × σ·C." in " ".join(said.reasons)
    assert [each.run_id for each in ledger(store, "digits").unprotected] == [run.id] * released


def test_a_run_whose_store_dies_fails_with_the_reason_and_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.replace(encryption__mode="pad", encryption__owners=2)
    run = control.launch(store, config)
    opened = []
    sound = trainer.open_store
    monkeypatch.setattr(trainer, "open_store", lambda *a, **k: opened.append(sound(*a, **k)) or opened[-1])

    def kill_server(item: Point | Event) -> None:
        if isinstance(item, Point) and len(store.points(run.id)) == 2:
            os.kill(opened[0].server_pid, signal.SIGKILL)

    failed = go(store, run, on_item=kill_server)
    assert failed.status is Status.FAILED and "server" in failed.error and "Traceback" not in failed.error
    assert len(store.points(run.id)) == 2 and files.checkpoint_path(run.id).read_bytes().startswith(b"PRIVLAB")
    control.resume(store, run.id)
    done = go(store, run)
    assert (done.status, done.error) == (Status.FINISHED, None)
    assert files.weights_path(run).suffix == ".plab" and is_sealed(files.weights_path(run).read_bytes())
    assert [p.step for p in store.points(run.id)] == list(logged_steps(run.steps, 4))
    verdict = claim(done, store.events(run.id))
    assert verdict.verdict == "conditional" and "none of the 2 data owners" in verdict.reasons[0]
