"""The Lab page: presets, fields, refusals, launching."""

from __future__ import annotations

import time

import pytest

from privlab.config import PRESETS, RunConfig, load_preset
from privlab.config.knobs import bounds_of
from privlab.models.catalogue import MODELS
from privlab.runs.record import Status
from privlab.ui import launching
from privlab.ui.settings import SETTINGS
from tests.pages.conftest import address, errors, stored

#: Settings that only texts and their models show.
OF_TEXTS = {path for path, each in SETTINGS.items() if {"data.dataset", "model.name"} & (each.knob.when or {}).keys()}


def test_an_empty_lab_says_what_to_do(visit) -> None:
    app = visit()
    assert any("No runs yet" in each.value for each in app.info)
    assert float(app.metric[0].value) == pytest.approx(load_preset("digits").privacy.target_epsilon, abs=2e-3)
    assert app.button(key="preset-digits").label.startswith("**✓")


def test_every_setting_has_a_widget(visit) -> None:
    app = visit()
    drawn: set[str] = set()

    def look() -> None:
        drawn.update(each.key for each in (*app.number_input, *app.selectbox, *app.text_input))

    look()
    for path, value in (
        ("encryption.mode", "sealed"),
        ("encryption.mode", "pad"),
        ("encryption.aggregation", "masks"),
        ("privacy.clipping", "automatic"),
        ("privacy.clip_schedule", "step"),
        ("privacy.clip_schedule", "custom"),
        ("privacy.noise_schedule", "step"),
        ("privacy.noise_schedule", "custom"),
        ("privacy.clipping", "adaptive"),
        ("privacy.clipping", "none"),
        ("data.dataset", "sms-messages"),
        ("model.name", "small-gpt"),
        ("model.trains", "lora"),
        ("data.dataset", "emails"),
        ("data.unit", "user"),
    ):
        app.selectbox(key=path).select(value).run()
        look()
    app.segmented_control(key="noise_by").set_value("privacy.noise_multiplier").run()
    look()
    assert set(SETTINGS) <= drawn


def test_a_setting_without_a_say_is_not_drawn(visit) -> None:
    app = visit()
    assert "privacy.target_quantile" not in {each.key for each in app.number_input}
    app.selectbox(key="training.optimizer").select("adam").run()
    assert "training.momentum" not in {each.key for each in app.number_input}


MODES = [
    *({"privacy.clipping": mode} for mode in ("per-layer", "automatic", "adaptive")),
    *({"privacy.clip_schedule": kind} for kind in ("linear", "exponential", "step", "custom")),
    *({"privacy.noise_schedule": kind} for kind in ("linear", "exponential", "step", "custom")),
    {"privacy.protection": "rounded"},
    {"privacy.adjacency": "replace-one"},
    {"privacy.accountant": "rdp"},
    {"privacy.randomness": "plain"},
    {"training.optimizer": "adam-bc"},
]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "=".join(*mode.items()))
def test_every_mode_is_launched_from_the_lab(visit, store, mode: dict[str, str]) -> None:
    app = visit()
    for path, value in mode.items():
        app.selectbox(key=path).select(value).run()
    app.button(key="launch").click().run()
    assert not app.exception
    (run,) = store.list()
    assert run.config == load_preset("digits").replace(**{path.replace(".", "__"): v for path, v in mode.items()})
    assert run.plan.epsilon <= 3.0


@pytest.mark.parametrize(("path", "value"), [("privacy.bands", 4), ("training.augmentations", 2)])
def test_counts_are_launched_from_the_lab(visit, store, path: str, value: int) -> None:
    app = visit()
    app.number_input(key=path).set_value(value).run()
    app.button(key="launch").click().run()
    assert store.list()[0].config == load_preset("digits").replace(**{path.replace(".", "__"): value})


def test_the_budget_says_at_which_step_it_ends(visit) -> None:
    app = visit()
    app.segmented_control(key="noise_by").set_value("privacy.noise_multiplier").run()
    app.number_input(key="privacy.noise_multiplier").set_value(2.0).run()
    app.number_input(key="privacy.epsilon_limit").set_value(4.0).run()
    assert any("The budget of ε = 4 ends at step 111 of 845" in each.value for each in app.warning)


