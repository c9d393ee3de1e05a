from __future__ import annotations

import pytest
import torch
from opacus.validators import ModuleValidator
from torch import nn

from privlab.data.catalogue import DATASETS
from privlab.models.build import build
from privlab.models.catalogue import MODELS, TRANSFORMERS, misfit
from privlab.models.sizes import input_shape, parameters

#: Models that start from fetched weights have tests of their own.
FROM_SEED = [model for model, facts in MODELS.items() if facts.weights is None or facts.features]
PAIRS = [(model, data) for model in FROM_SEED for data in DATASETS if misfit(model, data) is None]


#: A data set for each model, of which the pictures are large enough.
TEXTS = {"small-bert": "sms-spam", "minilm-head": "sms-spam", "small-gpt": "sms-messages"}
DATA = {model: TEXTS.get(model, "fashion-mnist") for model in FROM_SEED}


def inputs(model: str, data: str, records: int = 3) -> torch.Tensor:
    if form := TRANSFORMERS.get(model):
        return torch.randint(2, form.vocabulary, (records, form.context))
    return torch.rand(records, *input_shape(model, data))


@pytest.mark.parametrize(("model", "data"), PAIRS)
def test_the_network_is_as_catalogued(model, data):
    network = build(model, DATASETS[data], seed=0)
    assert sum(weight.numel() for weight in network.parameters()) == parameters(model, data)
    each = (128, 258) if DATASETS[data].task == "language" else (DATASETS[data].classes,)
    assert network(inputs(model, data)).shape == (3, *each)


@pytest.mark.parametrize(("model", "data"), PAIRS)
def test_the_network_can_be_trained_privately(model, data):
    network = build(model, DATASETS[data], seed=0)
    assert ModuleValidator.validate(network, strict=False) == []
    mixing = (nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm)
    assert not any(isinstance(layer, mixing) for layer in network.modules())
    assert not any(getattr(layer, "inplace", False) for layer in network.modules())
    assert all(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("model", FROM_SEED)
def test_no_record_sees_another(model):
    network = build(model, DATASETS[DATA[model]], seed=0)
    x = inputs(model, DATA[model], records=5)
    alone = torch.cat([network(x[[i]]) for i in range(5)])
    torch.testing.assert_close(network(x), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", FROM_SEED)
def test_initial_weights_depend_on_the_seed_alone(model):
    def weights(seed: int) -> torch.Tensor:
        return nn.utils.parameters_to_vector(build(model, DATASETS[DATA[model]], seed).parameters()).detach()

    torch.manual_seed(1)
    first = weights(7)
    torch.manual_seed(2)
    assert torch.equal(first, weights(7))
    assert not torch.equal(first, weights(8))


def test_building_leaves_the_callers_random_state_alone():
    before = torch.get_rng_state()
    build("mlp", DATASETS["digits"], seed=3)
    assert torch.equal(before, torch.get_rng_state())


def test_a_misfit_is_refused_with_its_reason():
    with pytest.raises(ValueError, match="needs pictures"):
        build("cnn", DATASETS["adult"], seed=0)
