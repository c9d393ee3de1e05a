"""Secret-shared training without SPU: bounds, accounting, an owner's draws, the plain twin, and the parties as processes."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from privlab.encryption.shared import environment, job
from privlab.encryption.shared import parties as processes
from privlab.encryption.shared.accounting import guarantee
from privlab.encryption.shared.beside import Beside
from privlab.encryption.shared.bounds import ERROR_SQUARED, RAMP, bounds_of, party_deviation, scales_of
from privlab.encryption.shared.datasets import DATASETS, owners_of
from privlab.encryption.shared.environment import available
from privlab.encryption.shared.guesses import UNIT, guess
from privlab.encryption.shared.noise import grid_noise, relative_error
from privlab.encryption.shared.owner import Owner, in_plain_units, rows_for, rows_of
from privlab.encryption.shared.settings import PARTIES, SharedError, SharedFailed, SharedSettings
from privlab.encryption.shared.train import shape_of, train
from privlab.encryption.shared.twin import RampTwin, Twin, accuracy, initial, split
from privlab.privacy import epsilon

OWNERS = (479, 479, 479)


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- first guesses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [4.0, 137.9, 2.0**21])
def test_a_newton_step_after_the_guess_never_exceeds_the_reciprocal_root(most):
    x = np.geomspace(1.0, most, 100_001)
    y = guess("rsqrt", 1.0, most, flat_first=True)(x)
    ended = y * (3 - x * y * y) / 2 * np.sqrt(x)
    assert ended.max() <= 1 + 1e-12
    assert ended.min() > 0.94
    assert ended[x < 128].min() > 0.999
    # The rounding of the step itself is bounded for guesses up to 1.1 only.
    assert 0 < y.min() <= y.max() <= 1.1


def test_a_short_gradient_keeps_its_length():
    assert guess("rsqrt", 1.0, 64.0, flat_first=True)(np.array([1.0])) == 1.0


def test_the_reciprocals_newton_step_never_exceeds_it():
    x = np.geomspace(0.003, 512, 100_001)
    y = guess("reciprocal", 0.003, 512)(x)
    ended = y * (2 - x * y) * x
    assert ended.max() <= 1 + 1e-12
    assert ended[x < 128].min() > 0.99
    assert ended.min() > 0.8


# --- an owner's part -------------------------------------------------------------------------------------------------------


def an_owner(records=200, rate=0.1, slots=60, seed=None, **given):
    draw = seeded(3)
    x, y = draw.uniform(0, 1, (records, 4)), draw.integers(0, 3, records)
    defaults = {"deviation": 0.5, "dimension": 50}
    generator = None if seed is None else seeded(seed)
    return Owner(rows_of(x, y, 3, 2.0), rate=rate, slots=slots, generator=generator, **{**defaults, **given})


def test_a_record_is_on_the_grid_and_no_longer_than_promised():
    x = np.array([[30.0, 40.0], [0.3, 0.4]])
    rows = rows_of(x, np.array([1, 0]), 2, 5.0)
    assert np.array_equal(rows / UNIT, np.rint(rows / UNIT))
    assert np.linalg.norm(rows[:, :2], axis=1) == pytest.approx([5.0, 0.5], abs=2 * UNIT)
    assert np.linalg.norm(rows[0, :2]) <= 5.0
    assert np.all(rows[:, 2] == 1)
    # The norm that clipping relies on is never below the true one.
    assert np.all(rows[:, 3] >= np.square(rows[:, :3]).sum(1))
    assert rows[:, 4:].tolist() == [[0, 1], [1, 0]]


def test_each_record_joins_by_its_own_coin_at_a_random_place():
    owner, counts, first = an_owner(rate=0.1, seed=1), [], set()
    for _ in range(400):
        block = owner.block()
        used = np.flatnonzero(block[:, 4])
        counts.append(len(used))
        first.add(int(used[0]))
        assert np.all(block[block[:, 4] == 0] == 0)
    assert np.mean(counts) == pytest.approx(20, abs=4 * math.sqrt(18 / 400))
    assert np.var(counts) == pytest.approx(18, rel=0.3)
    assert len(first) > 5


def test_a_batch_beyond_its_padding_is_cut():
    block = an_owner(rate=0.9, slots=10, seed=1).block()
    assert block.shape == (10, 4 + 2 + 3)
    assert np.all(block[:, 4] == 1)


def test_every_record_takes_part_at_rate_one():
    assert an_owner(records=50, rate=1.0, slots=60).block()[:, 4].sum() == 50


def test_two_owners_of_the_system_draw_differently_and_two_of_a_seed_alike():
    assert not np.array_equal(an_owner().noise(), an_owner().noise())
    one, other = an_owner(seed=5), an_owner(seed=5)
    assert np.array_equal(one.block(), other.block())
    assert np.array_equal(one.noise(), other.noise())


def test_noise_is_normal_on_the_grid():
    noise = grid_noise(200_000, 0.75, seeded())
    assert np.array_equal(noise / UNIT, np.rint(noise / UNIT))
    assert noise.std() == pytest.approx(0.75, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert np.mean(np.abs(noise) > 1.5) == pytest.approx(0.0455, abs=0.002)
    # Pinned: the same words must give the same noise for a reproducible run to stay one.
    assert (noise[:3] / UNIT).tolist() == [-169978.0, -243087.0, 249970.0]


def test_noise_too_small_for_the_grid_is_refused_by_value():
    with pytest.raises(SharedError, match=r"noise of 0\.003 is below 0\.00391"):
        relative_error(0.003)


def a_binary_shape(clip=0.7, inputs=4, **given):
    settings = SharedSettings(model="binary", max_grad_norm=clip, **given)
    promise = guarantee(settings, OWNERS, inputs, 2)
    return settings, shape_of(settings, promise, inputs, 2)


@pytest.mark.parametrize("clip", [0.05, 0.7, 3.0])
@pytest.mark.parametrize("given", [{}, {"learning_rate": 2.0, "batch_size": 7}, {"learning_rate": 0.02}])
def test_a_records_largest_error_never_lets_it_add_more_than_the_clip(clip, given):
    draw = seeded(7)
    x = draw.normal(size=(2000, 4)) * 10 ** draw.uniform(-2, 1, (2000, 1))
    y = draw.integers(0, 2, 2000)
    settings, shape = a_binary_shape(clip, **given)
    rows = rows_for(shape, x, y, settings.input_norm)
    assert np.array_equal(rows / UNIT, np.rint(rows / UNIT))
    assert rows.shape == (2000, shape.columns)
    assert rows[:, -1].min() > 0
    most = np.linalg.norm(rows[:, :-1], axis=1) * rows[:, -1]
    assert most.max() <= shape.scales.sum * clip
    # Where the line itself does not end before, it is no shorter than the grid makes it either.
    ends = rows[:, -1] == 2 * shape.ramp
    assert np.all(most[~ends] > 0.999 * shape.scales.sum * clip)
    assert np.all(np.sign(rows[:, -2]) == np.where(y == 1, -1, 1))


def test_what_the_twins_get_is_in_true_units():
    settings, shape = a_binary_shape()
    x, y = np.array([[0.5, -0.25, 0.125, 1.0], [0, 0, 0, 0.1]]), np.array([1, 0])
    rows = in_plain_units(shape, rows_for(shape, x, y, settings.input_norm))
    assert rows[:, :4] == pytest.approx(x * [[-1], [1]], abs=UNIT / shape.scales.record)
    assert rows[:, 4] == pytest.approx([-1, 1], abs=1e-3)
    assert rows[:, 5] == pytest.approx(0.7 / np.hypot(1, np.linalg.norm(x, axis=1)), rel=1e-3)


# --- bounds and ε ----------------------------------------------------------------------------------------------------------


def test_the_margin_is_what_the_documentation_derives():
    logistic = bounds_of(SharedSettings(), 64, 10, 279)
    tau = 2 * UNIT
    assert logistic.margin == pytest.approx((tau * math.sqrt(65 * 10) + 2 * tau * math.sqrt(650)) / 2, rel=1e-9)
    assert logistic.longest == pytest.approx(65 * ERROR_SQUARED * 1.01)
    mlp = bounds_of(SharedSettings(model="mlp", learning_rate=0.1), 64, 10, 279)
    assert mlp.dimension == 2410
    assert mlp.margin == pytest.approx(0.0085634, rel=1e-4)
    # A record of two classes is cut without any rounding: the sum's alone is left.
    binary = SharedSettings(model="binary")
    assert bounds_of(binary, 64, 2, 279).margin == pytest.approx(2 * tau * math.sqrt(65) / scales_of(binary).sum)
    # A shorter clip feels the same rounding more.
    assert bounds_of(SharedSettings(max_grad_norm=0.5), 64, 10, 279).margin == pytest.approx(2 * logistic.margin)


def test_numbers_that_could_leave_the_ring_are_refused_by_name():
    with pytest.raises(SharedError, match=r"beyond the 33,554,432 .*weight_limit=1000"):
        bounds_of(SharedSettings(model="mlp", weight_limit=1000), 64, 10, 279)


def test_the_units_of_two_classes_leave_nothing_to_multiply():
    settings = SharedSettings(model="binary", learning_rate=0.25, batch_size=128)
    scales = scales_of(settings)
    assert scales.parameter == 1024
    assert scales.sum == 2
    # What a step takes off the parameters is the sum itself: η/B times the gradient, in the parameters' unit.
    assert scales.sum == pytest.approx(scales.parameter * 0.25 / 128)
    assert scales.sum == pytest.approx(2 * RAMP * scales.record**2 * scales.parameter)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"learning_rate": 0.001, "batch_size": 128},
            r"learning_rate=0\.001 over batch_size=128 is 7\.81e-06; below 2\.29e-05",
        ),
        ({"momentum": 0.99, "max_grad_norm": 100, "noise_multiplier": 50}, r"numbers could reach .*momentum=0\.99"),
    ],
)
def test_two_classes_that_the_grid_or_the_ring_cannot_hold_are_refused(change, words):
    with pytest.raises(SharedError, match=words):
        bounds_of(SharedSettings(model="binary", **change), 64, 2, 279)


def test_more_than_two_classes_need_another_model():
    with pytest.raises(SharedError, match=r"classes=10: model='binary' tells two classes apart"):
        guarantee(SharedSettings(model="binary"), OWNERS, 64, 10)


def test_epsilon_is_never_below_the_plain_accountants_and_worse_against_a_party():
    settings = SharedSettings(noise_multiplier=2.0)
    promise = guarantee(settings, OWNERS, 64, 10)
    assert promise.sample_rate == 128 / 1437
    outside, party = promise.epsilon([1, 100, 200]), promise.epsilon_party([1, 100, 200])
    assert outside[-1] > epsilon(128 / 1437, 2.0, 200, 1e-5)
    assert party[-1] > epsilon(128 / 1437, 2.0 * math.sqrt(2 / 3), 200, 1e-5)
    assert np.all(np.diff(outside) > 0)
    assert (outside[-1], party[-1]) == pytest.approx((2.954494, 3.919601), rel=1e-5)


def test_epsilon_of_two_classes_is_pinned():
    promise = guarantee(SharedSettings(model="binary", noise_multiplier=2.0), OWNERS, 64, 2)
    assert promise.sigma == pytest.approx(2 / (1 + promise.bounds.margin))
    found = float(promise.epsilon([200])[0]), float(promise.epsilon_party([200])[0])
    assert found == pytest.approx((2.953569, 3.918279), rel=1e-5)


def test_what_padding_and_sampling_may_cost_stays_within_the_reserve():
    settings = SharedSettings()
    promise = guarantee(settings, OWNERS, 64, 10)
    worst = float(promise.epsilon_party([200])[0])
    overflow = 200 * binom.sf(promise.slots, 480, promise.sample_rate)
    assert promise.delta + (1 + math.exp(worst)) * overflow < settings.delta
    assert promise.slots == 93
    # One place fewer would not do: the padding is no larger than it must be.
    fewer = 200 * binom.sf(promise.slots - 1, 480, promise.sample_rate)
    assert promise.delta + (1 + math.exp(worst)) * fewer > settings.delta
    assert 0 < promise.extra < 1e-3


@pytest.mark.parametrize("model", ["binary", "logistic"])
def test_the_parties_noise_together_is_the_noise_multiplier(model):
    settings = SharedSettings(model=model, noise_multiplier=3.0, max_grad_norm=0.5)
    assert math.sqrt(PARTIES) * party_deviation(settings) == pytest.approx(scales_of(settings).sum * 3.0 * 0.5)


def test_a_reproducible_run_guarantees_nothing():
    promise = guarantee(SharedSettings(randomness="reproducible"), OWNERS, 64, 10)
    assert np.all(np.isinf(promise.epsilon([10, 200])))
    assert np.all(np.isinf(promise.epsilon_party([10])))


@pytest.mark.parametrize(
    ("change", "records", "words"),
    [
        ({"batch_size": 2000}, OWNERS, r"batch_size=2,000 is more than the 1,437 records"),
        ({"delta": 1e-3}, OWNERS, r"delta=0\.001 must be below 1 / 1,437 records"),
        ({"noise_multiplier": 0.06}, OWNERS, r"counts as 0\.04"),
        ({"noise_multiplier": 0.1, "steps": 100_000}, OWNERS, r"(spends ε=|beyond the)"),
        ({}, (500, 500), r"2 owners"),
        ({}, (500, 500, 0), r"none empty"),
    ],
)
def test_settings_without_a_guarantee_are_refused(change, records, words):
    with pytest.raises(SharedError, match=words):
        guarantee(SharedSettings(**change), records, 64, 10)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "cnn"}, r"model='cnn' is unknown; .* binary, logistic, mlp"),
        ({"momentum": 1.0}, r"momentum=1 must lie between 0 and 0\.99"),
        ({"learning_rate": math.nan}, r"learning_rate=nan must lie"),
        ({"randomness": "none"}, r"randomness='none'"),
        ({"clip": 1}, r"unknown settings: clip"),
    ],
)
def test_wrong_settings_are_named(given, words):
    with pytest.raises(SharedError, match=words):
        SharedSettings.from_dict(given)


def test_settings_survive_a_round_trip():
    settings = SharedSettings(model="mlp", batch_size=64)
    assert SharedSettings.from_dict(settings.to_dict()) == settings


# --- the plain twin --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_the_twin_sums_clipped_gradients_of_single_records(model):
    settings = SharedSettings(model=model, hidden=5)
    layers = settings.layers(4, 3)
    draw = seeded(2)
    x, y = draw.normal(size=(6, 4)), draw.integers(0, 3, 6)
    rows = rows_of(x, y, 3, 10.0)
    parameters = initial(layers, 1)

    def loss(at, row):
        inputs, label = row[:5], row[6:].argmax()
        weights = split(at, layers)
        if len(weights) == 2:
            inputs = np.append(np.maximum(inputs @ weights[0], 0), 1)
        logits = inputs @ weights[-1]
        return np.log(np.exp(logits).sum()) - logits[label]

    expected = np.zeros_like(parameters)
    for row in rows:
        steps = np.eye(len(parameters)) * 1e-6
        gradient = np.array([(loss(parameters + s, row) - loss(parameters - s, row)) / 2e-6 for s in steps])
        expected += gradient / max(1, np.linalg.norm(gradient) / 0.7)
    twin = Twin(layers, parameters, 0.1, 0.9, 0.7)
    assert twin.clipped_sum(rows) == pytest.approx(expected, abs=1e-6)
    # Two steps: momentum keeps nine tenths of the first.
    twin.step(rows[:0], np.ones_like(parameters))
    twin.step(rows[:0], np.zeros_like(parameters))
    assert parameters - twin.parameters == pytest.approx(np.full_like(parameters, 0.1 * 1.9))


def test_the_twin_of_two_classes_sums_clipped_gradients_of_single_records():
    """Of −log of the true class's chance, whatever rows the owner makes of a record and its label."""
    settings, shape = a_binary_shape()
    draw = seeded(2)
    x, y = draw.normal(size=(8, 4)), np.tile([0, 1], 4)
    parameters = initial(shape.layers, 1) * 3
    expected = np.zeros(5)
    for record, label in zip(np.c_[x, np.ones(8)], y, strict=True):
        gradient = (1 / (1 + np.exp(-record @ parameters)) - label) * record
        expected += gradient / max(1, np.linalg.norm(gradient) / 0.7)
    rows = in_plain_units(shape, rows_for(shape, x, y, settings.input_norm))
    assert Twin(shape.layers, parameters, 0.1, 0.9, 0.7).clipped_sum(rows) == pytest.approx(expected, abs=2e-3)


