"""The route that answers the Budget page's fields without a script run."""

from __future__ import annotations

import asyncio
import threading
from urllib.parse import unquote, urlencode

import orjson
import pytest
from starlette.applications import Starlette

from privlab.ui.budget import case
from privlab.ui.budget.route import ANSWER, answer_route, path
from privlab.ui.signing import sign

GOLDEN = {
    "unknown": "epsilon",
    "adjacency": "add-or-remove-one",
    "accountant": "pld",
    "exact": "true",
    "noise_multiplier": "1.1",
    "batch_size": "512",
    "records": "60000",
    "epochs": "15",
    "delta": "1e-05",
}


async def _ask(said: dict[str, str]) -> tuple[int, dict]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": path(),
        "headers": [],
        "query_string": urlencode(said).encode(),
        "root_path": "",
    }
    sent: list[dict] = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    await Starlette(routes=[answer_route()])(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], orjson.loads(body) if body else {"text": unquote(headers[ANSWER.lower()]) or None}


def ask(**instead: str) -> tuple[int, dict]:
    return asyncio.run(_ask({"ticket": sign(()), **GOLDEN} | instead))


def test_the_exact_number_and_a_bound_on_its_safe_side():
    assert ask() == (204, {"text": "1.696"})
    status, said = ask(exact="false")
    assert status == 204
    assert said["text"].startswith("≤ ") and 1.696 <= float(said["text"][2:]) < 1.70
    status, said = ask(unknown="batch_size", epsilon="1.8", exact="false")
    assert said["text"].startswith("≥ ") and said["text"][2:].isdigit()


@pytest.mark.parametrize("exact", ["true", "false"])
@pytest.mark.parametrize(
    "wrong", [{"batch_size": "60001"}, {"delta": "nan"}, {"noise_multiplier": "0"}, {"epochs": "1.5"}]
)
def test_refused_values_have_no_answer(exact, wrong):
    assert ask(exact=exact, **wrong) == (204, {"text": None})


def test_an_empty_field_has_no_answer():
    said = {name: text for name, text in GOLDEN.items() if name != "epochs"} | {"ticket": sign(())}
    assert asyncio.run(_ask(said)) == (204, {"text": None})


@pytest.mark.parametrize(
    "wrong", [{"unknown": "sigma"}, {"accountant": "clt"}, {"exact": "maybe"}, {"adjacency": ""}, {"epochs": "ten"}]
)
def test_a_malformed_question_is_refused(wrong):
    status, said = ask(**wrong)
    assert status == 400 and "malformed" in said["problem"]


def test_a_stranger_is_refused():
    assert ask(ticket="")[0] == 403
    assert ask(ticket="e30.e30")[0] == 403


def test_who_asks_the_same_at_once_waits_for_one_result():
    begun, go_on, calls = threading.Event(), threading.Event(), []

    @case._once
    def work(what):
        calls.append(what)
        begun.set()
        assert go_on.wait(10)
        return what + 1

    found = []
    threads = [threading.Thread(target=lambda: found.append(work(1))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert (calls, found) == ([1], [2, 2, 2])
