"""How soon the Budget page answers: from the change of a field or slider to the changed answer in Chromium's DOM.

A change is what a person does: a key that steps a value, or the last character typed; nothing waits for Enter.

Each displayed answer is then compared with dp-accounting's own ε for the same values. Exits with 1 where one disagrees.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import dp_accounting
import numpy as np
from dp_accounting.pld import PLDAccountant
from playwright.sync_api import Page, sync_playwright

from benchmarks.common import arguments, machine, report
from privlab.privacy import steps_for
from tests.e2e.browser import FLAGS, ensure
from tests.e2e.lab import Lab, Visitor

ANSWER = '[data-testid="budget-answer"]'
SLID = '[data-testid="explorer-answer"]'

#: Notes when the text of ``selector`` first differs after the next change, counted from that change's event.
_WATCH = """(selector) => {
  const text = () => document.querySelector(selector)?.innerText;
  const before = text();
  window.answered = null;
  const changed = (event) => {
    if (event.key && !event.key.startsWith("Arrow")) return;
    for (const name of ["keydown", "input"]) document.removeEventListener(name, changed, true);
    const began = performance.now();
    const observer = new MutationObserver(() => {
      const now = text();
      if (now === undefined || now === before) return;
      window.answered = performance.now() - began;
      observer.disconnect();
    });
    observer.observe(document.body, {subtree: true, childList: true, characterData: true});
  };
  for (const name of ["keydown", "input"]) document.addEventListener(name, changed, true);
}"""

Values = dict[str, float]


class Bench:
    """The page under test and what was measured: seconds and what must hold, by kind of change."""

    def __init__(self, visitor: Visitor, rest_ms: int):
        self.visitor, self.page, self.rest = visitor, visitor.page, rest_ms
        self.times: dict[str, list[float]] = {}
        self.shown: list[tuple[str, Values]] = []

    def open(self, url: str) -> None:
        self.visitor.open(url)
        self.calm()

    def calm(self) -> None:
        """Wait until charts are drawn and the second opinion has come, as a reader does before the next change."""
        self.visitor.settle()
        self.page.wait_for_timeout(self.rest)
        self.visitor.settle()

    def step(self, kind: str, name: str) -> None:
        """Raise field ``name`` by one of its steps."""
        self.page.locator(f".st-key-{name} input").click()
        self._time(kind, ANSWER, lambda: self.page.keyboard.press("ArrowUp"))
        self._note()

    def type(self, kind: str, name: str, text: str) -> None:
        """Type ``text`` into field ``name``, and Enter once the answer has come."""
        box = self.page.locator(f".st-key-{name} input")
        box.click()
        self._time(kind, ANSWER, lambda: box.fill(text))
        box.press("Enter")
        self._note()

    def slide(self, key: str) -> None:
        """Move the explorer's slider by a key."""
        self.page.locator('[class*="st-key-slider-"] input[type="range"]').focus()
        self._time("slider key → σ at the same ε", SLID, lambda: self.page.keyboard.press(key))
        self.calm()

    def _time(self, kind: str, selector: str, change: Callable[[], None]) -> None:
        self.page.evaluate(_WATCH, selector)
        change()
        self.page.wait_for_function("window.answered !== null", timeout=20_000)
        self.times.setdefault(kind, []).append(self.page.evaluate("window.answered"))

    def _note(self) -> None:
        self.calm()
        self.shown.append(self._case(self._read(ANSWER)))

    def _read(self, selector: str) -> float:
        """The exact answer, once it stands in place of its bound."""
        self.page.wait_for_function("(s) => !/[≤≥]/.test(document.querySelector(s)?.innerText ?? '≤')", arg=selector)
        return float(self.page.locator(selector).first.inner_text().replace(",", ""))

    def _case(self, answer: float) -> tuple[str, Values]:
        said = dict(parse_qsl(urlsplit(self.page.url).query))
        unknown = said["find"]
        names = ("epsilon", "noise_multiplier", "batch_size", "epochs", "records", "delta")
        return unknown, {name: float(said[name]) for name in names if name != unknown} | {unknown: answer}

    def slid(self, held: float) -> tuple[str, Values]:
        said = dict(parse_qsl(urlsplit(self.page.url).query))
        values = {name: float(said[name]) for name in ("batch_size", "epochs", "records", "delta")}
        values["batch_size"] = float(said.get("at", values["batch_size"]))
        return "noise_multiplier", values | {"epsilon": held, "noise_multiplier": self._read(SLID)}


