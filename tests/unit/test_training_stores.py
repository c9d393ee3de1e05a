"""train() with encrypted stores and several owners: the same results, exact sums, resume, and what a dead server leaves."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from privlab.config import ConfigError, RunConfig
from privlab.encryption.fixedpoint import BFV_MODULUS, PAD_MODULUS, FixedPointTwin
from privlab.encryption.masks import secure_sum
from privlab.encryption.store import StoreError, open_store
from privlab.encryption.store.tls import make_certificates
from privlab.metrics import METRICS, PHASES, Point
from privlab.paths import certificates_dir
from privlab.preflight import preflight
from privlab.privacy.accounting import epsilon
from privlab.training import handover, trainer
from privlab.training.checkpoint import Checkpoint, CheckpointError
from privlab.training.events import Event
from privlab.training.optimizers import AdamCorrected
from privlab.training.remeasure import measured_again
from privlab.training.train import train

SMALL = RunConfig.from_dict(
    {
        "model": {"name": "mlp"},
        "privacy": {"noise_multiplier": 2.0, "delta": 1e-4, "randomness": "reproducible"},
        "training": {"batch_size": 100, "epochs": 2, "learning_rate": 0.5, "curve_points": 5, "seed": 3},
        "performance": {"device": "cpu", "physical_batch_size": 100},
    }
)
STEPS = 29
MODES = ("bfv", "ckks", "pad")
MASKS = {
    "encryption__mode": "pad",
    "encryption__owners": 5,
    "encryption__aggregation": "masks",
    "encryption__dropouts": 2,
    "encryption__dropout_rate": 0.3,
}


@pytest.fixture(autouse=True)
def _no_look_while_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine must not add a question to those that the tests count."""
    monkeypatch.setattr("privlab.training.background._EVERY", 60.0)


class Recorded:
    """A store that writes down what it is given; ``opened`` has one for each store that a training opened."""

    opened: ClassVar[list[Recorded]] = []

    def __init__(self, mode: str, dimension: int, **options):
        self.inner = open_store(mode, dimension, **options)
        self.puts: list[np.ndarray] = []
        self.given: list[tuple[int, int, np.ndarray]] = []
        self.last = np.zeros(0)
        Recorded.opened.append(self)

    def put(self, vector: np.ndarray, revision: int) -> None:
        self.puts.append(vector.copy())
        self.inner.put(vector, revision)

    def contribute(self, owner: int, update: np.ndarray, revision: int) -> None:
        self.given.append((owner, revision, update.copy()))
        self.inner.contribute(owner, update, revision)

    def open(self) -> np.ndarray:
        self.last = self.inner.open()
        return self.last

    def __getattr__(self, name: str):
        return getattr(self.inner, name)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Recorded]]:
    """Every store that a training opens."""
    Recorded.opened = []
    monkeypatch.setattr(trainer, "open_store", Recorded)
    yield Recorded.opened
    for store in Recorded.opened:
        store.close()


def run(config: RunConfig, **options) -> tuple[list[Point], list[Event], list[Checkpoint]]:
    saved: list[Checkpoint] = []
    said = list(train(config, save=saved.append, **options))
    return [s for s in said if isinstance(s, Point)], [s for s in said if isinstance(s, Event)], saved


def stop_after(step: int):
    count = itertools.count(1)
    return lambda: "pause" if next(count) >= step else None


def weights(checkpoint: Checkpoint) -> np.ndarray:
    return torch.cat([t.flatten() for t in checkpoint.parameters.values()]).double().numpy()


@pytest.fixture(scope="module")
def plain() -> tuple[list[Point], Checkpoint]:
    points, _, saved = run(SMALL)
    return points, saved[-1]


