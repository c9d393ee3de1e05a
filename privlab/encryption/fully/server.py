"""``python -m privlab.encryption.fully.server``: the process that computes the gradients. No secret key ever enters it.

In mode C2 it has only ciphertext. In mode C1 it is the data owner: it has the records in plain and never sees the weights.
Requests (:mod:`privlab.encryption.child`): ``setup``, ``step`` (sealed weights → sealed new weights with noise), ``memory``.
"""

from __future__ import annotations

import resource
from time import perf_counter
from typing import Any

from privlab.encryption.child import Answer, pack, serve, unpack
from privlab.encryption.ckks import CkksError, Evaluator, Parameters, to_bytes
from privlab.encryption.envelope import Envelope, EnvelopeError
from privlab.encryption.fully.arithmetic import FullyError, check_records
from privlab.encryption.fully.circuit import Step, scaled
from privlab.encryption.fully.guarantee import Guarantee
from privlab.encryption.fully.layout import PARAMETERS, Layout

PURPOSE, WEIGHTS, STEPPED = "privlab encrypted training 1", "weights", "stepped"


class _Server:
    """One training."""

    def setup(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """Blobs: the conversation's key; sealed rotation, multiplication and public key; then records and labels in plain (C1), or
        the sealed ciphertexts of the records (C2)."""
        conversation, *rest = blobs
        self._envelope = Envelope(conversation, PURPOSE, sends=STEPPED, receives=WEIGHTS)
        galois, relin, public = (self._envelope.open(blob) for blob in rest[:3])
        layout = Layout(header["records"], header["inputs"])
        self._guarantee = Guarantee(header["noise_multiplier"], header["delta"], header["scale"], layout)
        self._on = Evaluator(Parameters(*PARAMETERS), galois, relin)
        self._hides = header["mode"] == "c1"
        self._public = self._on.read_public_key(public)
        if self._hides:
            if not header["noise_multiplier"]:
                raise FullyError(
                    "Without noise the answers would show exact sums of the records; the records' owner refuses."
                )
            x, y = (unpack(blob) for blob in rest[3:])
            check_records(x, y)
            records = scaled(layout, x * y[:, None], header["scale"])
        else:
            records = [self._envelope.open(blob) for blob in rest[3:]]
        self._step = Step(self._on, layout, records)
        return {}, []

    def step(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        begin, on = perf_counter(), self._on
        stepped = self._step(on.read_ciphertext(self._envelope.open(blobs[0])))
        told = []
        if self._guarantee.noise_multiplier:
            noise = self._guarantee.noise()
            stepped = on.add_plain(stepped, on.encode(noise, 0, stepped.scale))
            if header["tell"]:
                told.append(pack(noise.real[self._guarantee.layout.result_slots]))
        if self._hides:
            stepped = on.rerandomized(stepped, self._public)
        sealed = self._envelope.seal(to_bytes(stepped))
        return {"seconds": perf_counter() - begin, "level": on.level(stepped)}, [sealed, *told]

    def memory(self, _: dict[str, Any], __: list[bytes]) -> Answer:
        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}, []


def main() -> None:
    server = _Server()
    handlers = {"setup": server.setup, "step": server.step, "memory": server.memory}
    serve(handlers, (FullyError, CkksError, EnvelopeError))


if __name__ == "__main__":
    main()
