"""Users as the unit of privacy: whose texts are whose, what is trained on, and what is claimed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from privlab.config import ConfigError, RunConfig
from privlab.config.sections import USERS_TEXTS
from privlab.data import checksums, fetch
from privlab.data.catalogue import DATASETS, RECORDS_OF_A_USER
from privlab.data.checksums import digest
from privlab.data.load import NOT_ASKED
from privlab.data.packing import packed
from privlab.data.secrets import plant, secrets_of
from privlab.data.sources import Source
from privlab.data.texts import load_texts
from privlab.data.textsources import TEXT_SOURCES
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.reports import claim
from privlab.runs.ledger import ledger_of, no_best
from privlab.runs.record import Run, RunEvent, Spent, Status
from privlab.training.attack import ask_model
from privlab.training.checkpoint import Checkpoint
from privlab.training.cost import measure
from privlab.training.export import weights_file
from privlab.training.inputs import inputs, planted
from privlab.training.train import train

EMAILS = RunConfig.from_dict(
    {
        "data": {"dataset": "emails", "unit": "user", "user_records": 3, "secrets": 2, "secret_repeats": 10},
        "model": {"name": "small-gpt"},
        "privacy": {"noise_multiplier": 1.0, "delta": 1e-4, "max_grad_norm": 0.5},
        "training": {"batch_size": 8, "epochs": 1, "optimizer": "adam", "learning_rate": 0.002, "curve_points": 2},
    }
)
FACTS = DATASETS["emails"]
CHECKED = RunEvent(1, "abc", 1.0, "info", "Self-check passed.", {"sensitivity": 0.98})


@pytest.fixture
def emails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many made-up e-mails, of as many users, as there are real ones."""
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    counts = [*FACTS.busiest, *[1] * (FACTS.users - len(FACTS.busiest))]
    counts[-1] += FACTS.train_records - sum(counts)
    users = np.repeat(np.arange(FACTS.users), counts).astype(np.uint16)
    arrays = {
        "train_x": packed(f"Mail {i} by {user}" for i, user in enumerate(users)),
        "train_y": np.array([], np.uint8),
        "train_u": users,
        "test_x": packed(f"Test mail {i}" for i in range(FACTS.test_records)),
        "test_y": np.array([], np.uint8),
        "test_u": np.zeros(FACTS.test_records, np.uint16),
    }
    monkeypatch.setitem(checksums.SHA256, "emails", {part: digest(array) for part, array in arrays.items()})
    monkeypatch.setitem(TEXT_SOURCES, "emails", (Source("here", lambda folder, report: arrays),))
    fetch.fetch("emails")


def test_settings_name_the_data_sets_whose_users_are_known() -> None:
    assert set(USERS_TEXTS) == {key for key, facts in DATASETS.items() if facts.users}
    assert FACTS.busiest == tuple(sorted(FACTS.busiest, reverse=True)) and len(FACTS.busiest) == 100
    assert sum(FACTS.busiest) < FACTS.train_records


