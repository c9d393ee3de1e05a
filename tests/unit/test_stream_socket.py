"""The stream's door: real sockets, real handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import orjson
import pytest
import uvicorn
from starlette.applications import Starlette
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from privlab.ui.feed import Feed
from privlab.ui.signing import sign
from privlab.ui.stream import BAD_REQUEST, BAD_TICKET, BadRequest, read_request, same_origin, stream_route
from tests.unit.test_stream_feed import Shelf


@contextlib.asynccontextmanager
async def served(shelf: Shelf):
    """A server with the stream alone, on a free port."""
    feed = Feed(lambda: shelf, interval=0.02)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=[stream_route(feed, "/stream")]), log_level="error", lifespan="off")
    )
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        await feed.close()


def visit(host: str, ticket: str, origin: str | None = ""):
    return connect(f"ws://{host}/stream?ticket={ticket}", origin=f"http://{host}" if origin == "" else origin)


def journey(coroutine):
    asyncio.run(asyncio.wait_for(coroutine(), 20))


def ask(after: dict, metrics: list) -> str:
    return orjson.dumps({"after": after, "metrics": metrics}).decode()


def test_points_arrive_as_they_are_written():
    async def there():
        shelf = Shelf()
        shelf.add("a", 1, 2)
        async with served(shelf) as host, visit(host, sign(["a"])) as line:
            await line.send(ask({"a": 0}, ["test_accuracy"]))
            first = orjson.loads(await line.recv())["runs"]["a"]
            assert first["columns"]["step"] == [1, 2]
            assert first["state"]["status"] == "running"
            shelf.add("a", 3)
            second = orjson.loads(await line.recv())["runs"]["a"]
            assert (second["after"], second["columns"]["step"]) == (2, [3])
            await line.send(ask({"a": 0}, ["test_accuracy"]))
            assert orjson.loads(await line.recv())["runs"]["a"]["columns"]["step"] == [1, 2, 3]

    journey(there)


@pytest.mark.parametrize("origin", ["http://evil.example", None, "null"])
def test_a_page_of_another_origin_is_refused_before_the_handshake(origin):
    async def there():
        async with served(Shelf()) as host:
            with pytest.raises(InvalidStatus) as refused:
                async with visit(host, sign(["a"]), origin):
                    pass
            assert refused.value.response.status_code == 403

    journey(there)


@pytest.mark.parametrize("ticket", ["", "nonsense", "WyJhIl0.AAAA"])
def test_without_a_valid_ticket_nothing_is_told(ticket):
    async def there():
        shelf = Shelf()
        shelf.add("a", 1)
        async with served(shelf) as host, visit(host, ticket) as line:
            with pytest.raises(ConnectionClosed):
                await line.recv()
            assert line.close_code == BAD_TICKET
            assert shelf.asked == []

    journey(there)


@pytest.mark.parametrize("request_", [ask({"b": 0}, []), ask({"a": 0}, ["no_metric"]), ask({"a": -1}, []), "{", "[]"])
def test_asking_for_what_the_ticket_does_not_name_ends_the_line(request_):
    async def there():
        shelf = Shelf()
        shelf.add("a", 1)
        shelf.add("b", 1)
        async with served(shelf) as host, visit(host, sign(["a"])) as line:
            await line.send(request_)
            with pytest.raises(ConnectionClosed):
                while True:
                    assert "b" not in orjson.loads(await line.recv()).get("runs", {})
            assert line.close_code == BAD_REQUEST

    journey(there)


def test_a_socket_that_leaves_is_forgotten():
    async def there():
        shelf = Shelf()
        shelf.add("a", 1)
        feed = Feed(lambda: shelf, interval=0.02)
        listener = socket.create_server(("127.0.0.1", 0))
        app = Starlette(routes=[stream_route(feed, "/stream")])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        task = asyncio.create_task(server.serve([listener]))
        async with visit(f"127.0.0.1:{listener.getsockname()[1]}", sign(["a"])) as line:
            await line.send(ask({"a": 0}, []))
            await line.recv()
            assert len(feed._watchers) == 1
        async with asyncio.timeout(5):
            while feed._watchers:
                await asyncio.sleep(0.02)
        server.should_exit = True
        await task
        await feed.close()

    journey(there)


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost:8501", "localhost:8501", True),
        ("https://Lab.Example", "lab.example", True),
        ("http://localhost:8502", "localhost:8501", False),
        ("http://evil.example", "localhost:8501", False),
        ("http://localhost:8501.evil.example", "localhost:8501", False),
        ("file://localhost:8501", "localhost:8501", False),
        ("null", "localhost:8501", False),
        (None, "localhost:8501", False),
        ("http://localhost:8501", None, False),
    ],
)
def test_same_origin(origin, host, same):
    assert same_origin(origin, host) is same


def test_a_request_names_runs_of_its_ticket_and_declared_metrics():
    assert read_request(ask({"a": 5}, ["snr", "snr"]), ("a", "b")) == ({"a": 5}, ["snr"])


@pytest.mark.parametrize("text", ["1", "null", '{"after": {}}', '{"after": {"a": "1"}, "metrics": []}', "x" * 70_000])
def test_a_malformed_request_is_named(text):
    with pytest.raises(BadRequest):
        read_request(text, ("a",))
