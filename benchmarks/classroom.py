"""How soon two browsers of one class session show a run's first point, and a run that was launched.

The real app, real training of the digits, and two Chromium profiles that look at the board; this script launches in a participant's
name. A point's age is from when it can be read in the store to when a browser's chart holds it. ``--json`` prints one object.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.common import arguments, machine, report, spread
from privlab.classroom import session as sessions
from privlab.classroom.lesson import Lesson
from privlab.runs.store import Store
from tests.e2e.browser import FLAGS, find
from tests.e2e.lab import Lab

CHART = '[data-testid="live-chart-compare"]'
#: Notes when each line's name, and its first point, is first on the chart; milliseconds.
_WATCH = """(selector) => {
  window.named = {}; window.pointed = {};
  setInterval(() => (document.querySelector(selector)?.data || []).forEach((t) => {
    const name = (t.name || "").split(" (")[0];
    window.named[name] ??= Date.now();
    if (t.x.length) window.pointed[name] ??= Date.now();
  }), 10);
}"""


def measure(pages: list[Page], store: Store, launches: int) -> list[dict]:
    lesson = sessions.begin(store, Lesson("Benchmark", ("digits",), guess=False))
    anna = sessions.join(store, lesson, "Anna")
    address = pages[0].url.split("/class")[0]
    for page in pages:
        page.goto(f"{address}/class?session={lesson.id}")
        page.wait_for_selector(CHART)
        page.evaluate(_WATCH, CHART)
        page.wait_for_timeout(2000)
    listed, aged = [], []
    for turn in range(1, launches + 1):
        began = 1000 * time.time()
        run = sessions.launch(store, lesson, anna, "digits", {}, None, launch_key=f"bench-{turn}")
        while not store.points(run.id):
            time.sleep(0.005)
        stored = 1000 * time.time()
        for page in pages:
            page.wait_for_function("(name) => window.pointed[name]", arg=f"Anna {turn}", timeout=60_000)
        listed += [page.evaluate("(name) => window.named[name]", f"Anna {turn}") - began for page in pages]
        aged += [page.evaluate("(name) => window.pointed[name]", f"Anna {turn}") - stored for page in pages]
        while not store.get(run.id).status.is_over:
            time.sleep(0.1)
    return [
        {"what": "launch → its name on both boards, s", **spread(ms / 1000 for ms in listed)},
        {"what": "first point stored → on both boards, s", **spread(ms / 1000 for ms in aged)},
    ]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--launches", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        os.environ["PRIVLAB_HOME"] = home
        lab = Lab(Path(home))
        lab.start()
        store = Store()
        browser = playwright.chromium.launch(executable_path=find(), args=list(FLAGS))
        try:
            pages = [browser.new_context(viewport={"width": 1440, "height": 900}).new_page() for _ in range(2)]
            for page in pages:
                page.set_default_timeout(60_000)
                page.goto(f"{lab.url}/class")
            rows = measure(pages, store, given.launches)
        finally:
            browser.close()
            lab.stop()
            store.close()
    report(given.json, "Two browsers in one class session", machine("streamlit", "playwright"), rows)


if __name__ == "__main__":
    main()
