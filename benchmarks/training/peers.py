"""The near side of a peer: starts its process, tells it the work, gives it turns, and believes its clock."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.training.work import RATE, SIGMA, C, Work

_HERE = Path(__file__).parent
_ENVIRONMENTS = Path(__file__).parents[2] / ".venv-peers"
#: Script and rows of each peer. Which rows: those for which somebody has written its model.
PEERS = {
    "jax-privacy": ("jax", "peer_jax.py", ("logistic", "cnn", "resnet", "gpt")),
    "tensorflow-privacy": ("tensorflow", "peer_tensorflow.py", ("logistic", "cnn")),
}


def python_of(peer: str) -> Path:
    return _ENVIRONMENTS / PEERS[peer][0] / "bin" / "python"


def peak_bytes(pid: int) -> int:
    """Most resident memory that a process has held so far, by the Linux kernel."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("The kernel does not tell VmHWM.")


class Peer:
    """A peer at one row of work, from its start to :meth:`close`.

    Attributes:
        facts: its versions and number of parameters.
    """

    def __init__(self, peer: str, work: Work):
        x, y = work.records()
        with tempfile.TemporaryDirectory() as folder:
            told = {
                "row": work.key,
                "batch": work.batch,
                "physical": work.physical,
                "sigma": SIGMA,
                "clip": C,
                "rate": RATE,
            }
            for name, part in (("x", x.numpy()), ("y", y.numpy())):
                told[name] = str(Path(folder) / f"{name}.npy")
                np.save(told[name], part if part.dtype == np.float32 else part.astype(np.int32))
            self._process = subprocess.Popen(
                [python_of(peer), _HERE / PEERS[peer][1], json.dumps(told)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.facts = self._answer()
        own = sum(p.numel() for p in work.model().parameters())
        if self.facts["parameters"] != own:
            raise RuntimeError(f"{peer} trains {self.facts['parameters']:,} parameters at {work.key}, not {own:,}.")

    def turn(self, steps: int) -> tuple[int, float]:
        """Records and CPU seconds of ``steps`` steps."""
        print(steps, file=self._process.stdin, flush=True)
        records, seconds = self._answer()
        return records, seconds

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args[1]} ended with {self._process.wait()} before it answered.")
        return json.loads(line)

    @property
    def peak_bytes(self) -> int:
        """Most memory that the process has held."""
        return peak_bytes(self._process.pid)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
