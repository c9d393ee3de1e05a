"""What a person says about runs, points written at once, and runs that are parsed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from privlab.config import load_preset
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.runs.record import Annotation, Run, Status
from privlab.runs.store import Store, UnknownRun
from privlab.runs.store.annotationtable import MOST_NAME, MOST_NOTE, MOST_TAG
from privlab.ui.compare.library import Library

CHECKED = preflight(load_preset("clip-only"))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return Store()


def new_run(store: Store, name: str = "one") -> Run:
    return store.create(CHECKED.config.replace(name=name), CHECKED.plan)


def curve(steps: range) -> list[Point]:
    return [Point(step, step / 4, step / 2, step / 100, {"test_accuracy": step / 100}) for step in steps]


def test_what_is_said_is_kept_and_the_rest_stays(store: Store) -> None:
    one, other = new_run(store), new_run(store)
    assert store.annotations() == {}
    store.annotate([one.id, other.id], add_tags=["paper", "first"])
    store.annotate([one.id], note="looks odd", pinned=True, remove_tags=["first", "nosuch"])
    store.annotate([other.id], archived=True)
    assert store.annotations() == {
        one.id: Annotation(frozenset({"paper"}), "looks odd", pinned=True),
        other.id: Annotation(frozenset({"paper", "first"}), archived=True),
    }
    store.annotate([one.id], pinned=False, note="")
    assert store.annotations()[one.id] == Annotation(frozenset({"paper"}))


@pytest.mark.parametrize(
    "tag", ["", "two words", "a,b", 'quoted"', "x" * (MOST_TAG + 1)], ids=lambda tag: tag[:10] or "empty"
)
def test_a_tag_that_no_filter_could_name_is_refused(store: Store, tag: str) -> None:
    run = new_run(store)
    with pytest.raises(ValueError, match="tag"):
        store.annotate([run.id], add_tags=["good", tag])
    assert store.annotations() == {}


def test_of_several_runs_all_are_annotated_or_none(store: Store) -> None:
    run = new_run(store)
    with pytest.raises(UnknownRun):
        store.annotate([run.id, "nosuchrun"], pinned=True)
    with pytest.raises(ValueError, match=f"at most {MOST_NOTE:,}"):
        store.annotate([run.id], note="x" * (MOST_NOTE + 1))
    assert store.annotations() == {}


def test_a_new_name_is_the_runs_and_not_its_settings(store: Store) -> None:
    run = new_run(store, "before")
    store.rename(run.id, "  after ")
    assert (store.get(run.id).name, store.get(run.id).config.name) == ("after", "before")
    with pytest.raises(ValueError, match=f"at most {MOST_NAME}"):
        store.rename(run.id, "x" * (MOST_NAME + 1))
    with pytest.raises(UnknownRun):
        store.rename("nosuchrun", "name")


def test_a_purged_run_leaves_nothing_said_behind(store: Store) -> None:
    run = new_run(store)
    store.annotate([run.id], add_tags=["paper"])
    store.move(run.id, Status.STOPPED)
    store.delete(run.id)
    assert store.purge(0) == [run.id]
    assert store.annotations() == {}


def test_points_at_once_are_all_there_or_none(store: Store) -> None:
    run = new_run(store)
    with pytest.raises(ValueError, match="do not ascend"):
        store.append_all(run.id, curve(range(3, 0, -1)))
    assert store.points(run.id) == []
    store.append_all(run.id, curve(range(1, 9)))
    assert store.points(run.id) == curve(range(1, 9))
    now = store.get(run.id)
    assert (now.step, now.epsilon, now.metrics) == (8, 0.08, {"test_accuracy": 0.08})
    with pytest.raises(ValueError, match="has points already"):
        store.append_all(run.id, curve(range(9, 12)))
    with pytest.raises(UnknownRun):
        store.append_all("nosuchrun", curve(range(1, 3)))


def test_an_unchanged_run_is_the_same_object_and_a_changed_one_is_not(store: Store) -> None:
    one, other = new_run(store), new_run(store)
    before = {run.id: run for run in store.list()}
    store.append(one.id, curve(range(1, 2))[0])
    after = {run.id: run for run in store.list()}
    assert after[other.id] is before[other.id]
    assert (before[one.id].step, after[one.id].step) == (0, 1)


def test_the_library_reads_only_what_changed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = new_run(store, "one"), new_run(store, "other")
    library = Library(store)
    first = library.entries()
    assert library.entries() is first
    store.annotate([one.id], add_tags=["paper"])
    store.add_event(one.id, "void", "The noise was not what the plan says.")
    second = library.entries()
    assert second[other.id] is first[other.id]
    assert second[one.id].facts.tags == {"paper"} and second[one.id].facts.void
    store.delete(other.id)
    assert set(library.entries()) == {one.id}
