"""Encrypted inference: layouts, the polynomial, the circuit, and the two processes. What leaves the owner is ciphertext."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from sklearn.datasets import load_digits

from privlab.encryption.child import Child, ChildError, ChildRefused, pack, unpack
from privlab.encryption.ckks import CkksError
from privlab.encryption.envelope import Envelope, EnvelopeError
from privlab.encryption.inference import service
from privlab.encryption.inference.classifier import ClassifierClient, EncryptedClassifier
from privlab.encryption.inference.layers import NotEncryptable, layers_of, plain_logits
from privlab.encryption.inference.packing import Layout, first_layout, next_layout
from privlab.encryption.inference.plan import Plan
from privlab.encryption.inference.polynomial import fit_tanh
from privlab.encryption.inference.service import Classification
from privlab.encryption.inference.wire import join, split


def product(layout: Layout, matrix: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """What the ciphertext circuit does, on plain slots (messages, S)."""
    weights, total = layout.weights(matrix), 0.0
    shifted = slots if layout.paired else [np.roll(slots[0], -baby) for baby in range(layout.babies)]
    for giant in range(layout.giants):
        part = sum(weights[giant, baby] * moved for baby, moved in enumerate(shifted))
        total = total + np.roll(part, -giant * layout.babies)
    for fold in layout.folds:
        total = total + np.roll(total, -fold)
    return total + total.conj() if layout.paired else total


@pytest.mark.parametrize(
    ("inputs", "hidden", "outputs", "slots"),
    [
        (64, 10, 5, 2048),
        (784, 10, 3, 2048),
        (784, 64, 10, 4096),
        (64, 32, 10, 4096),
        (3072, 64, 10, 4096),
        (30, 1, 1, 2048),
        (100, 3, 40, 4096),
        (5, 64, 10, 4096),
        (1, 1, 1, 2),
    ],
)
@pytest.mark.parametrize("paired", [False, True])
def test_layouts_multiply(inputs: int, hidden: int, outputs: int, slots: int, paired: bool) -> None:
    rng = np.random.default_rng(0)
    first, second, x = rng.normal(size=(hidden, inputs)), rng.normal(size=(outputs, hidden)), rng.normal(size=inputs)
    a = first_layout(hidden, inputs, slots, paired=paired)
    b = next_layout(outputs, a)
    between = product(a, first, a.write(x))
    # Every slot holds a result: nothing else is there for the key holder to see.
    np.testing.assert_allclose(between, a.tiled(first @ x), atol=1e-9)
    np.testing.assert_allclose(product(b, second, between[None].real), b.tiled(second @ first @ x), atol=1e-9)


def test_rotations_of_the_layouts() -> None:
    """Golden: each rotation costs milliseconds, so their number is the time."""
    wide = first_layout(64, 784, 4096)
    assert (wide.period, wide.shifts, wide.babies, wide.giants, len(wide.folds)) == (1024, 16, 4, 4, 6)
    pairs = first_layout(64, 784, 4096, paired=True)
    assert (pairs.period, pairs.shifts, pairs.messages, pairs.giants, len(pairs.rotations)) == (512, 8, 2, 4, 9)
    assert len(first_layout(10, 64, 2048).rotations) == 7
    assert len(next_layout(10, wide).rotations) == 8


def test_too_wide_is_refused_with_the_numbers() -> None:
    with pytest.raises(NotEncryptable, match="4090 inputs and 10 outputs need 8192 slots; a ciphertext has 4096"):
        _ = Plan((4090, 10), None).layouts
    assert Plan((4080, 10), None).layouts[0].period == 4096


def valued(powers: np.ndarray, t: np.ndarray) -> np.ndarray:
    return sum(powers[:, k] * t**k for k in range(powers.shape[1]))


def test_tanh_polynomial() -> None:
    rng = np.random.default_rng(1)
    met = rng.normal([0.0, 1.5], [1.0, 0.4], (500, 2))
    middle, half, powers = fit_tanh(met, 2)
    assert set(powers[:, 8]) <= {-1.0, 1.0}
    worst = np.abs(valued(powers, (met - middle) / half) - np.tanh(met)).max(axis=0)
    # The wide unit reaches from −3 to 4, where degree 8 can do little better; the narrow one lies in half of that.
    assert worst[0] < 0.1 and worst[1] < 1e-3
    # Without records: one fit on −5…5, odd like tanh but for a leading term that is no larger than 1/256.
    middle, half, powers = fit_tanh(None, 1)
    assert (middle[0], half[0]) == (0, 10)
    z = np.linspace(-5, 5, 101)
    worst = np.abs(valued(powers, z[:, None] / half) - np.tanh(z)[:, None]).max()
    assert 0.05 < worst < 0.2


def test_units_fitted_together_err_less_in_the_logits() -> None:
    rng = np.random.default_rng(4)
    met, following = rng.normal(size=(600, 5)) @ rng.normal(size=(5, 24)), rng.normal(size=(10, 24))
    errors = []
    for given in (None, following):
        middle, half, powers = fit_tanh(met, 24, given)
        logits = (valued(powers, (met - middle) / half) - np.tanh(met)) @ following.T
        # What all logits have in common decides nothing.
        errors.append(np.std(logits - logits.mean(axis=1, keepdims=True)))
    assert errors[1] < 0.95 * errors[0]


def mlp(sizes: tuple[int, ...], seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(b, a)) / a**0.5, rng.normal(size=b) * 0.1) for a, b in pairwise(sizes)]


@pytest.mark.parametrize(
    ("sizes", "activation", "tolerance"),
    [((64, 10), None, 1e-2), ((30, 2), None, 1e-2), ((2500, 10), None, 1e-2), ((64, 32, 10), "square", 1e-3)],
)
def test_logits_are_those_of_the_plain_model(sizes: tuple[int, ...], activation: str | None, tolerance: float) -> None:
    layers = mlp(sizes)
    classifier = EncryptedClassifier.from_layers(layers, activation)
    client = ClassifierClient(classifier.plan)
    classifier.accept(*client.evaluation_keys())
    rng = np.random.default_rng(2)
    for _ in range(3):
        x = rng.uniform(-1, 1, sizes[0])
        found = client.decrypt(classifier.classify(client.encrypt(x)))
        np.testing.assert_allclose(found, plain_logits(layers, activation, x), atol=tolerance)


def test_tanh_logits_are_those_of_its_polynomial() -> None:
    """What CKKS itself adds is small beside the polynomial's error."""
    layers, rng = mlp((64, 32, 10)), np.random.default_rng(3)
    calibration = rng.random((200, 64))
    classifier = EncryptedClassifier.from_layers(layers, "tanh", calibration)
    client = ClassifierClient(classifier.plan)
    classifier.accept(*client.evaluation_keys())
    (first, bias), (last, last_bias) = layers
    middle, half, powers = fit_tanh(calibration @ first.T + bias, 32, last)
    for _ in range(3):
        x = rng.random(64)
        exact = last @ valued(powers, (first @ x + bias - middle) / half) + last_bias
        np.testing.assert_allclose(client.decrypt(classifier.classify(client.encrypt(x))), exact, atol=5e-3)


