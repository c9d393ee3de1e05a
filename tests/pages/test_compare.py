"""The page that compares runs. A selection by click is tested in a real browser."""

from __future__ import annotations

import json

import pytest

from privlab.charts.style import COLOURS
from privlab.metrics import Point
from privlab.runs.record import Run, Status
from privlab.ui import labels
from privlab.ui.compare import downloads
from tests.pages.conftest import address, errors, stored


def said(app) -> str:
    """Everything the page says, without Markdown's escapes."""
    parts = (*app.markdown, *app.caption, *app.info, *app.warning, *app.success, *app.error)
    return "\n".join(each.value for each in parts).replace("\\", "")


def rows(app) -> list[str]:
    return list(app.dataframe[0].value["Name"])


@pytest.fixture
def several(store) -> list[Run]:
    """Two settings with three seeds each, a point of accuracy apart; the first setting is 10 points better than the other."""
    runs = []
    for name, norm, best in (("good", 0.2, 0.8), ("poor", 0.4, 0.7)):
        for seed in range(3):
            run = stored(store, name=name, training__seed=seed, privacy__max_grad_norm=norm)
            curve = [{"test_accuracy": best + 0.01 * seed - 0.02 * (20 - step)} for step in range(1, 21)]
            store.append_all(
                run.id, [Point(step, step, step, 0.1 * step, each) for step, each in enumerate(curve, start=1)]
            )
            for place in (Status.STARTING, Status.RUNNING, Status.FINISHED):
                store.move(run.id, place)
            runs.append(store.get(run.id))
    return runs


def test_without_runs_it_says_what_to_do(visit) -> None:
    assert any("Launch some in the Lab" in each.value for each in visit("compare").info)


def test_a_deep_link_selects_its_runs(visit, store) -> None:
    first = stored(store, status=Status.FINISHED, points=3, name="a")
    second = stored(store, "strong", status=Status.FINISHED, points=3, name="b")
    stored(store, name="c")
    app = visit("compare", runs=f"{first.id},{second.id}", view="differences")
    assert address(app, "runs") == f"{first.id},{second.id}"
    differing, results = (table.value for table in app.table)
    assert list(differing.columns) == ["a", "b"]
    assert list(differing.index) == ["Privacy: Target epsilon ε"]
    assert list(differing.loc["Privacy: Target epsilon ε"]) == ["3", "0.5"]
    assert list(results.loc["Test accuracy"]) == ["53.00 %", "53.00 %"]
    assert not any("clip" in row for row in results.index)
    assert len(app.dataframe[0].value) == 3


def test_runs_that_are_gone_are_named_and_left_out(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=3)
    app = visit("compare", runs=f"{run.id},nosuchrun")
    assert "nosuchrun" in app.warning[0].value
    assert "1 chosen" in said(app)
    (alone,) = visit("compare", runs="nosuch").warning
    assert alone.value.replace("\\", "") == "Not here, perhaps deleted: nosuch."


def test_a_bad_address_is_explained_and_the_rest_of_it_shown(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=3)
    app = visit("compare", runs=run.id, view="nosuch", eps="much")
    assert "view=nosuch in the address is left out: there is no such view." in said(app)
    assert "eps=much in the address is left out: it is no number." in said(app)
    assert "1 chosen" in said(app)


def test_a_filter_is_in_the_address_and_hides_no_choice(visit, store) -> None:
    first = stored(store, status=Status.FINISHED, points=3, name="apple")
    second = stored(store, name="pear")
    app = visit("compare", runs=f"{first.id},{second.id}")
    app.text_input(key="filter-text").input("PEAR").run()
    assert rows(app) == ["pear"]
    assert address(app, "q") == "PEAR"
    assert address(app, "runs") == f"{first.id},{second.id}"
    app.text_input(key="filter-text").input("status:failed").run()
    assert any("No run passes this filter" in each.value for each in app.info)
    assert address(app, "runs") == f"{first.id},{second.id}"
    # Without a table nobody is asked to tick in it.
    assert "Tick runs" not in said(visit("compare", q="status:failed"))


