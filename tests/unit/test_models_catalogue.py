from __future__ import annotations

import pytest

from privlab.config import PRESETS
from privlab.data.catalogue import DATASETS
from privlab.models.catalogue import MODELS, misfit
from privlab.models.sizes import parameters, scatter_shape


def test_the_catalogue_names_every_model():
    small = ("logistic", "mlp", "mlp-relu", "cnn", "cnn-relu", "scatter-linear", "resnet-gn", "small-bert", "small-gpt")
    assert tuple(MODELS) == (*small, "minilm-head", "minilm", "tinystories")
    assert all(facts.about and facts.title for facts in MODELS.values())


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_preset_names_a_model_that_takes_its_data(preset):
    assert misfit(preset.config.model.name, preset.config.data.dataset) is None


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_data_that_comes_with_privlab(model):
    assert any(facts.embedded and misfit(model, key) is None for key, facts in DATASETS.items())


@pytest.mark.parametrize("model", ["cnn", "scatter-linear", "resnet-gn"])
def test_a_table_is_no_picture(model):
    expected = f"{MODELS[model].title} needs pictures, but Adult census holds rows of a table; choose logistic or mlp."
    assert misfit(model, "adult") == expected


def test_pictures_can_be_too_small():
    assert misfit("cnn", "digits") == (
        "Small tanh CNN needs pictures of at least 28×28 pixels, but Digits has 8×8; choose logistic or mlp."
    )


def test_unknown_names_are_refused():
    with pytest.raises(KeyError):
        misfit("transformer", "digits")
    with pytest.raises(KeyError):
        misfit("mlp", "imagenet")


@pytest.mark.parametrize(
    ("model", "dataset", "count"),
    [
        ("logistic", "adult", (107 + 1) * 2),
        ("mlp", "digits", 65 * 64 + 65 * 10),
        # Papernot et al. 2021, tables 1 and 2.
        ("cnn", "fashion-mnist", 26_010),
        ("cnn", "cifar10", 550_570),
        ("cnn-relu", "fashion-mnist", 26_010),
        ("mlp-relu", "digits", 65 * 64 + 65 * 10),
        ("scatter-linear", "fashion-mnist", (81 * 7 * 7 + 1) * 10),
        ("scatter-linear", "cifar10", (243 * 8 * 8 + 1) * 10),
        ("minilm-head", "sms-spam", (384 + 1) * 2),
    ],
)
def test_parameters_of_known_networks(model, dataset, count):
    assert parameters(model, dataset) == count


def test_parameters_of_a_misfit_are_refused_with_its_reason():
    with pytest.raises(ValueError, match="needs pictures"):
        parameters("cnn", "adult")


def test_scattering_shape():
    assert scatter_shape((1, 28, 28)) == (81, 7, 7)
    assert scatter_shape((3, 32, 32)) == (243, 8, 8)
