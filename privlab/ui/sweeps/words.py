"""Sweeps as people read them."""

from __future__ import annotations

from privlab.metrics import METRICS
from privlab.runs.sweeprecord import Sweep, SweepState
from privlab.sweeps.progress import Progress
from privlab.sweeps.results import Row, Standing
from privlab.sweeps.space import in_words
from privlab.sweeps.spec import METHODS
from privlab.ui import labels

#: A state is told by its word and its mark, never by colour alone.
STATES: dict[SweepState, str] = {
    SweepState.RUNNING: "● running",
    SweepState.PAUSED: "❙❙ paused",
    SweepState.STOPPED: "■ stopped",
    SweepState.FINISHED: "✓ finished",
}
#: What everybody who reads a best result must know.
SELECTION = (
    "The best of many is chosen by its score on the same test records, and so flatters: part of its lead is luck. Train the chosen "
    "settings again with other seeds before you believe it. The choice also tells something of the data."
)


def state(sweep: Sweep) -> str:
    return STATES[sweep.state]


def method(sweep_method: str) -> str:
    return METHODS[sweep_method]


def left(now: Progress) -> str:
    """The time that is left, with what it is a guess of."""
    if now.seconds_left is None:
        return "time not known yet"
    return f"about {labels.duration(now.seconds_left)} left"


def counts(now: Progress) -> str:
    """``5 of 8 runs``, with what went otherwise."""
    parts = [f"**{now.done}** of {now.total} runs"]
    parts += [
        f"{count} {word}"
        for count, word in (
            (now.failed, "failed"),
            (now.pruned, "ended early"),
            (now.refused, "combination refused" if now.refused == 1 else "combinations refused"),
        )
        if count
    ]
    return " · ".join(parts)


def score(row: Row, metric: str) -> str:
    """Mean over seeds with its standard deviation."""
    mean, spread = row.mean(metric), row.spread(metric)
    if mean is None:
        return "–"
    told = METRICS[metric]
    return told.show(mean) + (f" ± {told.show(spread)}" if spread is not None else "")


def best(standing: Standing) -> tuple[str, str] | None:
    """Score and settings of the best trial; None before one has finished."""
    row = standing.best()
    if row is None:
        return None
    return score(row, standing.spec.metric), in_words(row.trial.values)
