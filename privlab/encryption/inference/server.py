"""``python -m privlab.encryption.inference.server``: the process that has the model. No secret key ever enters it.

Requests (:mod:`privlab.encryption.child`): ``model`` (layers, activation, calibration) → plan; ``keys`` (evaluation keys and the key of
the conversation) → ready; ``classify`` (sealed ciphertext) → sealed ciphertext; ``memory`` → bytes in use.
"""

from __future__ import annotations

import resource
from typing import Any

from privlab.encryption.child import Answer, serve, unpack
from privlab.encryption.ckks import CkksError
from privlab.encryption.envelope import Envelope, EnvelopeError
from privlab.encryption.inference.classifier import EncryptedClassifier
from privlab.encryption.inference.layers import NotEncryptable
from privlab.encryption.inference.wire import PURPOSE, RECORD, RESULT


class _Server:
    """One model, one client."""

    def model(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        arrays = [unpack(blob) for blob in blobs]
        calibration = arrays.pop() if header["calibrated"] else None
        layers = list(zip(arrays[::2], arrays[1::2], strict=True))
        self._classifier = EncryptedClassifier.from_layers(layers, header["activation"], calibration)
        return {"plan": self._classifier.plan.to_dict()}, []

    def keys(self, _: dict[str, Any], blobs: list[bytes]) -> Answer:
        galois, relin, conversation = blobs
        self._classifier.accept(galois, relin)
        self._envelope = Envelope(conversation, PURPOSE, sends=RESULT, receives=RECORD)
        return {}, []

    def classify(self, _: dict[str, Any], blobs: list[bytes]) -> Answer:
        answer = self._classifier.classify(self._envelope.open(blobs[0]))
        return {}, [self._envelope.seal(answer)]

    def memory(self, _: dict[str, Any], __: list[bytes]) -> Answer:
        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}, []


def main() -> None:
    server = _Server()
    handlers = {"model": server.model, "keys": server.keys, "classify": server.classify, "memory": server.memory}
    serve(handlers, (NotEncryptable, CkksError, EnvelopeError))


if __name__ == "__main__":
    main()
