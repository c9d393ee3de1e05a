"""What may be said about the privacy of a run's results: the card, and the card as files."""

from privlab.reports.claim.card import Claim, claim
from privlab.reports.claim.files import claim_json, claim_markdown

__all__ = ["Claim", "claim", "claim_json", "claim_markdown"]