def test_a_schedule_that_is_not_understood_is_refused_beside_its_field(visit, store) -> None:
    app = visit()
    app.selectbox(key="privacy.noise_schedule").select("custom").run()
    app.text_input(key="privacy.noise_schedule_custom").input("1:1, 5").run()
    assert "“5” is not of the form step:factor" in errors(app)
    assert app.text_input(key="privacy.noise_schedule_custom").value == "1:1, 5"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_fills_the_form_and_launches_as_it_is(visit, store, preset: str, monkeypatch) -> None:
    monkeypatch.setattr(launching, "availability", lambda key: type("Here", (), {"ready": True}))
    monkeypatch.setattr(launching, "missing_weights", lambda model: None)
    app = visit()
    app.button(key=f"preset-{preset}").click().run()
    assert app.button(key=f"preset-{preset}").label.startswith("**✓")
    app.button(key="launch").click().run()
    assert not app.exception
    (run,) = store.list()
    assert run.config == load_preset(preset)
    assert run.status is Status.QUEUED
    assert address(app, "runs") == run.id


def test_a_changed_field_is_what_is_launched(visit, store) -> None:
    app = visit()
    app.number_input(key="privacy.max_grad_norm").set_value(0.25).run()
    app.text_input(key="name").input("half").run()
    assert not app.button(key="preset-digits").label.startswith("**✓")
    app.button(key="launch").click().run()
    (run,) = store.list()
    assert run.config == load_preset("digits").replace(privacy__max_grad_norm=0.25, name="half")


WRONG = {
    "privacy.bands": (9, "bands=9", "5"),
    "privacy.epsilon_limit": (0.001, "epsilon_limit=0.001", "first step already"),
    "privacy.max_grad_norm": (0.0, "max_grad_norm=0.0", "greater than 0"),
    "privacy.target_epsilon": (-1.0, "target_epsilon=-1.0", "greater than 0"),
    "privacy.delta": (0.5, "delta=0.5", "1 / 1,442 records"),
    "training.batch_size": (5000, "batch_size=5,000", "1,442 training records"),
    "training.epochs": (0, "epochs=0", "greater than or equal to 1"),
    "training.learning_rate": (2000.0, "learning_rate=2000.0", "less than or equal to 1000"),
    "training.momentum": (1.0, "momentum=1.0", "less than 1"),
}


@pytest.mark.parametrize("path", WRONG)
def test_a_wrong_value_is_refused_beside_its_field(visit, store, path: str) -> None:
    value, named, bound = WRONG[path]
    app = visit()
    app.number_input(key=path).set_value(value).run()
    said = errors(app)
    assert named in said
    assert bound in said
    assert app.number_input(key=path).value == value, "the field keeps what was entered"
    app.button(key="launch").click().run()
    assert "Nothing was launched" in errors(app)
    assert store.list() == []


def test_every_bound_is_enforced_beside_its_field(visit) -> None:
    """Each side of each declared bound, just outside, one field after the other."""
    app = visit()
    app.segmented_control(key="noise_by").set_value("privacy.noise_multiplier").run()
    for path, setting in SETTINGS.items():
        if not bounds_of(setting.info):
            continue
        if path == "privacy.target_epsilon":
            app.segmented_control(key="noise_by").set_value(path).run()
        choices = [(others.split("|")[0], allowed[0]) for others, allowed in (setting.knob.when or {}).items()]
        if path in OF_TEXTS:
            # A data set and a model that go together.
            dataset = (setting.knob.when or {}).get("data.dataset", ["sms-messages"])[0]
            choices = [("model.trains", "lora"), ("model.name", "small-gpt"), ("data.dataset", dataset)]
            if "data.unit" in (setting.knob.when or {}):
                choices.insert(0, ("data.unit", "user"))
        for other, value in reversed(choices):
            app.selectbox(key=other).select(value).run()
        for side, bound in bounds_of(setting.info).items():
            outside = bound if side in ("gt", "lt") else bound + (1 if side == "le" else -1)
            field = app.number_input(key=path)
            before = field.value
            field.set_value(int(outside) if setting.is_integer else float(outside)).run()
            assert f"{path.split('.')[-1]}=" in errors(app), (path, side)
            app.number_input(key=path).set_value(before).run()
            assert not errors(app), (path, side)


