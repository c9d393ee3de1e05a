"""train(): points and events, baselines, resume, pause, and the order that the privacy argument rests on."""

from __future__ import annotations

import itertools
import math
import threading
from pathlib import Path

import pytest
import torch

from privlab.config import ConfigError, RunConfig
from privlab.dpsgd.layers.rules import RULES
from privlab.dpsgd.step import PrivateStep
from privlab.encryption import KeyFile, PlainVault, SealedVault, SealError
from privlab.metrics import METRICS, PHASES, Point, Release
from privlab.models.build import build
from privlab.preflight import preflight
from privlab.privacy.accounting import epsilon
from privlab.privacy.confirm import AccountingError
from privlab.training import trainer
from privlab.training.checkpoint import Checkpoint, CheckpointError
from privlab.training.events import Event
from privlab.training.train import train

SMALL = RunConfig.from_dict(
    {
        "model": {"name": "mlp"},
        "privacy": {"noise_multiplier": 2.0, "delta": 1e-4, "randomness": "reproducible"},
        "training": {"batch_size": 100, "epochs": 2, "learning_rate": 0.5, "curve_points": 5, "seed": 3},
        "performance": {"device": "cpu", "physical_batch_size": 40},
    }
)
#: 1,442 records, B = 100, 2 epochs.
STEPS = 29
MARKS = [1, 8, 15, 22, 29]


