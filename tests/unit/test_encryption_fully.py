"""Training on ciphertext: bounded gradients, the circuit, the noise and what it guarantees, both modes against their plain twin."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
from dp_accounting import get_epsilon_gaussian
from scipy import stats

from privlab.encryption.child import Child
from privlab.encryption.ckks import Evaluator, KeyHolder, Parameters, to_bytes
from privlab.encryption.fully import datasets
from privlab.encryption.fully.arithmetic import (
    C1,
    C3,
    GRADIENT_BOUND,
    MOST_NORM,
    FullyError,
    Momentum,
    check_records,
    gradient_sum,
    projected,
)
from privlab.encryption.fully.circuit import Step, encrypted, scaled
from privlab.encryption.fully.config import FullyConfig, guarantee_of
from privlab.encryption.fully.guarantee import ELSEWHERE, Guarantee, normal
from privlab.encryption.fully.layout import PARAMETERS, SLOTS, Layout
from privlab.encryption.fully.train import train_encrypted


def records(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True), np.where(rng.random(n) < 0.5, -1.0, 1.0)


def weights(d: int, seed: int = 0) -> np.ndarray:
    w = np.random.default_rng(seed).normal(size=d)
    return w * MOST_NORM / np.linalg.norm(w)


def stepped(layout: Layout, v: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
    """What the circuit adds to the weights' slots, on plain slots: complex (SLOTS,)."""
    parts, total = scaled(layout, v, scale), 0.0
    for number, factor in enumerate(parts.factors):
        z = parts.pairs[number // 2] * layout.spread(w)
        for rotation in layout.over_inputs:
            z = z + np.roll(z, -rotation)
        part = z - z.conj() if number % 2 else z + z.conj()
        total = total + factor * part * (part * part + (4 * C1 if number % 2 else -4 * C1))
    total = total + parts.half + 0j
    for rotation in layout.over_records:
        total = total + np.roll(total, -rotation)
    return total


# Bounded by construction


def test_gradient_bound() -> None:
    t = np.linspace(-MOST_NORM, MOST_NORM, 100_001)
    s = 0.5 + C1 * t - C3 * t**3
    assert pytest.approx(1.0609163, abs=1e-6) == GRADIENT_BOUND
    assert np.abs(s).max() == pytest.approx(GRADIENT_BOUND, abs=1e-8) and s.min() == pytest.approx(
        1 - GRADIENT_BOUND, abs=1e-8
    )
    assert np.abs(s - 1 / (1 + np.exp(-t))).max() < 0.12


@pytest.mark.parametrize("seed", range(20))
def test_no_record_moves_the_sum_further_than_the_bound(seed: int) -> None:
    x, y = records(50, 7, seed)
    w = projected(weights(7, seed) * 3)
    v = x * y[:, None]
    for without in range(50):
        left = np.delete(v, without, axis=0)
        assert np.linalg.norm(gradient_sum(v, w) - gradient_sum(left, w)) <= GRADIENT_BOUND + 1e-12
    # The worst record reaches it.
    t = math.sqrt(C1 / (3 * C3))
    assert np.linalg.norm(gradient_sum(-w[None] / MOST_NORM, w * t / MOST_NORM)) == pytest.approx(GRADIENT_BOUND)


def test_records_that_break_the_bound_are_refused() -> None:
    x, y = records(5, 3)
    check_records(x, y)
    with pytest.raises(FullyError, match=r"Record 2 has the norm 1\.01"):
        check_records(np.where(np.arange(5)[:, None] == 2, x * 1.01, x), y)
    with pytest.raises(FullyError, match="Record 1 has the norm nan"):
        check_records(np.where(np.arange(5)[:, None] == 1, np.nan, x), y)
    with pytest.raises(FullyError, match=r"Label 0 is 0\.5"):
        check_records(x, np.full(5, 0.5))
    with pytest.raises(FullyError, match="do not belong together"):
        check_records(x, y[:4])


def test_momentum_is_made_from_released_weights_alone() -> None:
    own = Momentum(0.5, np.zeros(2))
    own.take(np.array([1.0, 0.0]))
    np.testing.assert_allclose(own.take(np.array([1.0, 2.0])), [1.5, 2.0])
    assert np.linalg.norm(own.take(np.array([100.0, 0.0]))) == pytest.approx(MOST_NORM)


# Layout


@pytest.mark.parametrize(("n", "d"), [(455, 31), (289, 63), (10, 1), (3000, 4), (5, 1000)])
def test_layout_computes_the_gradient(n: int, d: int) -> None:
    """The circuit on plain slots."""
    (x, y), w, layout, scale = records(n, d), weights(d), Layout(n, d), 0.3
    total = stepped(layout, x * y[:, None], w, scale)
    np.testing.assert_allclose(total.imag, 0, atol=1e-9)
    found = layout.results(total.real + layout.spread(w))
    np.testing.assert_allclose(found, w + scale * gradient_sum(x * y[:, None], w), atol=1e-9)
    # SEAL's bias is in the first slot: nothing that is used may stand in its window.
    assert layout.result_slots.min() >= layout.window


def test_layout_of_breast_cancer_and_bounds() -> None:
    layout = Layout(455, 31)
    assert (layout.features, layout.window, layout.blocks) == (32, 256, 2)
    assert len(layout.over_inputs) == 5 and len(layout.over_records) == 8
    with pytest.raises(FullyError, match="5000 inputs"):
        Layout(10, 5000)
    with pytest.raises(FullyError, match=r"20,000 records of 31 inputs fill 79 ciphertexts.*16,384 records"):
        Layout(20_000, 31)


# The guarantee


def test_epsilon_is_that_of_the_gaussian_mechanism() -> None:
    guarantee = Guarantee(10.0, 1e-5, 4 / 455, Layout(455, 31))
    epsilons = guarantee.epsilons(30)
    for steps in (1, 7, 30):
        exact = get_epsilon_gaussian(guarantee.accounted / math.sqrt(steps), 1e-5)
        assert exact - 1e-9 <= epsilons[steps - 1] <= exact * 1.002
    # Golden.
    assert epsilons[-1] == pytest.approx(2.20707857, abs=1e-6)
    assert np.isinf(Guarantee(0.0, 1e-5, 1.0, Layout(455, 31)).epsilons(2)).all()


def test_every_slot_counts() -> None:
    """What one record moves in *all* slots, each over its own noise, is no more than what is accounted."""
    (x, y), w, scale = records(300, 31, 3), weights(31, 3), 0.02
    layout = Layout(300, 31)
    guarantee = Guarantee(2.0, 1e-5, scale, layout)

    v = x * y[:, None]
    # The longest gradient there is: a record against w, where the cubic is largest.
    v[7] = -w / MOST_NORM
    w = w * math.sqrt(C1 / (3 * C3)) / MOST_NORM
    without = np.where(np.arange(300)[:, None] == 7, 0.0, v)
    moved = stepped(layout, v, w, scale) - stepped(layout, without, w, scale)
    deviation = np.full(SLOTS, guarantee.noise_elsewhere)
    deviation[layout.result_slots] = guarantee.noise_std
    shift = np.linalg.norm(moved / deviation)
    assert 0.99 / guarantee.accounted < shift <= 1 / guarantee.accounted
    assert guarantee.accounted < guarantee.noise_multiplier


def test_noise_is_where_and_what_it_should_be() -> None:
    guarantee = Guarantee(5.0, 1e-5, 0.01, Layout(455, 31))
    drawn = np.array([guarantee.noise() for _ in range(100)])
    results = guarantee.layout.result_slots
    assert stats.kstest((drawn.real[:, results] / guarantee.noise_std).ravel(), "norm").pvalue > 1e-6
    elsewhere = np.delete(drawn, results, axis=1)
    for part in (elsewhere.real, elsewhere.imag, drawn.imag[:, results]):
        assert stats.kstest(part.ravel()[:100_000] / (ELSEWHERE * guarantee.noise_std), "norm").pvalue > 1e-6
    assert guarantee.noise_std == pytest.approx(5 * 1.0609163 * 0.01, rel=2e-3)
    assert guarantee.noise_std > 5 * GRADIENT_BOUND * 0.01


def test_normal_draws() -> None:
    drawn = normal(200_000)
    assert stats.kstest(drawn, "norm").pvalue > 1e-6
    assert abs(np.corrcoef(drawn[::2], drawn[1::2])[0, 1]) < 0.02
    assert not np.array_equal(normal(4), normal(4))


def test_settings_out_of_range_are_refused_with_their_bounds() -> None:
    for change, words in (
        ({"mode": "c3"}, "mode='c3' is unknown"),
        ({"steps": 0}, "steps=0 must lie between 1 and 10,000"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"momentum": 1.0}, "momentum=1 must be at least 0 and below 1"),
        ({"mode": "c1", "noise_multiplier": 0.0}, "exact sums"),
    ):
        with pytest.raises(FullyError, match=words):
            FullyConfig(**change)
    with pytest.raises(FullyError, match=r"noise_multiplier=0.01 must be 0 or lie between 0.05 and 1000"):
        guarantee_of(FullyConfig(noise_multiplier=0.01), 455, 31)
    with pytest.raises(FullyError, match=r"delta=0.01 must lie above 0 and below 1 over the 455 records"):
        guarantee_of(FullyConfig(delta=0.01), 455, 31)
    with pytest.raises(FullyError, match="room for"):
        guarantee_of(FullyConfig(noise_multiplier=1000.0, learning_rate=100.0), 455, 31)


