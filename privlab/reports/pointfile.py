"""The points of one run, read back from the file that :func:`privlab.reports.exports.points_csv` wrote, believing nothing."""

from __future__ import annotations

import csv
import io
import math

from privlab.metrics import METRICS, Point
from privlab.privacy.accounting import epsilon_curve
from privlab.privacy.confirm import TOLERANCE
from privlab.privacy.plan import PrivacyPlan
from privlab.reports.exports import POINT_COLUMNS, RUN_COLUMNS

#: Most points of one run; a run draws 2,000 at most, and one at each pause.
MOST_POINTS = 20_000


def read_points(text: str, plan: PrivacyPlan) -> list[Point]:
    """The points, ascending by step; their epochs follow from ``plan`` and are not read.

    Raises:
        ValueError: names the row and what is wrong with it.
    """
    rows = csv.reader(io.StringIO(text))
    header = tuple(next(rows, ()))
    first = (*RUN_COLUMNS, *POINT_COLUMNS)
    metrics = header[len(first) :]
    if header[: len(first)] != first:
        raise ValueError(f"points.csv begins with {','.join(header[: len(first)])!r}, not with {','.join(first)}.")
    if unknown := [key for key in metrics if key not in METRICS]:
        raise ValueError(f"points.csv has a column {unknown[0]!r}, which this PrivLab does not know. Update PrivLab.")
    found: list[Point] = []
    for number, row in enumerate(rows, 1):
        if number > MOST_POINTS:
            raise ValueError(f"points.csv has more than {MOST_POINTS:,} points.")
        try:
            found.append(_point(row, metrics, plan, found[-1].step if found else 0))
        except ValueError as error:
            raise ValueError(f"Point {number:,} of points.csv: {error}") from None
    return found


def _point(row: list[str], metrics: tuple[str, ...], plan: PrivacyPlan, before: int) -> Point:
    at = len(RUN_COLUMNS)
    if len(row) != at + len(POINT_COLUMNS) + len(metrics):
        raise ValueError(f"it has {len(row)} cells.")
    step, seconds = int(row[at]), _number(row[at + 2])
    if not before < step <= plan.steps:
        raise ValueError(f"step={step} must be above {before} and at most {plan.steps}.")
    if seconds is None or seconds < 0:
        raise ValueError(f"seconds={row[at + 2]!r} must be at least 0.")
    epsilon = _number(row[at + 3])
    if (epsilon is None) is plan.is_private:
        raise ValueError(f"epsilon={row[at + 3]!r} does not go with the plan.")
    measured = {
        key: value for key, cell in zip(metrics, row[at + 4 :], strict=True) if (value := _number(cell)) is not None
    }
    for key, value in measured.items():
        if METRICS[key].unit == "share" and not 0 <= value <= 1:
            raise ValueError(f"{key}={value:g} must lie between 0 and 1.")
    return Point(step, step * plan.sample_rate, seconds, epsilon, measured)


def _number(cell: str) -> float | None:
    if not cell:
        return None
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError(f"{cell} is not a finite number.")
    return value


def understated(points: list[Point], plan: PrivacyPlan) -> str | None:
    """The first point that says less ε than its steps cost, as a sentence; None where none does."""
    if not points or not plan.is_private:
        return None
    for point, cost in zip(points, epsilon_curve(plan, [point.step for point in points]).tolist(), strict=True):
        if not point.epsilon >= cost - TOLERANCE * max(1.0, cost):
            return f"The point of step {point.step} says ε={point.epsilon:.6g}, and its steps cost ε={cost:.6g}: the loss is understated."
    return None
