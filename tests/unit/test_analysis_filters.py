"""Filters: what people type, what it means, and where it is wrong."""

from __future__ import annotations

import math

import pytest

from privlab.analysis.fields import fields_named
from privlab.analysis.filters import FilterError, parse
from privlab.analysis.settings import SETTINGS
from privlab.config import load_preset
from tests.madefacts import fact

RUN = fact(
    "abc123",
    0.853,
    2.9998,
    name="First test",
    settings={"training.learning_rate": 0.3, "training.seed": 2},
    metrics={"test_accuracy": 0.853},
    tags=frozenset({"paper", "Old draft"}),
    notes="the one on the poster",
    seconds=95.0,
)
OPEN = fact("def456", 0.97, math.inf, config=load_preset("no-privacy"), name="No privacy")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "digits",
        "first",
        '"first test"',
        "“first test”",
        "ABC1",
        "poster",
        "paper",
        "-mnist",
        "digits eps<=3 lr>=0.1 status:finished tag:paper -name:best seed:0..4",
        "eps:3",
        "ε ≤ 3",
        "eps < 3",
        "epsilon>2.99",
        "-eps:∞",
        "eps!=∞",
        "acc>=85%",
        "accuracy:85.3%",
        "test_accuracy<0.86",
        '"Test accuracy">0.8',
        "lr:0.3",
        "learning_rate:0.1,0.3",
        "η:0.3",
        '"Learning rate">0.2',
        "training.learning_rate<=.3",
        "C:0.2",
        "max_grad_norm<1",
        "σ>1",
        "sigma:1..1.1",
        "seed:..3",
        "seed:2..",
        "clipping:flat",
        'clipping:"per record (flat)"',
        "clipping:none,flat",
        "tag:old*",
        'tag:"old draft"',
        "model:mlp",
        "data:digits",
        "time>1min",
        "time<0.1h",
        "seconds:95",
        "from:real",
        "guarantee:yes",
        "void:no",
        "B:256",
        "batch_size:0.256k",
        "-σ>2",
        "opt:sgd",
        "momentum:0.9",
    ],
)
def test_the_run_passes_and_the_text_comes_back_the_same(text):
    query = parse(text)
    assert query(RUN)
    again = parse(str(query))
    assert again == query and str(again) == str(query)


@pytest.mark.parametrize(
    "text",
    [
        "mnist",
        "-digits",
        "eps>3",
        "eps<2.9",
        "eps:∞",
        "lr:0.1",
        "lr!=0.3",
        "seed:3..9",
        "seed>2",
        "tag:pap",
        "status:failed",
        "acc>86%",
        "C:1",
        "clipping:none",
        "time>2min",
        "from:imported",
        "guarantee:no",
        "digits -first",
        "test_f1>0",
        "momentum:0.8",
    ],
)
def test_the_run_does_not_pass(text):
    assert not parse(text)(RUN)


def test_what_a_run_has_no_use_for_passes_no_comparison():
    assert not parse("C>0")(OPEN) and not parse("C<=1000")(OPEN)
    assert parse("-C>0")(OPEN)
    adam = fact("a", settings={"training.optimizer": "adam"})
    assert not parse("momentum:0.9")(adam)
    assert parse("σ:0")(OPEN) and parse("eps>1000")(OPEN) and parse("eps:inf")(OPEN) and parse("guarantee:no")(OPEN)
    assert not parse("eps<1000")(OPEN)


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("epz<3", "epz", ["“epz”", "did you mean eps"]),
        ("digits status:finnished", "finnished", ["one of queued", "Did you mean finished?"]),
        ("acc>85", "85", ["share", "85%", "0.85"]),
        ("lr>x", "x", ["learning_rate is a number", "“x”"]),
        ("lr:3kg", "3kg", ["units: k, m"]),
        ("eps<", "eps<", ["a value is missing"]),
        ("seed:1,", ",", ["A value is missing"]),
        ("<3", "<3", ["eps<=3"]),
        ("seed:4..0", "4..0", ["0..4"]),
        ("seed<0..4", "0..4", ["A range goes with “:”"]),
        ("tag<3", "tag<3", ["tag is no number", "tag:value"]),
        ("status>failed", "status>failed", ["queued"]),
        ('ok "abc', '"abc', ["never closed"]),
        ("γ:1", "γ", ["several meanings", "automatic_stability or target_quantile"]),
        ("zzzz:1", "zzzz", ["nothing that runs can be filtered by", "for example"]),
    ],
)
def test_errors_say_where_and_what_is_allowed(text, where, words):
    with pytest.raises(FilterError) as caught:
        parse(text)
    error = caught.value
    assert text[error.start : error.end] == where
    assert all(word in str(error) for word in words)


def test_every_setting_is_found_by_its_path_and_its_last_part():
    for path in SETTINGS:
        if path == "name":
            continue
        assert len(fields_named(path)) == 1, path
        last = path.rpartition(".")[2]
        assert fields_named(last), path
    # A name that several settings share is refused unless what a run has goes by it.
    assert fields_named("name")[0].key == "name"


def test_chosen_runs_keep_their_order():
    runs = [fact(f"r{place}", settings={"training.seed": place}) for place in (5, 3, 4, 0)]
    assert [run.id for run in parse("digits eps<=3 seed:0..4 -name:x").chosen(runs)] == ["r3", "r4", "r0"]