@pytest.fixture(autouse=True)
def _no_look_while_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine must not add a question to those that the tests count."""
    monkeypatch.setattr("privlab.training.background._EVERY", 60.0)


def run(config: RunConfig, **options) -> tuple[list[Point], list[Event], list[Checkpoint]]:
    saved: list[Checkpoint] = []
    said = list(train(config, save=saved.append, **options))
    return [s for s in said if isinstance(s, Point)], [s for s in said if isinstance(s, Event)], saved


def stop_after(step: int, wish: str = "pause"):
    """A control that wishes at the end of logical batch ``step``."""
    count = itertools.count(1)
    return lambda: wish if next(count) >= step else None


def through_bytes(checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint.from_bytes(checkpoint.to_bytes())


def assert_same_state(a: Checkpoint, b: Checkpoint) -> None:
    assert a.step == b.step
    assert a.parameters.keys() == b.parameters.keys()
    for name in a.parameters:
        assert torch.equal(a.parameters[name], b.parameters[name]), name
    for name, state in a.optimizer.items():
        for key in state:
            assert torch.equal(state[key], b.optimizer[name][key]), (name, key)
    for name in a.average:
        assert torch.equal(a.average[name], b.average[name]), name
    assert a.batch_stream == b.batch_stream
    assert (a.noise_stream is None) == (b.noise_stream is None)


def test_points_come_at_the_logged_steps_and_end_with_the_whole_budget() -> None:
    points, events, saved = run(SMALL)
    assert [p.step for p in points] == MARKS == [c.step for c in saved]
    plan = preflight(SMALL).plan
    for p in points:
        assert p.epsilon == pytest.approx(epsilon(100 / 1442, 2.0, p.step, 1e-4), abs=1e-3)
        assert p.epoch == pytest.approx(p.step * plan.sample_rate)
        assert p.metrics.keys() <= METRICS.keys() and all(map(math.isfinite, p.metrics.values()))
        assert {f"time_{phase}" for phase in PHASES} <= p.metrics.keys()
    assert [p.epsilon for p in points] == sorted(p.epsilon for p in points)
    assert [p.seconds for p in points] == sorted(p.seconds for p in points)
    assert [e.kind for e in events if e.kind != "info"] == ["warning", "started", "finished"]
    assert points[-1].metrics["test_accuracy"] > 0.5
    assert all(p.metrics["time_encrypt"] == 0 for p in points)


def test_a_reader_never_sees_a_point_before_its_checkpoint_is_saved() -> None:
    saved: list[int] = []
    for said in train(SMALL, save=lambda c: saved.append(c.step)):
        if isinstance(said, Point):
            assert saved[-1] == said.step


def test_a_checkpoint_that_cannot_be_saved_releases_nothing() -> None:
    def full(checkpoint: Checkpoint) -> None:
        raise OSError(28, "No space left on device")

    seen = []
    with pytest.raises(OSError, match="No space left"):
        seen.extend(train(SMALL, save=full))
    assert not any(isinstance(s, Point) for s in seen)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("pause_at", [8, 11])
def test_resumed_reproducible_run_equals_an_uninterrupted_one_bit_for_bit(
    optimizer: str, ema: float, pause_at: int
) -> None:
    config = SMALL.replace(training__optimizer=optimizer, training__ema_decay=ema)
    if optimizer == "adam":
        config = config.replace(training__learning_rate=0.01)
    whole, _, whole_saved = run(config)
    before, events, saved = run(config, control=stop_after(pause_at))
    assert events[-1].kind == "paused" and before[-1].step == saved[-1].step == pause_at
    after, _, resumed = run(config, resume=through_bytes(saved[-1]))
    assert_same_state(whole_saved[-1], resumed[-1])
    assert after[-1].step == whole[-1].step == STEPS
    assert [(p.step, p.epsilon) for p in after] == [(p.step, p.epsilon) for p in whole if p.step > pause_at]
    for key in ("test_accuracy", "test_loss", "batch_size", "grad_norm_p50"):
        assert after[-1].metrics[key] == whole[-1].metrics[key]
    assert after[0].seconds > before[-1].seconds


@pytest.mark.parametrize("pause_at", [8, 15])
def test_shuffled_batches_are_full_claim_nothing_and_go_on_where_they_were(pause_at: int) -> None:
    config = SMALL.replace(privacy__noise_multiplier=0.0, privacy__clipping="none", privacy__sampling="shuffled")
    whole, events, whole_saved = run(config)
    assert {point.metrics["batch_size"] for point in whole} == {100} and {point.epsilon for point in whole} == {None}
    assert any(event.kind == "warning" and "No differential privacy" in event.message for event in events)
    _, _, saved = run(config, control=stop_after(pause_at))
    _, _, resumed = run(config, resume=through_bytes(saved[-1]))
    assert_same_state(whole_saved[-1], resumed[-1])
    _, _, poisson = run(config.replace(privacy__sampling="poisson"))
    assert any(not torch.equal(t, poisson[-1].parameters[name]) for name, t in whole_saved[-1].parameters.items())
    with pytest.raises(CheckpointError, match="shuffled"):
        list(train(config.replace(privacy__sampling="poisson"), resume=saved[-1]))


def test_run_killed_between_checkpoints_resumes_with_the_same_steps_and_epsilon() -> None:
    whole, _, whole_saved = run(SMALL)
    saved: list[Checkpoint] = []
    running = train(SMALL, save=saved.append)
    for said in running:
        if isinstance(said, Point) and said.step == 15:
            break
    running.close()
    after, _, resumed = run(SMALL, resume=through_bytes(saved[-1]))
    assert [p.step for p in after] == [22, 29] and after[-1].epsilon == whole[-1].epsilon
    assert_same_state(whole_saved[-1], resumed[-1])


@pytest.mark.parametrize(("wish", "kind"), [("pause", "paused"), ("stop", "stopped")])
def test_wish_is_met_at_the_end_of_a_logical_batch(wish: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[bool] = [False]
    original = PrivateStep.run

    def watched(self, *args, **options):
        inside[0] = True
        report = original(self, *args, **options)
        inside[0] = False
        return report

    monkeypatch.setattr(PrivateStep, "run", watched)
    asked, ask = [], stop_after(11, wish)

    def control():
        asked.append(inside[0])
        return ask()

    points, events, saved = run(SMALL, control=control)
    assert asked == [False] * 11
    assert [p.step for p in points] == [1, 8, 11] == [c.step for c in saved]
    assert events[-1].kind == kind and events[-1].data["step"] == 11
    assert points[-1].epsilon == pytest.approx(epsilon(100 / 1442, 2.0, 11, 1e-4), abs=1e-3)


def test_wish_at_the_last_step_finds_the_run_finished() -> None:
    points, events, _ = run(SMALL, control=stop_after(STEPS))
    assert events[-1].kind == "finished" and points[-1].step == STEPS


@pytest.mark.parametrize(("wish", "kind"), [("pause", "paused"), ("stop", "stopped")])
def test_wish_while_inputs_are_prepared_ends_the_run_at_once(
    wish: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privlab.training.background._EVERY", 0.01)
    _, _, before = run(SMALL, control=stop_after(8))
    gate = threading.Event()
    monkeypatch.setattr("privlab.training.inputs.load", lambda key: gate.wait(20))
    for resume, step in ((None, 0), (before[-1], before[-1].step)):
        points, events, saved = run(SMALL, control=lambda: wish, resume=resume)
        assert (points, saved, [e.kind for e in events]) == ([], [], [kind]) and events[0].data == {"step": step}
    gate.set()


def test_private_run_keeps_no_random_stream_and_resumes_with_fresh_entropy() -> None:
    config = SMALL.replace(privacy__randomness="private")
    points, events, saved = run(config, control=stop_after(8))
    checkpoint = saved[-1]
    assert checkpoint.batch_stream is None and checkpoint.noise_stream is None
    assert b"noise_stream" not in checkpoint.to_bytes() and b"bit_generator" not in checkpoint.to_bytes()
    assert "warning" not in [e.kind for e in events]
    first, _, a = run(config, resume=through_bytes(checkpoint))
    second, _, b = run(config, resume=through_bytes(checkpoint))
    assert first[-1].epsilon == second[-1].epsilon == pytest.approx(epsilon(100 / 1442, 2.0, STEPS, 1e-4), abs=1e-3)
    assert not torch.equal(a[-1].parameters["1.weight"], b[-1].parameters["1.weight"])
    assert points[-1].step == 8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"privacy__noise_multiplier": 1.9}, r"noise_multiplier=2\.0.*noise_multiplier=1\.9"),
        ({"privacy__max_grad_norm": 0.5}, r"max_grad_norm=1\.0.*max_grad_norm=0\.5"),
        ({"training__batch_size": 101, "training__epochs": 3}, "batch_size=100.*batch_size=101"),
        ({"privacy__delta": 1e-5}, r"delta=0\.0001.*delta=1e-05"),
        ({"training__epochs": 1}, r"steps=14 is fewer than the 29"),
        ({"privacy__randomness": "private"}, r"privacy\.randomness=reproducible"),
        ({"model__name": "logistic"}, r"model\.name=mlp"),
        ({"training__optimizer": "adam"}, r"training\.optimizer=sgd"),
        ({"training__learning_rate": 0.1}, r"training\.learning_rate=0\.5"),
    ],
)
def test_checkpoint_of_another_guarantee_or_run_is_refused(changes: dict, words: str) -> None:
    _, _, saved = run(SMALL, control=stop_after(1))
    with pytest.raises(CheckpointError, match=words):
        list(train(SMALL.replace(**changes), resume=saved[-1]))


def test_finished_run_is_extended_to_what_a_longer_one_would_have_been() -> None:
    longer = SMALL.replace(training__epochs=3)
    _, _, saved = run(SMALL)
    after, _, extended = run(longer, resume=through_bytes(saved[-1]))
    whole, _, whole_saved = run(longer)
    assert after[-1].step == whole[-1].step == 43 and after[-1].epsilon == whole[-1].epsilon
    assert_same_state(extended[-1], whole_saved[-1])


def test_extension_of_a_target_run_names_its_noise() -> None:
    config = SMALL.replace(privacy__target_epsilon=3.0)
    sigma = preflight(config).plan.noise_multiplier
    points, _, saved = run(config)
    assert 2.9 < points[-1].epsilon <= 3.0
    longer = config.replace(training__epochs=3)
    with pytest.raises(CheckpointError, match="noise_multiplier"):
        list(train(longer, resume=saved[-1]))
    after, _, _ = run(longer.replace(privacy__noise_multiplier=sigma), resume=saved[-1])
    assert after[-1].epsilon > 3.0


def test_resuming_a_finished_run_says_so_at_once() -> None:
    _, _, saved = run(SMALL)
    points, events, again = run(SMALL, resume=saved[-1])
    assert (points, again) == ([], []) and events[-1].kind == "finished"


def test_gradient_method_and_chunks_do_not_change_the_run() -> None:
    hooks, _, _ = run(SMALL.replace(performance__gradient_method="hooks"))
    for method in ("ghost", "one-pass"):
        other, _, _ = run(SMALL.replace(performance__gradient_method=method, performance__physical_batch_size=7))
        for a, b in zip(hooks, other, strict=True):
            assert (a.step, a.epsilon, a.metrics["batch_size"]) == (b.step, b.epsilon, b.metrics["batch_size"])
            assert a.metrics["test_loss"] == pytest.approx(b.metrics["test_loss"], rel=1e-3)


def test_layers_without_a_one_pass_rule_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _, events, _ = run(SMALL)
    assert not any("fallbacks" in event.data for event in events)
    monkeypatch.delitem(RULES, torch.nn.Linear)
    _, events, _ = run(SMALL)
    (said,) = [event.message for event in events if "fallbacks" in event.data]
    assert "1 (Linear)" in said


@pytest.mark.parametrize("baseline", [{}, {"privacy__clipping": "none", "privacy__noise_multiplier": 0.0}])
def test_a_run_in_bfloat16_passes_its_self_check_and_learns(baseline: dict) -> None:
    config = SMALL.replace(**baseline)
    fine, _, _ = run(config)
    points, _, _ = run(config.replace(performance__precision="bfloat16"))
    assert points[-1].epsilon == fine[-1].epsilon
    assert points[-1].metrics["test_loss"] == pytest.approx(fine[-1].metrics["test_loss"], rel=0.02)


def test_baselines_go_through_the_same_loop_and_claim_nothing() -> None:
    base = SMALL.replace(privacy__noise_multiplier=0.0, training__epochs=10)
    clip_only, events, _ = run(base)
    plain, _, _ = run(base.replace(privacy__clipping="none"))
    for points in (clip_only, plain):
        assert all(p.epsilon is None and "snr" not in p.metrics for p in points)
        assert points[-1].metrics["test_accuracy"] > 0.9
    assert "clipped_share" in clip_only[-1].metrics and "clipped_share" not in plain[-1].metrics
    assert clip_only[-1].metrics["max_grad_norm"] == 1.0 and "max_grad_norm" not in plain[-1].metrics
    assert any("No differential privacy" in e.message for e in events)


def test_averaged_weights_are_evaluated_and_released() -> None:
    config = SMALL.replace(training__ema_decay=0.5, training__curve_points=2)
    points, _, saved = run(config)
    # After one step the corrected average is the parameters themselves.
    for name, weight in saved[0].weights.items():
        torch.testing.assert_close(weight, saved[0].parameters[name])
    last = saved[-1]
    assert not torch.allclose(last.weights["1.weight"], last.parameters["1.weight"])
    off, _, _ = run(SMALL.replace(training__curve_points=2))
    assert points[-1].metrics["test_loss"] != off[-1].metrics["test_loss"]


def test_only_the_last_point_uses_all_test_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "SUBSET", 64)
    points, _, _ = run(SMALL)
    assert all((64 * p.metrics["test_accuracy"]).is_integer() for p in points[:-1])
    assert (355 * points[-1].metrics["test_accuracy"]) == pytest.approx(
        round(355 * points[-1].metrics["test_accuracy"])
    )
    assert not (64 * points[-1].metrics["test_accuracy"]).is_integer()


def test_diverged_run_goes_on_and_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SMALL.replace(privacy__noise_multiplier=0.0, privacy__clipping="none", training__learning_rate=1000.0)

    def broken(*args):
        model = build(*args)
        model[1].weight.data.fill_(float("inf"))
        return model

    monkeypatch.setattr(trainer, "build", broken)
    points, events, _ = run(config)
    assert points[-1].step == STEPS
    assert sum("smaller learning rate" in e.message for e in events) == 1
    assert "test_loss" not in points[-1].metrics and points[-1].metrics["non_finite"] > 0


def test_device_that_is_not_there_is_refused_beside_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError) as refused:
        next(train(SMALL.replace(performance__device="cuda")))
    (problem,) = refused.value.problems
    assert problem.path == "performance.device" and "device=cuda" in problem.message


def test_sealed_run_writes_only_ciphertext_and_times_it(tmp_path: Path) -> None:
    config = SMALL.replace(encryption__mode="sealed")
    vault, path = SealedVault(KeyFile(tmp_path / "a.key")), tmp_path / "checkpoint"
    points = []
    for said in train(config, save=lambda c: vault.write(path, c.to_bytes())):
        if isinstance(said, Point):
            points.append(said)
            assert b"parameters/" not in path.read_bytes()
            assert said.metrics["time_encrypt"] > 0
    restored = Checkpoint.from_bytes(vault.read(path))
    assert restored.step == STEPS
    with pytest.raises(SealError):
        PlainVault().read(path)
    again, _, _ = run(config.replace(training__epochs=3), resume=restored)
    assert again[-1].step == 43


def test_what_is_private_is_marked_so() -> None:
    points, _, _ = run(SMALL)
    released = {k for k in points[-1].metrics if METRICS[k].release in (Release.RELEASED, Release.TEST_DATA)}
    assert released == {"test_accuracy", "test_loss", "noise_multiplier", "max_grad_norm"}


def test_an_epsilon_that_dp_accounting_does_not_confirm_is_never_final(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privlab.privacy.confirm.library_epsilon", lambda plan: plan.epsilon + 0.05)
    seen: list[int] = []
    with pytest.raises(AccountingError, match="no claim"):
        seen.extend(item.step for item in train(SMALL) if isinstance(item, Point))
    assert STEPS not in seen
