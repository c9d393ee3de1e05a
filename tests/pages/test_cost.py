"""The Lab's card of what a step costs: asked for, under way, known, failed. Nothing is measured here."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from privlab.config import RunConfig, load_preset
from privlab.metrics import Cost
from privlab.runs import costs, measuring
from tests.pages.conftest import errors

DIGITS = load_preset("digits")
COST = Cost(0.01, 0.009, 0.012, 3_000_000, 50, 1.0, 0.1, "CPU")


class Job:
    """A measurement that stands as it is told to."""

    waiting, message, done = False, "", 0.4
    methods = ("one-pass", "plain", "hooks", "ghost")

    def __init__(self, state: str, method: str = "", message: str = ""):
        self.state, self.method, self.message = state, method, message

    def stop(self) -> None:
        self.state = "stopped"

    def wait(self, seconds: float) -> bool:
        return True


@pytest.fixture
def job(monkeypatch):
    def stand(state: str, method: str = "", message: str = "") -> Job:
        present = Job(state, method, message)
        monkeypatch.setattr(measuring, "find", lambda checked: present)
        return present

    monkeypatch.setattr(measuring, "_measured", {})
    return stand


def keep(config: RunConfig = DIGITS, failures: dict[str, str] | None = None, **changed: Cost) -> None:
    by_method = {method: replace(COST, seconds=0.01 * (1 + place)) for place, method in enumerate(costs.METHODS)}
    by_method |= changed
    for method in failures or {}:
        del by_method[method]
    costs.keep(costs.key(config), {method: asdict(cost) for method, cost in by_method.items()}, failures or {})


def words(app) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption)).replace("\\", "")


def test_at_first_the_card_offers_to_measure(visit, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(measuring, "start", asked.append)
    app = visit()
    assert app.button(key="measure").label == "Measure on this machine"
    assert "it can be measured below" in words(app)
    app.button(key="measure").click().run()
    assert [checked.config for checked in asked] == [DIGITS]


def test_known_costs_are_drawn_and_tell_the_time(visit) -> None:
    keep()
    app = visit()
    said = words(app)
    assert "about **14 s**, by the steps measured here" in said, "845 · 10 ms and 60 · 0.1 s"
    assert "845 steps and the evaluations" in said and "CPU · machine timing" in said
    assert "times as fast" not in said
    assert app.button(key="measure").label == "Measure again"


def test_that_texts_were_as_long_as_can_be_is_said(visit) -> None:
    keep()
    app = visit()
    assert "as long as the model reads" not in words(app)
    keep(load_preset("spam-bert"))
    app.button(key="preset-spam-bert").click().run()
    assert "as long as the model reads" in words(app)


def test_a_quicker_method_and_a_busy_machine_are_said(visit) -> None:
    keep(hooks=replace(COST, seconds=0.004), ghost=replace(COST, busy=2.04))
    said = words(visit())
    assert "Hooks was 2.5 times as fast here" in said
    assert "up to 2.0 times as long" in said


def test_a_method_that_cannot_do_it_is_named_with_its_reason(visit) -> None:
    config = DIGITS.replace(privacy__clipping="per-layer")
    keep(config, {"ghost": "clipping=per-layer weighs each layer by itself"})
    app = visit()
    app.selectbox(key="privacy.clipping").select("per-layer").run()
    assert "**Ghost** was not measured: clipping=per-layer weighs each layer by itself" in words(app)


def test_the_chosen_method_may_be_the_one_that_failed(visit) -> None:
    keep(failures={"one-pass": "It needs more memory than is free here."})
    said = words(visit())
    assert "**One pass** was not measured: It needs more memory than is free here." in said
    assert "it can be measured below" in said, "no other method's steps tell the time"


def test_while_it_measures_there_is_a_way_to_stop(visit, job) -> None:
    running = job("running", "hooks")
    app = visit()
    assert app.get("progress")[0].proto.text == "measuring Hooks"
    assert "measure" not in {each.key for each in app.button}
    app.button(key="stop-measuring").click().run()
    assert running.state == "stopped"
    app.run()
    assert "The last measurement was stopped" in words(app)


def test_a_failure_is_said_and_can_be_tried_again(visit, job) -> None:
    job("failed", message="The measuring process ended by itself (status -9); see costs.log in the logs.")
    app = visit()
    assert "Nothing new was measured. The measuring process ended by itself (status -9)" in errors(app)
    assert app.button(key="measure").label == "Measure on this machine"


def test_settings_that_are_refused_meanwhile_hide_the_card_and_end_nothing(visit, job) -> None:
    running = job("running", "hooks")
    app = visit()
    app.number_input(key="training.batch_size").set_value(5000).run()
    assert not app.exception and not app.get("progress")
    assert running.state == "running"
    app.number_input(key="training.batch_size").set_value(256).run()
    assert app.get("progress")[0].proto.text == "measuring Hooks"


def test_a_machine_that_starts_no_process_is_said(visit, monkeypatch) -> None:
    def refuse(checked):
        raise PermissionError(13, "Permission denied", "/home/x/costs")

    monkeypatch.setattr(measuring, "start", refuse)
    app = visit()
    app.button(key="measure").click().run()
    assert "PrivLab may not use /home/x/costs" in errors(app)
