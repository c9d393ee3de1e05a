"""``write``: text from a run's model in a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from privlab.cli import main
from privlab.runs import files
from privlab.runs.record import Status
from privlab.runs.store import Store
from tests.pages.conftest import LANGUAGE, stored, with_weights


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return Store()


def test_the_text_follows_its_beginning(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    run = with_weights(store)
    assert main(["write", run.id, "--prompt", "Hello ", "--tokens", "20", "--temperature", "1", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Hello ") and len(said) > len("Hello \n")
    assert (
        main(["write", run.id, "--prompt", "Hello ", "--tokens", "20", "--temperature", "1", "--seed", "3", "--json"])
        == 0
    )
    assert "".join(json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()) == said[6:-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--beams", "99"], "beams: beams='99' is refused: input should be less than or equal to 16"),
        (["--temperature", "-1"], "greater than or equal to 0"),
        (["--tokens", "many"], "tokens='many' is refused"),
    ],
)
def test_bad_values_are_named_with_their_bounds(
    store: Store, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = with_weights(store)
    assert main(["write", run.id, *arguments]) == 1
    assert words in capsys.readouterr().err


def test_runs_that_cannot_write_say_why(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = stored(store, **LANGUAGE)
    assert main(["write", waiting.id]) == 1
    assert "has no weights yet" in capsys.readouterr().err
    classifier = stored(store, status=Status.FINISHED)
    files.weights_path(classifier).write_bytes(b"anything")
    assert main(["write", classifier.id]) == 1
    assert "only a language model can write" in capsys.readouterr().err
    pretrained = stored(store, status=Status.FINISHED, **LANGUAGE | {"model__name": "tinystories"})
    files.weights_path(pretrained).write_bytes(b"anything")
    assert main(["write", pretrained.id]) == 1
    assert "data fetch tinystories" in capsys.readouterr().err
    damaged = with_weights(store)
    files.weights_path(damaged).write_bytes(b"no weights")
    assert main(["write", damaged.id]) == 1
    assert "The weights cannot be read" in capsys.readouterr().err
