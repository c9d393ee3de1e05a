"""What the encryption modes say of themselves, and the models that they refuse by size and time."""

from __future__ import annotations

import pytest

from privlab.encryption.modes import MODES, misfit, predict
from privlab.encryption.store import open_store
from privlab.encryption.store.launch import scheme_for


def test_each_mode_says_all_it_must() -> None:
    assert list(MODES) == ["none", "sealed", "bfv", "ckks", "pad"]
    for key, facts in MODES.items():
        assert facts.key == key
        assert set(facts.sees) == {"thief", "server", "owner"}
        assert all(len(text) > 20 for text in (facts.about, facts.does_not_protect, *facts.sees.values()))
        # Encryption is never sold as differential privacy.
        assert "no differential privacy" in facts.does_not_protect
        assert facts.is_store == (key in ("bfv", "ckks", "pad"))


@pytest.mark.parametrize("mode", list(MODES))
def test_every_mode_has_a_store(mode: str) -> None:
    facts = MODES[mode]
    assert (scheme_for(facts.store, 3) if facts.is_store else open_store(mode, 3)).mode == facts.store


def test_the_approximate_scheme_warns_of_publishing_its_model() -> None:
    assert "Take BFV or the masked store for a model that is published" in MODES["ckks"].does_not_protect


def test_golden_predictions() -> None:
    cost = predict("bfv", 1_000_000, owners=3)
    assert (cost.sent, cost.received) == (45_300_000, 15_100_000)
    assert cost.seconds == pytest.approx(0.4 + 3 * 0.6)
    assert predict("pad", 10_000_000).sent == 40_000_000
    assert predict("sealed", 10**9) == predict("none", 10**9)
    assert predict("none", 10**9).seconds == 0


def test_a_model_too_large_is_refused_by_its_numbers() -> None:
    reason = misfit("ckks", 40_000_000, owners=3)
    for words in (
        "40,000,000 parameters with 3 owners",
        "3.6 GB",
        "132.0 s",
        "of the server's memory",
        "at most 10,000,000",
        "60 s",
    ):
        assert words in reason
    assert "Take a smaller model or mode “pad”." in reason
    assert "Take a smaller model." in misfit("pad", 100_000_001)
    # Few enough parameters, but too slow with so many owners.
    assert misfit("bfv", 10_000_000, owners=9) is None
    assert "64.0 s" in misfit("bfv", 10_000_000, owners=10)
    for mode, most in (("bfv", 10_000_000), ("ckks", 10_000_000), ("pad", 100_000_000)):
        assert misfit(mode, most) is None
        assert misfit(mode, most + 1)
    assert misfit("sealed", 10**10) is None


def test_owners_need_a_store_and_an_update_that_adds_up() -> None:
    assert "2 owners need an encrypted store" in misfit("sealed", 10, owners=2)
    for optimizer in ("adam", "adam-bc"):
        assert f"“{optimizer}” divides by statistics of the whole sum" in misfit(
            "pad", 10, owners=2, optimizer=optimizer
        )
        assert misfit("pad", 10, owners=1, optimizer=optimizer) is None
    assert misfit("pad", 10, owners=10) is None
