"""Parts of the pages that need no page: words for settings, explanations, background fetches, names."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import get_args

import pytest

from privlab.config import ConfigError, load_preset
from privlab.data.fetch import FetchError
from privlab.preflight import preflight
from privlab.runs.record import Run, Status
from privlab.runs.store import UnknownRun
from privlab.ui import fetching, labels
from privlab.ui.guard import escape, explain
from privlab.ui.settings import SETTINGS, differing, values_of


def a_run(run_id: str, name: str = "a", *, status: Status = Status.FINISHED, created: float = 1.0, **more) -> Run:
    config = load_preset("digits").replace(name=name)
    return Run(run_id, name, status, config, preflight(config).plan, created=created, **more)


def test_every_setting_says_label_unit_and_bounds() -> None:
    assert SETTINGS["privacy.max_grad_norm"].label_and_unit == "Clipping bound C (L2 norm)"
    assert SETTINGS["privacy.max_grad_norm"].help.endswith("Allowed: more than 0 and at most 1,000.")
    assert SETTINGS["training.momentum"].bounds == "at least 0 and less than 1"
    for setting in SETTINGS.values():
        assert setting.knob.help
        assert (
            setting.choices or setting.is_number or str in (setting.info.annotation, *get_args(setting.info.annotation))
        )


def test_settings_are_complete() -> None:
    flat = {f"{section}.{name}" for section, group in load_preset("digits").to_dict().items() if isinstance(group, dict)
            for name in group}  # fmt: skip
    assert flat <= set(SETTINGS)


def test_values_in_words() -> None:
    assert SETTINGS["encryption.mode"].show("sealed") == "sealed files (AES-256-GCM)"
    assert SETTINGS["training.batch_size"].show(4096) == "4,096"
    assert SETTINGS["privacy.delta"].show(1e-5) == "1e-05"
    assert SETTINGS["privacy.noise_multiplier"].show(None) == "–"
    assert SETTINGS["data.dataset"].show("digits") == "Digits"


def test_only_what_differs() -> None:
    base = load_preset("digits")
    other = base.replace(name="other", training__epochs=base.training.epochs + 1)
    assert differing([base, other]) == ["training.epochs"]
    assert differing([base]) == []
    assert values_of(base)["training.epochs"] == base.training.epochs


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UnknownRun("xyz"), "There is no run 'xyz' here"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (FetchError("No source could deliver."), "No source could deliver."),
        (ConfigError.at("privacy.delta", "delta=2 is refused."), "delta=2 is refused."),
        (ZeroDivisionError("division by zero"), "Something inside PrivLab went wrong (ZeroDivisionError)"),
    ],
)
def test_errors_in_plain_words(error: Exception, said: str) -> None:
    assert said in explain(error)
    assert "Traceback" not in explain(error)


def test_escaped_text_stays_text() -> None:
    assert escape("a_b [x](y) :red[z] $1$ <b>") == r"a\_b \[x\](y) \:red\[z\] \$1\$ \<b\>"


def test_a_fetch_runs_once_and_reports(tmp_path: Path) -> None:
    noted, go, calls = threading.Event(), threading.Event(), []

    def get(key: str, progress) -> Path:
        calls.append(key)
        progress(5, 10, "fetching")
        noted.set()
        assert go.wait(10)
        return tmp_path

    first = fetching.start("test-set", get)
    assert fetching.start("test-set", get) is first
    assert noted.wait(10)
    assert first.share == 0.5
    assert not first.over
    go.set()
    _wait(first)
    assert first.error is None
    assert calls == ["test-set"]


def test_a_failed_fetch_says_why_and_can_be_tried_again() -> None:
    def fail(_key: str, _progress) -> Path:
        raise FetchError("There is no network.")

    first = fetching.start("broken-set", fail)
    _wait(first)
    assert first.error == "There is no network."
    assert fetching.start("broken-set", fail) is not first


def _wait(fetch: fetching.Fetching) -> None:
    for thread in threading.enumerate():
        if thread.name == f"fetch-{fetch.dataset}":
            thread.join(10)
    assert fetch.over


def test_runs_of_one_name_are_told_apart() -> None:
    runs = [a_run("aaaa1", "x"), a_run("bbbb1", "x"), a_run("cccc1", "y"), a_run("dddd1", "")]
    assert labels.names(runs) == {"aaaa1": "x · aaaa", "bbbb1": "x · bbbb", "cccc1": "y", "dddd1": "dddd1"}


def test_what_trains_is_drawn_strong_else_the_last_launch() -> None:
    old, new = a_run("old", created=1.0), a_run("new", created=2.0)
    assert [(run.id, run.active) for run in labels.live_runs([new, old])] == [("old", False), ("new", True)]
    race = [a_run("one", created=3.0, group="g"), a_run("two", created=4.0, group="g")]
    assert [run.active for run in labels.live_runs([old, *race])] == [False, True, True]
    training = a_run("now", created=0.5, status=Status.RUNNING)
    assert [(run.id, run.active) for run in labels.live_runs([old, training])] == [("now", True), ("old", False)]


def test_published_results_belong_to_the_charts_data_set() -> None:
    fashion = load_preset("digits").replace(data__dataset="fashion-mnist", privacy__delta=1e-6)
    other = Run("f", "f", Status.QUEUED, fashion, preflight(fashion).plan, created=1.0)
    assert labels.published([], "fashion-mnist")
    assert labels.published([other], "digits")
    assert not labels.published([a_run("d")], "fashion-mnist")
    assert not labels.published([other, a_run("d")], "fashion-mnist")


@pytest.mark.parametrize(("seconds", "said"), [(3.14, "3.1 s"), (42.4, "42 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations(seconds: float, said: str) -> None:
    assert labels.duration(seconds) == said