def test_bad_records_and_bytes_are_refused() -> None:
    classifier = EncryptedClassifier.from_layers(mlp((64, 10)), None)
    client = ClassifierClient(classifier.plan)
    classifier.accept(*client.evaluation_keys())
    with pytest.raises(NotEncryptable, match="63 values; the model takes 64"):
        client.encrypt(np.zeros(63))
    for wrong in (1.5, np.nan, np.inf):
        with pytest.raises(NotEncryptable, match=r"Value 7 of the record .* within ±1"):
            client.encrypt(np.where(np.arange(64) == 7, wrong, 0.5))
    good = client.encrypt(np.zeros(64))
    for wrong in (b"", b"nonsense", good[:1000], good[:-1], good * 2, join([b"", b""]), join([good]), good[4:]):
        with pytest.raises(CkksError, match="not a ciphertext"):
            classifier.classify(wrong)
    with pytest.raises(NotEncryptable, match="could reach 6,400"):
        EncryptedClassifier.from_layers([(np.full((2, 64), 100.0), np.zeros(2))], None)


def test_several_ciphertexts_are_one_message() -> None:
    parts = [b"one", b"", b"three" * 100]
    message = join(parts)
    assert split(message) == parts and split(b"") == []
    for wrong in (message[:-1], message[:2], message + b"\0\0", b"\xff" * 9):
        assert split(wrong) == []


