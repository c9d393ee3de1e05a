"""From PrivLab to three parties in the SPU environment and back: starts them, accounts for ε, runs the plain twin beside."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from privlab.encryption.shared import wire
from privlab.encryption.shared.accounting import Guarantee, guarantee
from privlab.encryption.shared.bounds import party_deviation, scales_of
from privlab.encryption.shared.owner import Owner, in_plain_units, rows_for
from privlab.encryption.shared.program import Shape, on_grid
from privlab.encryption.shared.settings import PARTIES, SharedError, SharedFailed, SharedSettings
from privlab.encryption.shared.twin import RampTwin, Twin, accuracy, initial

_ROOT = Path(__file__).resolve().parents[3]
_VERSION = "0.9.5"
HOW_TO_GET = (
    "Secret-shared training needs SPU in an environment of its own (about 1 GB, because SPU needs older libraries): run "
    "`make spu` in PrivLab's folder once, then try again."
)
#: Seconds that starting and compiling may take, and one stretch of steps between two openings.
_START, _STRETCH = 180.0, 600.0


@dataclass(frozen=True)
class Record:
    """What is known at one opening of the parameters.

    Attributes:
        step: steps done.
        epsilon: spent against anybody who is not one of the parties; inf for a reproducible run.
        epsilon_party: spent by the other owners' records against one party, who knows its own share of the noise.
        accuracy: of the opened parameters on the test records, 0 … 1.
        twin_accuracy: of plain DP-SGD with the same settings, in double precision, with the exact sigmoid or softmax.
        drift: largest difference between a parameter and the twin's, where both draw the same (reproducible); else None. For
            "binary" the twin is one with the parties' straight line, so that it tells of rounding and of nothing else.
        seconds: a step took, without the twin and the accuracy; with drawing, sharing and opening.
        bytes_sent: by all parties together a step.
        messages: that a party sends on average in a step's computation; sharing and opening are not counted.
        norm: largest Frobenius norm of a layer.
    """

    step: int
    epsilon: float
    epsilon_party: float
    accuracy: float
    twin_accuracy: float
    drift: float | None
    seconds: float
    bytes_sent: int
    messages: float
    norm: float


def python() -> Path:
    """Interpreter of the SPU environment: ``$PRIVLAB_SPU_PYTHON``, or ``.venv-spu`` beside PrivLab."""
    return Path(os.environ.get("PRIVLAB_SPU_PYTHON") or _ROOT / ".venv-spu" / "bin" / "python")


def available() -> tuple[bool, str]:
    """(whether secret-shared training can run here, why or how to get it). Asks the environment once."""
    interpreter = python()
    if not interpreter.exists():
        return False, HOW_TO_GET
    found = _version(interpreter, interpreter.stat().st_mtime)
    if found != _VERSION:
        what = f"has SPU {found}, not {_VERSION}" if found else "has no working SPU"
        return False, f"The environment of {interpreter} {what}. {HOW_TO_GET}"
    return True, f"SPU {found}, three parties, simulated on one machine."


@lru_cache(maxsize=4)
def _version(interpreter: Path, changed: float) -> str | None:
    code = "import importlib.metadata as m, jax, spu; print(m.version('spu'))"
    try:
        done = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else None


def owners_of(x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Records dealt to three owners in turn."""
    return [(x[index::PARTIES], y[index::PARTIES]) for index in range(PARTIES)]


def shape_of(settings: SharedSettings, promise: Guarantee, inputs: int, classes: int) -> Shape:
    """The step that the parties compile."""
    scales = scales_of(settings)
    return Shape(
        settings.layers(inputs, classes),
        promise.slots,
        scales,
        on_grid(settings.learning_rate / settings.batch_size / scales.sum),
        on_grid(settings.momentum),
        settings.max_grad_norm,
        promise.bounds.longest,
    )


def train(
    settings: SharedSettings,
    owners: Sequence[tuple[np.ndarray, np.ndarray]],
    test: tuple[np.ndarray, np.ndarray],
    classes: int,
) -> Iterator[Record]:
    """Train on three owners' records, each in a process of its own, and tell a record at each opening.

    Args:
        owners: (records (n, inputs), labels (n,)) of each of the three.
        test: public records and labels on which opened parameters are measured.
        classes: how many there are; labels are 0 … ``classes`` − 1.

    Raises:
        SharedError: SPU is missing, a setting is out of bounds, or a party failed. Closing the iterator stops the parties.
    """
    owners = [(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.int64)) for x, y in owners]
    _check_records(owners, test, classes)
    inputs = owners[0][0].shape[1]
    promise = guarantee(settings, [len(y) for _, y in owners], inputs, classes)
    shape = shape_of(settings, promise, inputs, classes)
    ready, why = available()
    if not ready:
        raise SharedError(why)
    return _records(settings, owners, test, promise, shape)