def test_a_filter_that_is_not_understood_keeps_the_last_one(visit, store) -> None:
    stored(store, name="apple")
    stored(store, name="pear")
    app = visit("compare", q="name:pear")
    app.text_input(key="filter-text").input("pear epsilom<=3").run()
    assert "did you mean" in errors(app) and "The table shows the filter before it: name:pear." in errors(app)
    assert app.text_input(key="filter-text").value == "pear epsilom<=3"
    assert rows(app) == ["pear"]


def test_only_the_chosen_are_listed_and_judged(visit, several) -> None:
    app = visit("compare", runs=several[0].id, view="pareto")
    assert len(rows(app)) == 6
    app.toggle(key="filter-only").set_value(True).run()
    assert rows(app) == ["good"] and address(app, "only") == "yes"
    assert "1 of 6 runs" in said(app) and "80.00 %" in said(app)
    app.text_input(key="filter-text").input("poor").run()
    assert any("None of the chosen runs passes" in each.value for each in app.info)


def test_nothing_chosen_says_what_to_do(visit, store) -> None:
    stored(store)
    assert any("Tick runs in the table" in each.value for each in visit("compare").info)


def test_repeats_become_one_row_with_mean_and_interval(visit, several) -> None:
    app = visit("compare", group="seed")
    table = app.dataframe[0].value
    assert list(table["Runs"]) == [3, 3]
    assert table["Test accuracy, mean"][list(table["Name"]).index("good")] == pytest.approx(0.81)
    # Student's t with two degrees of freedom, and values a point apart.
    assert table["± 95 %"][0] == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-4)


def test_chosen_columns_are_in_the_address(visit, store) -> None:
    stored(store, name="a")
    app = visit("compare", cols="name,training.learning_rate,nosuch")
    assert list(app.dataframe[0].value.columns) == ["Name", "Learning rate η"]
    app.multiselect(key="compare-columns").set_value(["name", "id"]).run()
    assert address(app, "cols") == "name,id"
    app.button(key="compare-columns-usual").click().run()
    assert "cols" not in app.query_params


def test_the_front_reads_at_both_lines(visit, several) -> None:
    app = visit("compare", view="pareto", eps="1.5", level="0.81", q="digits")
    assert "No result has ε ≤ 1.5." in said(app)
    assert "81.00 % needs ε = 2 at least, of what was measured (good)." in said(app)
    assert app.number_input(key="compare-level").value == 81.0
    app.number_input(key="compare-eps").set_value(2.5).run()
    assert address(app, "eps") == "2.5"
    assert "With ε ≤ 2.5: 82.00 % at best (good)." in said(app)
    app.button(key="choose-best").click().run()
    assert address(app, "runs") == several[2].id
    app.number_input(key="compare-level").set_value(82.0).run()
    assert address(app, "level") == "0.82"


def links(app) -> list[str]:
    return [link.proto.label for link in app.get("page_link")]


def test_the_card_of_a_clicked_result(visit, several) -> None:
    app = visit("compare", view="pareto", group="seed", point=several[4].id, runs=several[3].id)
    assert "poor (3 runs)**: 71.00 % (mean of 3 runs" in said(app) and "Beaten by another result." in said(app)
    assert "Open its first run" in links(app)
    app.button(key="point-choose").click().run()
    assert address(app, "runs").split(",") == [several[3].id, several[5].id, several[4].id]
    app.button(key="point-untick").click().run()
    assert "runs" not in app.query_params
    app.button(key="point-close").click().run()
    assert "point" not in app.query_params and "Click a result to choose it." in said(app)