def test_room_for_logits() -> None:
    """Large weights get a smaller scale; beyond that a model is refused instead of answering with what overflowed."""
    first, _ = mlp((64, 32, 10))
    last = np.random.default_rng(5).uniform(-200, 200, (10, 32)), np.zeros(10)
    classifier = EncryptedClassifier.from_layers([first, last], "tanh")
    client = ClassifierClient(classifier.plan)
    classifier.accept(*client.evaluation_keys())
    x = np.random.default_rng(6).uniform(-0.3, 0.3, 64)
    middle, half, powers = fit_tanh(None, 32, last[0])
    exact = last[0] @ valued(powers, (first[0] @ x + first[1] - middle) / half)
    assert np.abs(exact).max() > 100
    np.testing.assert_allclose(client.decrypt(classifier.classify(client.encrypt(x))), exact, atol=10)
    with pytest.raises(NotEncryptable, match="could reach 32,000; the ciphertext has room for ±8,192"):
        EncryptedClassifier.from_layers([first, (np.full((10, 32), 1000.0), np.zeros(10))], "tanh")


def test_layers_of_runs() -> None:
    weights = {"1.weight": np.zeros((10, 64), np.float32), "1.bias": np.zeros(10, np.float32)}
    layers, activation = layers_of(weights)
    assert activation is None and layers[0][0].dtype == np.float64
    both = {**weights, "3.weight": np.zeros((3, 10)), "3.bias": np.zeros(3)}
    layers, activation = layers_of(both)
    assert activation == "tanh" and [m.shape for m, _ in layers] == [(10, 64), (3, 10)]
    with pytest.raises(NotEncryptable, match="convolutions"):
        layers_of({"0.weight": np.zeros((16, 1, 8, 8)), "0.bias": np.zeros(16)})
    with pytest.raises(NotEncryptable, match="weights named a"):
        layers_of({"a": np.zeros(2)})
    with pytest.raises(NotEncryptable, match=r"Layer 2 has weights \(3, 9\)"):
        layers_of({**both, "3.weight": np.zeros((3, 9))})
    with pytest.raises(NotEncryptable, match="Layer 1 holds NaN"):
        layers_of({**both, "1.bias": np.full(10, np.nan)})


def test_envelope_refuses_what_was_altered_repeated_or_sent_back() -> None:
    key = os.urandom(32)
    here, there = Envelope(key, "test", "up", "down"), Envelope(key, "test", "down", "up")
    message = here.seal(b"some ciphertext")
    for at in range(len(message)):
        with pytest.raises(EnvelopeError):
            there.open(message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :])
        with pytest.raises(EnvelopeError):
            there.open(message[:at])
    with pytest.raises(EnvelopeError):
        here.open(message)
    with pytest.raises(EnvelopeError):
        Envelope(key, "other", "down", "up").open(message)
    assert there.open(message) == b"some ciphertext"
    with pytest.raises(EnvelopeError, match="replay"):
        there.open(message)
    assert there.open(here.seal(b"")) == b""


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = load_digits(return_X_y=True)
    return pixels / 16, labels


