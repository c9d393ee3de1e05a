"""A process that has done the slow part of starting (imports, first step) and forks a worker for each request.

It talks to the app over the socket that is its stdin: one JSON object a line. In: ``{"run_id", "attempt", "passphrase",
"threads", "device"}``. Out: ``{"ready": true}`` once warm, ``{"forked": pid, "run_id", "attempt"}`` and ``{"ended": code,
"run_id", "attempt"}``, where a negative code is the signal that killed the worker. The end of that socket is the end of
the app, hence of the zygote; its workers find out by themselves (:mod:`privlab.runs.watch`).

It stays single-threaded and never touches CUDA: a fork copies neither threads nor a CUDA context.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from privlab import paths
from privlab.config import load_preset
from privlab.priority import yield_to_people
from privlab.runs.store import Store
from privlab.runs.worker import Train, enter
from privlab.training.train import train

log = logging.getLogger(__name__)


def main(train: Train = train) -> None:
    """Serve until the app closes the socket on stdin."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    _yield_to_people()
    link = socket.socket(fileno=os.dup(0))
    store = Store()
    warm(train)
    # Connections must not cross a fork; the engine and its compiled statements may.
    store.version()
    store.close()
    gc.collect()
    gc.freeze()
    Zygote(link, store, train).serve()


def warm(train: Train) -> None:
    """A tiny private training, so that every module, kernel and cache is in place before the first fork."""
    torch.set_num_threads(1)
    config = load_preset("digits").replace(
        privacy__noise_multiplier=1.0, training__epochs=1, training__curve_points=2, performance__device="cpu"
    )
    for _ in train(config, save=lambda checkpoint: checkpoint.to_bytes()):
        continue
    # A fork while another thread holds a lock (an import's, say) leaves that lock shut in the child for ever.
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()


class Zygote:
    """Forks workers on request and reports how they end."""

    def __init__(self, link: socket.socket, store: Store, train: Train):
        self._link = link
        self._store = store
        self._train = train
        self._workers: dict[int, dict[str, Any]] = {}
        self._unread = b""

    def serve(self) -> None:
        wake_out, wake_in = os.pipe()
        os.set_blocking(wake_in, False)
        os.set_blocking(wake_out, False)
        signal.set_wakeup_fd(wake_in)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as ready:
            ready.register(self._link, selectors.EVENT_READ)
            ready.register(wake_out, selectors.EVENT_READ)
            self._say(ready=True)
            while True:
                for key, _ in ready.select():
                    if key.fileobj is self._link:
                        if not self._hear():
                            return
                    else:
                        os.read(wake_out, 4096)
                self._reap()

    def _say(self, **message: Any) -> None:
        # An app that is gone is noticed at the next read.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._link.sendall(json.dumps(message).encode() + b"\n")

    def _hear(self) -> bool:
        """Serve what has come in. False at the app's end."""
        try:
            data = self._link.recv(65536)
        except ConnectionResetError:
            return False
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            pid = self._spawn(request) if needs_own_start(request["device"]) else self._fork(request)
            self._workers[pid] = {"run_id": request["run_id"], "attempt": request["attempt"]}
            self._say(forked=pid, **self._workers[pid])
        return bool(data)

    def _fork(self, request: dict[str, Any]) -> int:
        pid = os.fork()
        if pid:
            return pid
        # Only os._exit leaves from here: a child must never return into the zygote's loop.
        code = os.EX_SOFTWARE
        try:
            self._become_worker(request["run_id"])
            arguments = (request["run_id"], request["attempt"], request["passphrase"], request["threads"])
            code = enter(self._store, *arguments, train=self._train)
        except BaseException:
            log.exception("worker of run %s", request["run_id"])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _become_worker(self, run_id: str) -> None:
        """Let go of everything that belongs to the zygote."""
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._link.close()
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        with _log_file(run_id) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        # A fork copies the generators' states: without this, all workers would draw the same numbers.
        random.seed()
        np.random.seed()
        torch.seed()

    def _spawn(self, request: dict[str, Any]) -> int:
        """A fresh process, for a device that a forked one cannot use. The passphrase goes over its stdin."""
        command = [sys.executable, "-m", "privlab.runs.worker", request["run_id"]]
        command += ["--attempt", str(request["attempt"]), "--threads", str(request["threads"])]
        with _log_file(request["run_id"]) as file:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file, process_group=0)
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request["passphrase"]).encode() + b"\n")
            process.stdin.close()
        # Reaped by number like every worker; Popen must not wait for it a second time.
        process.returncode = 0
        return process.pid

    def _reap(self) -> None:
        while self._workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            worker = self._workers.pop(pid, None)
            if worker:
                self._say(ended=os.waitstatus_to_exitcode(status), **worker)


def needs_own_start(device: str) -> bool:
    """Whether ``device`` will be an accelerator. Asks the driver only (NVML), which leaves the process free to fork."""
    if device == "auto":
        return torch.cuda.is_available() or torch.backends.mps.is_available()
    return device != "cpu"


def _log_file(run_id: str):
    return open(paths.log_dir() / f"{run_id}.log", "ab")


def _yield_to_people() -> None:
    nice = yield_to_people()
    # Linux shares the CPU between sessions first and looks at nice within each: the session must be nice as well.
    with suppress(OSError), open("/proc/self/autogroup", "w") as group:
        group.write(str(nice))


if __name__ == "__main__":
    main()