def test_a_wrong_value_that_is_no_longer_drawn_refuses_nothing(visit, store) -> None:
    app = visit()
    app.selectbox(key="privacy.clipping").select("adaptive").run()
    app.number_input(key="privacy.target_quantile").set_value(7.0).run()
    assert "target_quantile=7.0" in errors(app)
    app.selectbox(key="privacy.clipping").select("flat").run()
    assert not errors(app)
    app.button(key="launch").click().run()
    assert store.list()[0].config == load_preset("digits")


def test_an_empty_field_is_refused(visit, store) -> None:
    app = visit()
    app.number_input(key="training.learning_rate").set_value(None).run()
    assert "Learning rate is empty; give a number more than 0 and at most 1,000" in errors(app)
    app.button(key="launch").click().run()
    assert store.list() == []


def test_two_wrong_fields_are_both_named(visit) -> None:
    app = visit()
    app.number_input(key="privacy.delta").set_value(0.5).run()
    app.number_input(key="training.batch_size").set_value(5000).run()
    assert "delta=0.5" in errors(app)
    assert "batch_size=5,000" in errors(app)


def test_clipping_none_with_a_target_is_refused(visit) -> None:
    app = visit()
    app.selectbox(key="privacy.clipping").select("none").run()
    assert "clipping=none with target_epsilon=3" in errors(app)


def test_a_model_that_does_not_fit_is_said_beside_the_model(visit) -> None:
    app = visit()
    app.selectbox(key="model.name").select("cnn").run()
    assert "at least 28×28 pixels" in errors(app)


def test_a_data_set_that_is_not_here_is_offered_and_not_launched(visit, store, monkeypatch) -> None:
    started = []
    monkeypatch.setattr("privlab.ui.fetching.start", started.append)
    app = visit()
    app.selectbox(key="data.dataset").select("cifar10").run()
    assert any("is not on this computer yet" in each.value for each in app.warning)
    app.button(key="launch").click().run()
    assert "Fetch it first" in errors(app)
    assert store.list() == []
    app.button(key="fetch").click().run()
    assert started == ["cifar10"]


def test_weights_that_are_not_here_are_offered_and_not_launched(visit, store, monkeypatch) -> None:
    started = []
    monkeypatch.setattr("privlab.ui.fetching.start", started.append)
    app = visit()
    app.selectbox(key="data.dataset").select("sms-spam").run()
    app.selectbox(key="model.name").select("minilm-head").run()
    assert any("Pretrained MiniLM-L6 is not on this computer yet" in each.value for each in app.warning)
    app.button(key="launch").click().run()
    assert "Pretrained MiniLM-L6 is not on this computer yet. Fetch it first" in errors(app)
    assert store.list() == []
    app.button(key="fetch-weights").click().run()
    assert started == ["minilm"]


def test_a_model_offers_the_parts_that_it_can_train(visit, store) -> None:
    app = visit()
    app.selectbox(key="data.dataset").select("sms-messages").run()
    app.selectbox(key="model.name").select("small-gpt").run()
    parts = app.selectbox(key="model.trains")
    assert len(parts.options) == 1 + len(MODELS["small-gpt"].trains)
    parts.select("lora").run()
    app.selectbox(key="model.name").select("mlp").run()
    app.selectbox(key="data.dataset").select("digits").run()
    assert not errors(app), "a part that the model has not is forgotten"
    app.button(key="launch").click().run()
    assert store.list()[0].config == load_preset("digits")


def test_the_noise_not_chosen_is_kept_in_step(visit) -> None:
    app = visit()
    sigma = float(app.metric[1].value)
    app.segmented_control(key="noise_by").set_value("privacy.noise_multiplier").run()
    assert app.number_input(key="privacy.noise_multiplier").value == pytest.approx(sigma, rel=1e-3)
    assert float(app.metric[0].value) == pytest.approx(load_preset("digits").privacy.target_epsilon, abs=2e-3)
    app.number_input(key="privacy.noise_multiplier").set_value(20.0).run()
    spent = float(app.metric[0].value)
    assert spent < 2
    app.segmented_control(key="noise_by").set_value("privacy.target_epsilon").run()
    assert app.number_input(key="privacy.target_epsilon").value == pytest.approx(spent, rel=2e-3)