def test_the_line_is_near_the_sigmoid_and_its_gradients_are_as_short():
    settings, shape = a_binary_shape()
    draw = seeded(5)
    rows = in_plain_units(
        shape, rows_for(shape, draw.normal(size=(300, 4)), draw.integers(0, 2, 300), settings.input_norm)
    )
    parameters = draw.normal(size=5)
    line, exact = RampTwin(shape.layers, parameters, 0.1, 0.9, 0.7), Twin(shape.layers, parameters, 0.1, 0.9, 0.7)
    apart = [np.linalg.norm(line.clipped_sum(row[None]) - exact.clipped_sum(row[None])) for row in rows]
    assert max(apart) < 0.12 * np.linalg.norm(rows[:, :-1], axis=1).max()
    far = RampTwin(shape.layers, 100 * parameters, 0.1, 0.9, 0.7)
    lengths = np.array([np.linalg.norm(far.clipped_sum(row[None])) for row in rows])
    assert lengths.max() <= 0.7
    assert 0.3 < np.mean(lengths > 0.69) < 0.7


@pytest.mark.parametrize("name", ["breast-cancer", "odd-digits"])
def test_the_line_costs_no_accuracy_beside_the_sigmoid(name):
    """Over ten trainings with the same coins and noise, the mean accuracies are within half a point."""
    records = DATASETS[name]()
    owners, inputs = owners_of(*records.train), records.train[0].shape[1]
    settings = SharedSettings(model="binary", batch_size=records.batch_size, steps=100, randomness="reproducible")
    promise = guarantee(settings, [len(y) for _, y in owners], inputs, 2)
    shape = shape_of(settings, promise, inputs, 2)
    found = []
    for seed in range(10):
        beside = Beside(replace(settings, seed=seed), owners, promise, shape)
        beside.run(settings.steps)
        found.append([accuracy(p, shape.layers, *records.test) for p in (beside.parameters, beside.followed)])
    plain, line = np.mean(found, axis=0)
    assert abs(line - plain) < 0.005
    assert line > 0.88