def _check_records(owners: Sequence[tuple[np.ndarray, np.ndarray]], test: tuple, classes: int) -> None:
    for index, (x, y) in enumerate([*owners, test]):
        who = f"owner {index + 1}" if index < len(owners) else "the test records"
        if x.ndim != 2 or len(x) != len(y) or x.shape[1] != owners[0][0].shape[1]:
            raise SharedError(f"{who}: records of shape {x.shape} with {len(y)} labels do not fit.")
        if not np.isfinite(x).all():
            raise SharedError(f"{who}: a record holds a number that is not finite.")
        if len(y) and not 0 <= y.min() <= y.max() < classes:
            raise SharedError(f"{who}: labels from {y.min()} to {y.max()} must lie between 0 and {classes - 1}.")


def _records(
    settings: SharedSettings,
    owners: Sequence[tuple[np.ndarray, np.ndarray]],
    test: tuple[np.ndarray, np.ndarray],
    promise: Guarantee,
    shape: Shape,
) -> Iterator[Record]:
    steps = sorted({*range(settings.open_every, settings.steps, settings.open_every), settings.steps})
    spent = dict(zip(steps, zip(promise.epsilon(steps), promise.epsilon_party(steps), strict=True), strict=True))
    twin = _Beside(settings, owners, promise, shape)
    with _Parties(settings, owners, promise, shape) as parties:
        parties.ready()
        for told in parties.openings():
            parameters = wire.unpack(told[0]["parameters"])
            step, length = told[0]["step"], told[0]["steps"]
            twin.run(length)
            yield Record(
                step=step,
                epsilon=float(spent[step][0]),
                epsilon_party=float(spent[step][1]),
                accuracy=accuracy(parameters, shape.layers, *test),
                twin_accuracy=accuracy(twin.parameters, shape.layers, *test),
                drift=float(np.abs(parameters - twin.followed).max()) if twin.replays else None,
                seconds=max(one["seconds"] for one in told) / length,
                bytes_sent=sum(one["sent"] for one in told) // length,
                messages=sum(one["messages"] for one in told) / PARTIES / length,
                norm=told[0]["norm"],
            )


class _Beside:
    """The plain twin with the draws it trains on: the parties' own in a reproducible run, else its own from the same
    distributions, with batches of any size and noise that is not rounded to fewer digits than the parties'."""

    def __init__(self, settings: SharedSettings, owners: Sequence, promise: Guarantee, shape: Shape):
        self.replays = settings.randomness == "reproducible"
        self._shape, first = shape, initial(shape.layers, settings.seed)
        rate = settings.learning_rate / settings.batch_size if shape.binary else shape.scales.sum * shape.rate
        given = shape.layers, first, rate, shape.momentum, shape.clip
        self._twin = Twin(*given)
        self._twins = [self._twin, RampTwin(*given)] if shape.binary else [self._twin]
        self._owners = [
            Owner(
                rows_for(shape, x, y, settings.input_norm),
                rate=promise.sample_rate,
                slots=promise.slots if self.replays else len(y),
                deviation=party_deviation(settings),
                dimension=shape.dimension,
                generator=np.random.default_rng([settings.seed, index]) if self.replays else None,
            )
            for index, (x, y) in enumerate(owners)
        ]

    @property
    def parameters(self) -> np.ndarray:
        return self._twin.parameters

    @property
    def followed(self) -> np.ndarray:
        """Parameters of the twin that computes what the parties compute."""
        return self._twins[-1].parameters

    def run(self, steps: int) -> None:
        for _ in range(steps):
            drawn = [(owner.block(), owner.noise()) for owner in self._owners]
            rows = in_plain_units(self._shape, np.concatenate([block for block, _ in drawn]))
            noise = sum(noise for _, noise in drawn) / self._shape.scales.sum
            for twin in self._twins:
                twin.step(rows, noise)


