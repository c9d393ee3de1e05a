"""``python -m privlab sweep``: everything but the training."""

from __future__ import annotations

from pathlib import Path

import pytest

from privlab.cli import main
from privlab.runs.store import Store
from privlab.runs.sweeprecord import SweepState
from privlab.sweeps import control
from privlab.sweeps.conductor import Conductor
from privlab.sweeps.results import spec_of
from tests.sweeping import finish_all, spec


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return Store()


def test_check_counts_and_names_what_is_refused(store: Store, tmp_path: Path, capsys) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(spec(seeds=2).to_toml())
    assert main(["sweep", "check", str(file)]) == 0
    assert "4 combinations × 2 seeds = 8 runs at most" in capsys.readouterr().out
    file.write_text(spec(space={"privacy.delta": [1e-5, 0.5]}).to_toml())
    assert main(["sweep", "check", str(file)]) == 1
    assert "refused: δ = 0.5" in capsys.readouterr().out
    assert store.sweeps() == [] and store.list() == []


def test_a_file_with_a_mistake_is_refused_with_its_entry(store: Store, tmp_path: Path, capsys) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('preset = "digits"\n[space]\n"privacy.max_grad_norm" = [0]\n')
    assert main(["sweep", "run", str(file)]) == 1
    assert "space.privacy.max_grad_norm: max_grad_norm=0 is refused" in capsys.readouterr().err
    assert main(["sweep", "run", str(tmp_path / "none.toml")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_list_show_and_what_may_be_done(store: Store, capsys) -> None:
    assert main(["sweep", "list"]) == 0
    assert "No sweeps yet" in capsys.readouterr().out
    sweep = control.create(store, spec(at_once=1))
    for action, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped"), ("resume", "running")):
        assert main(["sweep", action, sweep.id]) == 0
        assert store.sweep(sweep.id).state == state
    assert main(["sweep", "delete", sweep.id]) == 1
    assert "running sweep cannot be deleted" in capsys.readouterr().err
    conductor = Conductor(store, lambda: True)
    while store.sweep(sweep.id).state is SweepState.RUNNING:
        conductor.look()
        finish_all(store, sweep.id, lambda run: 0.5)
    assert main(["sweep", "list"]) == 0 and main(["sweep", "show", sweep.id]) == 0
    shown = capsys.readouterr().out
    assert "4 of 4 runs (100%)" in shown and "C = 0.2, σ = 2  test accuracy 50.00 %, ε = " in shown
    assert "all runs together ε = " in shown and "a person chose the number of runs" in shown
    assert "Choosing by a score on test records is itself a selection" in shown
    assert main(["sweep", "extend", sweep.id, "--seeds", "1"]) == 0
    assert spec_of(store.sweep(sweep.id)).seeds == 2
    assert main(["sweep", "show", "nobody"]) == 1
    assert "no sweep 'nobody'" in capsys.readouterr().err