def test_the_runs_of_a_clicked_cell(visit, store) -> None:
    for norm, rate, seed in ((0.2, 0.5, 0), (0.2, 0.5, 1), (0.4, 0.5, 0), (0.2, 1.0, 0)):
        stored(store, status=Status.FINISHED, points=3 + seed, name=f"C {norm:g}, seed {seed}", training__seed=seed,
               privacy__max_grad_norm=norm, training__learning_rate=rate)  # fmt: skip
    where = {"view": "settings", "x": "privacy.max_grad_norm", "y": "training.learning_rate"}
    app = visit("compare", cell="0.2~0.5", **where)
    assert "C = 0.2, Learning rate η = 0.5**: 2 runs, 53.50 % on average." in said(app)
    assert links(app) == ["C 0.2, seed 1: 54.00 %", "C 0.2, seed 0: 53.00 %"]
    app.button(key="cell-choose").click().run()
    assert address(app, "runs") == ",".join(run.id for run in store.list() if run.name in ("C 0.2, seed 1", "C 0.2, seed 0")
                                            and run.config.training.learning_rate == 0.5)  # fmt: skip
    app.button(key="cell-close").click().run()
    assert "cell" not in app.query_params and "1 pair has no run yet." in said(app)
    assert "no run has this pair yet" in said(visit("compare", cell="0.4~1.0", **where))
    assert "Click a cell" in said(visit("compare", cell="nosuch", **where))


def test_a_verdict_says_what_is_missing_and_launches_it_once(visit, store) -> None:
    for name, norm in (("good", 0.2), ("poor", 0.4)):
        stored(store, status=Status.FINISHED, points=20, name=name, privacy__max_grad_norm=norm)
    app = visit("compare", view="verdict")
    assert "a single run says nothing about its spread" in said(app)
    app.button(key="verdict-launch").click().run()
    queued = [run for run in store.list() if run.status is Status.QUEUED]
    assert sorted((run.name, run.config.training.seed) for run in queued) == [
        ("good", 1), ("good", 2), ("poor", 1), ("poor", 2),
    ]  # fmt: skip
    assert "4 of their runs have not ended" in said(app)
    assert not [button for button in app.button if button.key == "verdict-launch"]


def test_a_verdict_is_in_words_and_numbers(visit, several) -> None:
    app = visit("compare", view="verdict", a=several[3].id, b=several[0].id, at="1.9")
    # The seeds are a point apart on both sides alike, so that their differences are all the same: no spread to judge by.
    assert app.selectbox(key="verdict-a").value in [run.id for run in several[3:]]
    assert app.selectbox(key="verdict-b").value in [run.id for run in several[:3]]
    assert "All repeats gave the very same numbers" in said(app)


def test_the_planner_answers_or_says_why_not(visit, several) -> None:
    app = visit("compare", view="planner")
    app.number_input(key="planner-goal-100").set_value(75.0).run()
    assert address(app, "goal") == "0.75"
    assert "75.00 %" in said(app) or "Reached already" in said(app)


def test_the_planner_tells_what_is_at_work_and_takes_it_in(visit, store, several) -> None:
    app = visit("compare", view="planner", goal="0.9", q="digits")
    assert "6 runs with a guarantee at 1 different" in said(app)
    app.button(key="planner-launch").click().run()
    queued = [run for run in store.list() if run.status is Status.QUEUED]
    assert len(queued) == 3
    assert "3 runs are not done yet." in said(app).replace("**", "") and "at work already" in said(app)
    assert not [button for button in app.button if button.key == "planner-launch"]
    assert "do not pass the filter" not in said(app)
    app.text_input(key="filter-text").input("status:finished").run()
    assert "3 of them do not pass the filter now" in said(app)
    for run in queued:
        store.move(run.id, Status.STARTING)
        store.move(run.id, Status.RUNNING)
        store.append(run.id, Point(1, 1, 1, run.config.privacy.target_epsilon, {"test_accuracy": 0.6}))
    # A value on the way is not yet what the settings lead to.
    assert "6 runs with a guarantee at 1 different" in said(app.run())
    store.move(queued[0].id, Status.FINISHED)
    app.run()
    assert "7 runs with a guarantee at 2 different" in said(app) and "2 runs are not done yet" in said(app)


def test_the_planner_waits_for_the_first_run(visit, store) -> None:
    stored(store, status=Status.RUNNING, points=3)
    app = visit("compare", view="planner")
    assert "No run here has ended" in said(app) and "1 run is not done yet" in said(app)