def library_epsilon(values: Values) -> float:
    records, batch, epochs = (round(values[name]) for name in ("records", "batch_size", "epochs"))
    step = dp_accounting.PoissonSampledDpEvent(
        batch / records, dp_accounting.GaussianDpEvent(values["noise_multiplier"])
    )
    accountant = PLDAccountant().compose(step, steps_for(epochs, records, batch))
    return float(accountant.get_epsilon(values["delta"]))


def disagreement(unknown: str, values: Values) -> str | None:
    """What is wrong with a displayed answer: ε to its four digits, rounded up, the others such that the ε asked for is kept to."""
    theirs, ours = library_epsilon(values), values["epsilon"]
    if unknown == "epsilon":
        wrong = not theirs * (1 - 1e-6) <= ours <= theirs * (1 + 1.1e-3)
    elif unknown in ("noise_multiplier", "delta"):
        wrong = not 0.995 * ours <= theirs <= (1 + 5e-4) * ours
    else:
        wrong = theirs > ours * (1 + 1e-6)
    return f"{unknown}: page ε={ours:.5g}, dp-accounting ε={theirs:.5g} for {values}" if wrong else None


def drive(bench: Bench, url: str, times: int) -> list[tuple[str, Values]]:
    """``times`` changes of each kind, the first one of each page opened not counted."""
    start = "delta=1e-05&noise_multiplier=1.1&records=60000&batch_size=512&epochs=15"
    rng = random.Random(0)
    bench.open(f"{url}/budget?find=epsilon&{start}")
    for name in rng.choices(["noise_multiplier", "records", "batch_size", "epochs"], k=times):
        bench.step("arrow key in a field → ε", name)
    bench.open(f"{url}/budget?find=epsilon&{start}")
    # No value comes twice: an answer that stays the same could not be seen to come.
    for number, epochs in enumerate(rng.sample(range(20, 20 + 2 * times), times)):
        name, text = ("epochs", str(epochs)) if number % 2 else ("noise_multiplier", f"{rng.uniform(0.6, 4):.4g}")
        bench.type("typed value → ε", name, text)
    bench.open(f"{url}/budget?find=noise_multiplier&{start}&epsilon=3.0")
    for _ in range(times):
        budget, batch = f"{rng.uniform(0.5, 8):.4g}", str(rng.randint(64, 8192))
        name, text = rng.choice([("epsilon", budget), ("batch_size", batch)])
        bench.type("typed value → σ", name, text)
    for unknown, name in (
        ("batch_size", "epochs"),
        ("epochs", "batch_size"),
        ("records", "epochs"),
        ("delta", "epochs"),
    ):
        bench.open(f"{url}/budget?find={unknown}&{start}&epsilon=1.8")
        values = [8, 9, 10, 11, 12, 13, 14, 16, 17] if name == "epochs" else range(300, 900, 60)
        for value in rng.sample(values, min(len(values), max(1, times // 4))):
            bench.type("typed value → B, E, N or δ", name, str(value))
    found = []
    bench.open(f"{url}/budget?find=noise_multiplier&{start}&epsilon=3.0")
    for number in range(times):
        bench.slide("ArrowRight" if number % (2 * 12) < 12 else "ArrowLeft")
        found.append(bench.slid(3.0))
    return found


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=30, help="changes of each of the five kinds")
    parser.add_argument("--rest", type=int, default=1200, help="milliseconds between an answer and the next change")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        lab = Lab(Path(home))
        lab.start()
        browser = playwright.chromium.launch(executable_path=ensure(), args=list(FLAGS))
        try:
            page: Page = browser.new_page(viewport={"width": 1440, "height": 900})
            bench = Bench(Visitor(page), given.rest)
            page.goto(lab.url)
            page.wait_for_timeout(8000)  # the server warms up
            slid = drive(bench, lab.url, given.times)
        finally:
            browser.close()
            lab.stop()
    every = [value for values in bench.times.values() for value in values]
    rows = [
        {
            "what": kind,
            "p50_ms": float(np.percentile(values, 50)),
            "p95_ms": float(np.percentile(values, 95)),
            "max_ms": max(values),
            "n": len(values),
        }
        for kind, values in [*bench.times.items(), ("all", every)]
    ]
    report(given.json, "Budget page: change → answer in the DOM", machine("streamlit", "dp-accounting"), rows)
    wrong = [text for case in [*bench.shown, *slid] if (text := disagreement(*case))]
    checked = len(bench.shown) + len(slid)
    print(f"{checked - len(wrong)} of {checked} answers agree with dp-accounting.", *wrong, sep="\n  ", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
