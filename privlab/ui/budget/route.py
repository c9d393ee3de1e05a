"""The route from which the browser fetches answers of the Budget page, without a script run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import get_args
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from privlab.privacy.accounting import Accountant
from privlab.privacy.pair import Adjacency
from privlab.ui import served
from privlab.ui.budget.case import UNKNOWNS, Refused, at_first, reckon
from privlab.ui.budget.form import FIELDS
from privlab.ui.signing import TicketError, verify

#: The header that has the answer.
ANSWER = "PrivLab-Answer"


def path() -> str:
    """The route's address."""
    return f"{served.prefix()}/budget"


def answer_route() -> Route:
    """``GET …/budget?unknown=…&exact=true|false&…`` → the header ``PrivLab-Answer``: the exact number, or else a bound on it.

    It is percent-encoded, and empty where there is none, as for values that are refused. A header, because the browser has it
    before it turns to the page that the script sends at the same time. Needs a ticket of :mod:`privlab.ui.signing`.
    """
    return Route(path(), _answer, methods=["GET"])


async def _answer(request: Request) -> Response:
    said = dict(request.query_params)
    try:
        verify(said.pop("ticket", ""))
        unknown, how, values, exact = _read(said)
    except TicketError as error:
        return JSONResponse({"problem": str(error)}, 403)
    except (KeyError, ValueError) as error:
        return JSONResponse({"problem": f"The question is malformed: {error}"}, 400)
    text = await asyncio.to_thread(_exact if exact else _bound, unknown, how, values)
    return Response(status_code=204, headers={"Cache-Control": "no-store", ANSWER: quote(text or "")})


def _read(said: dict[str, str]) -> tuple[str, dict[str, str], dict[str, float | None], bool]:
    unknown = _one_of(said, "unknown", UNKNOWNS)
    how = {
        "adjacency": _one_of(said, "adjacency", get_args(Adjacency)),
        "accountant": _one_of(said, "accountant", get_args(Accountant)),
    }
    exact = _one_of(said, "exact", ("true", "false")) == "true"
    return unknown, how, {name: _number(name, said.get(name)) for name in UNKNOWNS if name != unknown}, exact


def _one_of(said: dict[str, str], name: str, choices: tuple[str, ...]) -> str:
    if said[name] not in choices:
        raise ValueError(f"{name}={said[name]!r}")
    return said[name]


def _number(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    value = float(text)
    return int(value) if FIELDS[name].is_whole and value.is_integer() else value


def _bound(unknown: str, how: Mapping[str, str], values: Mapping[str, float | None]) -> str | None:
    found = at_first(unknown, values, **how)
    if found is None:
        return None
    return f"{'≥' if unknown in ('batch_size', 'epochs') else '≤'} {FIELDS[unknown].show(found)}"


def _exact(unknown: str, how: Mapping[str, str], values: Mapping[str, float | None]) -> str | None:
    try:
        return FIELDS[unknown].show(reckon(unknown, values, **how).answer)
    except Refused:
        return None
