"""A small Hugging Face hub on this machine: repositories in memory, served as the client of the hub asks for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the hub has, and what was asked of it.

    Attributes:
        repos: files of each repository by ``models/owner/name`` or ``datasets/owner/name``.
        gated: repositories that only known people may read.
        asked: paths of the files that were fetched.
        address: for ``HF_ENDPOINT``.
    """

    repos: dict[str, Mapping[str, bytes]]
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def fake_hub(**repos: Mapping[str, bytes]) -> Iterator[Hub]:
    """Serve ``repos`` on a free port while the body runs."""
    hub = Hub(dict(repos))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *what: object) -> None:
            pass

        def _answer(self, body: bool) -> None:
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            if parts[0] == "api":
                kind, owner, name, what, revision, *_ = parts[1:]
                return self._listing(f"{kind}/{owner}/{name}", what, revision)
            kind = parts.pop(0) if parts[0] == "datasets" else "models"
            owner, name, _, revision, *path = parts
            repo = f"{kind}/{owner}/{name}"
            if self._refused(repo, revision):
                return None
            raw = hub.repos[repo]["/".join(path)]
            if body:
                hub.asked.append("/".join(path))
            tag = hashlib.sha1(raw).hexdigest()
            return self._send(200, raw if body else b"", len(raw), **{"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

        def _listing(self, repo: str, what: str, revision: str) -> None:
            if self._refused(repo, revision):
                return None
            files = hub.repos[repo]
            if what == "tree":
                return self._json(
                    [
                        {"type": "file", "path": p, "size": len(raw), "oid": hashlib.sha1(raw).hexdigest()}
                        for p, raw in files.items()
                    ]
                )
            return self._json(
                {"id": repo.split("/", 1)[1], "sha": COMMIT, "siblings": [{"rfilename": p} for p in files]}
            )

        def _refused(self, repo: str, revision: str) -> bool:
            if repo not in hub.repos:
                self._send(404, b"", 0, **{"X-Error-Code": "RepoNotFound"})
            elif repo in hub.gated:
                self._send(403, b"", 0, **{"X-Error-Code": "GatedRepo"})
            elif revision not in ("main", COMMIT):
                self._send(404, b"", 0, **{"X-Error-Code": "RevisionNotFound"})
            else:
                return False
            return True

        def _json(self, what: object) -> None:
            raw = json.dumps(what).encode()
            self._send(200, raw, len(raw), **{"Content-Type": "application/json"})

        def _send(self, status: int, raw: bytes, length: int, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(length), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

    return Handler