@pytest.mark.parametrize("mode", ["sealed", *MODES])
def test_one_owner_trains_as_without_encryption(mode: str, plain) -> None:
    """The same batches and noise; the store's rounding is all that differs, and the points draw on the same chart."""
    points, events, saved = run(SMALL.replace(encryption__mode=mode))
    before, last = plain
    assert [(p.step, p.epsilon) for p in points] == [(p.step, p.epsilon) for p in before]
    assert [p.metrics["batch_size"] for p in points] == [p.metrics["batch_size"] for p in before]
    np.testing.assert_allclose(weights(saved[-1]), weights(last), atol=2e-5)
    for key in ("test_accuracy", "test_loss", "clipped_share"):
        assert points[-1].metrics[key] == pytest.approx(before[-1].metrics[key], abs=2e-3)
    assert points[-1].metrics.keys() <= METRICS.keys()
    started = next(e for e in events if e.kind == "started").message
    assert ("without a key" in started) == (mode != "sealed")


@pytest.mark.parametrize("owners", [1, 3])
@pytest.mark.parametrize(("mode", "modulus"), [("bfv", BFV_MODULUS), ("pad", PAD_MODULUS)])
def test_the_store_ends_bit_for_bit_as_its_fixed_point_twin(mode: str, modulus: int, owners: int, stores) -> None:
    run(SMALL.replace(encryption__mode=mode, encryption__owners=owners))
    (store,) = stores
    twin = FixedPointTwin(modulus)
    twin.put(store.puts[0])
    for _, _, update in store.given:
        twin.add(update)
    assert [(o, r) for o, r, _ in store.given] == [(o, r) for r in range(1, STEPS + 1) for o in range(owners)]
    assert np.array_equal(store.last, twin.open())


