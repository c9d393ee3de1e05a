"""Files for browsers: found by a versioned address only, compressed once, kept for ever."""

from __future__ import annotations

import asyncio
import gzip
from importlib import resources

import pytest
from starlette.applications import Starlette
from streamlit import config

from privlab.ui import served


async def _get(path: str, gzipped: bool = True) -> tuple[int, dict[str, str], bytes]:
    """Ask the route as an ASGI server would."""
    headers = [(b"accept-encoding", b"gzip")] if gzipped else []
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "query_string": b"", "root_path": ""}
    sent: list[dict] = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    await Starlette(routes=[served.asset_route()])(scope, receive, send)
    start = sent[0]
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], found, b"".join(message.get("body", b"") for message in sent[1:])


def get(path: str, gzipped: bool = True):
    return asyncio.run(_get(path, gzipped))


@pytest.mark.parametrize("name", ["live.js", "live.css", "plotly.min.js"])
def test_a_file_is_served_compressed_and_immutable(name):
    status, headers, body = get(served.url(name))
    plain_status, plain_headers, plain = get(served.url(name), gzipped=False)
    assert (status, plain_status) == (200, 200)
    assert "immutable" in headers["cache-control"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain_headers
    assert gzip.decompress(body) == plain
    assert len(plain) > 1000


def test_our_files_share_one_version_and_plotly_has_its_own():
    assert served.url("live.js").rsplit("/", 1)[0] == served.url("chart.js").rsplit("/", 1)[0]
    assert "plotly-" in served.url("plotly.min.js")


@pytest.mark.parametrize(
    "path", ["/privlab/assets/0/live.js", "/privlab/assets/../live.py", "/privlab/assets/x/..%2f..%2flive.py"]
)
def test_nothing_else_is_served(path):
    assert get(path)[0] == 404


def test_an_unknown_name_has_no_address():
    with pytest.raises(KeyError):
        served.url("live.py")


def test_addresses_follow_the_base_path(monkeypatch):
    monkeypatch.setattr(config, "get_option", lambda name: "/lab/" if name == "server.baseUrlPath" else None)
    assert served.stream_path() == "/lab/privlab/stream"
    assert served.url("live.js").startswith("/lab/privlab/assets/")
    assert get(served.url("live.js"))[0] == 200


def test_no_script_reads_text_as_html_or_names_another_host():
    """XSS-safe and offline: text nodes only, and no address with a host in it."""
    for file in (resources.files("privlab.ui") / "assets").iterdir():
        text = file.read_text("utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{file.name} uses {word}"
        addresses = text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in addresses and "https://" not in addresses, file.name
