"""The second opinion agrees with every private preset, and refuses a plan that understates."""

from __future__ import annotations

import math

import pytest

from privlab.config import load_preset
from privlab.preflight import preflight
from privlab.privacy import confirm as module
from privlab.privacy.confirm import AccountingError, confirm
from privlab.privacy.plan import PrivacyPlan


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
