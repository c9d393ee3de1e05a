"""Encrypted classification for the web process: it loads neither torch nor SEAL, two helper processes do the work.

One helper is the *owner* of the record and of the secret key, the other the *server* with the model; this process carries ciphertext
between them, as a network would. All three run on one machine: the separation is that of processes, simulated on one machine.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from privlab.encryption.child import Child, ChildRefused, pack, unpack
from privlab.encryption.envelope import KEY_SIZE
from privlab.encryption.inference.layers import Layer, NotEncryptable, check_layers, plain_logits

#: Models kept ready at once: two processes and up to a few hundred MB each.
MOST_READY = 2


@dataclass(frozen=True)
class Answer:
    """What came of one encrypted record.

    Attributes:
        logits, label: what the owner decrypted, (classes,), and its largest entry's index.
        plain_logits, plain_label: what the same model says without encryption, tanh and all.
        seconds: by phase: ``encrypt``, ``server`` (the classification, both ways of the connection included), ``decrypt``.
        setup_seconds: making and sending keys and encoding the model; 0 once the model is ready.
        bytes_up, bytes_down: sizes of the messages that travelled.
        keys_bytes: evaluation keys that the server was sent once.
        sent, received: the messages themselves, for a look at what the server sees.
    """

    logits: np.ndarray
    label: int
    plain_logits: np.ndarray
    plain_label: int
    seconds: dict[str, float]
    setup_seconds: float
    bytes_up: int
    bytes_down: int
    keys_bytes: int
    sent: bytes
    received: bytes

    @property
    def agrees(self) -> bool:
        """Whether the encrypted and the plain model choose the same class."""
        return self.label == self.plain_label

    @property
    def error(self) -> float:
        """Largest difference between a decrypted and a plain logit: of the scheme, and of the polynomial that stands for tanh."""
        return float(np.abs(self.logits - self.plain_logits).max())


class Classification:
    """One model with its two processes. Calls wait for one another.

    Raises:
        NotEncryptable: layers that cannot be computed on ciphertext, in plain words.
        ChildError: a process failed; make a new object.
    """

    def __init__(self, layers: Sequence[Layer], activation: str | None, calibration: np.ndarray | None = None):
        check_layers(layers, activation)
        self._layers, self._activation = list(layers), activation
        self._turn = threading.Lock()
        self._server = Child("privlab.encryption.inference.server", "The server of encrypted inference")
        self._owner = Child("privlab.encryption.inference.owner", "The owner's process of encrypted inference")
        self.keys_bytes = 0
        try:
            self._start(calibration)
        except BaseException:
            self.close()
            raise

    def _start(self, calibration: np.ndarray | None) -> None:
        arrays = [np.asarray(part, dtype=np.float64) for layer in self._layers for part in layer]
        extra = [] if calibration is None else [np.asarray(calibration, dtype=np.float64)]
        header, _ = _refusing(
            self._server.call,
            "model",
            [pack(array) for array in arrays + extra],
            activation=self._activation,
            calibrated=bool(extra),
        )
        # Both helpers are ours, so the key of their conversation comes from here; between hosts a TLS handshake would make it.
        conversation = os.urandom(KEY_SIZE)
        _, keys = self._owner.call("plan", [conversation], plan=header["plan"])
        self.keys_bytes = sum(map(len, keys))
        self._server.call("keys", [*keys, conversation])

    @property
    def is_alive(self) -> bool:
        return self._server.is_alive and self._owner.is_alive

    @property
    def server_pid(self) -> int:
        """The process that has the model and no key."""
        return self._server.pid

    def classify(self, x: np.ndarray, *, on_the_way: Callable[[bytes], bytes] | None = None) -> Answer:
        """The class of a record (inputs,), values in −1…1, from its ciphertext alone.

        Args:
            on_the_way: what somebody on the connection does to the message to the server, to try it out.

        Raises:
            NotEncryptable: a record that does not fit, or a ciphertext that was refused; the object can be used on.
            ChildError: a process died.
        """
        record = np.asarray(x, dtype=np.float64).ravel()
        with self._turn:
            begin = perf_counter()
            _, (sent,) = _refusing(self._owner.call, "encrypt", [pack(record)])
            encrypted = perf_counter()
            _, (received,) = _refusing(self._server.call, "classify", [on_the_way(sent) if on_the_way else sent])
            answered = perf_counter()
            _, (decrypted,) = _refusing(self._owner.call, "decrypt", [received])
            end = perf_counter()
        logits, plain = unpack(decrypted), plain_logits(self._layers, self._activation, record)
        return Answer(
            logits=logits,
            label=int(logits.argmax()),
            plain_logits=plain,
            plain_label=int(plain.argmax()),
            seconds={"encrypt": encrypted - begin, "server": answered - encrypted, "decrypt": end - answered},
            setup_seconds=0.0,
            bytes_up=len(sent),
            bytes_down=len(received),
            keys_bytes=self.keys_bytes,
            sent=sent,
            received=received,
        )

    def close(self) -> None:
        """End both processes. Harmless when called again."""
        self._server.close()
        self._owner.close()


def classify(
    layers: Sequence[Layer],
    x: np.ndarray,
    activation: str | None = None,
    *,
    calibration: np.ndarray | None = None,
    on_the_way: Callable[[bytes], bytes] | None = None,
) -> Answer:
    """Encrypt ``x``, classify the ciphertext, decrypt; the processes of the last two models stay ready.

    Args:
        layers, activation: of :func:`privlab.encryption.inference.layers.layers_of`.
        x: a record (inputs,), values in −1…1.
        calibration: records that may be known (test records), for a closer polynomial in place of tanh.
        on_the_way: as :meth:`Classification.classify`.

    Raises:
        NotEncryptable: a model or record that does not fit, in plain words.
        ChildError: a helper process died; the next call starts another.
    """
    begin = perf_counter()
    with _lock:
        key = _digest(layers, activation, calibration)
        ready = _ready.pop(key, None)
        fresh = ready is None or not ready.is_alive
        if fresh:
            if ready is not None:
                ready.close()
            while len(_ready) >= MOST_READY:
                _ready.popitem(last=False)[1].close()
            ready = Classification(layers, activation, calibration)
        _ready[key] = ready
        setup = perf_counter() - begin if fresh else 0.0
        answer = ready.classify(x, on_the_way=on_the_way)
    return Answer(**{**vars(answer), "setup_seconds": setup})


def close_all() -> None:
    """End all helper processes."""
    with _lock:
        while _ready:
            _ready.popitem()[1].close()


_lock = threading.Lock()
_ready: OrderedDict[bytes, Classification] = OrderedDict()
atexit.register(close_all)


def _digest(layers: Sequence[Layer], activation: str | None, calibration: np.ndarray | None) -> bytes:
    found = hashlib.sha256(repr(activation).encode())
    for array in [part for layer in layers for part in layer] + ([] if calibration is None else [calibration]):
        given = np.ascontiguousarray(array, dtype=np.float64)
        found.update(repr(given.shape).encode())
        found.update(given.tobytes())
    return found.digest()


def _refusing(call: Callable, *args, **kwargs):
    """A helper's refusal is an answer to the caller; its death is not."""
    try:
        return call(*args, **kwargs)
    except ChildRefused as refusal:
        raise NotEncryptable(str(refusal)) from None