def test_records_of_two_classes_are_those_that_are_documented():
    cancer, odd = DATASETS["breast-cancer"](), DATASETS["odd-digits"]()
    assert cancer.train[0].shape == (455, 30)
    assert cancer.test[0].shape == (114, 30)
    assert odd.train[0].shape == (1442, 64)
    # In their own units: not of norm 1, as encrypted training has them; and none is cut at the default length.
    norms = np.linalg.norm(cancer.train[0], axis=1)
    assert (norms.min(), norms.max()) == pytest.approx((1.5353, 4.0005), abs=1e-4)
    assert sorted(set(odd.train[1].tolist())) == sorted(set(cancer.test[1].tolist())) == [0, 1]


def test_accuracy_of_two_classes_counts_the_sign():
    assert accuracy(
        np.array([2.0, -1.0]), ((2, 1),), np.array([[1.0], [0.2], [0.9]]), np.array([1, 0, 0])
    ) == pytest.approx(2 / 3)


def test_accuracy_counts_the_largest_logit():
    parameters = np.array([[1.0, -1.0], [0.0, 0.5]]).ravel()
    assert accuracy(parameters, ((2, 2),), np.array([[1.0], [-1.0], [0.1]]), np.array([0, 1, 0])) == pytest.approx(
        2 / 3
    )


