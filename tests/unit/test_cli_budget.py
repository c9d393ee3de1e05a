"""``epsilon`` and ``noise`` print one number, or one sentence."""

from __future__ import annotations

import pytest

from privlab.cli import budget as module
from privlab.cli import main
from privlab.privacy.accounting import epsilon_of
from privlab.privacy.calibration import noise_for
from privlab.privacy.phases import Phase
from privlab.privacy.prv import AccountantTimeout

EPSILON = ["epsilon", "--sample-rate", "0.01", "--noise-multiplier", "0.7", "--steps", "120", "--delta", "1e-5"]
NOISE = ["noise", "--epsilon", "8", "--sample-rate", "0.04", "--steps", "2250", "--delta", "1e-5"]
PHASES = (Phase(0.01, 0.7, 120),)


def told(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    output = capsys.readouterr()
    return status, output.out, output.err


def test_epsilon_is_printed_alone(capsys):
    assert told(capsys, *EPSILON) == (0, "2.461238122\n", "")
    assert told(capsys, *EPSILON, "--accountant", "pld") == (0, "2.461238122\n", "")
    status, out, _ = told(capsys, *EPSILON, "--accountant", "rdp")
    assert status == 0 and float(out) == pytest.approx(3.2392, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        (["--adjacency", "replace-one"], {"adjacency": "replace-one"}),
        (["--group-size", "3"], {"group_size": 3}),
    ],
)
def test_neighbours_can_be_chosen(capsys, arguments, how):
    _, out, _ = told(capsys, *EPSILON, *arguments)
    assert float(out) == pytest.approx(epsilon_of(PHASES, 1e-5, **how), rel=1e-9)


def test_prv_is_asked_in_its_process(capsys, monkeypatch):
    monkeypatch.setattr(module, "prv_epsilon", lambda phases, delta, limit_seconds: 2.4715 if phases == PHASES else 0)
    assert told(capsys, *EPSILON, "--accountant", "prv") == (0, "2.4715\n", "")

    def slow(phases, delta, limit_seconds):
        raise AccountantTimeout("it was stopped.")

    monkeypatch.setattr(module, "prv_epsilon", slow)
    assert told(capsys, *EPSILON, "--accountant", "prv") == (1, "", "it was stopped.\n")


def test_prv_knows_one_record_only(capsys):
    status, out, err = told(capsys, *EPSILON, "--accountant", "prv", "--group-size", "2")
    assert (status, out) == (1, "") and "group_size=2" in err


def test_no_noise_is_infinite(capsys):
    arguments = [*EPSILON[:4], "0", *EPSILON[5:]]
    assert told(capsys, *arguments, "--accountant", "prv") == (0, "inf\n", "")


def test_noise_is_printed_alone(capsys):
    assert told(capsys, *NOISE) == (0, f"{noise_for(8.0, 0.04, 2250, 1e-5):g}\n", "")
    _, out, _ = told(capsys, *NOISE, "--accountant", "rdp")
    assert float(out) == pytest.approx(1.416, rel=2e-3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([*EPSILON, "--sample-rate", "1.5"], "sample_rate=1.5 must lie above 0 and at most at 1."),
        ([*EPSILON, "--steps", "0"], "steps=0 must be a whole number and at least 1."),
        ([*EPSILON, "--delta", "0"], "delta=0 must be at least 1e-10 and below 1."),
        ([*EPSILON, "--noise-multiplier", "nan"], "noise_multiplier=nan must be 0 or lie between 0.05 and 1000."),
        ([*EPSILON, "--group-size", "0"], "group_size=0 must be a whole number from 1 to 1,000."),
        ([*NOISE, "--epsilon", "0"], "target_epsilon=0 must be above 0."),
        ([*NOISE, "--steps", "0"], "steps=0 must be a whole number and at least 1."),
        ([*NOISE, "--sample-rate", "0"], "sample_rate=0 must lie above 0 and at most at 1."),
    ],
)
def test_bad_values_are_one_sentence(capsys, arguments, named):
    assert told(capsys, *arguments) == (1, "", named + "\n")


def test_what_is_no_number_is_refused_by_the_parser(capsys):
    with pytest.raises(SystemExit) as caught:
        main([*EPSILON, "--steps", "many"])
    assert caught.value.code == 2
