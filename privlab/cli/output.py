"""What commands print: records for programs, a progress bar and summaries for people."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from privlab.metrics import Point, reached
from privlab.preflight import Preflight
from privlab.runs.record import Run

if TYPE_CHECKING:
    from privlab.training.events import Event


class Lines:
    """``--json``: the plan, then each point, one object a line and nothing else on standard output."""

    def __init__(self, checked: Preflight):
        plan = checked.plan
        print_record({"sample_rate": plan.sample_rate, **plan.to_dict()})

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, item: Point | Event) -> None:
        if isinstance(item, Point):
            print_record(point_record(item))
        elif item.kind == "warning":
            print(item.message, file=sys.stderr)


class Bar:
    """A progress bar in steps, with ε and accuracy beside it."""

    def __init__(self, checked: Preflight, run: Run):
        from tqdm import tqdm

        plan = checked.plan
        sigma = f"σ = {plan.noise_multiplier:.4g}" if plan.noise_multiplier else "no noise"
        clip = f"C = {plan.max_grad_norm:g}" if plan.max_grad_norm is not None else "no clipping"
        print(
            f"Run {run.id}: {checked.dataset.title}, {checked.model.title}; q = {plan.sample_rate:.4g}, {sigma}, {clip}, {plan.steps:,} steps"
        )
        self._bar = tqdm(total=plan.steps, initial=run.step, unit="step", dynamic_ncols=True)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, item: Point | Event) -> None:
        if isinstance(item, Point):
            spent = "∞" if item.epsilon is None else f"{item.epsilon:.3f}"
            self._bar.set_postfix_str(f"ε {spent}, {reached(item.metrics)}".rstrip(", "), refresh=False)
            self._bar.update(item.step - self._bar.n)
        elif item.kind != "started":
            self._bar.write(item.message)


def summary(run: Run) -> str:
    spent = "∞ (no guarantee)" if run.epsilon is None else f"{run.epsilon:.4g} at δ = {run.plan.delta:g}"
    found = f"{result}, " if (result := reached(run.metrics)) else ""
    imported = ", imported" if run.is_imported else ""
    return f"{run.id} {run.status}{imported}: {found}ε = {spent}, {run.seconds:.1f} s"


def point_record(point: Point) -> dict[str, Any]:
    """A point as one flat JSON object; ``epsilon`` is null where no guarantee is claimed."""
    return {
        "step": point.step,
        "epoch": point.epoch,
        "seconds": point.seconds,
        "epsilon": point.epsilon,
        **point.metrics,
    }


def run_record(run: Run) -> dict[str, Any]:
    """A run as one flat JSON object, its last point's metrics included."""
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "origin": run.origin,
        "step": run.step,
        "steps": run.steps,
        "epsilon": run.epsilon,
        "delta": run.plan.delta,
        "seconds": run.seconds,
        **run.metrics,
        "config": run.config.to_dict(),
    }


def print_record(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)