# --- the parties ------------------------------------------------------------------------------------------------------------

FAKE = """
import json, os, sys, time
import numpy as np
from privlab.encryption.shared import wire
task = json.loads(sys.stdin.readline())
rank, how = task["rank"], os.environ["FAKE_PARTY"]
assert len(wire.unpack(task["x"])) == len(wire.unpack(task["y"])) == 20
def say(**message):
    print(json.dumps(message), flush=True)
print("a library's chatter", file=sys.stderr)
if how == "fails" and rank == 1:
    say(kind="failed", message="RuntimeError: no memory left")
say(kind="ready")
if how == "dies" and rank == 2:
    print("Segmentation fault", file=sys.stderr)
    os._exit(1)
if how == "silent":
    time.sleep(60)
if how == "junk" and rank == 0:
    print("[info] hello", flush=True)
for step in (2, 4, 5):
    steps = 1 if step == 5 else 2
    told = {"kind": "opened", "step": step, "steps": steps, "seconds": 0.1 * (rank + 1), "sent": 100, "norm": 1.0}
    told["messages"] = 30 + 6 * rank
    if rank == 0:
        told["parameters"] = wire.pack(np.zeros(10))
    if how == "refused" and step == 4:
        told = {"kind": "refused", "message": "a layer's parameters have grown"}
    say(**told)
if how == "waits":
    time.sleep(60)
"""


