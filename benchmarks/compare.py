"""The Compare page over 1,000 runs of 1,000 points: first paint, time of a filter and of a selection (p95), memory of the server.

Settings and ε are real ones, computed as for any run; the metrics are **made up** by a formula, so that no training is needed, and
every run's name says so. The store is a temporary folder of this script's own, never a person's. Making it takes a minute or
two; ``--home FOLDER`` keeps it, or uses one that is there. ``--json`` prints one object.
"""

from __future__ import annotations

import itertools
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright

from benchmarks.common import arguments, machine, report
from privlab.analysis.facts import Facts
from privlab.analysis.filters import parse
from privlab.config import RunConfig
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.privacy import PrivacyPlan, epsilon_curve
from privlab.runs.record import Status
from privlab.runs.store import Store
from tests.e2e.browser import FLAGS, find
from tests.e2e.lab import Lab, Visitor

#: Data set, model, batch size, epochs (for 1,000 steps and more), δ, and what the formula gives without noise.
_TASKS = (
    ("digits", "mlp", 256, 200, 1e-4, 0.97),
    ("digits", "logistic", 256, 200, 1e-4, 0.95),
    ("adult", "mlp", 512, 20, 1e-5, 0.85),
    ("adult", "logistic", 512, 20, 1e-5, 0.84),
    ("fashion-mnist", "cnn", 1024, 20, 1e-5, 0.90),
    ("fashion-mnist", "mlp", 1024, 20, 1e-5, 0.87),
)
_NOISE = (0.8, 1.0, 1.3, 1.8, 2.5, 4.0)
_NORMS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_SEEDS = range(4)
#: By then a server has loaded what its pages need.
_IDLE_SECONDS = 12


def configs() -> Iterator[tuple[RunConfig, float]]:
    """Settings, and the accuracy that the formula ends at without noise; 1,008 of them."""
    for task, sigma, norm, seed in itertools.product(_TASKS, _NOISE, _NORMS, _SEEDS):
        dataset, model, batch, epochs, delta, best = task
        raw = {
            "name": f"synthetic {dataset} {model} σ{sigma:g} C{norm:g}",
            "data": {"dataset": dataset},
            "model": {"name": model},
            "privacy": {"noise_multiplier": sigma, "max_grad_norm": norm, "delta": delta},
            "training": {"batch_size": batch, "epochs": epochs, "seed": seed},
        }
        yield RunConfig.from_dict(raw), best


def fill(store: Store, runs: int, points: int) -> None:
    """Finished runs with their points, through the store's own interface."""
    curves: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}
    random = np.random.default_rng(0)
    for number, (config, best) in enumerate(itertools.islice(configs(), runs)):
        plan = preflight(config).plan
        key = (config.data.dataset, plan.noise_multiplier, plan.steps)
        if key not in curves:
            steps = np.unique(np.linspace(1, plan.steps, min(points, plan.steps)).astype(int))
            curves[key] = steps, epsilon_curve(plan, steps.tolist())
        run = store.create(config, plan, status=Status.STARTING)
        store.move(run.id, Status.RUNNING)
        store.append_all(run.id, list(_points(plan, *curves[key], best, random)))
        store.move(run.id, Status.FINISHED)
        if number % 50 == 49:
            print(f"  {number + 1} runs made", flush=True)


def _points(plan: PrivacyPlan, steps: np.ndarray, epsilons: np.ndarray, best: float, random) -> Iterator[Point]:
    lost = 0.03 * plan.noise_multiplier + 0.02 * abs(math.log(plan.max_grad_norm / 0.3)) + random.normal(0, 0.006)
    shape = 1 - 0.8 * np.exp(-6 * steps / plan.steps)
    accuracy = np.clip((best - lost) * shape + random.normal(0, 0.004, len(steps)), 0, 1)
    for step, epsilon, value in zip(steps.tolist(), epsilons.tolist(), accuracy.tolist(), strict=True):
        metrics = {"test_accuracy": value, "test_loss": 1.2 - value, "clipped_share": 0.5}
        yield Point(step, step * plan.sample_rate, step / 80, epsilon, metrics)


#: No two in a row, the last and the first included, are passed by equally many runs: what the page says must change.
_FILTERS = ("digits", "eps<=8", "acc>80%", "σ:1,1.3", "C<=0.4", "seed:0..1", "adult logistic", "acc>85% eps<5", "cnn -seed:3", "eps>20")  # fmt: skip


