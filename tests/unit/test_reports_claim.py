"""The claim card: valid only where nothing stands against it, void where nothing may be claimed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from privlab.config import load_preset
from privlab.preflight import preflight
from privlab.reports import claim, claim_json, claim_markdown
from privlab.runs.ledger import ledger_of
from privlab.runs.record import Run, RunEvent, Spent, Status

CHECKED = RunEvent(1, "abc", 1.0, "info", "Self-check passed.", {"sensitivity": 0.98})


def a_run(preset: str = "digits", run_id: str = "abc", **settings) -> Run:
    config = load_preset(preset).replace(**settings)
    plan = preflight(config).plan
    epsilon = 0.123456 if plan.is_private else None
    return Run(run_id, "", Status.FINISHED, config, plan, created=1.0, step=2, steps=plan.steps, epsilon=epsilon)


def event(kind: str, **data) -> RunEvent:
    return RunEvent(2, "abc", 2.0, kind, "", data)


def test_a_checked_private_run_is_valid_and_counts_the_steps_done() -> None:
    run = a_run()
    said = claim(run, [CHECKED])
    assert (said.verdict, said.reasons, said.epsilon) == ("valid", (), 0.123456)
    assert said.headline == f"ε = 0.1235 at δ = 0.0001, after step 2 of {run.steps}."
    fields = {field.key: field.value for field in said.fields}
    assert fields["steps"] == f"2 done of {run.steps:,} planned"
    assert fields["guarantee"].startswith("(0.123456, 0.0001)")
    assert "gradient norm" in fields["not_covered"]
    assert "dp-accounting" in fields["versions"]


def test_public_weights_and_made_up_records_are_named() -> None:
    def stated(**settings) -> dict[str, str]:
        return {field.key: field.value for field in claim(a_run("memorise", **settings), [CHECKED]).fields}

    assert stated()["records"] == "4,128, 40 of them made-up secrets"
    assert stated()["start"] == "random weights from a seed"
    assert "Pretrained TinyStories-15M" in stated(model__name="tinystories")["start"]
    assert "are not covered" in stated(model__name="tinystories")["start"]


SEVERAL = {"encryption__mode": "pad", "encryption__owners": 5}


@pytest.mark.parametrize(
    ("settings", "attempt", "said", "seen"),
    [
        (
            {},
            1,
            ["0.126252 against one owner", "0.33161 against all others", "together with the store's server"],
            "√5",
        ),
        (
            {"encryption__aggregation": "masks", "encryption__dropouts": 2},
            1,
            ["one owner", "ε = ∞ against all others"],
            "√3",
        ),
        ({"encryption__owners": 2, "encryption__aggregation": "masks"}, 1, ["against one owner, after step 2."], "√2"),
        ({}, 3, ["up to 30 steps that were begun again"], "√5"),
    ],
)
def test_several_owners_are_told_against_whom_it_holds(
    settings: dict, attempt: int, said: list[str], seen: str
) -> None:
    run = replace(a_run(**SEVERAL | settings), attempt=attempt)
    found = claim(run, [CHECKED])
    (reason,) = found.reasons
    assert found.verdict == "conditional" and found.epsilon == 0.123456
    assert found.headline.endswith("against everybody who is no owner.")
    for words in (*said, f"none of the {run.plan.owners} data owners"):
        assert words in reason, reason
    owners = {field.key: field.value for field in found.fields}["owners"]
    assert seen in owners and "simulated on one machine" in owners
    assert ("masks" in owners) == ("encryption__aggregation" in settings)


def test_steps_begun_again_cost_more_against_owners() -> None:
    def against_one(attempt: int) -> float:
        reason = claim(replace(a_run(**SEVERAL), attempt=attempt), [CHECKED]).reasons[0]
        return float(reason.split("ε = ")[1].split()[0])

    assert against_one(1) < against_one(2) < against_one(3)


def test_one_owner_is_said_to_see_all() -> None:
    fields = {field.key: field.value for field in claim(a_run(), [CHECKED]).fields}
    assert fields["owners"] == "one, who sees all records"


@pytest.mark.parametrize(("epsilon", "shown"), [(2.0000001, "2.00001"), (0.1234561, "0.123457"), (3.0, "3")])
def test_the_guarantee_is_never_rounded_down(epsilon: float, shown: str) -> None:
    fields = {field.key: field.value for field in claim(replace(a_run(), epsilon=epsilon), [CHECKED]).fields}
    assert fields["guarantee"].startswith(f"({shown}, 0.0001)")


@pytest.mark.parametrize(
    ("run", "events", "why"),
    [
        (a_run("no-privacy"), [], "not clipped"),
        (a_run("clip-only"), [], "No noise"),
        (a_run(privacy__randomness="reproducible", training__seed=7), [CHECKED], "known seed 7"),
        (a_run(), [CHECKED, event("void", void="The noise is 0.5 × σ·C.")], "0.5 × σ·C"),
        (replace(a_run(), status=Status.FAILED, step=0, epsilon=None), [], "Nothing was released"),
        (replace(a_run(), step=0, epsilon=None), [CHECKED], "Nothing is released yet"),
        (replace(a_run(), epsilon=float("inf")), [CHECKED], "Nothing"),
    ],
)
def test_void(run: Run, events: list[RunEvent], why: str) -> None:
    said = claim(run, events)
    assert said.verdict == "void"
    assert said.epsilon is None
    assert why in " ".join(said.reasons)
    assert json.loads(claim_json(said))["statement"]["guarantee"]["value"] == "none"


@pytest.mark.parametrize(
    ("run", "events", "why"),
    [
        (a_run(privacy__randomness="plain"), [CHECKED], "not cryptographic"),
        (a_run(), [], "self-check"),
        (a_run(), [CHECKED, event("noise-raised")], "σ was raised"),
        (a_run(), [CHECKED, event("extended")], "made longer"),
        (replace(a_run(), status=Status.STOPPED), [CHECKED], "ε = 3 of all 845 planned steps"),
        (a_run(), [CHECKED, event("info", opinions={"rdp": 1.0, "flags": ["RDP is below PLD."]})], "RDP is below PLD"),
        (replace(a_run(), status=Status.FAILED, error="The disk is full."), [CHECKED], "The disk is full."),
    ],
)
def test_conditional(run: Run, events: list[RunEvent], why: str) -> None:
    said = claim(run, events)
    assert said.verdict == "conditional"
    assert why in " ".join(said.reasons)


def test_other_runs_make_it_conditional_unless_the_records_are_public() -> None:
    runs = [Spent.of(a_run()), Spent.of(a_run(run_id="def"))]
    said = claim(a_run(), [CHECKED], ledger_of("digits", runs))
    assert said.verdict == "conditional"
    assert "1 other run used" in said.reasons[0]
    training = replace(a_run(), status=Status.RUNNING)
    assert "all together cost more" in claim(training, [CHECKED], ledger_of("digits", runs)).reasons[0]
    assert claim(a_run(), [CHECKED], ledger_of("digits", runs, public=True)).verdict == "valid"
    assert claim(a_run(), [CHECKED], ledger_of("digits", runs[:1])).verdict == "valid"


def test_exports_name_everything() -> None:
    said = claim(a_run(privacy__randomness="plain"), [CHECKED])
    document = json.loads(claim_json(said))
    assert document["schema_version"] == 1
    assert list(document["statement"]) == [field.key for field in said.fields]
    text = claim_markdown(said)
    assert text.startswith("# Privacy claim of run abc: conditional")
    assert all(f"| {field.label} | " in text for field in said.fields)


def test_shuffled_batches_claim_nothing_and_say_so() -> None:
    run = a_run("no-privacy", privacy__sampling="shuffled")
    said = claim(run, [CHECKED])
    assert (said.verdict, said.epsilon) == ("void", None)
    assert any("shuffled" in reason for reason in said.reasons)
    fields = {field.key: field.value for field in said.fields}
    assert fields["guarantee"] == "none" and "once an epoch" in fields["sampler_used"]
    assert fields["sampler_accounted"].startswith("none")
    # Should noise ever get in beside shuffling, no ε follows from it.
    assert not replace(run.plan, shuffled=True, noise_multiplier=1.0, max_grad_norm=1.0).is_private
