"""The command line: what a script reads from it, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from privlab.cli import main
from privlab.privacy import epsilon

QUICK = ["--set", "training.epochs=4", "--set", "training.curve_points=5"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return tmp_path


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_the_plan_and_then_the_points(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--preset", "digits", "--json", *QUICK]) == 0
    plan, *points = lines(capsys.readouterr().out)
    assert {"sample_rate", "noise_multiplier", "max_grad_norm", "steps", "delta"} <= plan.keys()
    assert points[-1]["step"] == plan["steps"]
    golden = epsilon(plan["sample_rate"], plan["noise_multiplier"], plan["steps"], plan["delta"])
    assert points[-1]["epsilon"] == pytest.approx(golden, abs=1e-3)
    assert 0 <= points[-1]["test_accuracy"] <= 1


def test_settings_from_a_file_and_changed_on_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[privacy]\nnoise_multiplier = 2.0\ndelta = 1e-4\n[training]\nepochs = 2\ncurve_points = 2\n")
    assert main(["train", "--config", str(file), "--set", "privacy.max_grad_norm=0.5", "--json"]) == 0
    plan = lines(capsys.readouterr().out)[0]
    assert (plan["noise_multiplier"], plan["max_grad_norm"]) == (2.0, 0.5)


def test_runs_show_and_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--preset", "encrypted", "--json", *QUICK])
    capsys.readouterr()
    assert main(["runs", "--json"]) == 0
    (run,) = lines(capsys.readouterr().out)
    assert run["status"] == "finished"
    assert main(["show", run["id"]]) == 0
    assert "δ = 0.0001" in capsys.readouterr().out
    assert main(["export", run["id"]]) == 0
    assert capsys.readouterr().out.startswith("run,name,step,epoch,seconds,epsilon")
    weights = tmp_path / "w.safetensors"
    assert main(["export", run["id"], "--what", "weights", "--out", str(weights)]) == 0
    assert b"__metadata__" in weights.read_bytes()[:4000]


@pytest.fixture
def trained(capsys: pytest.CaptureFixture[str]) -> str:
    """The id of a run that is trained."""
    main(["train", "--preset", "digits", "--json", *QUICK])
    main(["runs", "--json"])
    return json.loads(capsys.readouterr().out.splitlines()[-1])["id"]


def test_the_claim_and_a_bundle_that_verifies(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["export", trained, "--what", "claim-md"]) == 0
    assert capsys.readouterr().out.startswith(f"# Privacy claim of run {trained}: valid")
    assert main(["export", trained, "--what", "claim-json"]) == 0
    claimed = json.loads(capsys.readouterr().out)
    file = tmp_path / "bundle.zip"
    assert main(["export", trained, "--what", "bundle"]) == 1
    assert "--out" in capsys.readouterr().err
    assert main(["export", trained, "--what", "bundle", "--out", str(file)]) == 0
    # A bundle needs nothing of the place where it was made.
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "elsewhere"))
    assert main(["verify", str(file), "--prv-seconds", "0"]) == 0
    said = capsys.readouterr()
    assert f"Run {trained}: claims ε = {claimed['epsilon']:.6g}" in said.out
    assert "Verified" in said.out and said.err == ""
    with zipfile.ZipFile(file) as archive:
        assert "weights.safetensors" in archive.namelist()
    _refused_bundles(file, tmp_path, capsys)


def _refused_bundles(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        place = archive.getinfo("claim.json").header_offset + 60
        newer = {name: archive.read(name) for name in archive.namelist()}
    newer["manifest.json"] = newer["manifest.json"].replace(b'"schema_version": 1', b'"schema_version": 99')
    with zipfile.ZipFile(tmp_path / "newer.zip", "w") as archive:
        for name, content in newer.items():
            archive.writestr(name, content)
    (tmp_path / "flipped.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    (tmp_path / "letter.zip").write_bytes(b"hello")
    for name, word in (
        ("newer", "newer PrivLab"),
        ("flipped", "zip"),
        ("letter", "zip"),
        ("missing", "cannot be read"),
    ):
        assert main(["verify", str(tmp_path / f"{name}.zip"), "--prv-seconds", "0"]) == 1
        said = capsys.readouterr()
        assert word in said.err and "Traceback" not in said.err
        assert "Verified" not in said.out


def test_a_run_is_handed_on_and_taken_in_elsewhere(
    trained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for what, inside in (("report", b"Privacy claim"), ("script", b"GradSampleModule"), ("notebook", b"nbformat")):
        file = tmp_path / what
        assert main(["export", trained, "--what", what, "--out", str(file)]) == 0
        assert inside in file.read_bytes()
    assert main(["export", trained, "--what", "parquet"]) == 1
    assert "parquet is binary" in capsys.readouterr().err
    bundle = tmp_path / "bundle.zip"
    assert main(["export", trained, "--what", "bundle", "--out", str(bundle)]) == 0
    assert main(["import", str(bundle)]) == 1
    assert f"Run {trained} is here already" in capsys.readouterr().err
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "elsewhere"))
    assert main(["import", str(bundle)]) == 0
    said = capsys.readouterr().out
    assert f"trained elsewhere as {trained}" in said and "Claim: conditional." in said
    assert main(["runs", "--json"]) == 0
    (run,) = lines(capsys.readouterr().out)
    assert run["origin"] == trained
    assert main(["import", str(tmp_path / "none.zip")]) == 1
    assert "none.zip cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--preset", "nosuch"], ["nosuch", "digits"]),
        (["train", "--preset", "digits", "--set", "privacy.delta=0.5"], ["privacy.delta", "0.5", "1,442"]),
        (["train", "--preset", "digits", "--set", "privacy.sigma=1"], ["privacy.sigma", "unknown"]),
        (["train", "--preset", "digits", "--set", "epochs"], ["PATH=VALUE"]),
        (["train", "--preset", "digits", "--set", "performance.device=mps"], ["performance.device", "mps"]),
        (
            ["train", "--preset", "digits", "--set", "data.dataset=mnist", "--set", "privacy.delta=1e-5"],
            ["mnist", "data fetch"],
        ),
        (["train", "--config", "missing.toml"], ["missing.toml"]),
        (["train", "--resume", "nosuch"], ["nosuch"]),
        (["show", "nosuch"], ["nosuch"]),
        (["data", "fetch", "nosuch"], ["nosuch", "digits"]),
    ],
)
def test_refusals_are_sentences(arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == "" and "Traceback" not in said.err
    for word in words:
        assert word in said.err


def test_output_that_nobody_reads_on_ends_a_command_quietly() -> None:
    command = [sys.executable, "-m", "privlab", "data", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        child.stdout.close()
        assert child.stderr.read() == ""
    assert child.returncode == 141


def test_a_refused_run_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--preset", "digits", "--set", "training.batch_size=9999"])
    main(["runs", "--json"])
    assert capsys.readouterr().out == ""


def test_the_cost_of_a_step_is_measured_once_and_then_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privlab.runs.measuring._MODULE", "tests.faults.costjob")
    monkeypatch.setattr("privlab.runs.measuring._measured", {})
    monkeypatch.setenv("FAULT", "")
    asked = ["cost", "--preset", "digits", "--set", "privacy.clipping=per-layer"]
    assert main([*asked, "--json"]) == 0
    found = {each["method"]: each for each in lines(capsys.readouterr().out)}
    assert set(found) == {"one-pass", "hooks"}
    assert found["one-pass"]["chosen"] and not found["hooks"]["chosen"]
    assert found["hooks"]["run_seconds"] == pytest.approx(845 * 0.5 + 60 * 0.1)
    monkeypatch.setenv("FAULT", "dies at once")
    assert main(asked) == 0, "known: nothing is measured"
    said = capsys.readouterr().out
    assert "▸ One pass         500 ms a step" in said
    assert "Ghost      clipping=per-layer weighs each layer by itself" in said
    assert "Plain SGD  It needs more memory than is free here." in said
    assert main([*asked, "--again"]) == 1
    assert "ended by itself (status 1)" in capsys.readouterr().err
