"""What leaves PrivLab as text: points as CSV and JSON, settings as TOML, and the privacy statement of a run."""

from privlab.reports.exports import points_csv, points_json, settings_toml
from privlab.reports.statement import Statement, statement

__all__ = ["Statement", "points_csv", "points_json", "settings_toml", "statement"]
