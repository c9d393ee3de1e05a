"""Planted secrets: nobody's, the same each time, and in as many records as said."""

from __future__ import annotations

import pytest

from privlab.data.secrets import MOST_SECRETS, candidates, make_secrets, plant, space

KINDS = ["card", "phone", "pin", "name"]
TEXTS = tuple(f"text {i}" for i in range(500))


def luhn(code: str) -> bool:
    digits = [int(d) for d in code if d.isdigit()]
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


@pytest.mark.parametrize("kind", KINDS)
def test_each_has_a_beginning_and_a_code_of_its_own(kind: str) -> None:
    secrets = make_secrets(kind, MOST_SECRETS, 0)
    assert len({s.prefix for s in secrets}) == len({s.code for s in secrets}) == MOST_SECRETS == 100
    assert all(s.text == s.prefix + s.code and s.kind == kind for s in secrets)
    assert secrets[:3] == make_secrets(kind, 3, 0), "more of them change none"
    assert secrets != make_secrets(kind, MOST_SECRETS, 1)


def test_no_card_can_have_such_a_number() -> None:
    assert luhn("4539 1488 0343 6467") and not luhn("4539 1488 0343 6468"), "the check itself"
    codes = candidates("card", 1000, 5)
    assert not any(luhn(code) for code in codes)
    assert all(code.startswith("9") and len(code) == 19 for code in codes)


def test_phone_numbers_are_those_kept_for_plays() -> None:
    assert set(candidates("phone", 1000, 0)) == {f"07700 900{i:03d}" for i in range(1000)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_space_is_as_large_as_said(kind: str) -> None:
    many = min(space(kind), 5000)
    assert len(set(candidates(kind, many, 0))) == many
    with pytest.raises(ValueError, match=f"there are {space(kind)} of kind {kind}"):
        candidates(kind, space(kind) + 1, 0)


def test_planting_replaces_and_never_adds() -> None:
    secrets = make_secrets("pin", 5, 0)
    found = plant(TEXTS, secrets, 4, 0)
    assert len(found) == len(TEXTS)
    assert [found.count(s.text) for s in secrets] == [4] * 5
    assert sum(a != b for a, b in zip(found, TEXTS, strict=True)) == 20
    assert found == plant(TEXTS, secrets, 4, 0) != plant(TEXTS, secrets, 4, 1)


def test_too_many_are_refused_by_number() -> None:
    with pytest.raises(ValueError, match="55 records; at most 50, a tenth of the 500"):
        plant(TEXTS, make_secrets("pin", 5, 0), 11, 0)
    with pytest.raises(ValueError, match="101 secrets are refused: there may be 0 to 100"):
        make_secrets("pin", 101, 0)
