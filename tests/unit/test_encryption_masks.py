"""The secure sum: exact, hidden, and recovered when owners drop out at any point of a round."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from scipy import stats

from privlab.encryption.masks import MaskError, secure_sum, veil
from privlab.encryption.masks.aggregator import Aggregator
from privlab.encryption.masks.messages import Advert, Uncovered, check_threshold
from privlab.encryption.masks.owner import MaskedOwner
from privlab.encryption.masks.shamir import join, split
from privlab.encryption.masks.streams import add_stream, pair_key

LABEL = b"run 1, round 7"


def words(owners: Iterable[int], count: int = 1000) -> dict[int, np.ndarray]:
    random = np.random.default_rng(5)
    return {owner: random.integers(0, 2**32, count, dtype=np.uint32) for owner in owners}


def total(given: dict[int, np.ndarray]) -> np.ndarray:
    return np.add.reduce(list(given.values()), dtype=np.uint32)


@pytest.mark.parametrize(("owners", "threshold"), [(1, 1), (2, 2), (3, 2), (5, 3), (5, 5), (10, 6)])
@pytest.mark.parametrize("count", [1, 1000, 100_001])
def test_the_sum_is_exact(owners: int, threshold: int, count: int) -> None:
    given = words(range(owners), count)
    found = secure_sum(given, owners, threshold, LABEL)
    assert np.array_equal(found.words, total(given))
    assert found.owners == tuple(range(owners))
    assert found.sent > 4 * owners * count


@pytest.mark.parametrize("gone", [set(), {0}, {4}, {1, 3}])
@pytest.mark.parametrize("late", [set(), {2}])
@pytest.mark.parametrize("before", [set(), {4}])
def test_owners_that_drop_out_are_recovered(gone: set[int], late: set[int], before: set[int]) -> None:
    """Before the round, after sharing their keys, and after sending their words."""
    given = words(set(range(5)) - gone - before)
    if len(given.keys() - late) < 3:
        with pytest.raises(MaskError, match="stays hidden"):
            secure_sum(given, 5, 3, LABEL, gone_before=before, gone_late=late)
        return
    found = secure_sum(given, 5, 3, LABEL, gone_before=before, gone_late=late)
    assert np.array_equal(found.words, total(given)) and found.owners == tuple(sorted(given))


def test_too_few_owners_uncover_nothing() -> None:
    with pytest.raises(MaskError, match="2 owners are left in the round; 3 are needed"):
        secure_sum(words([0, 1]), 5, 3, LABEL)
    with pytest.raises(MaskError, match="2 owners are left"):
        secure_sum(words(range(5)), 5, 3, LABEL, gone_late={0, 1, 2})


@pytest.mark.parametrize(("owners", "threshold"), [(4, 2), (5, 2), (3, 4), (10, 5)])
def test_half_of_the_owners_or_fewer_are_no_threshold(owners: int, threshold: int) -> None:
    with pytest.raises(MaskError, match=f"threshold={threshold} must be more than half of the {owners}"):
        check_threshold(owners, threshold)


class Round:
    """A round taken apart, so that single messages can be looked at and changed."""

    def __init__(self, owners: int = 4, threshold: int = 3):
        self.parties = [MaskedOwner(owner, threshold, LABEL) for owner in range(owners)]
        self.adverts = [party.advertise() for party in self.parties]
        self.hub = Aggregator(self.adverts, threshold, LABEL)
        for party in self.parties:
            self.hub.route(party.owner, party.share(self.adverts))

    def masked(self, owner: int, given: np.ndarray) -> np.ndarray:
        return self.parties[owner].mask(given, self.hub.shares_for(owner))


def test_what_an_owner_sends_looks_random_and_is_new_in_each_round() -> None:
    given = np.zeros(40_000, dtype=np.uint32)
    first, second = Round().masked(0, given), Round().masked(0, given)
    assert not np.array_equal(first, second)
    for sent in (first, second):
        counts = np.bincount(sent >> np.uint32(24), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-6


def test_all_masks_but_one_hide_the_words() -> None:
    """The summing party with every secret of two owners, and one share too few of the third's own mask."""
    told = Round()
    given = words(range(4))
    sent = {owner: told.masked(owner, given[owner]) for owner in range(4)}
    bare = sent[0].copy()
    for other in (1, 2, 3):
        party = told.parties[other]
        add_stream(bare, pair_key(party._masking, told.adverts[0].masking, LABEL, 0, other), minus=True)
    assert not np.array_equal(bare, given[0])
    two = {holder: told.parties[holder]._held[0][0] for holder in (1, 2)}
    with pytest.raises(MaskError, match="2 shares"):
        join(two, 3)
    add_stream(bare, told.parties[0]._own_mask, minus=True)
    assert np.array_equal(bare, given[0])


def test_keys_serve_one_round_only() -> None:
    told = Round()
    given = words(range(4))
    for owner in range(4):
        told.hub.add(owner, told.masked(owner, given[owner]))
    party = told.parties[0]
    party.uncover(told.hub.came)
    # The second answer would give the mask key of an owner whose own mask was given up by the first.
    with pytest.raises(MaskError, match="Owner 0 was asked to uncover twice"):
        party.uncover([0, 1, 2])
    with pytest.raises(MaskError, match="mask twice"):
        party.mask(given[0], told.hub.shares_for(0))
    with pytest.raises(MaskError, match="share twice"):
        party.share(told.adverts)


def test_never_both_secrets_of_one_owner() -> None:
    told = Round()
    given = words(range(4))
    for owner in (0, 1, 2):
        told.hub.add(owner, told.masked(owner, given[owner]))
    answers = [told.parties[owner].uncover(told.hub.came) for owner in (0, 1, 2)]
    for answer in answers:
        assert answer.own_masks.keys() == {0, 1, 2} and answer.mask_keys.keys() == {3}
    assert np.array_equal(told.hub.unmasked(answers), given[0] + given[1] + given[2])


