"""What a person may do to runs, and how the rest is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from privlab.config import ConfigError, RunConfig, load_preset
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.runs import control, passphrases
from privlab.runs.control import RunActionError
from privlab.runs.estimate import seconds_for
from privlab.runs.limits import cores, max_concurrent, set_max_concurrent, threads_for
from privlab.runs.record import Reason, Run, Status
from privlab.runs.store import Store, UnknownRun

PLAIN = load_preset("clip-only")
SECRET = PLAIN.replace(encryption__mode="sealed", encryption__key="passphrase")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    monkeypatch.delenv("PRIVLAB_WORKERS", raising=False)
    passphrases._waiting.clear()
    opened = Store()
    yield opened
    opened.close()


def running(store: Store, config: RunConfig = PLAIN, **options) -> Run:
    run = control.launch(store, config, **options)
    store.move(run.id, Status.STARTING)
    return store.move(run.id, Status.RUNNING)


def test_a_launch_is_queued(store: Store) -> None:
    run = control.launch(store, PLAIN, group="race")
    assert (run.status, run.group, run.plan) == (Status.QUEUED, "race", preflight(PLAIN).plan)


def test_a_double_click_launches_once(store: Store) -> None:
    assert control.launch(store, PLAIN, launch_key="k").id == control.launch(store, PLAIN, launch_key="k").id
    assert len(store.list()) == 1


def test_bad_settings_are_refused_before_anything_is_stored(store: Store) -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        control.launch(store, PLAIN.replace(training__batch_size=999_999))
    with pytest.raises(ConfigError):
        control.launch_levels(store, PLAIN, levels=(8.0, 1e-9))
    assert store.list() == []


def test_four_levels_are_one_group_and_launch_once(store: Store) -> None:
    runs = control.launch_levels(store, load_preset("digits"), launch_key="k")
    assert [run.config.privacy.target_epsilon for run in runs] == [None, 8.0, 3.0, 1.0]
    assert [run.plan.is_private for run in runs] == [False, True, True, True]
    assert len({run.group for run in runs}) == 1
    same = ("batch_size", "steps", "records")
    assert len({tuple(getattr(run.plan, key) for key in same) for run in runs}) == 1
    assert [r.id for r in control.launch_levels(store, load_preset("digits"), launch_key="k")] == [r.id for r in runs]
    assert len(store.list()) == 4


def test_a_level_aims_at_epsilon_whatever_the_settings_were() -> None:
    for name in ("digits", "no-privacy", "clip-only"):
        private, open_ = (control.at_level(load_preset(name), level) for level in (2.0, None))
        assert (private.privacy.target_epsilon, private.privacy.clipping) == (2.0, "flat")
        assert not open_.privacy.is_private


@pytest.mark.parametrize("status", [Status.QUEUED, Status.PAUSED])
def test_a_run_without_a_worker_stops_at_once(store: Store, status: Status) -> None:
    run = control.launch(store, PLAIN)
    if status is Status.PAUSED:
        assert control.pause(store, run.id).reason is Reason.PERSON
    assert control.stop(store, run.id).status is Status.STOPPED


def test_a_worker_is_asked(store: Store) -> None:
    run = running(store)
    assert (control.pause(store, run.id).requested, store.get(run.id).status) == ("pause", Status.RUNNING)
    with pytest.raises(RunActionError, match="already asked to pause"):
        control.pause(store, run.id)
    assert control.resume(store, run.id).requested is None
    assert control.stop(store, run.id).requested == "stop"
    with pytest.raises(RunActionError, match="already asked to stop"):
        control.pause(store, run.id)


@pytest.mark.parametrize(
    ("status", "action", "said"),
    [
        (Status.FINISHED, control.pause, "A finished run cannot be paused"),
        (Status.FINISHED, control.resume, "A finished run cannot be resumed. Extend it"),
        (Status.FINISHED, control.stop, "A finished run cannot be stopped"),
        (Status.FAILED, control.stop, "A failed run cannot be stopped"),
        (Status.RUNNING, control.resume, "A running run cannot be resumed"),
    ],
)
def test_what_makes_no_sense_is_refused(store: Store, status: Status, action, said: str) -> None:
    run = running(store)
    if status is not Status.RUNNING:
        store.move(run.id, status)
    with pytest.raises(RunActionError, match=said):
        action(store, run.id)
    assert store.get(run.id).status is status


def test_what_is_offered_is_what_is_allowed(store: Store) -> None:
    """`actions` is what buttons are drawn from, so each action it names must work and each other one must not."""
    todo = {
        "pause": control.pause,
        "resume": control.resume,
        "stop": control.stop,
        "extend": lambda s, i: control.extend(s, i, 1),
    }
    for status in Status:
        for name, do in todo.items():
            run = control.launch(store, PLAIN)
            for step in {
                Status.STARTING: [Status.STARTING],
                Status.RUNNING: [Status.STARTING, Status.RUNNING],
                Status.FINISHED: [Status.STARTING, Status.RUNNING, Status.FINISHED],
            }.get(status, [] if status is Status.QUEUED else [status]):
                run = store.move(run.id, step)
            if name in control.actions(run):
                do(store, run.id)
            else:
                with pytest.raises(RunActionError):
                    do(store, run.id)


def test_extending_keeps_the_noise_and_the_epsilons_already_shown(store: Store) -> None:
    config = load_preset("digits")
    run = running(store, config)
    store.move(run.id, Status.FINISHED)
    longer = control.extend(store, run.id, 5)
    assert longer.status is Status.QUEUED
    assert longer.plan.noise_multiplier == run.plan.noise_multiplier
    assert longer.config.privacy.noise_multiplier == run.plan.noise_multiplier
    assert longer.config.privacy.target_epsilon is None
    assert longer.config.training.epochs == config.training.epochs + 5
    assert longer.steps == longer.plan.steps > run.plan.steps
    assert longer.plan.epsilon > run.plan.epsilon
    kept = ("records", "batch_size", "max_grad_norm", "delta", "accountant", "adjacency")
    assert all(getattr(longer.plan, key) == getattr(run.plan, key) for key in kept)
    said = next(event.message for event in store.events(run.id) if event.kind == "extended")
    assert said.startswith(f"Extended by 5 epochs to {config.training.epochs + 5} ")


def test_extending_by_nothing_or_while_training_is_refused(store: Store) -> None:
    run = running(store)
    with pytest.raises(RunActionError, match="A running run cannot be extended"):
        control.extend(store, run.id, 5)
    store.move(run.id, Status.FINISHED)
    with pytest.raises(RunActionError, match="epochs=0"):
        control.extend(store, run.id, 0)


def test_extending_over_other_records_is_refused(store: Store) -> None:
    run = running(store)
    store.move(run.id, Status.FINISHED, plan=replace(run.plan, records=run.plan.records - 1))
    with pytest.raises(RunActionError, match=f"was planned for {run.plan.records - 1} records"):
        control.extend(store, run.id, 5)


def test_a_passphrase_is_asked_for_and_kept_out_of_the_store(store: Store) -> None:
    for given in (None, ""):
        with pytest.raises(RunActionError, match="sealed with a passphrase"):
            control.launch(store, SECRET, passphrase=given)
    run = control.launch(store, SECRET, passphrase="correct horse", launch_key="k")
    assert passphrases.recall(run.id) == "correct horse"
    control.launch(store, SECRET, passphrase="correct horse", launch_key="k")
    assert list(passphrases._waiting) == [run.id]
    control.pause(store, run.id)
    passphrases.forget(run.id)
    for action in (control.resume, lambda *a: control.extend(*a, 1)):
        with pytest.raises(RunActionError, match="sealed with a passphrase"):
            action(store, run.id)
    control.resume(store, run.id, passphrase="correct horse")
    store.close()
    for file in Path(store.path).parent.iterdir():
        if file.is_file():
            assert b"correct horse" not in file.read_bytes()


def test_deleting_stops_what_trains_and_can_be_undone(store: Store) -> None:
    busy, queued, paused = running(store), control.launch(store, PLAIN), control.launch(store, PLAIN)
    control.pause(store, paused.id)
    for run in (busy, queued, paused):
        control.delete(store, run.id)
    assert store.list() == []
    with pytest.raises(RunActionError, match="is deleted: bring it back first"):
        control.pause(store, busy.id)
    assert control.undelete(store, busy.id).requested == "stop"
    assert control.undelete(store, queued.id).status is Status.STOPPED
    assert control.undelete(store, paused.id).status is Status.PAUSED
    with pytest.raises(UnknownRun):
        control.delete(store, "nobody")


def test_a_clone_is_named_as_one(store: Store) -> None:
    run = control.launch(store, PLAIN.replace(name="first"))
    assert control.clone_config(run) == PLAIN.replace(name="first (copy)")


def test_the_estimate_comes_from_like_runs(store: Store) -> None:
    target = preflight(PLAIN.replace(training__epochs=20))
    assert seconds_for(store, target) is None
    run = running(store)
    store.append(run.id, Point(10, 1.0, 5.0, None, {}))
    rate = 5.0 / (10 * run.plan.batch_size)
    expected = pytest.approx(rate * target.plan.steps * target.plan.batch_size)
    assert seconds_for(store, target) == expected
    store.append(running(store).id, Point(10, 1.0, 500.0, None, {}))
    assert seconds_for(store, target) == expected, "a run on a busy machine must not make the next ones look slow"
    assert seconds_for(store, preflight(PLAIN.replace(performance__gradient_method="ghost"))) is None


def test_how_many_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert max_concurrent(store) == min(max(4, cores()), 64)
    for found, most in ((1, 4), (2, 4), (16, 16), (128, 64)):
        monkeypatch.setattr("privlab.runs.limits.cores", lambda found=found: found)
        assert max_concurrent(store) == most, "a race of four privacy levels is one on a small machine too"
    monkeypatch.setenv("PRIVLAB_WORKERS", "3")
    assert max_concurrent(store) == 3
    set_max_concurrent(store, 5)
    assert max_concurrent(store) == 5
    for wrong in (0, 65, "many", 1.5):
        with pytest.raises(ValueError, match=f"max_concurrent={wrong!r}"):
            set_max_concurrent(store, wrong)


@pytest.mark.parametrize(
    ("model", "device", "found", "alone", "threads"),
    [
        ("cnn", "cpu", 1, True, 1),
        ("cnn", "cpu", 2, True, 1),
        ("cnn", "auto", 4, True, 2),
        ("resnet-gn", "cpu", 32, True, 4),
        ("cnn", "cpu", 8, False, 1),
        ("cnn", "cuda", 8, True, 1),
        ("scatter-linear", "cpu", 8, True, 1),
        ("logistic", "cpu", 8, True, 1),
    ],
)
def test_several_threads_only_where_they_pay(
    monkeypatch: pytest.MonkeyPatch, model: str, device: str, found: int, alone: bool, threads: int
) -> None:
    monkeypatch.setattr("privlab.runs.limits.cores", lambda: found)
    config = load_preset("fashion-mnist-cnn").replace(model__name=model, performance__device=device)
    assert threads_for(config, alone) == threads


LIMITED = load_preset("digits").replace(privacy__noise_multiplier=2.0, privacy__epsilon_limit=6.0)


def paused_at(store: Store, config: RunConfig, step: int) -> Run:
    run = running(store, config)
    store.append(run.id, Point(step, step * run.plan.sample_rate, 1.0, 1.0, {}), attempt=run.attempt)
    return store.move(run.id, Status.PAUSED, expect=[Status.RUNNING], reason=Reason.PERSON)


def test_more_noise_makes_a_budget_last_longer(store: Store) -> None:
    run = paused_at(store, LIMITED, 50)
    assert run.plan.steps < run.plan.planned_steps
    after = control.raise_noise(store, run.id, 3.0)
    assert after.status is Status.QUEUED
    assert run.plan.steps < after.plan.steps
    assert after.plan.epsilon <= 6.0
    assert [after.plan.noise_multiplier_at(step) for step in (1, 50, 51)] == pytest.approx([2.0, 2.0, 3.0])
    assert after.plan.phases_until(50) == run.plan.phases_until(50)
    assert any(event.kind == "noise-raised" and "from step 51 on" in event.message for event in store.events(run.id))


def test_more_noise_twice(store: Store) -> None:
    run = paused_at(store, LIMITED, 50)
    control.raise_noise(store, run.id, 3.0)
    store.move(run.id, Status.PAUSED)
    after = control.raise_noise(store, run.id, 4.0)
    assert after.plan.noise_multiplier_at(50) == 2.0
    assert after.plan.noise_multiplier_at(51) == pytest.approx(4.0)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 1e6, float("nan")])
def test_noise_is_only_raised(store: Store, sigma: float) -> None:
    run = paused_at(store, LIMITED, 50)
    with pytest.raises(RunActionError, match="above the present σ=2"):
        control.raise_noise(store, run.id, sigma)
    assert store.get(run.id).plan == run.plan


def test_scheduled_noise_is_not_changed_on_the_way(store: Store) -> None:
    run = paused_at(store, LIMITED.replace(privacy__noise_schedule="linear"), 50)
    with pytest.raises(RunActionError, match="on a linear schedule"):
        control.raise_noise(store, run.id, 5.0)


def test_a_stretched_schedule_is_not_extended(store: Store) -> None:
    run = paused_at(store, LIMITED.replace(privacy__clip_schedule="linear"), 50)
    with pytest.raises(RunActionError, match="clip schedule"):
        control.extend(store, run.id, 5)


def test_a_run_that_ends_at_its_limit_is_not_extended(store: Store) -> None:
    run = paused_at(store, LIMITED, 50)
    with pytest.raises(RunActionError, match="ends at its limit of ε=6"):
        control.extend(store, run.id, 5)
    assert store.get(run.id).status is Status.PAUSED


def test_runs_without_noise_offer_no_more_of_it(store: Store) -> None:
    assert "raise_noise" not in control.actions(paused_at(store, PLAIN, 50))
