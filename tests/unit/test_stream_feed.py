"""The feed: what a browser is told, and how little the store is asked."""

from __future__ import annotations

import asyncio

import numpy as np
import orjson
import pytest

from privlab.config import RunConfig
from privlab.privacy import PrivacyPlan
from privlab.runs.record import Run, Status
from privlab.runs.store import StoreError, UnknownRun
from privlab.ui.feed import Feed, Watcher

CONFIG = RunConfig.from_dict({"name": "n", "privacy": {"noise_multiplier": 1.0}})
PLAN = PrivacyPlan(1000, 100, 500, 1.0, 1.0, 1e-5)


class Shelf:
    """A store in memory that counts what it is asked."""

    def __init__(self):
        self.runs: dict[str, Run] = {}
        self.points: dict[str, list[tuple[int, float]]] = {}
        self.changes = 0
        self.asked: list[tuple[str, int]] = []
        self.broken: str | None = None

    def put(self, run_id: str, **changes) -> None:
        values = {
            "id": run_id,
            "name": run_id,
            "status": Status.RUNNING,
            "config": CONFIG,
            "plan": PLAN,
            "created": 0.0,
            "steps": 500,
        }
        old = self.runs.get(run_id)
        self.runs[run_id] = Run(**((old.__dict__ if old else values) | changes))
        self.changes += 1

    def add(self, run_id: str, *steps: int) -> None:
        self.points.setdefault(run_id, []).extend((step, step / 1000) for step in steps)
        self.put(run_id, step=max(step for step, _ in self.points[run_id]))

    def get(self, run_id: str) -> Run:
        if run_id not in self.runs:
            raise UnknownRun(run_id)
        return self.runs[run_id]

    def columns(self, run_id: str, after: int = 0) -> dict[str, np.ndarray]:
        self.asked.append((run_id, after))
        rows = sorted(p for p in self.points.get(run_id, []) if p[0] > after)
        steps = np.array([step for step, _ in rows], dtype=np.int64)
        found = {"step": steps, "epoch": steps / 10, "seconds": steps / 5, "epsilon": steps / 7.0}
        return found | ({"test_accuracy": np.array([a for _, a in rows])} if rows else {})

    def version(self) -> str:
        if self.broken:
            raise StoreError(self.broken)
        return str(self.changes)


class Client:
    """What a browser would hold after the messages it got."""

    def __init__(self, feed: Feed, *run_ids: str, metrics=("test_accuracy",)):
        self.feed, self.watcher = feed, Watcher(run_ids)
        self.steps: dict[str, list[int]] = {run_id: [] for run_id in run_ids}
        self.states: dict[str, dict] = {}
        self.problem: str | None = None
        self.messages: list[dict] = []
        feed.join(self.watcher)
        self.watcher.ask({}, metrics)

    def take(self) -> dict | None:
        raw = self.feed.message(self.watcher)
        if raw is None:
            return None
        message = orjson.loads(raw)
        self.messages.append(message)
        self.problem = message.get("problem", self.problem)
        for run_id, item in message.get("runs", {}).items():
            self.states[run_id] = item.get("state", self.states.get(run_id))
            if "columns" in item:
                if item["after"] == 0:
                    self.steps[run_id] = []
                assert item["after"] == (self.steps[run_id] or [0])[-1]
                self.steps[run_id] += item["columns"]["step"]
        return message

    async def until(self, reached) -> None:
        """Take messages until ``reached()``; fails after 3 s."""
        async with asyncio.timeout(3):
            while not reached():
                await self.watcher.news(1)
                self.take()


def with_feed(journey):
    """Run ``journey(feed, shelf)`` and close the feed."""

    async def whole():
        shelf = Shelf()
        feed = Feed(lambda: shelf, interval=0.02)
        try:
            await journey(feed, shelf)
        finally:
            await feed.close()

    asyncio.run(whole())


def test_first_everything_then_only_what_is_new():
    async def journey(feed, shelf):
        shelf.add("a", 1, 2, 3)
        client = Client(feed, "a")
        await client.until(lambda: client.steps["a"] == [1, 2, 3])
        assert client.states["a"]["status"] == "running"
        assert client.states["a"]["steps"] == 500
        shelf.add("a", 4)
        await client.until(lambda: client.steps["a"] == [1, 2, 3, 4])
        last = client.messages[-1]["runs"]["a"]
        assert last["after"] == 3
        assert last["columns"]["test_accuracy"] == [pytest.approx(0.004)]
        assert last["columns"]["epsilon"] == [pytest.approx(4 / 7)]
        assert shelf.asked == [("a", 0), ("a", 3)]
        assert client.take() is None

    with_feed(journey)


def test_a_browser_that_comes_back_gets_only_the_rest():
    async def journey(feed, shelf):
        shelf.add("a", 1, 2, 3, 4)
        client = Client(feed, "a")
        client.steps["a"] = [1, 2]
        client.watcher.ask({"a": 2}, ["test_accuracy"])
        await client.until(lambda: client.steps["a"] == [1, 2, 3, 4])
        assert client.messages[0]["runs"]["a"]["after"] == 2

    with_feed(journey)