def _timed(page: Page, act: Callable[[], object], shows: str, limit_ms: int = 60_000) -> float:
    """Seconds from an action until the page says what it leads to."""
    begun = time.perf_counter()
    act()
    page.wait_for_function("(text) => document.body.innerText.includes(text)", arg=shows, timeout=limit_ms)
    return time.perf_counter() - begun


def measure(lab: Lab, page: Page, counts: dict[str, str], total: str, repeats: int) -> dict[str, float]:
    """What a person waits for. ``counts``: what the page says of how many runs pass each filter."""
    visitor = Visitor(page)
    # A visitor in a server's first seconds pays for what is loaded once; that, too, is told.
    fresh = _timed(page, lambda: page.goto(f"{lab.url}/compare"), total)
    paints = []
    for _ in range(5):
        page.goto("about:blank")
        paints.append(_timed(page, lambda: page.goto(f"{lab.url}/compare"), total))
    visitor.settle()
    field = page.locator(".st-key-filter-text input")
    filters = []
    for _ in range(repeats):
        for text, says in counts.items():
            field.fill(text)
            filters.append(_timed(page, lambda: field.press("Enter"), says))
            visitor.settle()
    field.fill("")
    _timed(page, lambda: field.press("Enter"), total)
    visitor.settle()
    box = page.get_by_test_id("stDataFrame").bounding_box()
    ticks = []
    for tick in range(6 * repeats):
        row = tick % 6
        # In each round the rows are ticked one after the other, then unticked.
        chosen = row + 1 if (tick // 6) % 2 == 0 else 5 - row
        says = f"Chosen ({chosen})"
        place = (box["x"] + 18, box["y"] + 38 + 35 * row + 17)
        ticks.append(_timed(page, lambda place=place: page.mouse.click(*place), says))
        visitor.settle()
    server = psutil.Process(lab.process.pid)
    return {
        "first_paint_fresh_server": fresh,
        "first_paint": float(np.median(paints)),
        "filter_p95": float(np.percentile(filters, 95)),
        "filter_median": float(np.median(filters)),
        # With the first ticks the browser fetches and starts the chart library.
        "selection_first_worst": max(ticks[:6]),
        "selection_p95": float(np.percentile(ticks[6:], 95)),
        "selection_median": float(np.median(ticks[6:])),
        "server_rss_mb": server.memory_info().rss / 1e6,
        "load": os.getloadavg()[0],
    }


@contextmanager
def _fresh_page() -> Iterator[Page]:
    """A tab of a browser that has loaded nothing yet."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=list(FLAGS))
        yield browser.new_page(viewport={"width": 1440, "height": 900})
        browser.close()


def _counts(store: Store) -> tuple[dict[str, str], str]:
    """For each filter what the page then says, as the filters themselves count."""
    facts = [Facts.of(run) for run in store.list()]
    found = {text: len(parse(text).chosen(facts)) for text in _FILTERS}
    many = list(found.values())
    assert all(a != b for a, b in zip(many, [*many[1:], many[0]], strict=True)), found
    assert len(facts) not in many, found
    return {text: f"{many:,} of {len(facts):,} runs" for text, many in found.items()}, f"{len(facts):,} runs"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--points", type=int, default=1000, help="of each run")
    parser.add_argument("--repeats", type=int, default=4, help="rounds of filters and of ticks, at least 2")
    parser.add_argument(
        "--home", type=Path, help="a folder that keeps the made-up runs; used as it is where it has some"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        lab = Lab(home)
        with lab.store() as store:
            if not store.list(limit=1):
                fill(store, options.runs, options.points)
            counts, total = _counts(store)
        lab.start()
        try:
            row = {"runs": options.runs, "points": options.points}
            with _fresh_page() as page:
                row |= measure(lab, page, counts, total, options.repeats)
            lab.stop()
            lab.start()
            time.sleep(_IDLE_SECONDS)
            with _fresh_page() as page:
                row["first_paint_idle_server"] = _timed(page, lambda: page.goto(f"{lab.url}/compare"), total)
        finally:
            lab.stop()
    report(options.json, "Compare over many runs (made-up metrics), seconds", machine("streamlit"), [row])


if __name__ == "__main__":
    main()
