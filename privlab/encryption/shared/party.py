"""One of the three parties, a process of its own in the SPU environment: ``python -m privlab.encryption.shared.party``.

It holds one owner's records. Each step it draws which of them take part and its share of the noise, splits both into random
shares and sends the other two parties theirs; then all three run the step on shares (ABY3: Mohassel and Rindal 2018,
"ABY3: a mixed protocol framework for machine learning"). Parameters and momentum stay shares from step to step; every
``open_every`` steps the parameters are opened, which ε covers.

The first line of standard input is the task (:func:`privlab.encryption.shared.parties.Parties` writes it); standard output has one
JSON object a line; SPU's own messages go to standard error.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from privlab.encryption.shared import wire
from privlab.encryption.shared.bounds import Scales, party_deviation
from privlab.encryption.shared.guesses import FRACTION_BITS
from privlab.encryption.shared.owner import Owner, rows_for
from privlab.encryption.shared.program import Shape, steps_of
from privlab.encryption.shared.settings import PARTIES, SharedSettings
from privlab.encryption.shared.twin import initial, split

#: Milliseconds that a party waits for another before it gives up.
_PATIENCE_MS = 60_000
_SENT = re.compile(rb"Link details: total send bytes (\d+), recv bytes \d+, send actions (\d+)")


class Machine:
    """This party's end of the shared computer: variables, programs and the other parties."""

    def __init__(self, rank: int, addresses: list[str], log: Path):
        import jax
        import spu
        from spu import libspu

        jax.config.update("jax_enable_x64", True)
        self._spu = libspu
        self.rank, self._log, self.sent, self.messages = rank, log, 0, 0
        desc = libspu.link.Desc()
        desc.recv_timeout_ms = _PATIENCE_MS
        for index, address in enumerate(addresses):
            desc.add_party(f"party{index}", address)
        self._link = libspu.link.create_brpc(desc, rank)
        config = libspu.RuntimeConfig(
            protocol=libspu.ProtocolKind.ABY3, field=libspu.FieldType.FM64, fxp_fraction_bits=FRACTION_BITS
        )
        # SPU tells the bytes and messages it sent only in its profile.
        config.enable_pphlo_profile = True
        self._runtime, self._io = spu.Runtime(self._link, config), spu.Io(PARTIES, config)

    def compile(self, function: Any, names: list[str], examples: list[np.ndarray], outputs: list[str]) -> Any:
        """``function`` of secret variables ``names``, leaving ``outputs``; compiled once, run often."""
        from spu.utils import frontend

        secret = [self._spu.Visibility.VIS_SECRET] * len(names)
        return frontend.compile(frontend.Kind.JAX, function, examples, {}, names, secret, lambda _: outputs)[0]

    def run(self, program: Any) -> None:
        at = self._log.stat().st_size
        self._runtime.run(program)
        with self._log.open("rb") as log:
            log.seek(at)
            for sent, messages in _SENT.findall(log.read()):
                self.sent += int(sent)
                self.messages += int(messages)

    def share(self, name: str, owner: int, value: np.ndarray | None) -> None:
        """``value`` of party ``owner`` becomes the secret variable ``name``; the others give None."""
        if self.rank == owner:
            shares = self._io.make_shares(np.ascontiguousarray(value), self._spu.Visibility.VIS_SECRET)
            for other in self._others():
                self._send(other, shares[other])
            mine = shares[owner]
        else:
            mine = self._receive(owner)
        self._runtime.set_var(name, mine)

    def open(self, name: str) -> np.ndarray:
        """What the variable ``name`` holds, told to all parties."""
        shares = {self.rank: self._runtime.get_var(name)}
        for other in self._others():
            self._send(other, shares[self.rank])
        for other in self._others():
            shares[other] = self._receive(other)
        return np.asarray(self._io.reconstruct([shares[index] for index in range(PARTIES)]))

    def wait(self) -> None:
        """Until all parties are here."""
        self._link.barrier()

    def close(self) -> None:
        self._link.stop_link()

    def _others(self) -> list[int]:
        return [index for index in range(PARTIES) if index != self.rank]

    def _send(self, other: int, share: Any) -> None:
        parts = [share.meta, *share.share_chunks]
        message = b"".join(struct.pack("<Q", len(part)) + part for part in parts)
        self.sent += len(message)
        self._link.send_async(other, message)

    def _receive(self, other: int) -> Any:
        message, parts, at = self._link.recv(other), [], 0
        while at < len(message):
            (length,) = struct.unpack_from("<Q", message, at)
            parts.append(message[at + 8 : at + 8 + length])
            at += 8 + length
        share = self._spu.Share()
        share.meta, share.share_chunks = parts[0], parts[1:]
        return share


