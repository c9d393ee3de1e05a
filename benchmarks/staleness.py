"""How old the live chart is: from a point's commit in the store to the painted frame that shows it, p50 and p95.

The real app, a real Chromium, and this script in the place of the workers: each run has 2,000 points and gets one more
about every second. ``--json`` prints one object.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright

from benchmarks.common import arguments, machine, report
from privlab.config import RunConfig
from privlab.metrics import Point
from privlab.privacy import PrivacyPlan
from privlab.runs.record import Run, Status
from privlab.runs.store import Store
from tests.e2e.browser import FLAGS, find
from tests.e2e.lab import Lab

POINTS = 2000
CHART = '[data-testid="live-chart-accuracy"]'
_PLAN = PrivacyPlan(60_000, 600, 10 * POINTS, 1.0, 1.0, 1e-5)
_CONFIG = {"privacy": {"noise_multiplier": 1.0}}

#: Notes, after each drawing and the frame that paints it, the last step of every line.
_WATCH = """(selector) => {
  const chart = document.querySelector(selector);
  window.frames_seen = [];
  chart.on("plotly_afterplot", () => requestAnimationFrame(() => setTimeout(() => window.frames_seen.push(
    [Date.now(), chart.data.filter((t) => t.mode === "lines").map((t) => [t.name, t.x[t.x.length - 1]])]))));
}"""


def point(step: int) -> Point:
    """A plausible point; a metric more or less changes nothing here."""
    metrics = {
        "test_accuracy": 0.9 - 0.8 * math.exp(-step / 400) + random.gauss(0, 0.004),
        "clipped_share": 0.5,
        "steps_per_second": 80.0,
    }
    return Point(step, step * _PLAN.sample_rate, step / 80, 0.05 * math.sqrt(step), metrics)


def fill(store: Store, runs: int) -> list[Run]:
    """Runs of :data:`POINTS` points each. They count as finished, so that the app does not look for their workers."""
    made = []
    for number in range(runs):
        config = RunConfig.from_dict({**_CONFIG, "name": f"line{number:02d}"})
        run = store.create(config, _PLAN, status=Status.STARTING)
        store.move(run.id, Status.RUNNING)
        store.move(run.id, Status.FINISHED)
        for step in range(1, POINTS + 1):
            store.append(run.id, point(step))
        made.append(run)
    return made


def write(store: Store, runs: list[Run], seconds: float) -> dict[tuple[str, int], float]:
    """Append points, one a second to each run at times of its own; the time (ms) of each commit."""
    times: dict[tuple[str, int], float] = {}
    due = [(time.time() + random.random(), run, POINTS + 1) for run in runs]
    end = time.time() + seconds
    while (now := time.time()) < end:
        for i, (moment, run, step) in enumerate(due):
            if now >= moment:
                store.append(run.id, point(step))
                times[run.name, step] = 1000 * time.time()
                due[i] = (moment + random.uniform(0.8, 1.2), run, step + 1)
        time.sleep(max(0.001, min(moment for moment, *_ in due) - time.time()))
    return times


def ages(times: dict[tuple[str, int], float], frames: list) -> list[float]:
    """Seconds from each commit to the first frame that shows its step or a later one."""
    found = []
    for (name, step), moment in times.items():
        shown = next((at for at, lines in frames if any(n == name and last >= step for n, last in lines)), None)
        if shown is None:
            raise RuntimeError(f"step {step} of {name} never reached the chart.")
        found.append((shown - moment) / 1000)
    return found


def measure(page: Page, lab: Lab, store: Store, runs: list[Run], seconds: float) -> dict[str, float]:
    page.goto(f"{lab.url}/?runs={','.join(run.id for run in runs)}")
    ready = f"g.data && g.data.filter((t) => t.mode === 'lines' && t.x.length >= 1500).length === {len(runs)}"
    page.wait_for_function(f"(s) => {{ const g = document.querySelector(s); return g && {ready}; }}", arg=CHART)
    page.evaluate(_WATCH, CHART)
    server = psutil.Process(lab.process.pid)
    busy, begun = sum(server.cpu_times()[:2]), time.time()
    times = write(store, runs, seconds)
    used = (sum(server.cpu_times()[:2]) - busy) / (time.time() - begun)
    page.wait_for_timeout(2500)
    found = ages(times, page.evaluate("window.frames_seen"))
    return {
        "lines": len(runs),
        "points": POINTS,
        "p50_s": float(np.percentile(found, 50)),
        "p95_s": float(np.percentile(found, 95)),
        "max_s": max(found),
        "frames": len(page.evaluate("window.frames_seen")),
        "server_core": used,
        "n": len(found),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="how long to write for each figure")
    parser.add_argument("--lines", type=int, nargs="+", default=[1, 10, 50], help="runs on the chart")
    options = parser.parse_args()
    random.seed(0)
    rows = []
    for lines in options.lines:
        with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
            lab = Lab(Path(home))
            store = Store(f"sqlite:///{home}/runs.sqlite")
            runs = fill(store, lines)
            lab.start()
            browser = playwright.chromium.launch(executable_path=find(), args=list(FLAGS))
            try:
                page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
                page.set_default_timeout(60_000)
                # Steps on the x axis, so that a line's last x says which point it shows.
                choice = '{"axis": "step", "log": true, "marks": false}'
                page.add_init_script(f"localStorage.setItem('privlab.live.lab-live', '{choice}')")
                rows.append(measure(page, lab, store, runs, options.seconds))
            finally:
                browser.close()
                lab.stop()
                store.close()
    report(options.json, "Staleness of the live chart", machine("streamlit", "plotly", "playwright"), rows)


if __name__ == "__main__":
    main()