def test_ckks_stays_within_a_millionth(stores) -> None:
    points, _, _ = run(SMALL.replace(encryption__mode="ckks", encryption__owners=3))
    (store,) = stores
    exact = store.puts[0] + sum(update for _, _, update in store.given)
    drift = np.abs(store.last - exact).max()
    assert 0 < drift < 1e-6
    assert points[-1].metrics["drift"] == pytest.approx(drift, rel=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_a_point_says_what_the_store_costs(mode: str) -> None:
    points, _, _ = run(SMALL.replace(encryption__mode=mode, encryption__owners=2))
    for p in points:
        assert {f"time_{phase}" for phase in PHASES} <= p.metrics.keys()
        assert all(p.metrics[f"time_{phase}"] > 0 for phase in ("decrypt", "encrypt", "transfer"))
        # Two owners send, one vector comes back: 4 bytes a parameter at the very least.
        assert p.metrics["bytes_received"] > 4 * 4810 and p.metrics["bytes_sent"] > 8 * 4810
        assert 0 < p.metrics["drift"] < 4e-6
    later = [p.metrics["bytes_sent"] for p in points[1:]]
    assert max(later) == pytest.approx(min(later), rel=0.02)


def test_owners_together_are_one_without_noise_and_sampling() -> None:
    """All records at each step and no noise: who holds them must not matter, nor how they are summed."""
    config = SMALL.replace(privacy__noise_multiplier=0.0, training__batch_size=1442, training__epochs=10)
    _, _, one = run(config)
    for settings in (
        {"encryption__mode": "pad", "encryption__owners": 4},
        {"encryption__mode": "bfv", "encryption__owners": 10},
        MASKS | {"encryption__dropout_rate": 0.0},
        {"encryption__mode": "ckks", "encryption__owners": 3, "encryption__aggregation": "masks"},
    ):
        _, _, several = run(config.replace(**settings))
        np.testing.assert_allclose(weights(several[-1]), weights(one[-1]), atol=2e-5)


def test_masks_and_ciphertexts_give_the_same_run() -> None:
    """Momentum of each owner or momentum of the sum: the same, while all are there."""
    settings = {"encryption__mode": "bfv", "encryption__owners": 3}
    _, _, ciphertexts = run(SMALL.replace(**settings))
    _, _, masks = run(SMALL.replace(**settings, encryption__aggregation="masks"))
    np.testing.assert_allclose(weights(masks[-1]), weights(ciphertexts[-1]), atol=2e-5)


@pytest.mark.parametrize("optimizer", ["adam", "adam-bc"])
def test_other_optimisers_see_the_sum_under_masks(optimizer: str) -> None:
    config = SMALL.replace(training__optimizer=optimizer, training__learning_rate=0.001, training__epochs=6)
    plain, _, _ = run(config)
    one, _, _ = run(config.replace(encryption__mode="pad"))
    several, _, _ = run(config.replace(**MASKS))
    assert one[-1].metrics["test_loss"] == pytest.approx(plain[-1].metrics["test_loss"], rel=1e-3)
    assert several[-1].metrics["test_accuracy"] > 0.3


def test_the_noise_that_adam_corrects_for_is_that_of_the_owners_who_came(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    sound = AdamCorrected.step
    monkeypatch.setattr(AdamCorrected, "step", lambda self: (told.append(self.noise_variance), sound(self)))
    config = SMALL.replace(**MASKS, training__optimizer="adam-bc", training__learning_rate=0.001)
    run(config)
    planned = (2.0 * 1.0 / 100) ** 2
    assert {round(3 * one / planned, 6) for one in told} == {3, 4, 5}


def test_drop_outs_happen_and_are_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[tuple[int, ...]] = []
    sums: list[np.ndarray] = []

    def watched(words, *args):
        found = secure_sum(words, *args)
        assert np.array_equal(found.words, np.add.reduce(list(words.values()), dtype=np.uint32))
        rounds.append(found.owners)
        sums.append(found.words.copy())
        return found

    monkeypatch.setattr(handover, "secure_sum", watched)
    points, _, _ = run(SMALL.replace(**MASKS))
    assert len(rounds) == STEPS and {len(who) for who in rounds} == {3, 4, 5}
    # Gradients in fixed point are small numbers: what the summing party sees of them is not.
    for sum_seen in sums:
        assert 0.45 < (np.abs(sum_seen.view(np.int32).astype(float)) > 2**30).mean() < 0.55
    assert points[-1].metrics["test_accuracy"] > 0.5
    assert points[-1].epsilon == pytest.approx(epsilon(100 / 1442, 2.0, STEPS, 1e-4), abs=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {"encryption__mode": "pad"},
        {"encryption__mode": "bfv", "training__optimizer": "adam", "training__learning_rate": 0.01},
        {"encryption__mode": "pad", "encryption__owners": 3, "training__ema_decay": 0.9},
        MASKS,
    ],
    ids=["one owner", "adam", "three owners, averaged", "masks"],
)
@pytest.mark.parametrize("pause_at", [8, 11])
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(settings: dict, pause_at: int) -> None:
    config = SMALL.replace(**settings)
    whole, _, whole_saved = run(config)
    _, events, saved = run(config, control=stop_after(pause_at))
    assert events[-1].kind == "paused" and saved[-1].step == pause_at
    after, _, resumed = run(config, resume=Checkpoint.from_bytes(saved[-1].to_bytes()))
    assert torch.equal(resumed[-1].stored, whole_saved[-1].stored)
    for name, tensor in whole_saved[-1].weights.items():
        assert torch.equal(resumed[-1].weights[name], tensor), name
    assert after[-1].metrics["test_loss"] == whole[-1].metrics["test_loss"]
    assert after[-1].epsilon == whole[-1].epsilon


def test_a_resumed_store_begins_with_every_bit_of_the_checkpoint(stores) -> None:
    """Above 1 the store's grid is finer than float32, which the model has."""
    config = SMALL.replace(encryption__mode="pad")
    _, _, saved = run(config, control=stop_after(2))
    stored = saved[-1].stored.clone()
    stored[:2] = torch.tensor([1 + 2.0**-24, -3 - 2.0**-24], dtype=torch.float64)
    assert not torch.equal(stored[:2], stored[:2].float().double())
    changed = Checkpoint.from_bytes(replace(saved[-1], stored=stored).to_bytes())
    list(train(config, resume=changed, control=stop_after(1)))
    assert np.array_equal(stores[1].puts[0], stored.numpy())


def test_a_server_that_dies_in_mid_update_leaves_the_last_checkpoint(stores) -> None:
    config = SMALL.replace(encryption__mode="pad", encryption__owners=3)
    _, _, whole = run(config)
    contribute = Recorded.contribute

    def dying(self: Recorded, owner: int, update: np.ndarray, revision: int) -> None:
        if (owner, revision) == (1, 12):
            os.kill(self.inner.server_pid, signal.SIGKILL)
        contribute(self, owner, update, revision)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorded, "contribute", dying)
        saved: list[Checkpoint] = []
        with pytest.raises(StoreError):
            list(train(config, save=saved.append))
    assert saved[-1].step == 8
    _, _, resumed = run(config, resume=saved[-1])
    assert torch.equal(resumed[-1].stored, whole[-1].stored)


