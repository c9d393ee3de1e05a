"""One run, trained: what the zygote's children do, and what a shell command does in its own process.

The order at each measured step is: checkpoint durable on disk, then the point in the store. So whatever is published
can be continued from, and a step that is done again after a crash has published nothing before.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from privlab import paths
from privlab.dpsgd.guards import MechanismError
from privlab.encryption import SealError, Vault, open_vault
from privlab.metrics import Point
from privlab.privacy.confirm import AccountingError
from privlab.runs import files, processes
from privlab.runs.record import Reason, Run, Status
from privlab.runs.store import LostRun, StatusConflict, Store, StoreFull
from privlab.runs.watch import Watch, pause_changes
from privlab.training.checkpoint import Checkpoint
from privlab.training.export import export_weights
from privlab.training.remeasure import measured_again
from privlab.training.train import train

if TYPE_CHECKING:
    from privlab.training.events import Event

log = logging.getLogger(__name__)


class WorkError(RuntimeError):
    """The run cannot go on without breaking a promise; the message says which."""


Train = Callable[..., Iterator[Any]]
_END = {"paused": Status.PAUSED, "stopped": Status.STOPPED, "finished": Status.FINISHED}


def work(
    store: Store,
    run_id: str,
    attempt: int,
    *,
    passphrase: str | None = None,
    in_background: bool = True,
    train: Train = train,
    on_item: Callable[[Point | Event], None] | None = None,
) -> Run:
    """Train run ``run_id`` from its last checkpoint until it finishes, pauses, stops or fails; returns it as it then is.

    Args:
        attempt: the attempt this process was started for; writes are refused once another one began.
        in_background: the process is this run's own and follows the app; False in a shell command.
        train: the training generator.
        on_item: called with each point and event after it is stored.

    Raises:
        StoreError: the store failed, so that not even the failure could be recorded.
        KeyboardInterrupt: passed on after the run is marked paused.
    """
    me = os.getpid()
    run = store.move(
        run_id,
        Status.RUNNING,
        expect=[Status.STARTING],
        attempt=attempt,
        pid=me,
        process_started=processes.start_time(me),
        say="Training begins.",
    )
    watch = Watch(store, run, in_background=in_background)
    watch.start()
    if in_background and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: watch.ask(Reason.TERMINATED))
    try:
        status, changes, say = _attempt(store, run, watch, passphrase, train, on_item)
    except LostRun as lost:
        log.warning("%s", lost)
        return store.get(run_id)
    except KeyboardInterrupt:
        watch.close()
        _end(store, run, Status.PAUSED, {"reason": Reason.PERSON}, "Interrupted; goes on from the last checkpoint.")
        raise
    except StoreFull:
        raise
    except Exception as error:
        log.exception("run %s failed", run_id)
        say = plain(error, run_id)
        if isinstance(error, (AccountingError, MechanismError)):
            # The claim card reads this: what was released before is not to be trusted either.
            store.add_event(run_id, "void", f"No privacy is claimed for this run: {say}", {"void": say})
        locked = isinstance(error, SealError) and run.needs_passphrase
        status = Status.PAUSED if locked else Status.FAILED
        changes = {"error": say} | ({"reason": Reason.PASSPHRASE} if locked else {})
    finally:
        # Before the end is recorded: the watch would take the new status for a loss of the run.
        watch.close()
    return _end(store, run, status, changes, say)


def _attempt(
    store: Store, run: Run, watch: Watch, passphrase: str | None, train: Train, on_item: Callable | None
) -> tuple[Status, dict[str, Any], str]:
    """Train; returns the status to end with, further columns, and what to say."""
    vault = open_vault(run.config.encryption, passphrase)
    resume = _last_checkpoint(store, run, vault)
    store.set_resumed_from(run.id, resume.step if resume else None, run.attempt)
    weights = files.weights_path(run)
    latest, end = resume, None

    def save(checkpoint: Checkpoint) -> None:
        nonlocal latest
        vault.write(files.checkpoint_path(run.id), checkpoint.to_bytes())
        # Weights that are there are those of the last checkpoint, also after an end that left no time to write them.
        weights.unlink(missing_ok=True)
        latest = checkpoint

    for item in train(run.config, resume=resume, save=save, control=watch.control):
        if isinstance(item, Point):
            if latest is None or latest.step != item.step:
                raise WorkError(f"Step {item.step} was measured without a checkpoint of it, so it is not published.")
            store.append(run.id, item, run.attempt)
        elif item.kind in _END:
            end = item
        elif "done" in item.data:
            store.add_event(run.id, "progress", item.message, item.data, replace=True)
        else:
            store.add_event(run.id, item.kind, item.message, item.data)
        if on_item:
            on_item(item)
    if end is None:
        raise WorkError("Training ended without saying how.")
    if latest:
        export_weights(latest, vault, weights)
    changes = pause_changes(run, watch.reason) if end.kind == "paused" else {}
    return _END[end.kind], changes, end.message


def _last_checkpoint(store: Store, run: Run, vault: Vault) -> Checkpoint | None:
    """Where to go on from; publishes the point of that step if a crash kept it from the store.

    Raises WorkError when results were published that the checkpoint does not know of: training again from an earlier
    state would release a second set of results for the same ε.
    """
    try:
        checkpoint = Checkpoint.from_bytes(vault.read(files.checkpoint_path(run.id)))
    except FileNotFoundError:
        checkpoint = None
    done = checkpoint.step if checkpoint else 0
    if run.step > done:
        raise WorkError(
            f"Results up to step {run.step} are published, but "
            + (f"the checkpoint is of step {done}" if checkpoint else "there is no checkpoint")
            + ". Training those steps again would spend privacy that is not counted; clone the run instead."
        )
    if checkpoint and run.step < done:
        store.append(run.id, measured_again(run.config, checkpoint), run.attempt)
    return checkpoint


def _end(store: Store, run: Run, status: Status, changes: dict[str, Any], say: str) -> Run:
    """Record how the attempt ended. A pause that a person took back in the last instant becomes a place in the queue."""
    asked = store.get(run.id).requested
    if status is Status.PAUSED and not changes and asked != "pause" and not run.foreground and not run.needs_passphrase:
        status, say = (Status.STOPPED, "Stopped.") if asked == "stop" else (Status.QUEUED, "The pause was taken back.")
    try:
        return store.move(run.id, status, expect=[Status.RUNNING], attempt=run.attempt, say=say, **changes)
    except StatusConflict as conflict:
        log.warning("%s", conflict)
        return conflict.run


def plain(error: Exception, run_id: str) -> str:
    """What went wrong, for a person."""
    where = f"The details are in {paths.log_dir() / f'{run_id}.log'}."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full, so the checkpoint could not be written. Free some space and resume."
    if isinstance(error, torch.OutOfMemoryError):
        return "The device has too little memory. Lower the physical batch size, or train on the CPU."
    if isinstance(error, MemoryError):
        return "Memory ran out. Lower the physical batch size, or run fewer trainings at once."
    # PrivLab's own errors are written for people.
    if isinstance(error, OSError) or type(error).__module__.startswith("privlab."):
        return str(error)
    return f"{type(error).__name__}: {error}. {where}"


def main(arguments: list[str] | None = None) -> None:
    """``python -m privlab.runs.worker RUN_ID --attempt N``; the passphrase, if any, as one JSON line on stdin."""
    parser = argparse.ArgumentParser(prog="privlab.runs.worker")
    parser.add_argument("run_id")
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    passphrase = json.loads(sys.stdin.readline() or "null")
    sys.exit(enter(Store(), given.run_id, given.attempt, passphrase, given.threads))


def enter(store: Store, run_id: str, attempt: int, passphrase: str | None, threads: int, train: Train = train) -> int:
    """A background process's whole life; returns its exit status."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO, force=True)
    torch.set_num_threads(threads)
    try:
        work(store, run_id, attempt, passphrase=passphrase, train=train)
    except StoreFull as error:
        log.error("%s", error)
        return os.EX_IOERR
    except StatusConflict as conflict:
        # Paused, stopped or restarted while this process came up: nothing to do.
        log.warning("%s", conflict)
    return 0


if __name__ == "__main__":
    main()
