"""The Compare page's address: what is looked at, there and back."""

from __future__ import annotations

import pytest

from privlab.ui.compare.view import MOST_FILTER, PARAMETERS, TABS, View
from privlab.ui.urls import MOST_RUNS

FULL = View(
    q="digits eps<=3 σ>1 \"two words\"",
    grouped=True,
    archived=True,
    only=True,
    tab="pareto",
    metric="test_loss",
    columns=("name", "epsilon", "training.learning_rate"),
    colour="privacy.max_grad_norm",
    runs=("b", "a"),
    point="a",
    eps=2.5,
    level=0.875,
    front="digits~0.0001~add-or-remove-one~1",
    x="training.learning_rate",
    y="privacy.max_grad_norm",
    cell="0.1~0.2",
    a="a",
    b="b",
    at=1.25,
    goal=0.85,
)  # fmt: skip


def test_the_whole_view_goes_there_and_back() -> None:
    read, problems = View.read(FULL.parameters())
    assert read == FULL and problems == ()
    assert set(FULL.parameters()) == set(PARAMETERS)


def test_the_usual_view_needs_no_parameter() -> None:
    assert View().parameters() == {}
    read, problems = View.read({})
    assert read.parameters() == {} and problems == ()


@pytest.mark.parametrize("tab", list(TABS))
def test_each_view_has_an_address(tab: str) -> None:
    assert View.read(View(tab=tab).parameters())[0].tab == tab


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("view", "nosuch"),
        ("metric", "nosuch"),
        ("colour", "privacy.nosuch"),
        ("eps", "-1"),
        ("eps", "nan"),
        ("at", "inf"),
        ("goal", "much"),
        ("group", "model"),
        ("q", "x" * (MOST_FILTER + 1)),
    ],
    ids=lambda text: str(text)[:12],
)
def test_a_bad_parameter_is_named_and_the_rest_is_kept(name: str, text: str) -> None:
    read, problems = View.read({"runs": "a,b", name: text})
    assert read.runs == ("a", "b")
    assert len(problems) == 1 and problems[0].startswith(f"{name}=")
    assert read == View.read({"runs": "a,b"})[0]


def test_a_run_named_twice_counts_once_and_too_many_are_cut() -> None:
    assert View.read({"runs": "a,,b, a"})[0].runs == ("a", "b")
    many = ",".join(f"r{place}" for place in range(MOST_RUNS + 5))
    assert len(View.read({"runs": many})[0].runs) == MOST_RUNS


def test_numbers_keep_six_digits() -> None:
    assert View.read(View(level=0.123456).parameters())[0].level == 0.123456