def test_the_server_ends_with_the_training(stores) -> None:
    running = train(SMALL.replace(encryption__mode="pad"))
    next(said for said in running if isinstance(said, Point))
    pid = stores[0].inner.server_pid
    os.kill(pid, 0)
    running.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_server_may_be_on_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain) -> None:
    """Here on this host's own loopback interface, over TLS with both certificates."""
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    make_certificates(tmp_path / "server", ["127.0.0.1"])
    command = [sys.executable, "-m", "privlab.encryption.store.server", "--listen", "127.0.0.1:0"]
    server = subprocess.Popen([*command, "--certificates", str(tmp_path / "server")], stdout=subprocess.PIPE, text=True)
    with server:
        try:
            address = server.stdout.readline().split()[-1]
            config = SMALL.replace(encryption__mode="pad", encryption__server=address)
            with pytest.raises(StoreError, match="missing"):
                run(config)
            for name in ("ca.pem", "client.pem", "client.key"):
                shutil.copy(tmp_path / "server" / name, certificates_dir() / name)
            _, events, saved = run(config)
        finally:
            server.terminate()
    assert any(f"the server at {address}" in event.message for event in events)
    np.testing.assert_allclose(weights(saved[-1]), weights(plain[1]), atol=2e-5)


@pytest.mark.parametrize("server", ["here", ":1", "host:", "host:70000", "host:-1", "host:x"])
def test_an_address_that_is_none_is_refused(server: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        SMALL.replace(encryption__mode="pad", encryption__server=server)


def test_an_update_that_is_committed_twice_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = handover.Handover.commit

    def twice(self, step: int, clock, noise_variance: float) -> None:
        commit(self, step, clock, noise_variance)
        self._store.commit(step)

    monkeypatch.setattr(handover.Handover, "commit", twice)
    with pytest.raises(StoreError, match="Revision 1 cannot be committed"):
        run(SMALL.replace(encryption__mode="pad"))


def test_an_owner_whose_update_does_not_arrive_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    deliver = handover.Handover.deliver
    monkeypatch.setattr(handover.Handover, "deliver", lambda self, owner, *a: owner == 2 or deliver(self, owner, *a))
    with pytest.raises(StoreError, match="no update from owner 2"):
        run(SMALL.replace(encryption__mode="pad", encryption__owners=3))


def test_encryption_may_be_switched_on_for_the_rest_of_a_run(plain) -> None:
    _, _, saved = run(SMALL, control=stop_after(8))
    _, _, resumed = run(SMALL.replace(encryption__mode="pad"), resume=saved[-1])
    np.testing.assert_allclose(weights(resumed[-1]), weights(plain[1]), atol=2e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encryption__owners": 2}, "owners=3, these settings say owners=2"),
        ({"encryption__mode": "none", "encryption__owners": 1}, "owners=3, these settings say owners=1"),
        ({"encryption__aggregation": "masks"}, "a sum by masks=False"),
        ({"encryption__aggregation": "masks", "encryption__dropouts": 1}, "dropouts=0, these settings say dropouts=1"),
    ],
)
def test_another_division_among_owners_is_no_continuation(changes: dict, words: str) -> None:
    config = SMALL.replace(encryption__mode="pad", encryption__owners=3)
    _, _, saved = run(config, control=stop_after(2))
    with pytest.raises(CheckpointError, match=words):
        list(train(config.replace(**changes), resume=saved[-1]))