# The circuit


@pytest.fixture(scope="module")
def lattice() -> tuple[Layout, KeyHolder, Evaluator]:
    layout = Layout(455, 31)
    keys = KeyHolder(Parameters(*PARAMETERS), layout.over_inputs + layout.over_records, conjugation=True)
    return layout, keys, Evaluator(Parameters(*PARAMETERS), *keys.evaluation_keys())


@pytest.mark.parametrize("mode", ["c1", "c2"])
@pytest.mark.parametrize("scale", [1e-3, 0.01, 1.0])
def test_ciphertext_errs_by_far_less_than_the_margin(lattice, mode: str, scale: float) -> None:
    layout, keys, on = lattice
    (x, y), bound = records(455, 31), Guarantee(1.0, 1e-5, scale, layout).weight_error
    v = x * y[:, None]
    parts = scaled(layout, v, scale)
    step = Step(on, layout, parts if mode == "c1" else encrypted(keys, parts))
    errors = []
    for seed in range(3):
        w = weights(31, seed)
        found = layout.results(keys.decrypt(to_bytes(step(on.read_ciphertext(keys.encrypt(layout.spread(w)))))))
        errors.append(found - w - scale * gradient_sum(v, w))
    assert np.std(errors) < bound / 10 and np.abs(errors).max() < bound / 2


