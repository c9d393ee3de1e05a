"""The pages without a browser and without a dispatcher: what is launched stays in the queue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
from streamlit.testing.v1 import AppTest

from privlab.config import load_preset
from privlab.data.catalogue import DATASETS
from privlab.encryption import open_vault
from privlab.metrics import Point
from privlab.models.build import build
from privlab.preflight import preflight
from privlab.runs import files
from privlab.runs.record import Run, Status
from privlab.runs.store import Store
from privlab.training.weights import trained_state
from privlab.ui.access import store as the_store

MAIN = Path(__file__).resolve().parents[2] / "privlab" / "ui" / "main.py"

#: An AppTest of a page, given its name and its address parameters.
Open = Callable[..., AppTest]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return the_store()


@pytest.fixture
def visit(store: Store) -> Open:
    def open_page(name: str = "lab", **parameters: str) -> AppTest:
        app = AppTest.from_file(str(MAIN), default_timeout=120)
        if name != "lab":
            app.run()
            app.switch_page(f"../../pages/{name}.py")
        for key, value in parameters.items():
            app.query_params[key] = value
        app.run()
        assert not app.exception
        return app

    return open_page


def stored(store: Store, preset: str = "digits", *, status: Status = Status.QUEUED, points: int = 0, **settings) -> Run:
    """A run of ``preset`` with some points, as a worker would have left it."""
    config = load_preset(preset).replace(**settings)
    plan = preflight(config).plan
    run = store.create(config, plan)
    for step in range(1, points + 1):
        measured = {
            "test_accuracy": 0.5 + 0.01 * step,
            "grad_norm_p50": 1.2,
            "time_clip": 0.001,
            "time_gradients": 0.003,
        }
        epsilon = 0.1 * step if plan.is_private else None
        store.append(run.id, Point(step, step * plan.sample_rate, 0.1 * step, epsilon, measured))
    path = {
        Status.QUEUED: (),
        Status.RUNNING: (Status.STARTING, Status.RUNNING),
        Status.PAUSED: (Status.PAUSED,),
        Status.FINISHED: (Status.STARTING, Status.RUNNING, Status.FINISHED),
        Status.FAILED: (Status.STARTING, Status.FAILED),
    }[status]
    for place in path:
        store.move(
            run.id, place, expect=list(Status), **({"error": "The disk is full."} if place is Status.FAILED else {})
        )
    return store.get(run.id)


LANGUAGE = {"data__dataset": "sms-messages", "model__name": "small-gpt", "training__epochs": 2}


def with_weights(store, **settings) -> Run:
    """A finished run whose weights are those that it began with."""
    run = stored(store, status=Status.FINISHED, points=2, **LANGUAGE, **settings)
    model = build("small-gpt", DATASETS["sms-messages"], run.config.training.seed)
    state = {name: tensor.clone() for name, tensor in trained_state(model).items()}
    open_vault(run.config.encryption).write(files.weights_path(run), safetensors.torch.save(state))
    return run


def errors(app: AppTest) -> str:
    """Everything the page shows as an error, without Markdown's escapes."""
    return "\n".join(each.value for each in app.error).replace("\\", "")


def address(app: AppTest, name: str) -> str:
    """An address parameter; AppTest gives a list once the page has set it."""
    value = app.query_params[name]
    return value if isinstance(value, str) else value[0]