def test_a_resync_sends_everything_again_without_asking_the_store():
    async def journey(feed, shelf):
        shelf.add("a", 1, 2)
        client = Client(feed, "a")
        await client.until(lambda: client.steps["a"] == [1, 2])
        asked = len(shelf.asked)
        client.watcher.ask({"a": 0}, ["test_accuracy"])
        message = client.take()
        assert message["runs"]["a"]["after"] == 0
        assert message["runs"]["a"]["columns"]["step"] == [1, 2]
        assert "state" in message["runs"]["a"]
        assert len(shelf.asked) == asked

    with_feed(journey)


def test_thirty_watchers_ask_the_store_no_more_than_one():
    async def journey(feed, shelf):
        shelf.add("a", 1)
        clients = [Client(feed, "a") for _ in range(30)]
        for client in clients:
            await client.until(lambda client=client: client.steps["a"] == [1])
        shelf.add("a", 2)
        for client in clients:
            await client.until(lambda client=client: client.steps["a"] == [1, 2])
        assert shelf.asked == [("a", 0), ("a", 1)]

    with_feed(journey)


def test_nothing_new_is_nothing_sent():
    async def journey(feed, shelf):
        shelf.add("a", 1)
        client = Client(feed, "a")
        await client.until(lambda: client.steps["a"] == [1])
        shelf.put("a", heartbeat=123.0)
        assert not await client.watcher.news(0.3)
        assert len(shelf.asked) == 1

    with_feed(journey)


def test_only_the_asked_metrics_travel():
    async def journey(feed, shelf):
        shelf.add("a", 1)
        client = Client(feed, "a", metrics=())
        await client.until(lambda: client.steps["a"] == [1])
        assert set(client.messages[-1]["runs"]["a"]["columns"]) == {"step", "epoch", "seconds", "epsilon"}

    with_feed(journey)


def test_states_of_unknown_and_deleted_and_failed_runs():
    async def journey(feed, shelf):
        shelf.put("a")
        client = Client(feed, "a", "missing")
        await client.until(lambda: len(client.states) == 2)
        assert client.states["missing"] == {"status": "unknown"}
        shelf.put("a", status=Status.FAILED, error="The disk is full.")
        await client.until(lambda: client.states["a"]["status"] == "failed")
        assert client.states["a"]["note"] == "The disk is full."
        shelf.put("a", deleted=5.0)
        await client.until(lambda: client.states["a"]["status"] == "deleted")
        shelf.put("missing")
        await client.until(lambda: client.states["missing"]["status"] == "running")

    with_feed(journey)


def test_a_new_attempt_that_recovers_an_earlier_point_restarts_the_curve():
    async def journey(feed, shelf):
        shelf.add("a", 10, 30)
        client = Client(feed, "a")
        await client.until(lambda: client.steps["a"] == [10, 30])
        shelf.points["a"].append((20, 0.02))
        shelf.put("a", attempt=1)
        await client.until(lambda: client.steps["a"] == [10, 20, 30])

    with_feed(journey)


def test_a_broken_store_is_told_and_recovers():
    async def journey(feed, shelf):
        shelf.add("a", 1)
        client = Client(feed, "a")
        await client.until(lambda: client.steps["a"] == [1])
        shelf.broken = "The disk is on fire."
        await client.until(lambda: client.problem == "The disk is on fire.")
        shelf.broken = None
        shelf.add("a", 2)
        await client.until(lambda: client.steps["a"] == [1, 2] and client.problem is None)

    with_feed(journey)


def test_a_metric_that_appears_late_is_missing_before():
    async def journey(feed, shelf):
        shelf.add("a", 1)
        client = Client(feed, "a", metrics=("test_accuracy", "snr"))
        await client.until(lambda: client.steps["a"] == [1])
        plain = shelf.columns
        shelf.columns = lambda run_id, after=0: plain(run_id, after) | {"snr": np.array([0.5])}
        shelf.add("a", 2)
        await client.until(lambda: client.steps["a"] == [1, 2])
        client.watcher.ask({}, ["snr"])
        assert client.take()["runs"]["a"]["columns"]["snr"] == [None, 0.5]

    with_feed(journey)


def test_the_poller_rests_when_nobody_watches():
    async def journey(feed, shelf):
        shelf.add("a", 1)
        client = Client(feed, "a")
        await client.until(lambda: client.steps["a"] == [1])
        feed.leave(client.watcher)
        await asyncio.sleep(0.2)
        asked = len(shelf.asked)
        shelf.add("a", 2)
        await asyncio.sleep(0.2)
        assert len(shelf.asked) == asked
        again = Client(feed, "a")
        await again.until(lambda: again.steps["a"] == [1, 2])

    with_feed(journey)
