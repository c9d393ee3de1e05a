"""``decompose``: what privacy costs, step by step, from trainings that are done here one after the other."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from privlab.analysis.decomposition import STEPS, Breakdown, Decomposition, breakdown, decompose, in_words
from privlab.analysis.facts import Facts
from privlab.cli.output import print_record
from privlab.cli.training import require_inputs, settings, train_here
from privlab.config import ConfigError
from privlab.runs.record import Status
from privlab.runs.store import Store, new_id


def decompose_run(given: argparse.Namespace) -> int:
    """Train what is missing, seed by seed, then say what each change costs. Finished runs of the same settings and seed count
    as done, so that an interrupted decomposition goes on where it was."""
    if given.seeds < 1:
        raise ConfigError.at("--seeds", f"seeds={given.seeds} must be at least 1.")
    if bool(given.preset) == bool(given.config):
        raise ConfigError.at("preset", "name either a preset or a file with --config.")
    apart = decompose(settings(given), _rates(given.learning_rate))
    for config in apart.configs.values():
        require_inputs(config)
    store = Store()
    done = {(apart.step_of(run), run.seed) for run in finished(store, apart)}
    group = new_id()
    for step, config in apart.launches(given.seeds):
        if (step, config.training.seed) in done:
            continue
        run = train_here(store, config, json=given.json, group=group)
        if run.status is not Status.FINISHED:
            print(run.error or f"The training “{STEPS[step]}” was {run.status.value}.", file=sys.stderr)
            return 1
    found = breakdown(apart, finished(store, apart, given.seeds), given.metric)
    _say(found, given.json)
    if given.out:
        _write(found, given.out)
    return 0


def _rates(said: Sequence[str]) -> dict[str, float]:
    """``plain=0.05`` and so on, each a training and its learning rate."""
    found = {}
    for item in said:
        step, equals, rate = item.partition("=")
        try:
            found[step.strip()] = float(rate)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError.at("--learning-rate", f"{item!r} is not of the form TRAINING=RATE, as in plain=0.05.")
    return found


def finished(store: Store, apart: Decomposition, seeds: int | None = None) -> list[Facts]:
    """Finished runs of the decomposition that were trained here, the newest of each training and seed; only seeds below
    ``seeds``, where it is given."""
    any_config = next(iter(apart.configs.values()))
    newest: dict[tuple[str | None, int | None], Facts] = {}
    for run in store.list(status=[Status.FINISHED], dataset=any_config.data.dataset):
        facts = Facts.of(run, void=any(event.kind == "void" for event in store.events(run.id)))
        step = apart.step_of(facts)
        if step and not facts.void and facts.provenance == "real" and (seeds is None or (facts.seed or 0) < seeds):
            newest.setdefault((step, facts.seed), facts)
    return list(newest.values())


def _say(found: Breakdown, as_json: bool) -> None:
    if not as_json:
        print("", *in_words(found), *found.notes, sep="\n")
        return
    for step, level in found.levels.items():
        print_record({"training": step, "mean": level.mean, "low": level.low, "high": level.high, "seeds": level.n})
    for cost in found.costs:
        change = cost.difference
        print_record({"change": cost.label, "effect": change.effect, "low": change.low, "high": change.high})


def _write(found: Breakdown, out: Path) -> None:
    from privlab.charts.decomposition import decomposition_figure

    try:
        out.write_text(decomposition_figure(found, found.notes).to_html(include_plotlyjs=True), "utf-8")
    except OSError as error:
        raise ConfigError.at("--out", f"{out} cannot be written: {error.strerror}.") from None
