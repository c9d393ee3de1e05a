"""The files that browsers fetch from PrivLab itself: our scripts and styles, and Plotly, which comes inside its package.

Each file's address holds a hash of what it stands for, so browsers may keep it for ever.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

import plotly
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from streamlit import config

_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}
_PLOTLY = "plotly.min.js"


def prefix() -> str:
    """Where PrivLab's own routes begin: ``/privlab`` below the configured ``server.baseUrlPath``."""
    base = (config.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}/privlab" if base else "/privlab"


def stream_path() -> str:
    return f"{prefix()}/stream"


def url(name: str) -> str:
    """Address of a file of ``ui/assets``, or of ``plotly.min.js``. Raises KeyError for any other name."""
    versions = {known: version for version, known in _files()}
    return f"{prefix()}/assets/{versions[name]}/{name}"


@cache
def boot() -> str:
    """The script of every component: it fetches the file that the data name as ``module`` and calls its ``mount``."""
    return (resources.files("privlab.ui") / "assets" / "boot.js").read_text("utf-8")


@cache
def _files() -> dict[tuple[str, str], Traversable]:
    """Files by (version, name). Our own share one version, because they import each other by relative addresses."""
    folder = resources.files("privlab.ui") / "assets"
    ours = sorted((f for f in folder.iterdir() if f.name.endswith(tuple(_TYPES))), key=lambda f: f.name)
    version = hashlib.sha256(b"\0".join(f.read_bytes() for f in ours)).hexdigest()[:16]
    library = resources.files("plotly") / "package_data" / _PLOTLY
    return {(version, f.name): f for f in ours} | {(f"plotly-{plotly.__version__}", _PLOTLY): library}


@cache
def _compressed(file: Traversable) -> bytes:
    return gzip.compress(file.read_bytes(), 6)


async def _serve(request: Request) -> Response:
    name = request.path_params["name"]
    file = _files().get((request.path_params["version"], name))
    if file is None:
        return PlainTextResponse("There is no such file.", status_code=404)
    headers = {**_HEADERS, "Content-Type": _TYPES[name[name.rindex(".") :]]}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(await asyncio.to_thread(file.read_bytes), headers=headers)
    # Compressed once, here, in a thread: Streamlit's middleware would do it again for every request.
    body = await asyncio.to_thread(_compressed, file)
    return Response(body, headers={**headers, "Content-Encoding": "gzip"})


def asset_route() -> Route:
    return Route(f"{prefix()}/assets/{{version}}/{{name}}", _serve, methods=["GET"])