def test_the_result_is_rerandomized(lattice) -> None:
    """Else whoever knows the randomness of the encrypted weights divides it out and reads the records (mode C1)."""
    layout, keys, on = lattice
    x, y = records(455, 31)
    step = Step(on, layout, scaled(layout, x * y[:, None], 0.01))
    w = on.read_ciphertext(keys.encrypt(layout.spread(weights(31))))
    public = on.read_public_key(keys.public_key())
    one, two = step(w), step(w)
    assert one.data(1) == two.data(1)
    fresh = [on.rerandomized(one, public) for _ in range(2)]
    assert len({one.data(1), *(ciphertext.data(1) for ciphertext in fresh)}) == 3
    np.testing.assert_allclose(keys.decrypt(to_bytes(fresh[0])), keys.decrypt(to_bytes(one)), atol=1e-6)


# Whole trainings


@pytest.mark.parametrize("mode", ["c1", "c2"])
def test_training_is_that_of_the_plain_twin(mode: str) -> None:
    data = datasets.breast_cancer()
    config = FullyConfig(mode=mode, steps=4)
    points = list(train_encrypted(config, data.train_x, data.train_y, data.test_x, data.test_y))
    assert [point.step for point in points] == [0, 1, 2, 3, 4]
    assert points[0].epsilon == 0 and points[0].levels_left == 3 and points[0].bytes_up > 2e7
    for before, point in pairwise(points):
        assert point.weight_difference < 1e-5
        assert point.accuracy == point.twin_accuracy and point.epsilon > before.epsilon
        assert point.levels_left == 0 and point.bytes_up > 3e5 and point.bytes_down > 2e5
        assert set(point.seconds) == {"encrypt", "server", "transfer", "decrypt", "twin"}
    assert points[-1].epsilon == guarantee_of(config, 455, 31).epsilons(4)[-1]
    # Noise is in there: without it the first step would be the same for everybody.
    exact = 4 / 455 * gradient_sum(data.train_x * data.train_y[:, None], np.zeros(31))
    noise = (points[1].weights - exact) / guarantee_of(config, 455, 31).noise_std
    assert 10 < noise @ noise < 70


def test_without_noise_and_twin() -> None:
    data = datasets.digits01()
    config = FullyConfig(noise_multiplier=0.0, steps=6, twin=False)
    points = list(train_encrypted(config, data.train_x, data.train_y, data.test_x, data.test_y))
    assert points[-1].accuracy > 0.95
    assert points[-1].epsilon == math.inf and points[-1].to_dict()["epsilon"] is None
    assert points[-1].twin_accuracy is None and points[-1].weight_difference is None


def test_the_records_owner_refuses_to_answer_without_noise() -> None:
    """Whatever the model's owner asks for: in mode C1 the noise is the other party's to add."""
    config = FullyConfig(mode="c1", steps=1)
    object.__setattr__(config, "noise_multiplier", 0.0)
    x, y = records(20, 3)
    with pytest.raises(FullyError, match="the records' owner refuses"):
        list(train_encrypted(config, x, y, x, y))


def test_an_altered_message_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Child.call

    def flipping(self, do, blobs=(), **header):
        answer, parts = honest(self, do, blobs, **header)
        if do == "step":
            parts[0] = parts[0][:9999] + bytes([parts[0][9999] ^ 1]) + parts[0][10000:]
        return answer, parts

    monkeypatch.setattr(Child, "call", flipping)
    x, y = records(20, 3)
    with pytest.raises(FullyError, match="altered on the way"):
        list(train_encrypted(FullyConfig(steps=1), x, y, x, y))