def test_words_come_once_from_owners_of_the_round() -> None:
    told = Round()
    given = words(range(4))
    masked = told.masked(0, given[0])
    told.hub.add(0, masked)
    with pytest.raises(MaskError, match="Owner 0 has sent its words already"):
        told.hub.add(0, masked)
    with pytest.raises(MaskError, match="Owner 9 is not part of the round"):
        told.hub.add(9, masked)
    with pytest.raises(MaskError, match="999 words of uint32, not 1000"):
        told.hub.add(1, masked[:-1])
    with pytest.raises(MaskError, match="not part of the round"):
        told.parties[0].uncover([0, 1, 9])


@pytest.mark.parametrize("place", [0, 11, 12, 80, -1])
def test_a_share_changed_on_its_way_is_refused(place: int) -> None:
    told = Round()
    sealed = dict(told.hub.shares_for(1))
    changed = bytearray(sealed[0])
    changed[place] ^= 1
    with pytest.raises(MaskError, match="Owner 0's shares for owner 1 were changed"):
        told.parties[1].mask(words([1])[1], sealed | {0: bytes(changed)})


def test_a_share_for_another_owner_or_round_is_refused() -> None:
    told, other = Round(), Round()
    with pytest.raises(MaskError, match="were changed"):
        told.parties[1].mask(words([1])[1], told.hub.shares_for(1) | {0: told.hub.shares_for(2)[0]})
    with pytest.raises(MaskError, match="were changed"):
        told.parties[2].mask(words([2])[2], other.hub.shares_for(2))
    with pytest.raises(MaskError, match="were changed"):
        told.parties[3].mask(words([3])[3], told.hub.shares_for(3) | {0: b"short"})


def test_false_adverts_are_refused() -> None:
    party = MaskedOwner(0, 2, LABEL)
    mine, other = party.advertise(), MaskedOwner(1, 2, LABEL).advertise()
    with pytest.raises(MaskError, match="same number or the same key"):
        party.share([mine, other, Advert(2, other.sealing, other.masking)])
    with pytest.raises(MaskError, match="not among the owners"):
        MaskedOwner(0, 2, LABEL).share([mine, other])
    small = MaskedOwner(0, 2, LABEL)
    with pytest.raises(MaskError, match="public key"):
        small.share([small.advertise(), Advert(1, bytes(32), b"\1" + bytes(31))])


def test_false_shares_of_a_mask_key_are_noticed() -> None:
    told = Round()
    given = words(range(4))
    for owner in (0, 1, 2):
        told.hub.add(owner, told.masked(owner, given[owner]))
    false = split(X25519PrivateKey.generate().private_bytes_raw(), 3, range(4))
    answers = [told.parties[owner].uncover(told.hub.came) for owner in (0, 1, 2)]
    lies = [Uncovered(a.owner, a.own_masks, {3: false[a.owner]}) for a in answers]
    with pytest.raises(MaskError, match="owner 3's mask key give another key"):
        told.hub.unmasked(lies)
    mixed = [*answers[:2], lies[2]]
    with pytest.raises(MaskError, match=r"do not belong together|give another key"):
        told.hub.unmasked(mixed)


def test_any_threshold_shares_give_the_secret_back() -> None:
    secret = bytes(range(32))
    shares = split(secret, 3, range(5))
    for holders in itertools.combinations(range(5), 3):
        assert join({holder: shares[holder] for holder in holders}, 3) == secret
    assert split(secret, 3, range(5)) != shares
    # A straight line through two of three shares misses the secret.
    (x, a), (y, b) = ((holder + 1, shares[holder]) for holder in (0, 1))
    guess = (a * y - b * x) * pow(y - x, -1, 2**521 - 1) % (2**521 - 1)
    assert guess != int.from_bytes(secret, "big")


def test_a_mask_is_aes_256_in_counter_mode() -> None:
    """NIST SP 800-38A, F.5.5, with its counter moved to 0: AES-256 of the all-zero block under the all-zero key."""
    found = np.zeros(4, dtype=np.uint32)
    add_stream(found, bytes(32))
    assert found.astype("<u4").tobytes().hex() == "dc95c078a2408989ad48a21492842087"
    long = np.zeros(100_000, dtype=np.uint32)
    add_stream(long, bytes(32))
    assert np.array_equal(long[:4], found) and len(set(long.tolist())) > 99_900
    add_stream(long, bytes(32), minus=True)
    assert not long.any()


def test_a_veil_is_lifted_with_the_key_and_the_label_only() -> None:
    given = words([0])[0]
    for key, label, owner in (
        (b"k" * 32, LABEL, 0),
        (b"k" * 32, b"other", 0),
        (b"k" * 32, LABEL, 1),
        (b"j" * 32, LABEL, 0),
    ):
        veiled = given.copy()
        veil(veiled, b"k" * 32, LABEL, 0)
        assert not np.array_equal(veiled, given)
        veil(veiled, key, label, owner, lift=True)
        assert np.array_equal(veiled, given) == ((key, label, owner) == (b"k" * 32, LABEL, 0))


def test_both_ends_of_a_pair_agree_and_other_pairs_and_rounds_do_not() -> None:
    a, b = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    ours = pair_key(a, b.public_key().public_bytes_raw(), LABEL, 0, 1)
    assert ours == pair_key(b, a.public_key().public_bytes_raw(), LABEL, 1, 0)
    assert ours != pair_key(a, b.public_key().public_bytes_raw(), LABEL, 0, 2)
    assert ours != pair_key(a, b.public_key().public_bytes_raw(), b"run 1, round 8", 0, 1)
