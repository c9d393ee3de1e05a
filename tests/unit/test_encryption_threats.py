"""The table of threats claims nothing that the modes do not keep."""

from __future__ import annotations

from privlab.encryption.threats import ATTACKS, PROTECTIONS, Help


def test_every_mark_has_its_reason_and_no_reason_stands_alone():
    for attack in ATTACKS:
        assert attack.answers.keys() == attack.why.keys() <= PROTECTIONS.keys(), attack.name
        assert Help.NO not in attack.answers.values()


def test_only_differential_privacy_answers_questions_to_the_released_model():
    (asked,) = [attack for attack in ATTACKS if attack.name.startswith("Ask the released model")]
    assert asked.answers == {"dp": Help.YES}


def test_differential_privacy_is_not_said_to_encrypt():
    """What hides bytes is never DP: it may limit a harm, it answers only the question of the released model."""
    assert sum(attack.answer("dp") is Help.YES for attack in ATTACKS) == 1