_LEAKY = """
from privlab.encryption.fully import server

class Leaky(server._Server):
    kept = []

    def step(self, header, blobs):
        self.kept.append(bytes(blobs[1]))
        return super().step(header, blobs[:1])

server._Server = Leaky
server.main()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, which only Linux has")
@pytest.mark.parametrize("leaky", [False, True])
def test_server_memory_and_traffic(leaky: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Mode C2: neither records nor weights. Weights that are let in on purpose are found."""
    children, traffic, (start, honest) = [], [], (Child.__init__, Child.call)

    def starting(self, module, name):
        start(self, "leaky" if leaky else module, name)
        children.append(self)

    def calling(self, do, blobs=(), **header):
        extra = [points.gi_frame.f_locals["training"]._own.weights.tobytes()] if leaky and do == "step" else []
        answer, parts = honest(self, do, [*blobs, *extra], **header)
        traffic.extend([*blobs, *extra, *parts])
        return answer, parts

    (tmp_path / "leaky.py").write_text(_LEAKY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(Child, "__init__", starting)
    monkeypatch.setattr(Child, "call", calling)
    data = datasets.breast_cancer()
    config = FullyConfig(steps=4, twin=False)
    with closing(train_encrypted(config, data.train_x, data.train_y, data.test_x, data.test_y)) as points:
        seen = [next(points) for _ in range(4)]
        memory = _memory(children[0].pid)
    v = data.train_x * data.train_y[:, None]
    for plain in (data.train_x[100], v[100], scaled(Layout(455, 31), v, 4 / 455).pairs[0][300:]):
        assert plain.tobytes()[:24] not in memory and not any(plain.tobytes()[:24] in sent for sent in traffic)
    for point in seen[1:3]:
        assert (point.weights.tobytes()[:24] in memory) == leaky
        assert any(point.weights.tobytes()[:24] in sent for sent in traffic) == leaky


def _memory(pid: int) -> bytes:
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            start, end, mode = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if mode.startswith("rw") and "[v" not in line:
                memory.seek(int(start, 16))
                found.append(memory.read(int(end, 16) - int(start, 16)))
    return b"".join(found)


# Data and the job


def test_datasets_are_prepared_within_the_bound() -> None:
    for name, shape, tests in (
        ("breast-cancer", (455, 31), 114),
        ("digits01", (289, 63), 71),
        ("fashion-shoes", (1000, 63), 200),
    ):
        data = datasets.load(name)
        assert data.train_x.shape == shape and len(data.test_y) == tests
        check_records(data.train_x, data.train_y)
        check_records(data.test_x, data.test_y)
    with pytest.raises(FullyError, match="dataset='iris' is unknown"):
        datasets.load("iris")


def job(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "privlab.encryption.fully.job", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_job_prints_a_line_a_step_and_stops_when_told() -> None:
    with job("--dataset", "digits01", "--mode", "c1", "--steps", "500", "--sigma", "20") as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        lines += [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    assert lines[0]["kind"] == "started" and lines[0]["records"] == 289 and lines[0]["labels"] == ["0", "1"]
    assert lines[0]["epsilon"] > 1 and "model's owner" in lines[0]["holds_against"]
    points = [line for line in lines if line["kind"] == "point"]
    assert [point["step"] for point in points] == list(range(len(points))) and len(points) < 20
    assert lines[-1] == {"kind": "stopped", "step": points[-1]["step"]}


def test_job_refuses_in_words() -> None:
    with job("--sigma", "0.01") as process:
        assert json.loads(process.stdout.read())["message"].startswith("noise_multiplier=0.01 must be 0 or lie between")
    assert process.returncode == 2


def test_job_whose_server_dies_fails_and_is_not_refused() -> None:
    with job("--dataset", "digits01", "--mode", "c1", "--steps", "500", "--sigma", "20") as process:
        for _ in range(3):
            process.stdout.readline()
        for server in psutil.Process(process.pid).children():
            server.kill()
        *_, last = (json.loads(line) for line in process.stdout)
    assert last["kind"] == "failed" and "server" in last["message"]
    assert process.returncode == 2


def test_a_form_loads_no_seal() -> None:
    code = "import privlab.encryption.fully.config, privlab.encryption.fully.datasets, sys; print('tenseal' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_whom_the_guarantee_binds_is_said() -> None:
    assert "not against the server" in FullyConfig().holds_against and "twin" in FullyConfig().holds_against
    assert "follows the protocol" in FullyConfig(mode="c1", twin=False).holds_against
    assert "no guarantee" in FullyConfig(noise_multiplier=0.0).holds_against


def test_nothing_of_it_loads_torch() -> None:
    code = "import privlab.encryption.fully.job, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