def test_a_metric_without_a_better_direction_is_explained(visit, several) -> None:
    for view in ("pareto", "verdict", "planner"):
        assert "has no better direction" in said(visit("compare", view=view, metric="grad_norm_p50")), view


def test_views_of_settings_with_one_setting_only(visit, store) -> None:
    stored(store, status=Status.FINISHED, points=3)
    assert "all have the same settings" in said(visit("compare", view="settings"))
    assert "needs two different settings" in said(visit("compare", view="verdict"))


def test_pin_tag_note_and_archive(visit, store) -> None:
    old = stored(store, status=Status.FINISHED, points=3, name="old")
    stored(store, name="new")
    app = visit("compare", runs=old.id)
    app.button(key="bulk-pin").click().run()
    assert rows(app) == ["📌 old", "new"]
    app.text_input(key="bulk-tag").input("two words")
    app.button(key="bulk-tag-add").click().run()
    assert "a tag is one word" in errors(app)
    assert app.text_input(key="bulk-tag").value == "two words"
    app.text_input(key="bulk-tag").input("paper")
    app.button(key="bulk-tag-add").click().run()
    app.text_input(key=f"bulk-name-{old.id}").input("renamed")
    app.text_area(key=f"bulk-note-{old.id}").input("a second look").run()
    app.button(key="bulk-keep").click().run()
    assert store.get(old.id).name == "renamed"
    app.text_input(key="filter-text").input("tag:paper second").run()
    assert rows(app) == ["📌 renamed"]
    app.button(key="bulk-archive").click().run()
    assert any("No run passes this filter" in each.value for each in app.info)
    app.toggle(key="filter-archived").set_value(True).run()
    assert rows(app) == ["📌 renamed"] and address(app, "archived") == "yes"


def test_many_are_deleted_and_brought_back(visit, store) -> None:
    for name in ("a1", "a2", "b"):
        stored(store, status=Status.FINISHED, points=2, name=name)
    app = visit("compare", q="name:a")
    app.segmented_control(key="bulk-scope").set_value("shown").run()
    app.button(key="bulk-delete").click().run()
    assert [run.name for run in store.list()] == ["b"]
    assert "2 runs are deleted" in said(app).replace("**", "")
    app.button(key="bulk-undo").click().run()
    assert rows(app) == ["a2", "a1"]
    assert not [button for button in app.button if button.key == "bulk-undo"]


def test_many_are_stopped_and_cloned(visit, store) -> None:
    first, second = (stored(store, name=name) for name in "ab")
    app = visit("compare", runs=f"{first.id},{second.id}")
    app.button(key="bulk-stop").click().run()
    assert {run.status for run in store.list()} == {Status.STOPPED}
    app.button(key="bulk-clones").click().run()
    assert sorted(run.name for run in store.list() if run.status is Status.QUEUED) == ["a (copy)", "b (copy)"]


def test_a_run_keeps_its_look_whatever_is_chosen_and_deleted(store) -> None:
    runs = [stored(store, status=Status.FINISHED, points=1, name=name) for name in "abc"]
    (alone,) = labels.live_runs(runs[2:], equal=True)
    beside = labels.live_runs(runs)
    assert [(run.label, run.colour) for run in beside] == list(zip("abc", COLOURS[:3], strict=True))
    assert (alone.colour, alone.dash, alone.symbol) == (beside[2].colour, beside[2].dash, beside[2].symbol)
    store.delete(runs[0].id)
    later = stored(store, name="d")
    assert labels.looks([later])[later.id].colour == COLOURS[3]
    assert labels.looks(runs[2:])[runs[2].id].colour == alone.colour


def test_the_json_knows_of_each_self_check(store) -> None:
    runs = [stored(store, status=Status.FINISHED, points=1) for _ in range(2)]
    store.add_event(runs[0].id, "info", "Self-check passed.", {"sensitivity": 1.0})
    told = [each["privacy"]["verdict"] for each in json.loads(downloads.everything_json(runs))["runs"]]
    assert told == ["valid", "conditional"]
