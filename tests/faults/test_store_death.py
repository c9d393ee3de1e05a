"""A server that dies loses its ciphertext and nothing else; one whose client dies is gone too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from privlab.encryption.fixedpoint import PAD_MODULUS, FixedPointTwin
from privlab.encryption.store import StoreError, open_store
from privlab.encryption.store.frames import Link
from privlab.encryption.store.scheme import CHUNK

ROOT = Path(__file__).resolve().parents[2]


def vector(seed: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size)


@pytest.mark.parametrize("mode", ["pad", "bfv"])
def test_a_server_killed_in_mid_update_is_named_and_the_run_goes_on_in_a_new_one(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 2 * CHUNK + 7
    store = open_store(mode, size)
    store.put(vector(0, size), 0)
    checkpoint = store.open()
    transmit = Link.transmit

    def killing(link: Link, frame: bytearray) -> None:
        if b'"chunk":1' in frame[:300]:
            os.kill(store.server_pid, signal.SIGKILL)
            time.sleep(0.05)
        transmit(link, frame)

    with monkeypatch.context() as patch:
        patch.setattr(Link, "transmit", killing)
        with pytest.raises(StoreError, match=r"lost.*its process ended by signal 9.*go on from the last checkpoint"):
            store.contribute(0, vector(1, size), 1)
    for use in (store.open, lambda: store.commit(1), lambda: store.put(checkpoint, 0)):
        with pytest.raises(StoreError, match="lost"):
            use()
    store.close()

    again = open_store(mode, size)
    again.put(checkpoint, 0)
    assert np.array_equal(again.open(), checkpoint)
    again.contribute(0, vector(1, size), 1)
    again.commit(1)
    twin = FixedPointTwin(PAD_MODULUS)
    twin.put(vector(0, size))
    twin.add(vector(1, size))
    assert np.array_equal(again.open(), twin.open())
    again.close()


def test_a_server_killed_between_steps_is_noticed_at_the_next() -> None:
    store = open_store("pad", 10)
    store.put(vector(0, 10), 0)
    os.kill(store.server_pid, signal.SIGKILL)
    with pytest.raises(StoreError, match=r"lost.*signal 9"):
        store.open()
    store.close()


def test_the_server_ends_with_its_client() -> None:
    code = (
        "import time, numpy; from privlab.encryption.store import open_store; store = open_store('pad', 10);"
        "store.put(numpy.ones(10), 0); print(store.server_pid, flush=True); time.sleep(600)"
    )
    client = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with client.stdout:
        server = psutil.Process(int(client.stdout.readline()))
    client.kill()
    client.wait()
    server.wait(20)


def test_close_ends_the_server() -> None:
    store = open_store("pad", 10)
    server = psutil.Process(store.server_pid)
    store.close()
    assert not server.is_running()


def test_a_server_that_cannot_be_started_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StoreError, match="cannot be started: No such file"):
        open_store("pad", 10)


def test_a_server_that_ends_at_once_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StoreError, match=r"did not take this client.*its process ended with code 1"):
        open_store("pad", 10)