@pytest.fixture(scope="module")
def trained(digits: tuple[np.ndarray, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """A 64-32-10 tanh network trained on 1,400 digits by plain gradient descent."""
    x, y = digits[0][:1400], np.eye(10)[digits[1][:1400]]
    (a, b), (c, d) = mlp((64, 32, 10))
    for _ in range(400):
        h = np.tanh(x @ a.T + b)
        p = np.exp(h @ c.T + d)
        slope = (p / p.sum(axis=1, keepdims=True) - y) / len(x)
        back = slope @ c * (1 - h * h)
        c, d, a, b = (
            c - 1.5 * slope.T @ h,
            d - 1.5 * slope.sum(axis=0),
            a - 1.5 * back.T @ x,
            b - 1.5 * back.sum(axis=0),
        )
    return [(a, b), (c, d)]


@pytest.fixture(scope="module")
def running(trained, digits):
    model = Classification(trained, "tanh", digits[0][1400:1600])
    yield model
    model.close()


def test_same_class_as_the_plain_model(running: Classification, digits) -> None:
    """Records that neither the training nor the calibration saw."""
    answers = [running.classify(x) for x in digits[0][1600:1660]]
    assert all(answer.agrees for answer in answers)
    assert sum(a.plain_label == y for a, y in zip(answers, digits[1][1600:1660], strict=True)) >= 50
    assert all(set(a.seconds) == {"encrypt", "server", "decrypt"} and a.error < 1 for a in answers)


def test_an_altered_message_is_refused_and_the_next_is_answered(running: Classification, digits) -> None:
    def flip(message: bytes) -> bytes:
        return message[:5000] + bytes([message[5000] ^ 1]) + message[5001:]

    with pytest.raises(NotEncryptable, match="altered on the way"):
        running.classify(digits[0][0], on_the_way=flip)
    earlier: list[bytes] = []
    assert running.classify(digits[0][0], on_the_way=lambda m: earlier.append(m) or m).agrees
    with pytest.raises(NotEncryptable, match="replay"):
        running.classify(digits[0][0], on_the_way=lambda _: earlier[0])
    assert running.classify(digits[0][0]).agrees


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, which only Linux has")
def test_server_memory_has_the_model_and_not_the_record(running: Classification, trained, digits) -> None:
    record = np.random.default_rng(9).uniform(-1, 1, 64)
    answer = running.classify(record)
    memory = _memory(running.server_pid)
    # What must be there is found: the last bias, with the constant terms of the polynomials.
    (first, bias), (last, last_bias) = trained
    powers = fit_tanh(digits[0][1400:1600] @ first.T + bias, 32, last)[2]
    assert (last_bias + last @ powers[:, 0]).tobytes()[:24] in memory
    for secret in (record, record.astype(np.float32), answer.logits):
        assert secret.tobytes()[:24] not in memory
        assert secret.tobytes()[:24] not in answer.sent + answer.received


def _memory(pid: int) -> bytes:
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            start, end, mode = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if mode.startswith("rw") and "[v" not in line:
                memory.seek(int(start, 16))
                found.append(memory.read(int(end, 16) - int(start, 16)))
    return b"".join(found)


def test_a_server_that_dies_is_replaced(trained, digits) -> None:
    try:
        assert service.classify(trained, digits[0][0], "tanh").setup_seconds > 0
        assert service.classify(trained, digits[0][1], "tanh").setup_seconds == 0
        (model,) = service._ready.values()
        os.kill(model.server_pid, signal.SIGKILL)
        model._server._process.wait()
        assert service.classify(trained, digits[0][1], "tanh").setup_seconds > 0
        with pytest.raises(NotEncryptable, match="4096"):
            service.classify([(np.zeros((10, 5000)), np.zeros(10))], np.zeros(5000))
    finally:
        service.close_all()
    assert not service._ready


def test_children_refuse_in_words_and_their_death_is_told() -> None:
    child = Child("privlab.encryption.inference.server", "The server")
    try:
        with pytest.raises(ChildRefused, match="3 layers"):
            layer = pack(np.zeros((2, 2))), pack(np.zeros(2))
            child.call("model", [*layer * 3], activation="tanh", calibrated=False)
        assert child.is_alive
        child._process.kill()
        with pytest.raises(ChildError, match="ended in the middle"):
            child.call("memory")
    finally:
        child.close()
    np.testing.assert_array_equal(unpack(pack(np.arange(3))), np.arange(3))


def test_the_web_process_loads_no_seal() -> None:
    code = "import privlab.encryption.inference.service, sys; print('tenseal' in sys.modules, 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == [
        "False",
        "False",
    ]
