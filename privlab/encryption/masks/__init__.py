"""Secure sum: owners add masks that cancel, so that whoever sums sees the sum and no owner's numbers.

The protocol of Bonawitz et al. 2017 ("Practical secure aggregation for privacy-preserving machine learning", CCS, figure 4)
against parties that follow it and look at all they get. All numbers are words modulo 2³², so masks cancel exactly. One
round sums once, with keys made for that round:

1. Each owner shows two X25519 public keys. 2. It draws a mask of its own, b, and gives every other owner one Shamir share
of b and one of its mask key, sealed for that owner. 3. It sends its words + PRG(b) ± one mask for each other owner, from
a secret that only the two share. 4. For owners that sent, the others give up their shares of b; for owners that dropped
out in between, their shares of the mask key, so that the masks that no longer cancel can be worked out. Never both for
one owner: together they would uncover its words.

Keys are fresh in each round because a mask key that was given up, with the b of an earlier round, would uncover the
words of that round too. ``threshold`` owners must answer; more than half of them must, or a summing party that tells two
halves two stories would get both. It must not make up drop-outs all the same: against that the paper signs messages,
which is not built here.
"""

from privlab.encryption.masks.messages import MaskError
from privlab.encryption.masks.round import SecureSum, secure_sum
from privlab.encryption.masks.streams import veil

__all__ = ["MaskError", "SecureSum", "secure_sum", "veil"]
