"""Settings that do not go together are refused beside their field."""

from __future__ import annotations

import pytest

from privlab.config import ConfigError, RunConfig, load_preset
from privlab.preflight import preflight

DIGITS = load_preset("digits")


def problems(config: RunConfig) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        preflight(config)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_ghost_forms_no_gradients_to_average_or_to_weigh_by_layer() -> None:
    ghost = DIGITS.replace(performance__gradient_method="ghost")
    assert "clipping=per-layer" in problems(ghost.replace(privacy__clipping="per-layer"))["performance.gradient_method"]
    assert "augmentations=4" in problems(ghost.replace(training__augmentations=4))["performance.gradient_method"]


@pytest.mark.parametrize("change", [{}, {"privacy__clipping": "per-layer"}, {"training__augmentations": 2}])
def test_auto_is_one_pass_which_can_do_everything(change: dict) -> None:
    assert preflight(DIGITS.replace(**change)).gradient_method == "one-pass"
    assert preflight(DIGITS.replace(performance__gradient_method="hooks")).gradient_method == "hooks"


def test_the_correction_of_adam_is_for_independent_noise() -> None:
    config = DIGITS.replace(training__optimizer="adam-bc", privacy__bands=2)
    assert "bands=2" in problems(config)["training.optimizer"]


@pytest.mark.parametrize(
    ("dataset", "model", "words"),
    [("adult", "mlp", "holds no pictures"), ("fashion-mnist-6k", "scatter-linear", "fixed features")],
)
def test_views_need_pictures(dataset: str, model: str, words: str) -> None:
    config = DIGITS.replace(data__dataset=dataset, model__name=model, training__augmentations=4, privacy__delta=1e-5)
    assert words in problems(config)["training.augmentations"]


def test_a_part_that_the_model_does_not_offer_is_refused_beside_it() -> None:
    message = problems(DIGITS.replace(model__trains="lora"))["model.trains"]
    assert "trains=lora" in message and "choose one of all" in message
    assert preflight(DIGITS).trains == preflight(DIGITS.replace(model__trains="all")).trains == "all"


def test_adapters_that_are_not_installed_are_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    config = DIGITS.replace(
        data__dataset="sms-spam", model__name="small-bert", model__trains="lora", privacy__delta=1e-5
    )
    preflight(config)
    monkeypatch.setattr("privlab.preflight.find_spec", lambda package: None)
    message = problems(config)["model.trains"]
    assert "needs peft, which is not installed" in message and "requirements-language.txt" in message


def test_pretrained_models_say_which_packages_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    config = DIGITS.replace(data__dataset="sms-spam", model__name="minilm", model__trains="head", privacy__delta=1e-5)
    preflight(config)
    monkeypatch.setattr("privlab.preflight.find_spec", lambda package: None)
    message = problems(config)["model.name"]
    assert "model=minilm needs transformers and tokenizers, which are not installed" in message
    assert "model.name" not in problems(config.replace(model__name="small-bert", model__trains="lora"))


def test_secrets_need_texts_to_go_on_with_and_room_in_them() -> None:
    assert "secrets=2" in problems(DIGITS.replace(data__secrets=2))["data.secrets"]
    messages = DIGITS.replace(data__dataset="sms-messages", model__name="small-gpt", privacy__delta=1e-5)
    assert preflight(messages.replace(data__secrets=2, data__secret_repeats=10)).config.data.secrets == 2
    message = problems(messages.replace(data__secrets=100, data__secret_repeats=10))["data.secrets"]
    assert "secrets=100 × secret_repeats=10 would replace 1,000" in message and "at most a tenth" in message


def test_rounding_knows_the_number_of_parameters() -> None:
    assert preflight(DIGITS.replace(privacy__protection="rounded")).plan.dimension == 4810


def test_a_coarse_pass_is_for_one_pass_only() -> None:
    coarse = DIGITS.replace(performance__precision="bfloat16")
    assert preflight(coarse).gradient_method == "one-pass"
    refused = problems(coarse.replace(performance__gradient_method="ghost"))
    assert "gradient_method=ghost" in refused["performance.precision"]
