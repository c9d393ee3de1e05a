"""Class sessions: rules, names, budgets, guesses, and what the store keeps of them."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from privlab.classroom import session as sessions
from privlab.classroom.lesson import MOST_PEOPLE, Lesson, participant_name
from privlab.classroom.session import ClassClosed, begin, find, join, launch, standings, would_cost
from privlab.config import ConfigError, load_preset
from privlab.metrics import Point
from privlab.runs.record import Status
from privlab.runs.store import NameTaken, Store, UnknownClass

LESSON = Lesson("Privacy 101", ("digits", "medium"), budget=5.0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return Store()


def said(error: pytest.ExceptionInfo[ConfigError]) -> dict[str, str]:
    return {problem.path: problem.message for problem in error.value.problems}


def end(store: Store, run_id: str, accuracy: float, epsilon: float | None) -> None:
    run = store.get(run_id)
    store.append(run_id, Point(run.steps, 1.0, 1.0, epsilon, {"test_accuracy": accuracy}))
    store.move(run_id, Status.STOPPED)


def test_rules_are_kept_as_they_were_made(store: Store) -> None:
    made = begin(store, LESSON)
    assert find(Store(), made.id) == made and made.lesson == LESSON and made.closed is None
    with pytest.raises(UnknownClass, match="There is no class session 'nowhere' here"):
        find(store, "nowhere")


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"title": "  "}, "title", "0 characters; it needs 1 to 60"),
        ({"title": "x" * 61}, "title", "61 characters"),
        ({"presets": ()}, "presets", "at least one preset"),
        ({"presets": ("nonsense",)}, "presets", "'nonsense' is unknown"),
        ({"open": ("privacy.delta",)}, "open", "privacy.delta cannot be left open"),
        ({"budget": 0.0}, "budget", "budget=0 is refused"),
        ({"budget": float("inf")}, "budget", "budget=inf is refused"),
        ({"budget": 101.0}, "budget", "at most 100"),
    ],
)
def test_bad_rules_are_refused_beside_the_field(change: dict, path: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Lesson(**{"title": "A", "presets": ("digits",)} | change)
    assert words in said(refused)[path]


def test_names_are_told_apart_whatever_their_case(store: Store) -> None:
    lesson = begin(store, LESSON)
    anna = join(store, lesson, "  Anna   B ")
    assert anna.name == "Anna B"
    with pytest.raises(ConfigError) as refused:
        join(store, lesson, "anna b")
    assert "called anna b already" in said(refused)["name"]
    with pytest.raises(NameTaken):
        store.join_class(lesson.id, "ANNA B")
    for bad in ("", "x" * 61):
        with pytest.raises(ConfigError):
            join(store, lesson, bad)
    with pytest.raises(ConfigError, match="full: 60 people"):
        participant_name("one more", [str(i) for i in range(MOST_PEOPLE)])
    # Another session knows nobody.
    assert join(store, begin(store, LESSON), "Anna B").id != anna.id
    assert [who.name for who in store.participants(lesson.id)] == ["Anna B"]


def test_a_run_keeps_the_preset_but_for_what_is_open(store: Store) -> None:
    lesson = begin(store, LESSON)
    anna = join(store, lesson, "Anna")
    run = launch(store, lesson, anna, "digits", {"privacy.max_grad_norm": 0.25}, 0.9, launch_key="k1")
    assert run.config == load_preset("digits").replace(name="Anna", privacy__max_grad_norm=0.25)
    (found,) = store.class_runs(lesson.id)
    assert (found.run.id, found.participant, found.guess) == (run.id, anna, 0.9)
    # A press that is repeated launches nothing, and what was said first stands.
    again = launch(store, lesson, anna, "digits", {"privacy.max_grad_norm": 0.25}, 0.1, launch_key="k1")
    assert again.id == run.id and store.class_runs(lesson.id)[0].guess == 0.9


@pytest.mark.parametrize(
    ("preset", "changes", "guess", "path", "words"),
    [
        ("strong", {}, 0.9, "preset", "'strong' is not one of this session"),
        ("digits", {"training.seed": 3}, 0.9, "training.seed", "fixed in this session"),
        ("digits", {"privacy.max_grad_norm": -1.0}, 0.9, "privacy.max_grad_norm", "-1"),
        ("digits", {}, None, "guess", "empty"),
        ("digits", {}, 1.5, "guess", "150 %"),
    ],
)
def test_what_is_not_allowed_is_refused_and_nothing_launched(
    store: Store, preset: str, changes: dict, guess: float | None, path: str, words: str
) -> None:
    lesson = begin(store, LESSON)
    anna = join(store, lesson, "Anna")
    with pytest.raises(ConfigError) as refused:
        launch(store, lesson, anna, preset, changes, guess, launch_key="k1")
    assert words in said(refused)[path] and store.list() == [] == store.class_runs(lesson.id)


def test_a_preset_whose_weights_are_not_here_is_refused(store: Store) -> None:
    lesson = begin(store, Lesson("Large models", ("spam-minilm",)))
    anna = join(store, lesson, "Anna")
    with pytest.raises(ConfigError) as refused:
        launch(store, lesson, anna, "spam-minilm", {}, 0.9, launch_key="k1")
    assert "data fetch minilm" in said(refused)["preset"] and store.list() == []


def test_the_budget_counts_all_runs_of_a_participant_to_their_planned_end(store: Store) -> None:
    lesson = begin(store, LESSON)
    anna, bruno = join(store, lesson, "Anna"), join(store, lesson, "Bruno")
    first = launch(store, lesson, anna, "medium", {}, 0.9, launch_key="a1")
    before, after = would_cost(store, lesson, anna, first.config)
    assert before == pytest.approx(first.plan.epsilon, rel=1e-6) and before < after < 2 * before
    launch(store, lesson, anna, "medium", {}, 0.9, launch_key="a2")
    with pytest.raises(ConfigError) as refused:
        for turn in range(3, 9):
            launch(store, lesson, anna, "medium", {}, 0.9, launch_key=f"a{turn}")
    assert "your budget is ε = 5; you have spent" in said(refused)["budget"]
    # A run that ended early has spent less, and another person's budget is their own.
    launch(store, lesson, bruno, "medium", {}, 0.9, launch_key="b1")
    spent = {each.participant.name: each.spent for each in standings(store, [anna, bruno], store.class_runs(lesson.id))}
    assert spent["Bruno"] == pytest.approx(before) and spent["Anna"] > spent["Bruno"]
    store.delete(first.id)
    assert would_cost(store, lesson, anna, first.config)[0] == pytest.approx(spent["Anna"]), (
        "deleting takes nothing back"
    )


def test_a_run_without_guarantee_does_not_fit_into_a_budget(store: Store) -> None:
    lesson = begin(store, Lesson("A", ("no-privacy",), budget=5.0))
    anna = join(store, lesson, "Anna")
    with pytest.raises(ConfigError) as refused:
        launch(store, lesson, anna, "no-privacy", {"privacy.target_epsilon": 1.0}, 0.9, launch_key="a1")
    assert "has no guarantee (ε = ∞)" in said(refused)["budget"]
    free = begin(store, Lesson("A", ("no-privacy",)))
    who = join(store, free, "Anna")
    assert not launch(
        store, free, who, "no-privacy", {"privacy.target_epsilon": 1.0}, 0.9, launch_key="f1"
    ).plan.is_private


def test_two_launches_at_once_do_not_both_fit_into_what_is_left_for_one(store: Store) -> None:
    lesson = begin(store, Lesson("A", ("medium",), budget=2.5))
    anna = join(store, lesson, "Anna")
    outcomes = []

    def press(key: str) -> None:
        try:
            outcomes.append(launch(store, lesson, anna, "medium", {}, 0.9, launch_key=key).id)
        except ConfigError:
            outcomes.append(None)

    presses = [Thread(target=press, args=(key,)) for key in ("a", "b")]
    for one in presses:
        one.start()
    for one in presses:
        one.join()
    assert len(outcomes) == 2 and outcomes.count(None) == 1 and len(store.list()) == 1


def test_a_closed_session_launches_nothing_and_keeps_its_board(store: Store) -> None:
    lesson = begin(store, LESSON)
    anna = join(store, lesson, "Anna")
    launch(store, lesson, anna, "digits", {}, 0.9, launch_key="k1")
    store.set_class_closed(lesson.id, True)
    with pytest.raises(ClassClosed):
        launch(store, lesson, anna, "digits", {}, 0.9, launch_key="k2")
    with pytest.raises(ClassClosed):
        join(store, find(store, lesson.id), "Bruno")
    assert len(store.class_runs(lesson.id)) == 1
    store.set_class_closed(lesson.id, False)
    assert launch(store, lesson, anna, "digits", {}, 0.9, launch_key="k2")


def test_standings_tell_the_best_run_and_how_far_off_guesses_were(store: Store) -> None:
    lesson = begin(store, Lesson("A", ("medium",)))
    people = [join(store, lesson, name) for name in ("Anna", "Bruno")]
    for key, guess, reached in (("a", 0.9, 0.8), ("b", 0.7, 0.75)):
        run = launch(store, lesson, people[0], "medium", {}, guess, launch_key=key)
        end(store, run.id, reached, 1.5)
    anna, bruno = standings(store, people, store.class_runs(lesson.id))
    assert (anna.runs, anna.best, anna.error) == (2, (0.8, 1.5), pytest.approx(0.075))
    assert (bruno.runs, bruno.spent, bruno.best, bruno.error) == (0, 0.0, None, None)


def test_a_run_whose_mechanism_is_void_has_no_guarantee(store: Store) -> None:
    lesson = begin(store, LESSON)
    anna = join(store, lesson, "Anna")
    run = launch(store, lesson, anna, "medium", {}, 0.9, launch_key="k1")
    end(store, run.id, 0.9, 1.0)
    store.add_event(run.id, "void", "The noise was wrong.")
    assert sessions.spent(store, [store.get(run.id)]) == float("inf")