@pytest.fixture
def parties(tmp_path, monkeypatch):
    """An interpreter that says it has SPU, and runs a pretended party instead of the real one."""

    def pretend(how: str, version: str = "0.9.5") -> Path:
        party, interpreter = tmp_path / "party.py", tmp_path / "python"
        party.write_text(FAKE, "utf-8")
        interpreter.write_text(
            f'#!/bin/sh\nif [ "$1" = "-c" ]; then echo {version}; exit 0; fi\nexec "{sys.executable}" "{party}"\n',
            "utf-8",
        )
        interpreter.chmod(0o755)
        environment._version.cache_clear()
        monkeypatch.setenv("PRIVLAB_SPU_PYTHON", str(interpreter))
        monkeypatch.setenv("FAKE_PARTY", how)
        return interpreter

    yield pretend
    environment._version.cache_clear()


SMALL = SharedSettings(batch_size=6, steps=5, open_every=2, noise_multiplier=3.0)


def a_small_run(settings=SMALL):
    draw = seeded(4)
    x, y = draw.uniform(0, 1, (60, 4)), draw.integers(0, 2, 60)
    return train(settings, owners_of(x, y), (x, y), 2)


def test_a_run_tells_a_record_at_each_opening(parties):
    parties("well")
    records = list(a_small_run())
    assert [record.step for record in records] == [2, 4, 5]
    # The slowest party's time, over the steps of the stretch; what all three sent.
    assert [record.seconds for record in records] == pytest.approx([0.15, 0.15, 0.3])
    assert [record.bytes_sent for record in records] == [150, 150, 300]
    assert [record.messages for record in records] == [18, 18, 36]
    assert all(0 < record.epsilon < record.epsilon_party for record in records)
    promise = guarantee(SMALL, (20, 20, 20), 4, 2)
    assert [record.epsilon for record in records] == pytest.approx(promise.epsilon([2, 4, 5]))
    assert all(record.drift is None and 0 <= record.twin_accuracy <= 1 for record in records)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("fails", r"Party 2 of 3 failed: RuntimeError: no memory left"),
        ("dies", r"Party 3 of 3 ended by itself\. Its last words: Segmentation fault"),
        ("junk", r"said something that is no message"),
        ("refused", r"a layer's parameters have grown"),
    ],
)
def test_a_party_that_does_not_go_on_is_told(parties, how, words):
    parties(how)
    with pytest.raises(SharedError, match=words) as caught:
        list(a_small_run())
    assert isinstance(caught.value, SharedFailed) == (how != "refused")


