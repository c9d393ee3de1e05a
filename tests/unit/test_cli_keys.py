"""Keys from a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from privlab.cli import main
from privlab.config import load_preset
from privlab.encryption import Passphrase, SealedVault
from privlab.encryption.keybook import Keybook, NamedKey
from privlab.preflight import preflight
from privlab.runs import control
from privlab.runs.control import RunActionError
from privlab.runs.files import checkpoint_path
from privlab.runs.store import Store
from tests.unit.test_runs_control import PLAIN

PHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    # scrypt at full cost takes 0.4 s and 128 MiB each time.
    monkeypatch.setattr("privlab.cli.keys.Passphrase", lambda text: Passphrase(text, log2_n=10))
    return tmp_path


@pytest.fixture
def phrase(home: Path) -> str:
    (home / "phrase").write_text(PHRASE + "\n")
    return str(home / "phrase")


def sealed_run(store: Store, key: str = "lab") -> str:
    """A run with a checkpoint sealed by ``key``."""
    config = PLAIN.replace(encryption__mode="sealed", encryption__key_name=key, name="mine")
    run = store.create(config, preflight(config).plan)
    SealedVault(NamedKey(key)).write(checkpoint_path(run.id), b"secret")
    return run.id


def test_a_key_is_made_listed_rotated_and_destroyed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "lab"]) == 0
    assert "--set encryption.key_name=lab" in capsys.readouterr().out
    store = Store()
    run_id = sealed_run(store)
    stray = home / "runs" / "unknown" / "checkpoint.plab"
    stray.parent.mkdir()
    SealedVault(NamedKey("lab")).write(stray, b"x")
    config = PLAIN.replace(encryption__mode="sealed", encryption__key_name="lab", name="")
    waiting = store.create(config, preflight(config).plan).id
    assert main(["keys", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["runs"], listed["waiting"]) == ("lab", [run_id], [waiting])
    assert len(listed["files"]) == 2

    assert main(["keys", "rotate", "lab"]) == 0
    assert "2 files now need the new key lab" in capsys.readouterr().out

    assert main(["keys", "destroy", "lab", "--confirm", "lag"]) == 1
    said = capsys.readouterr()
    assert "'lag' is not 'lab'; nothing was destroyed" in said.err
    assert f"run {run_id} (mine, queued): its checkpoint and weights" in said.out
    assert f"run {waiting} (no name, queued): has nothing sealed yet" in said.out and f"file {stray}" in said.out
    assert "an SSD" in said.out and "backups" in said.out
    assert Keybook().find("lab")
    assert main(["keys", "destroy", "lab"]) == 1
    assert "say --confirm lab where nobody can be asked" in capsys.readouterr().err
    assert main(["keys", "destroy", "lab", "--confirm", "lab"]) == 0
    assert "2 sealed files can no longer be opened" in capsys.readouterr().out
    assert main(["keys", "destroy", "lab", "--confirm", "lab"]) == 1
    assert "was destroyed on" in capsys.readouterr().err


def test_the_question_is_answered_by_the_name(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["keys", "create", "lab"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter(["yes", "lab"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    assert main(["keys", "destroy", "lab"]) == 1
    assert Keybook().find("lab")
    assert main(["keys", "destroy", "lab"]) == 0
    assert not Keybook().find("lab")


def test_passphrases_come_from_files_and_are_never_shown(
    home: Path, phrase: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "new").write_text("another staple entirely")
    assert main(["keys", "create", "lab", "--source", "passphrase", "--passphrase-file", phrase]) == 0
    wrong = ["keys", "rotate", "lab", "--passphrase-file", str(home / "new")]
    assert main(wrong) == 1
    given = ["--passphrase-file", phrase, "--new-passphrase-file", str(home / "new")]
    assert main(["keys", "rotate", "lab", *given]) == 0
    assert main(["keys", "rotate", "lab", "--passphrase-file", phrase]) == 1
    assert main(["keys", "list"]) == 0
    said = capsys.readouterr()
    assert said.err.count("The passphrase does not open the key “lab”") == 2
    assert "staple" not in said.out + said.err
    assert main(["keys", "create", "x", "--source", "passphrase", "--passphrase-file", str(home / "none")]) == 1
    assert "--passphrase-file" in capsys.readouterr().err
    main(["keys", "create", "plain"])
    assert main(["keys", "rotate", "plain", "--new-passphrase"]) == 1
    assert "it has no passphrase" in capsys.readouterr().err


def test_a_backup_is_written_once_and_brings_the_key_back(
    home: Path, phrase: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["keys", "create", "lab"])
    run_id = sealed_run(Store())
    backup = str(home / "lab.key")
    assert main(["keys", "export", "lab", "--out", backup, "--passphrase-file", phrase]) == 0
    assert main(["keys", "export", "lab", "--out", backup, "--passphrase-file", phrase]) == 1
    assert "exists already" in capsys.readouterr().err
    main(["keys", "destroy", "lab", "--confirm", "lab"])
    assert main(["keys", "import", str(home / "nothing"), "--passphrase-file", phrase]) == 1
    assert main(["keys", "import", backup, "--as", "back", "--passphrase-file", phrase]) == 0
    assert "The key back is back" in capsys.readouterr().out
    assert SealedVault(NamedKey("back")).read(checkpoint_path(run_id)) == b"secret"


def test_a_key_that_is_not_there_is_refused_before_a_run_is_made(home: Path) -> None:
    store = Store()
    config = load_preset("encrypted").replace(encryption__key_name="lost")
    with pytest.raises(RunActionError, match="There is no key “lost”"):
        control.launch(store, config)
    main(["keys", "create", "plain"])
    asks = config.replace(encryption__key_name="plain", encryption__key="passphrase")
    with pytest.raises(RunActionError, match=r"the settings say encryption\.key=passphrase"):
        control.launch(store, asks, passphrase="x")
    assert store.list() == []
    assert control.launch(store, config.replace(encryption__key_name="plain")).status == "queued"


def test_a_run_trains_with_a_named_key_and_ends_with_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--set", "training.epochs=2", "--set", "training.curve_points=3", "--set", "encryption.key_name=lab"]
    main(["keys", "create", "lab"])
    assert main(["train", "--preset", "encrypted", "--json", *quick]) == 0
    (run,) = Store().list()
    main(["keys", "rotate", "lab"])
    assert main(["export", run.id, "--what", "weights", "--out", str(home / "a")]) == 0
    assert b"__metadata__" in (home / "a").read_bytes()[:4000]
    main(["keys", "destroy", "lab", "--confirm", "lab"])
    capsys.readouterr()
    assert main(["export", run.id, "--what", "weights", "--out", str(home / "b")]) == 1
    assert "The key “lab” was destroyed on" in capsys.readouterr().err
    assert not (home / "b").exists()
