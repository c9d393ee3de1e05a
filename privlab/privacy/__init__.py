"""Pure arithmetic of the guarantee, torch-free: accountants, calibration, ε curves, the plan and what it means."""

from privlab.privacy.accounting import (
    LEAST_NOISE,
    MOST_EPSILON,
    MOST_NOISE,
    delta_for,
    epsilon,
    epsilon_curve,
    upper_epsilon,
)
from privlab.privacy.calibration import OutOfReach, noise_for
from privlab.privacy.odds import Odds, odds
from privlab.privacy.plan import PrivacyPlan
from privlab.privacy.planning import logged_steps, make_plan, steps_for

__all__ = [
    "LEAST_NOISE",
    "MOST_EPSILON",
    "MOST_NOISE",
    "Odds",
    "OutOfReach",
    "PrivacyPlan",
    "delta_for",
    "epsilon",
    "epsilon_curve",
    "logged_steps",
    "make_plan",
    "noise_for",
    "odds",
    "steps_for",
    "upper_epsilon",
]