def work(task: dict[str, Any], say: Any) -> None:
    """Do ``task`` to its end, telling ``say`` what happens."""
    settings = SharedSettings.from_dict(task["settings"])
    given = task["shape"]
    shape = Shape(**{**given, "layers": tuple(map(tuple, given["layers"])), "scales": Scales(**given["scales"])})
    rank = task["rank"]
    generator = None
    if settings.randomness == "reproducible":
        generator = np.random.default_rng([settings.seed, rank])
    owner = Owner(
        rows_for(shape, wire.unpack(task["x"]), wire.unpack(task["y"]), settings.input_norm),
        rate=task["sample_rate"],
        slots=shape.slots,
        deviation=party_deviation(settings),
        dimension=shape.dimension,
        generator=generator,
    )
    machine = Machine(rank, task["addresses"], Path(task["log"]))
    blocks, noises = [f"block{index}" for index in range(PARTIES)], [f"noise{index}" for index in range(PARTIES)]
    state = ["parameters", "velocity"]
    programs = {}
    for length in {min(settings.open_every, settings.steps), settings.steps % settings.open_every} - {0}:
        programs[length] = machine.compile(steps_of(shape), [*state, *blocks, *noises], shape.examples(length), state)
    first = initial(shape.layers, settings.seed)
    machine.share("parameters", 0, first * shape.scales.parameter)
    machine.share("velocity", 0, np.zeros_like(first))
    machine.wait()
    say({"kind": "ready"})

    step = 0
    while step < settings.steps:
        began, sent, messages = time.perf_counter(), machine.sent, machine.messages
        length = min(settings.open_every, settings.steps - step)
        drawn = [(owner.block(), owner.noise()) for _ in range(length)]
        # Its own first, so that all split their records at the same time.
        for index in sorted(range(PARTIES), key=lambda index: index != rank):
            mine = index == rank
            machine.share(blocks[index], index, np.stack([block for block, _ in drawn]) if mine else None)
            machine.share(noises[index], index, np.stack([noise for _, noise in drawn]) if mine else None)
        machine.run(programs[length])
        parameters = machine.open("parameters") / shape.scales.parameter
        step += length
        norm = max(float(np.linalg.norm(layer)) for layer in split(parameters, shape.layers))
        told = {"step": step, "steps": length, "seconds": time.perf_counter() - began, "sent": machine.sent - sent}
        told["messages"] = machine.messages - messages
        if rank == 0:
            told["parameters"] = wire.pack(parameters)
        say({"kind": "opened", "norm": norm, **told})
        # Every party opens the same numbers, so all stop at the same step.
        if not norm <= settings.weight_limit:
            say({"kind": "refused", "message": _too_large(norm, settings)})
            break
    machine.wait()
    machine.close()


def _too_large(norm: float, settings: SharedSettings) -> str:
    return (
        f"a layer's parameters have grown to a norm of {norm:,.4g}, above weight_limit={settings.weight_limit:g}: numbers could "
        "overflow, and clipping would guarantee nothing. Lower the learning rate, or raise the limit."
    )


def main() -> int:
    # Whatever libraries print must not end up among the messages.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    task = wire.read(sys.stdin.buffer)
    if task is None:
        return 0
    try:
        work(task, lambda message: wire.write(out, message))
    except Exception as error:
        with contextlib.suppress(OSError):
            wire.write(
                out, {"kind": "failed", "message": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
            )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
