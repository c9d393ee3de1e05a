"""``python -m privlab.encryption.inference.owner``: the process that has the record and the secret key. The model never enters it.

Requests (:mod:`privlab.encryption.child`): ``plan`` (of the classifier) → evaluation keys; ``encrypt`` (record) → sealed ciphertext;
``decrypt`` (sealed ciphertext) → logits.
"""

from __future__ import annotations

from typing import Any

from privlab.encryption.child import Answer, pack, serve, unpack
from privlab.encryption.ckks import CkksError
from privlab.encryption.envelope import Envelope, EnvelopeError
from privlab.encryption.inference.classifier import ClassifierClient
from privlab.encryption.inference.layers import NotEncryptable
from privlab.encryption.inference.plan import Plan
from privlab.encryption.inference.wire import PURPOSE, RECORD, RESULT


class _Owner:
    """One plan at a time, with keys of its own."""

    def plan(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        self._client = ClassifierClient(Plan.from_dict(header["plan"]))
        self._envelope = Envelope(blobs[0], PURPOSE, sends=RECORD, receives=RESULT)
        return {}, list(self._client.evaluation_keys())

    def encrypt(self, _: dict[str, Any], blobs: list[bytes]) -> Answer:
        return {}, [self._envelope.seal(self._client.encrypt(unpack(blobs[0])))]

    def decrypt(self, _: dict[str, Any], blobs: list[bytes]) -> Answer:
        return {}, [pack(self._client.decrypt(self._envelope.open(blobs[0])))]


def main() -> None:
    owner = _Owner()
    serve(
        {"plan": owner.plan, "encrypt": owner.encrypt, "decrypt": owner.decrypt},
        (NotEncryptable, CkksError, EnvelopeError),
    )


if __name__ == "__main__":
    main()
