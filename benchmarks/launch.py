"""From the click on Launch to the first point on the chart, in Chromium, with a warm zygote; beside a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.common import arguments, machine, report, spread
from tests.e2e.browser import FLAGS, ensure
from tests.e2e.lab import Lab, Visitor

#: Notes when a run that was not on the chart before has its first point there.
_WATCH = """
() => {
  const chart = document.querySelector('[data-testid="live-chart-accuracy"]');
  const drawn = () => (chart.data || []).filter((t) => t.x.length > 0).length;
  const before = drawn();
  window.began = performance.now();
  window.firstPoint = null;
  const look = () => {
    if (drawn() > before) window.firstPoint = performance.now() - window.began;
    else requestAnimationFrame(look);
  };
  document.querySelector('.st-key-launch button').click();
  look();
}
"""


def in_the_browser(times: int) -> list[float]:
    """Seconds from click to first drawn point, the first launch left out."""
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        lab = Lab(Path(home))
        lab.start()
        browser = playwright.chromium.launch(executable_path=ensure(), args=list(FLAGS))
        try:
            visitor = Visitor(browser.new_page(viewport={"width": 1440, "height": 900}))
            page = visitor.open(lab.url)
            page.wait_for_timeout(8000)  # the zygote warms up
            found = []
            for _ in range(times + 1):
                page.evaluate(_WATCH)
                page.wait_for_function("window.firstPoint !== null", timeout=60_000)
                found.append(page.evaluate("window.firstPoint") / 1000)
                page.wait_for_timeout(8000)  # the run ends, so that the next has the machine to itself
                visitor.settle()
            return found[1:]
        finally:
            browser.close()
            lab.stop()


def in_a_fresh_process(times: int) -> list[float]:
    """Seconds from starting ``python -m privlab train`` to its first point, for comparison."""
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as home:
            command = [sys.executable, "-m", "privlab", "train", "--preset", "digits", "--json"]
            began = time.perf_counter()
            process = subprocess.Popen(
                command, env=os.environ | {"PRIVLAB_HOME": home}, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout
            for _ in range(2):  # the plan, then the first point
                process.stdout.readline()
            found.append(time.perf_counter() - began)
            process.kill()
            process.wait()
            process.stdout.close()
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=7)
    given = parser.parse_args()
    rows = [
        {"what": "click → first point on the chart, warm zygote (s)", **spread(in_the_browser(given.times))},
        {"what": "fresh process → first point printed (s)", **spread(in_a_fresh_process(given.times))},
    ]
    report(given.json, "Launch to first point, digits preset", machine("streamlit", "torch"), rows)


if __name__ == "__main__":
    main()
