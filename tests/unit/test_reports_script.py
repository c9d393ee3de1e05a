"""The program that repeats a run: it says what the run did, in an environment without PrivLab, and refuses what it cannot say."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from privlab.config import load_preset
from privlab.data.catalogue import DATASETS
from privlab.data.checksums import SHA256
from privlab.dpsgd.clipping import Clipping, layers
from privlab.metrics import Point
from privlab.models.build import build
from privlab.models.catalogue import MODELS, misfit
from privlab.preflight import preflight
from privlab.privacy import epsilon_curve
from privlab.reports.program.expressible import not_expressible
from privlab.reports.program.files import script_file
from privlab.reports.program.networks import NETWORKS
from privlab.reports.program.notebook import notebook
from privlab.reports.program.records import source
from privlab.reports.program.script import NotExpressible, packages, script, travelling
from privlab.runs.record import Run, RunEvent, Status
from privlab.training.inputfile import input_arrays
from privlab.training.optimizers import AdamCorrected
from privlab.training.train import train

#: A run of some 30 steps, long enough to learn something.
SHORT = {"training__epochs": 20, "privacy__noise_multiplier": 2.0, "training__batch_size": 128}


def a_run(preset: str = "digits", step: int | None = None, **settings) -> Run:
    config = load_preset(preset).replace(**settings)
    plan = preflight(config).plan
    step = plan.steps if step is None else step
    spent = float(epsilon_curve(plan, [step])[0]) if plan.is_private and step else None
    return Run("abc123", "", Status.FINISHED, config, plan, 1.0, step=step, steps=plan.steps, epsilon=spent)


def trained(**settings) -> Run:
    """A run as it is after training in this process."""
    run = a_run(**settings)
    *_, last = (item for item in train(run.config) if isinstance(item, Point))
    return replace(run, epsilon=last.epsilon, metrics=dict(last.metrics))


def executed(program: bytes, folder: Path, name: str = "program.py") -> tuple[float, float]:
    """Accuracy and ε that the program prints, run where no PrivLab is to be found."""
    (folder / name).write_bytes(program)
    without = 'import runpy, sys; sys.modules["privlab"] = None; runpy.run_path(sys.argv[1], run_name="__main__")'
    command = [sys.executable, "-I", "-c", without, str(folder / name)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = re.search(r"test accuracy (\S+).*\nepsilon ([\d.]+|inf)", done.stdout)
    return float(said[1]), float(said[2])


@pytest.mark.parametrize(
    "settings",
    [{}, {"privacy__clipping": "per-layer", "training__optimizer": "adam-bc", "training__learning_rate": 0.01}],
    ids=str,
)
def test_the_program_gives_the_run_again(settings: dict, tmp_path: Path) -> None:
    runs = [trained(**SHORT, **settings, training__seed=seed) for seed in (0, 1, 2)]
    accuracies = [run.metrics["test_accuracy"] for run in runs]
    name, program = script_file(runs[0])
    assert name == "privlab-abc123-opacus.py" and len(program.splitlines()) <= 160
    accuracy, epsilon = executed(program, tmp_path)
    assert abs(epsilon - runs[0].epsilon) < 1e-3
    assert min(accuracies) - 0.06 < accuracy < max(accuracies) + 0.06
    assert min(accuracies) > 0.5


def test_a_travelling_program_brings_the_inputs(tmp_path: Path) -> None:
    run = trained(
        **SHORT | {"training__epochs": 1},
        data__dataset="adult",
        model__name="logistic",
        privacy__delta=1e-5,
    )
    name, content = script_file(run)
    assert name == "privlab-abc123-opacus-script.zip" and travelling(run)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert set(archive.namelist()) == {"train.py", "requirements.txt", "data.npz"}
        archive.extractall(tmp_path)
    assert "opacus==" in (tmp_path / "requirements.txt").read_text()
    accuracy, epsilon = executed((tmp_path / "train.py").read_bytes(), tmp_path, "train.py")
    assert abs(epsilon - run.epsilon) < 1e-3
    assert abs(accuracy - run.metrics["test_accuracy"]) < 0.05


@pytest.mark.parametrize("model", sorted(NETWORKS))
def test_the_network_begins_with_the_runs_own_weights(model: str) -> None:
    for dataset, facts in DATASETS.items():
        if misfit(model, dataset):
            continue
        names = {"nn": nn, "torch": torch, "F": F}
        exec(NETWORKS[model](facts), names)
        ours = build(model, facts, seed=7)
        torch.manual_seed(7)
        theirs = names["network"]()
        assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
        assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))
        break


@pytest.mark.parametrize("model", ["small-bert", "small-gpt", "resnet-gn"])
def test_the_network_computes_the_same(model: str) -> None:
    dataset = {"small-bert": "sms-spam", "small-gpt": "sms-messages", "resnet-gn": "fashion-mnist"}[model]
    names = {"nn": nn, "torch": torch, "F": F}
    exec(NETWORKS[model](DATASETS[dataset]), names)
    ours = build(model, DATASETS[dataset], seed=1)
    torch.manual_seed(1)
    theirs = names["network"]()
    x = torch.rand(3, 1, 28, 28) if model == "resnet-gn" else torch.randint(0, 200, (3, 20))
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


@pytest.mark.parametrize("trains", ["head", "last", "bias", "all"])
def test_the_same_part_of_a_transformer_trains(trains: str) -> None:
    text = script(a_run("spam-bert", model__trains=trains))
    begin, end = text.index("class Block"), text.index("trained = ")
    names = {"nn": nn, "torch": torch, "F": F, "SEED": 0}
    exec(text[begin:end], names)
    ours = build("small-bert", DATASETS["sms-spam"], 0, trains)
    wanted = [name for name, p in ours.named_parameters() if p.requires_grad]
    assert [name for name, p in names["net"].named_parameters() if p.requires_grad] == wanted


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"privacy__bands": 4}, "bands=4"),
        ({"privacy__clipping": "adaptive"}, "clipping=adaptive"),
        ({"privacy__protection": "rounded"}, "protection=rounded"),
        ({"encryption__mode": "bfv"}, "encryption.mode=bfv"),
        ({"encryption__mode": "bfv", "encryption__owners": 3}, "owners=3"),
        ({"training__augmentations": 4}, "augmentations=4"),
        (
            {"data__dataset": "emails", "data__unit": "user", "model__name": "small-gpt", "training__epochs": 2}
            | {"training__batch_size": 64},
            "unit=user",
        ),
    ],
    ids=str,
)
def test_what_opacus_cannot_do_is_refused_by_name(settings: dict, named: str) -> None:
    run = a_run(**settings)
    assert any(named in reason for reason in not_expressible(run))
    with pytest.raises(NotExpressible, match=named):
        script(run)
    with pytest.raises(NotExpressible, match=named):
        notebook(run)


@pytest.mark.parametrize(
    ("model", "trains", "named"),
    [("minilm", "head", "minilm"), ("small-bert", "lora", "trains=lora")],
)
def test_models_that_plain_torch_has_not_are_refused(model: str, trains: str, named: str) -> None:
    run = a_run("spam-bert", model__trains=trains)
    run = replace(run, config=run.config.replace(model__name=model))
    assert any(named in reason for reason in not_expressible(run))


def test_nothing_to_repeat_is_said() -> None:
    assert "no point yet" in not_expressible(a_run(step=0))[0]
    void = RunEvent(1, "abc123", 1.0, "void", "", {"void": "The noise was too small."})
    assert "not to be what its plan says" in not_expressible(a_run(), [void])[0]


def test_every_network_of_the_catalogue_is_written_or_refused_for_its_weights() -> None:
    assert {name for name in MODELS if name not in NETWORKS} == {"minilm", "tinystories"}


def test_only_the_initial_weights_follow_from_the_seed() -> None:
    lines = script(a_run()).splitlines()
    seeded, freed = (
        lines.index("torch.manual_seed(SEED)"),
        next(i for i, row in enumerate(lines) if row[:12] == "torch.seed()"),
    )
    assert seeded < freed < lines.index("for step in range(1, STEPS + 1):  # 7 repeat 3 to 6")
    assert "default_rng()" in "\n".join(lines)


def test_schedules_are_written_out_step_by_step() -> None:
    run = a_run(training__epochs=20, privacy__noise_schedule="linear", privacy__clip_schedule="step", step=50)
    names: dict = {}
    settings = script(run).split("# The settings of the run\n")[1].split("\n\n")[0]
    exec(settings, names)
    for key, at in (("NOISE_MULTIPLIER", run.plan.noise_multiplier_at), ("MAX_GRAD_NORM", run.plan.max_grad_norm_at)):
        values = [value for count, value in names[key] for _ in range(count)]
        assert values == [at(step) for step in range(1, 51)]
    assert names["RUN_EPSILON"] == pytest.approx(run.epsilon, rel=1e-3)


def test_a_run_by_renyi_accounting_says_so() -> None:
    run = a_run(privacy__accountant="rdp", training__epochs=5)
    assert f"the run counted by RDP, which says {run.epsilon:.6g}" in script(run)


def test_a_reproducible_run_is_not_given_a_claim() -> None:
    assert "claims nothing" in script(a_run(privacy__randomness="reproducible"))


@pytest.mark.parametrize("preset", ["no-privacy", "clip-only"])
def test_without_noise_no_epsilon_is_written(preset: str) -> None:
    text = script(a_run(preset))
    assert "no privacy is claimed" in text and "dp_accounting" not in text and "RUN_EPSILON" not in text
    assert ("opacus" in packages(a_run(preset))) == (preset == "clip-only")


@pytest.mark.parametrize("dataset", ["fashion-mnist", "mnist", "cifar10"])
def test_fetched_records_are_compared_with_those_of_the_run(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = DATASETS[dataset]
    few = replace(facts, train_records=4, test_records=2)
    rows = np.random.default_rng(0).integers(0, 256, (6, int(np.prod(facts.shape)))).astype(float)
    names: dict = {"np": np}

    def fetch_openml(**asked):
        assert asked["return_X_y"] and not asked["as_frame"]
        return rows, np.array(list("012345"))

    monkeypatch.setitem(DATASETS, dataset, few)
    found = source(dataset, "")
    names["fetch_openml"] = fetch_openml
    exec(found.imports[0], names)
    with pytest.raises(AssertionError, match="not the records of the run"):
        exec(found.code, names)
    whole = rows.astype(np.uint8)
    digests = {
        f"{part}_x": hashlib.sha256(x.tobytes()).hexdigest() for part, x in (("train", whole[:4]), ("test", whole[4:]))
    }
    monkeypatch.setitem(SHA256, dataset, digests)
    exec(source(dataset, "").code, names)
    assert names["train_x"].shape == (4, *facts.shape) and names["test_x"].dtype == np.float32
    assert names["test_y"].tolist() == [4, 5] and names["train_x"].max() <= 1


def test_shuffled_epochs_are_repeated_as_such(tmp_path: Path) -> None:
    settings = {"privacy__sampling": "shuffled", "model__name": "mlp-relu", "training__epochs": 20}
    run = a_run("no-privacy", **settings)
    text = script(run)
    assert "coin flip" not in text and "no privacy is claimed" in text
    *_, last = (item for item in train(run.config) if isinstance(item, Point))
    accuracy, epsilon = executed(text.encode(), tmp_path)
    assert epsilon == float("inf") and abs(accuracy - last.metrics["test_accuracy"]) < 0.04


def test_the_file_of_inputs_holds_what_the_model_takes() -> None:
    pictures = input_arrays(
        load_preset("digits").replace(data__dataset="fashion-mnist-6k", model__name="scatter-linear")
    )
    assert pictures["train_x"].dtype == np.uint8 and pictures["train_x"].shape == (5000, 1, 28, 28)
    tokens = input_arrays(load_preset("spam-bert"))
    assert tokens["train_x"].shape == (4128, 64) and tokens["train_x"].dtype == np.int64


def test_the_notebook_is_the_program_in_cells() -> None:
    run = a_run()
    points = [Point(step, 1.0, 1.0, 0.1 * step, {"test_accuracy": 0.1 * step}) for step in (1, 2)]
    document = json.loads(notebook(run, points=points))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    code = [cell["source"] for cell in document["cells"] if cell["cell_type"] == "code"]
    compile("\n".join(code[1:]), "notebook", "exec")
    assert "matplotlib" in code[0] and "of_the_run = [(0.1, 0.1), (0.2, 0.2)]" in code[-1]


def begun(run: Run) -> dict:
    """What the program has defined before it measures and trains."""
    names: dict = {}
    exec(script(run).split("# How good the released model is")[0], names)
    return names


@pytest.mark.parametrize("clipping", ["flat", "automatic", "per-layer"])
def test_the_program_clips_as_privlab_does(clipping: str) -> None:
    run = a_run(privacy__clipping=clipping, privacy__max_grad_norm=0.5)
    names = begun(run)
    net, optimizer = names["net"], names["optimizer"]
    x, y = names["train_x"][:6], names["train_y"][:6]
    each = [torch.autograd.grad(F.cross_entropy(net(x[i : i + 1]), y[i : i + 1]), net.parameters()) for i in range(6)]
    # The hooks saw these passes too.
    optimizer.zero_grad()
    rule = Clipping(clipping, run.plan.stability)
    groups = rule.groups(layers(net), len(each[0]))
    norms = torch.tensor([[torch.cat([g[i].flatten() for i in group]).norm() for g in each] for group in groups])
    factors = rule.factors(norms, 0.5)
    wanted = {}
    for group, row in zip(groups, factors, strict=True):
        wanted |= {i: sum(f * g[i] for f, g in zip(row, each, strict=True)) for i in group}
    for part in torch.arange(6).split(4):
        F.cross_entropy(names["model"](x[part]), y[part], reduction="sum").backward()
        optimizer.clip_and_accumulate()
        for p in optimizer.params:
            p.grad_sample = None
    for i, p in enumerate(optimizer.params):
        assert torch.allclose(p.summed_grad, wanted[i], atol=1e-5)


def test_the_programs_corrected_adam_is_privlabs() -> None:
    run = a_run(training__optimizer="adam-bc", training__learning_rate=0.1)
    theirs = begun(run)["AdamCorrected"]
    p, q = (nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    one, other = AdamCorrected([p], lr=0.1), theirs([q], {})
    for step in range(4):
        p.grad, q.grad = (torch.sin(torch.arange(5.0) + step) for _ in range(2))
        one.noise_variance = other.noise_variance = 0.01 * (step + 1)
        one.step()
        other.step()
    assert torch.allclose(p, q, atol=1e-6)