def test_the_guarantee_counts_users() -> None:
    plan, by_record = preflight(EMAILS).plan, preflight(EMAILS.replace(data__unit="record")).plan
    assert (plan.unit, plan.records, by_record.unit, by_record.records) == ("user", 585, "record", 3209)
    assert plan.sample_rate == 8 / 585


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"data__dataset": "sms-messages"}, "data.unit", "unit=user has no meaning here"),
        ({"privacy__delta": 0.002}, "privacy.delta", "0.002"),
        ({"training__batch_size": 600}, "training.batch_size", "600 is more than the 585"),
        ({"performance__gradient_method": "ghost"}, "performance.gradient_method", "unit=user averages gradients"),
        ({"data__secrets": 3, "data__secret_repeats": 65}, "data.secret_repeats", "0 users have room for so many"),
        ({"data__secrets": 5, "data__secret_repeats": 63}, "data.secret_repeats", "4 users have room for so many"),
    ],
    ids=["no users", "delta", "batch", "ghost", "too many for one", "too many users"],
)
def test_what_does_not_go_together_is_refused_by_name(settings: dict, path: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        preflight(EMAILS.replace(**settings))
    assert words in {problem.path: problem.message for problem in refused.value.problems}[path]


def test_each_users_records_lie_together(emails: None) -> None:
    data = inputs(EMAILS.replace(data__secrets=0))
    assert data.train_x.shape == data.train_y.shape == (FACTS.users, RECORDS_OF_A_USER, 128)
    counts = (data.train_y != NOT_ASKED).any(2).sum(1)
    assert counts.tolist()[:3] == [64, 64, 64] and counts.tolist()[50:100] == list(FACTS.busiest[50:])
    text = bytes(data.train_x[3, 0][data.train_x[3, 0] < 256].tolist()).decode()
    assert text == f"Mail {sum(FACTS.busiest[:3])} by 3"
    assert data.test_x.shape == (FACTS.test_records, 128)


@pytest.mark.parametrize("unit", ["user", "record"])
def test_a_secret_stands_in_one_users_texts(emails: None, unit: str) -> None:
    config = EMAILS.replace(data__unit=unit)
    texts = planted(config, load_texts("emails"))
    assert len(texts.train) == FACTS.train_records
    holders = []
    for secret in secrets_of(config):
        users = [
            user for text, user in zip(texts.train, texts.train_users.tolist(), strict=True) if text == secret.text
        ]
        assert len(users) == 10 and len(set(users)) == 1
        holders += set(users)
    assert len(set(holders)) == 2
    # All of them are among the records that are trained on.
    data = inputs(EMAILS)
    for secret in secrets_of(EMAILS):
        there = torch.tensor([257, *secret.text.encode()])
        assert (data.train_x[:, :, : len(there)] == there).all(2).sum() == 10


def test_too_few_users_with_so_many_texts_are_refused() -> None:
    secrets = secrets_of(EMAILS)
    with pytest.raises(ValueError, match="2 secrets in 3 records each are refused: 1 users have so many"):
        plant([""] * 100, secrets, 3, 0, [[0, 1, 2], [3, 4], [5]])


@pytest.mark.parametrize("private", [True, False], ids=["private", "plain"])
def test_a_run_trains_and_goes_on(emails: None, private: bool) -> None:
    config = EMAILS.replace(privacy__randomness="reproducible")
    if not private:
        config = config.replace(privacy__noise_multiplier=0.0, privacy__clipping="none")

    def run(most: int, resume: Checkpoint | None = None) -> tuple[list[Point], list[Checkpoint]]:
        points, saved = [], []
        for item in train(config.replace(training__curve_points=2000), resume=resume, save=saved.append):
            points += [item] if isinstance(item, Point) else []
            if len(points) == most:
                break
        return points, saved

    points, saved = run(3)
    assert [point.step for point in points] == [1, 2, 3] and (points[0].epsilon is not None) == private
    assert {"test_perplexity", "exposure_mean"} & points[0].metrics.keys()
    _, later = run(1, saved[1])
    for name, tensor in saved[2].parameters.items():
        assert torch.equal(tensor, later[0].parameters[name]), name
    found = ask_model(config, weights_file(saved[2]))
    assert found.members > FACTS.users


def test_a_step_is_measured() -> None:
    assert measure(preflight(EMAILS.replace(data__secrets=0)), "one-pass", 0.05).seconds > 0


def finished(config: RunConfig, run_id: str = "abc") -> Run:
    plan = preflight(config).plan
    return Run(run_id, "", Status.FINISHED, config, plan, created=1.0, step=2, steps=plan.steps, epsilon=0.5)


def test_the_claim_is_about_a_user() -> None:
    fields = {field.key: field for field in claim(finished(EMAILS), [CHECKED]).fields}
    assert fields["unit"].value.startswith("one user: all training records of one person")
    assert fields["adjacency"].value == "one user with all of their records added or removed"
    assert (fields["records"].label, fields["records"].value) == (
        "Users N",
        "585, 20 of whose records are made-up secrets",
    )
    assert "at most 3 of their records" in fields["sampler_used"].value


def test_the_ledger_says_what_users_and_records_together_are_promised() -> None:
    def spent(run_id: str, unit: str) -> Spent:
        run = finished(EMAILS.replace(data__unit=unit), run_id)
        return Spent.of(run)

    users, records = spent("a", "user"), spent("b", "record")
    alone, mixed = ledger_of("emails", [users]), ledger_of("emails", [users, records])
    assert (alone.unit, alone.adjacency) == ("user", "add-or-remove-one")
    assert (mixed.unit, mixed.adjacency) == ("record", "replace-one")
    # A record that is replaced changes its user into another.
    assert mixed.alone[0] > alone.alone[0]
    assert no_best(alone) is None and "replacement" in no_best(mixed)
    assert ledger_of("emails", [replace(records, run_id="c"), records]).adjacency == "add-or-remove-one"
