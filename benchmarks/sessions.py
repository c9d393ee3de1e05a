"""What watching costs the server: processor time of the web process at 1, 10 and 30 watching sessions.

One session is a real browser on the real app. The others hold what a watching session holds: a Streamlit session's
socket is silent while nobody clicks, so they are further sockets on the live stream. Ten runs of 2,000 points get one
more about every second. ``--json`` prints one object.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from pathlib import Path

import orjson
import psutil
from playwright.sync_api import sync_playwright
from websockets.asyncio.client import connect

from benchmarks.common import arguments, machine, report
from benchmarks.staleness import CHART, fill, write
from privlab.runs.store import Store
from tests.e2e.browser import FLAGS, find
from tests.e2e.lab import Lab

RUNS = 10


async def _watch(address: str, origin: str, run_ids: list[str], until: float) -> int:
    """Hold one live stream; the number of updates that arrived."""
    updates = 0
    async with connect(address, origin=origin, max_size=None) as line:
        ask = {"after": dict.fromkeys(run_ids, 0), "metrics": ["clipped_share", "steps_per_second", "test_accuracy"]}
        await line.send(orjson.dumps(ask).decode())
        while (left := until - time.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    updates += len(await line.recv()) > 2
            except TimeoutError:
                break
    return updates


async def _crowd(sessions: int, *about: object) -> list[int]:
    return await asyncio.gather(*(_watch(*about) for _ in range(sessions)))


def measure(lab: Lab, store: Store, runs: list, address: str, sessions: int, seconds: float) -> dict[str, float]:
    begin = time.time() + 2
    until = begin + seconds
    told: list[int] = []
    about = (address, lab.url, [run.id for run in runs], until)
    crowd = threading.Thread(target=lambda: told.extend(asyncio.run(_crowd(sessions - 1, *about))))
    crowd.start()
    time.sleep(max(0, begin - time.time()))
    server = psutil.Process(lab.process.pid)
    busy, begun = sum(server.cpu_times()[:2]), time.time()
    write(store, runs, until - begun)
    used = (sum(server.cpu_times()[:2]) - busy) / (time.time() - begun)
    crowd.join()
    return {
        "sessions": sessions,
        "server_core": used,
        "fewest_updates": min(told, default=0),
        "rss_mb": server.memory_info().rss / 1e6,
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="how long to write for each figure")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 10, 30], help="watching sessions")
    options = parser.parse_args()
    rows = []
    for sessions in options.sessions:
        with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
            lab = Lab(Path(home))
            store = Store(f"sqlite:///{home}/runs.sqlite")
            runs = fill(store, RUNS)
            lab.start()
            browser = playwright.chromium.launch(executable_path=find(), args=list(FLAGS))
            try:
                page = browser.new_page()
                lines: list[str] = []
                page.on("websocket", lambda line, lines=lines: lines.append(line.url))
                page.goto(f"{lab.url}/?runs={','.join(run.id for run in runs)}")
                page.wait_for_function(f"(s) => document.querySelector(s)?.data?.length >= {RUNS}", arg=CHART)
                address = next(url for url in lines if "/privlab/stream" in url)
                page.wait_for_timeout(3000)
                rows.append(measure(lab, store, runs, address, sessions, options.seconds))
            finally:
                browser.close()
                lab.stop()
                store.close()
    report(options.json, "Processor time of the server by watching sessions", machine("streamlit", "uvicorn"), rows)


if __name__ == "__main__":
    main()