def test_four_levels_are_four_runs_of_one_group(visit, store) -> None:
    app = visit()
    app.button(key="launch-levels").click().run()
    runs = sorted(store.list(), key=lambda run: run.created)
    assert [run.config.privacy.target_epsilon for run in runs] == [None, 8.0, 3.0, 1.0]
    assert runs[0].config.privacy.clipping == "none"
    assert runs[0].config.privacy.noise_multiplier == 0.0
    assert len({run.group for run in runs}) == 1
    assert len(address(app, "runs").split(",")) == 4


def test_a_double_click_launches_once(visit, store) -> None:
    app = visit()
    app.button(key="launch").click().run()
    app.button(key="launch").click().run()
    assert len(store.list()) == 1
    assert not errors(app)


def test_a_later_click_launches_again(visit, store, monkeypatch) -> None:
    monkeypatch.setattr(launching, "_SAME_PRESS", 0.0)
    app = visit()
    app.button(key="launch").click().run()
    time.sleep(0.01)
    app.button(key="launch").click().run()
    assert len(store.list()) == 2


def test_a_press_that_was_cut_off_is_repeated_under_the_same_key(visit, store, monkeypatch) -> None:
    """The first press stores its run and is then interrupted before the page knows."""
    app = visit()
    app.button(key="launch").click().run()
    app.session_state["last_launch"].ended = None
    app.button(key="launch").click().run()
    assert len(store.list()) == 1


def test_a_passphrase_is_asked_for_and_forgotten(visit, store) -> None:
    app = visit()
    app.selectbox(key="encryption.mode").select("sealed").run()
    app.selectbox(key="encryption.key").select("passphrase").run()
    app.button(key="launch").click().run()
    assert "enter it to start the run" in errors(app)
    assert store.list() == []
    app.text_input(key="launch-passphrase").input("correct horse").run()
    app.button(key="launch").click().run()
    (run,) = store.list()
    assert run.needs_passphrase
    assert app.text_input(key="launch-passphrase").value == ""
    assert "correct horse" not in str(app.session_state)
    assert "correct horse" not in str(app.query_params)
    app.button(key="launch").click().run()
    assert len(store.list()) == 1
    assert not errors(app)


def test_the_draft_survives_a_visit_to_another_page(visit) -> None:
    app = visit()
    app.number_input(key="training.epochs").set_value(7).run()
    app.switch_page("../../pages/compare.py").run()
    assert not app.number_input
    app.switch_page("../../pages/lab.py").run()
    assert app.number_input(key="training.epochs").value == 7


def test_pins_are_in_the_address(visit, store) -> None:
    first = stored(store, status=Status.FINISHED, points=3)
    second = stored(store, status=Status.FINISHED, points=3)
    app = visit(runs=first.id)
    assert app.button(key=f"pin-{first.id}").label == "Unpin"
    app.button(key=f"pin-{second.id}").click().run()
    assert address(app, "runs") == f"{first.id},{second.id}"
    app.button(key=f"pin-{first.id}").click().run()
    assert address(app, "runs") == second.id


def test_an_unknown_pin_disturbs_nothing(visit) -> None:
    assert not errors(visit(runs="nosuchrun"))


def test_delete_and_undo_in_the_list(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=3)
    app = visit()
    app.button(key=f"delete-{run.id}").click().run()
    assert store.get(run.id).deleted is not None
    app.button(key=f"undelete-{run.id}").click().run()
    assert store.get(run.id).deleted is None


def test_a_damaged_store_is_explained(visit, store, tmp_path) -> None:
    store.close()
    for file in tmp_path.glob("runs.sqlite*"):
        file.write_bytes(b"this is not a database" * 300)
    app = visit()
    assert "is damaged" in errors(app)
    assert "Move that file away" in errors(app)
    assert app.number_input(key="training.epochs").value == load_preset("digits").training.epochs, (
        "the form still works"
    )


def test_a_full_disk_is_explained(visit, store, monkeypatch) -> None:
    def full(*_args, **_more) -> None:
        raise OSError(28, "No space left on device")

    app = visit()
    monkeypatch.setattr("privlab.runs.control.launch", full)
    app.button(key="launch").click().run()
    assert "The disk is full" in errors(app)


def test_round_trip_of_all_presets_through_the_draft(visit) -> None:
    app = visit()
    for preset in PRESETS.values():
        app.button(key=f"preset-{preset.key}").click().run()
        assert isinstance(preset.config, RunConfig)
        assert app.button(key=f"preset-{preset.key}").label.startswith("**✓"), preset.key
