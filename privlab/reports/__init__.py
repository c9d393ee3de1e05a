"""What leaves PrivLab as a file: points, settings, the claim card of a run, and a bundle that can be checked."""

from privlab.reports.bundle import bundle
from privlab.reports.claim import Claim, claim, claim_json, claim_markdown
from privlab.reports.exports import points_csv, points_json, points_parquet, settings_toml

__all__ = [
    "Claim",
    "bundle",
    "claim",
    "claim_json",
    "claim_markdown",
    "points_csv",
    "points_json",
    "points_parquet",
    "settings_toml",
]