def test_a_lost_point_is_measured_again_without_a_server(stores) -> None:
    config = SMALL.replace(encryption__mode="pad", encryption__owners=3)
    points, _, saved = run(config)
    opened = len(stores)
    again = measured_again(config, saved[-1])
    assert len(stores) == opened
    assert again.metrics["test_accuracy"] == points[-1].metrics["test_accuracy"]


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"encryption__owners": 3}, "encryption.owners", ["owners=3", "bfv, ckks or pad"]),
        ({"encryption__mode": "bfv", "encryption__owners": 11}, "encryption.owners", ["owners=11", "10"]),
        (
            {"encryption__mode": "bfv", "encryption__owners": 2, "training__optimizer": "adam"},
            "encryption.owners",
            ["owners=2", "adam"],
        ),
        (
            {"encryption__mode": "pad", "encryption__owners": 2, "privacy__clipping": "adaptive"},
            "encryption.owners",
            ["owners=2", "clipping=adaptive"],
        ),
        (
            {"encryption__mode": "pad", "encryption__owners": 2, "privacy__bands": 4},
            "encryption.owners",
            ["owners=2", "bands=4"],
        ),
        (
            {"encryption__mode": "pad", "encryption__owners": 2, "privacy__protection": "rounded"},
            "encryption.owners",
            ["owners=2", "protection=rounded"],
        ),
        (MASKS | {"encryption__dropouts": 3}, "encryption.dropouts", ["dropouts=3", "more than 2", "5 owners"]),
        (
            MASKS | {"encryption__dropouts": 0, "encryption__owners": 10, "encryption__dropout_rate": 0.5},
            "encryption.dropout_rate",
            ["dropout_rate=0.5", "once in 1,024"],
        ),
        (
            {"encryption__mode": "pad", "encryption__owners": 10, "training__learning_rate": 1e-4},
            "encryption.owners",
            ["owners=10", "10.6 steps", "16"],
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_the_launch(settings: dict, path: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        preflight(SMALL.replace(**settings))
    found = {p.path: p.message for p in caught.value.problems}
    assert path in found, found
    for word in words:
        assert word in found[path], found[path]


def test_a_model_too_large_for_a_mode_is_refused_with_bytes_and_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privlab.preflight.parameters", lambda *_: 50_000_000)
    for mode in ("bfv", "ckks"):
        with pytest.raises(ConfigError) as caught:
            preflight(SMALL.replace(encryption__mode=mode))
        (problem,) = caught.value.problems
        assert problem.path == "encryption.mode"
        for word in ("50,000,000 parameters", "GB", " s at every step", f"mode={mode}"):
            assert word in problem.message
    assert preflight(SMALL.replace(encryption__mode="pad")).config.encryption.mode == "pad"


def test_one_owner_may_have_what_several_may_not() -> None:
    for settings in (
        {"privacy__clipping": "adaptive", "privacy__quantile_noise": 0.2},
        {"privacy__bands": 4},
        {"privacy__protection": "rounded"},
        {"training__optimizer": "adam-bc", "training__learning_rate": 0.001},
    ):
        config = SMALL.replace(encryption__mode="pad", training__epochs=1, **settings)
        points, _, _ = run(config)
        assert points[-1].step == 14
