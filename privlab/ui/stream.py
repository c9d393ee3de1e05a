"""The WebSocket that feeds live panels.

The browser says what it has, the server sends what it lacks, as JSON text:

- browser → server: ``{"after": {run_id: last step}, "metrics": [key, …]}``, first of all and again for a full resync
  (``last step`` 0).
- server → browser: ``{"runs": {run_id: {"state": {…}, "after": step, "columns": {name: [...]}}}, "problem": text | null}``,
  each part only when it changed; ``after`` 0 means that the columns replace what the browser has. ``{}`` says that the
  server is there.
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

import orjson
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from privlab.metrics import METRICS
from privlab.ui.feed import Feed, Watcher
from privlab.ui.signing import TicketError, verify

_log = logging.getLogger(__name__)

#: Most runs of one socket.
MAX_RUNS = 60
#: Close codes of this protocol: the ticket is not (or no longer) valid; the browser asked for nonsense.
BAD_TICKET, BAD_REQUEST = 4401, 4400
#: Seconds of silence after which the server says that it is there.
HEARTBEAT = 15.0
_MAX_REQUEST = 64_000


class BadRequest(ValueError):
    """A browser asked for what the protocol does not know, or for a run that its ticket does not name."""


def same_origin(origin: str | None, host: str | None) -> bool:
    """Whether a page of ``origin`` (the header, ``scheme://host[:port]``) was served by ``host`` (``host[:port]``)."""
    if not origin or not host:
        return False
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def read_request(text: str, allowed: tuple[str, ...]) -> tuple[dict[str, int], list[str]]:
    """The last steps and metric keys that a browser names.

    Raises:
        BadRequest: not of the protocol, an unknown metric, or a run that is not in ``allowed``.
    """
    if len(text) > _MAX_REQUEST:
        raise BadRequest(f"The request has {len(text)} characters; at most {_MAX_REQUEST} are read.")
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest("The request is not JSON.") from error
    after, metrics = (body.get("after"), body.get("metrics")) if isinstance(body, dict) else (None, None)
    if not isinstance(after, dict) or not isinstance(metrics, list):
        raise BadRequest("The request needs 'after' (an object) and 'metrics' (a list).")
    strange = [run_id for run_id in after if run_id not in allowed] + [m for m in metrics if m not in METRICS]
    if strange:
        raise BadRequest(f"The request names {strange[0]!r}, which this socket does not serve.")
    if not all(isinstance(step, int) and step >= 0 for step in after.values()):
        raise BadRequest("Last steps must be whole numbers from 0.")
    return after, list(dict.fromkeys(metrics))


def stream_route(feed: Feed, path: str) -> WebSocketRoute:
    """The route at ``path`` that serves ``feed`` to browsers with a ticket of :mod:`privlab.ui.signing`."""

    async def endpoint(socket: WebSocket) -> None:
        if not same_origin(socket.headers.get("origin"), socket.headers.get("host")):
            # Refused before the handshake: another site's page learns nothing, not even a close code.
            await socket.close()
            return
        await socket.accept()
        try:
            ticket = verify(socket.query_params.get("ticket", ""))
        except TicketError as error:
            await socket.close(BAD_TICKET, str(error))
            return
        await _serve(socket, feed, Watcher(ticket.run_ids[:MAX_RUNS]))

    return WebSocketRoute(path, endpoint)


async def _serve(socket: WebSocket, feed: Feed, watcher: Watcher) -> None:
    """Talk until the browser leaves."""
    feed.join(watcher)
    talk = {asyncio.create_task(_listen(socket, watcher)), asyncio.create_task(_tell(socket, feed, watcher))}
    try:
        await asyncio.wait(talk, return_when=asyncio.FIRST_COMPLETED)
    finally:
        feed.leave(watcher)
        for task in talk:
            task.cancel()
        results = await asyncio.gather(*talk, return_exceptions=True)
    failures = [r for r in results if isinstance(r, Exception) and not isinstance(r, WebSocketDisconnect)]
    for failure in failures:
        if isinstance(failure, BadRequest):
            await socket.close(BAD_REQUEST, str(failure)[:100])
        else:
            raise failure


async def _listen(socket: WebSocket, watcher: Watcher) -> None:
    while True:
        watcher.ask(*read_request(await socket.receive_text(), watcher.run_ids))


async def _tell(socket: WebSocket, feed: Feed, watcher: Watcher) -> None:
    while True:
        if not await watcher.news(HEARTBEAT):
            await socket.send_text("{}")
        elif message := feed.message(watcher):
            await socket.send_text(message.decode())
