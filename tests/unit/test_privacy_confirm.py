"""The second opinions agree with every private preset; a plan that understates is refused, and what differs is flagged."""

from __future__ import annotations

import math

import pytest

from privlab.config import load_preset
from privlab.config.schedule import Schedule
from privlab.preflight import preflight
from privlab.privacy import confirm as module
from privlab.privacy.confirm import AccountingError, confirm, library_epsilon, second_opinions
from privlab.privacy.plan import PrivacyPlan
from privlab.privacy.prv import AccountantTimeout


@pytest.mark.parametrize("key", ["digits", "strong", "fashion-mnist"])
def test_presets_are_confirmed(key: str) -> None:
    plan = preflight(load_preset(key)).plan
    assert confirm(plan) == pytest.approx(plan.epsilon, abs=1e-5)
    assert plan.epsilon <= plan.target_epsilon


def test_without_noise_nothing_is_claimed() -> None:
    assert math.isinf(confirm(preflight(load_preset("clip-only")).plan))


def test_an_understated_epsilon_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan: PrivacyPlan = preflight(load_preset("digits")).plan
    monkeypatch.setattr(module, "library_epsilon", lambda _: plan.epsilon + 0.05)
    with pytest.raises(AccountingError, match="no claim"):
        confirm(plan)


PLAN = PrivacyPlan(60_000, 4096, 396, 2.0821, 1.0, 1e-5)
VARIANTS = {
    "replaced": PrivacyPlan(60_000, 4096, 396, 4.0, 1.0, 1e-5, adjacency="replace-one"),
    "stairs": PrivacyPlan(60_000, 4096, 396, 2.0, 1.0, 1e-5, noise_schedule=Schedule("step", end=0.6, stairs=4)),
    "bands": PrivacyPlan(60_000, 4096, 396, 2.0, 1.0, 1e-5, bands=4),
    "rounded": PrivacyPlan(1437, 256, 168, 2.0, 1.0, 1e-5, rounded=True, dimension=4810),
}


@pytest.mark.parametrize("key", VARIANTS)
def test_every_kind_of_plan_is_confirmed(key: str) -> None:
    assert confirm(VARIANTS[key]) == pytest.approx(VARIANTS[key].epsilon, abs=1e-5)


def test_many_different_steps_are_confirmed_on_a_wider_grid() -> None:
    plan = PrivacyPlan(60_000, 4096, 396, 2.0, 1.0, 1e-5, noise_schedule=Schedule("linear", end=0.8))
    assert confirm(plan) == pytest.approx(plan.epsilon, rel=2e-4)


def test_opinions_that_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "prv_epsilon", lambda phases, delta, limit_seconds: PLAN.epsilon + 0.0103)
    found = second_opinions(PLAN)
    assert found.pld == PLAN.epsilon and found.pld_library == library_epsilon(PLAN)
    assert found.pld < found.prv < found.rdp
    assert (found.reason_prv, found.flags) == ("", ())


def test_opinions_on_a_rounded_plan_count_what_rounding_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "prv_epsilon", lambda phases, delta, limit_seconds: 5.0)
    plan = VARIANTS["rounded"]
    assert second_opinions(plan).pld == plan.epsilon
    assert second_opinions(plan).prv == 5.0 + plan.slack[0]


def slow(phases, delta, limit_seconds):
    raise AccountantTimeout("not done")


def test_an_opinion_that_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "prv_epsilon", slow)
    assert second_opinions(PLAN).reason_prv == "not done" and second_opinions(PLAN).flags == ()
    assert "was not asked" in second_opinions(PLAN, prv_seconds=0).reason_prv
    assert "replace-one" in second_opinions(VARIANTS["replaced"]).reason_prv
    assert second_opinions(VARIANTS["replaced"]).prv is None


def test_no_opinions_without_noise() -> None:
    found = second_opinions(PrivacyPlan(100, 10, 50, 0.0, 1.0, 1e-5))
    assert math.isinf(found.pld) and found.prv is None and found.flags == ()


@pytest.mark.parametrize(
    ("pld", "library", "rdp", "prv", "named"),
    [
        (3.0, 3.07, 3.3, None, ["PrivLab's PLD says ε = 3 and dp-accounting's PLD ε = 3.07"]),
        (
            3.0,
            3.0,
            3.3,
            3.12,
            ["PrivLab's PLD says ε = 3 and Opacus's PRV", "dp-accounting's PLD says ε = 3 and Opacus"],
        ),
        (3.0, 3.0, 3.3, 2.9, ["Opacus's PRV ε = 2.9", "Opacus's PRV ε = 2.9"]),
        (3.0, 3.0, 2.99, None, ["RDP says ε = 2.99, below PLD's 3"]),
        (math.inf, 3.0, math.inf, None, ["PrivLab's PLD says ε = inf"]),
        (3.0, 3.0, 3.3, 3.06, []),
        (0.002, 0.002, 0.003, 0.0125, []),
        (3.0, 3.0, 3.0, None, []),
        (math.inf, math.inf, math.inf, None, []),
        (0.0, 0.0, 0.0, None, []),
    ],
)
def test_what_does_not_fit_together_is_flagged(pld, library, rdp, prv, named) -> None:
    flags = module._flags(pld, library, rdp, prv)
    assert len(flags) == len(named)
    assert all(words in flag for words, flag in zip(named, flags, strict=True))