@pytest.mark.parametrize(("how", "kind"), [("dies", "failed"), ("refused", "refused")])
def test_the_job_tells_a_dead_party_from_a_refusal(parties, monkeypatch, capsys, how, kind):
    parties(how)
    monkeypatch.setattr(job, "train", lambda *given: a_small_run())
    monkeypatch.setattr(job.signal, "signal", lambda *given: None)
    assert job.main([]) == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["kind"] == kind


def test_closing_a_run_ends_its_parties(parties, monkeypatch):
    parties("waits")
    started = []
    start = processes.subprocess.Popen

    def watched(*given, **more):
        started.append(start(*given, **more))
        return started[-1]

    monkeypatch.setattr(processes.subprocess, "Popen", watched)
    run = a_small_run()
    next(run)
    run.close()
    children = [child for child in started if "-m" in child.args]
    assert len(children) == 3
    assert all(child.poll() is not None for child in children)


def test_parties_that_say_nothing_are_given_up(parties, monkeypatch):
    parties("silent")
    monkeypatch.setattr(processes, "_STRETCH", 1.0)
    with pytest.raises(SharedError, match=r"have said nothing for 1 s\. Its last words: a library's chatter"):
        list(a_small_run())


def test_parties_at_different_steps_are_not_believed(parties):
    parties("well")
    with pytest.raises(SharedError, match=r"are at steps \[5, 5, 5\] and not all at 6"):
        list(a_small_run(SharedSettings(**{**SMALL.to_dict(), "steps": 7})))


def test_without_the_environment_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PRIVLAB_SPU_PYTHON", str(tmp_path / "nowhere"))
    ready, why = available()
    assert not ready
    assert "make spu" in why
    with pytest.raises(SharedError, match="make spu"):
        a_small_run()


def test_another_version_is_not_taken_for_the_right_one(parties):
    parties("well", version="0.8.0")
    ready, why = available()
    assert not ready
    assert "has SPU 0.8.0, not 0.9.5" in why


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x, y: (np.where(np.arange(len(y))[:, None] == 3, np.nan, x), y), r"owner 1: a record holds a number"),
        (lambda x, y: (x, y + 2), r"owner 1: labels from 2 to 3 must lie between 0 and 1"),
        (lambda x, y: (x[:, 0], y), r"owner 1: records of shape \(60,\)"),
    ],
)
def test_wrong_records_are_refused_before_anything_starts(spoil, words):
    draw = seeded(4)
    x, y = draw.uniform(0, 1, (60, 4)), np.tile([0, 1], 30)
    with pytest.raises(SharedError, match=words):
        train(SMALL, [spoil(x, y), (x, y), (x, y)], (x, y), 2)