class _Parties:
    """The three processes, from start to end."""

    def __init__(self, settings: SharedSettings, owners: Sequence, promise: Guarantee, shape: Shape):
        self._given = (settings, owners, promise, shape)
        self._children: list[subprocess.Popen] = []
        self._readers: list[_Reader] = []

    def __enter__(self) -> _Parties:
        self._exit = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self._end)
            self._start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _start(self) -> None:
        settings, owners, promise, shape = self._given
        self._folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="privlab-shared-")))
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(PARTIES)]
        # Three parties on few cores: threads that wait for each other in a loop would cost most of the time.
        threads = {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1", "PYTHONPATH": str(_ROOT), "JAX_PLATFORMS": "cpu"}
        for rank, (x, y) in enumerate(owners):
            log = self._folder / f"party{rank}.log"
            with log.open("wb") as errors:
                child = subprocess.Popen(
                    [python(), "-m", "privlab.encryption.shared.party"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=self._folder,
                    env={**os.environ, **threads},
                )
            self._children.append(child)
            task = {
                "rank": rank,
                "addresses": addresses,
                "log": str(log),
                "settings": settings.to_dict(),
                "shape": asdict(shape),
                "sample_rate": promise.sample_rate,
                "x": wire.pack(x),
                "y": wire.pack(y),
            }
            with contextlib.suppress(BrokenPipeError):
                wire.write(child.stdin, task)
            self._readers.append(_Reader(child))

    def ready(self) -> None:
        """Wait until all parties have compiled the step. Raises SharedError."""
        self._together(_START)

    def openings(self) -> Iterator[list[dict[str, Any]]]:
        """What the three parties say at each opening. Raises SharedError where one fails or refuses to go on."""
        settings = self._given[0]
        step = 0
        while step < settings.steps:
            told = self._together(_STRETCH)
            step = min(step + settings.open_every, settings.steps)
            if any(one.get("step") != step for one in told):
                raise SharedError(
                    f"The parties are at steps {[one.get('step') for one in told]} and not all at {step}."
                )
            yield told
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)

    def _together(self, seconds: float) -> list[dict[str, Any]]:
        """The next message of each party, in order of rank."""
        limit, told = time.monotonic() + seconds, {}
        with selectors.DefaultSelector() as waiting:
            for rank, reader in enumerate(self._readers):
                waiting.register(reader.file, selectors.EVENT_READ, rank)
            while len(told) < PARTIES:
                for rank, message in [
                    (rank, reader.next()) for rank, reader in enumerate(self._readers) if rank not in told
                ]:
                    if message is not None:
                        told[rank] = self._judged(rank, message)
                if len(told) == PARTIES:
                    break
                ready = waiting.select(max(0.0, limit - time.monotonic()))
                if not ready:
                    raise SharedFailed(f"The parties have said nothing for {seconds:.0f} s.{self._log()}")
                for key, _ in ready:
                    if not self._readers[key.data].fill():
                        if key.data not in told:
                            raise SharedFailed(
                                f"Party {key.data + 1} of {PARTIES} ended by itself.{self._log(key.data)}"
                            )
                        waiting.unregister(key.fileobj)
        return [told[rank] for rank in range(PARTIES)]

    def _judged(self, rank: int, message: dict[str, Any]) -> dict[str, Any]:
        if message["kind"] == "failed":
            raise SharedFailed(f"Party {rank + 1} of {PARTIES} failed: {message['message']}")
        if message["kind"] == "refused":
            raise SharedError(message["message"])
        return message

    def _log(self, rank: int = 0) -> str:
        with contextlib.suppress(OSError, IndexError):
            lines = (self._folder / f"party{rank}.log").read_text("utf-8", "replace").strip().splitlines()
            return f" Its last words: {lines[-1][:300]}"
        return ""

    def _end(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                with contextlib.suppress(OSError):
                    stream.close()
        self._exit.close()


class _Reader:
    """Whole messages from a party's output, without waiting for one."""

    def __init__(self, child: subprocess.Popen):
        self.file, self._rest = child.stdout, b""

    def fill(self) -> bool:
        """Take what has come; False at the end."""
        data = os.read(self.file.fileno(), 1 << 20)
        self._rest += data
        return bool(data)

    def next(self) -> dict[str, Any] | None:
        line, end, rest = self._rest.partition(b"\n")
        if not end:
            return None
        self._rest = rest
        try:
            return wire.parsed(line)
        except ValueError as error:
            raise SharedFailed(f"A party said something that is no message: {error}") from None


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
