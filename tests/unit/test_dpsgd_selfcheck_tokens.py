"""The self-check on tokens, which can be neither huge nor not a number."""

from __future__ import annotations

import pytest
import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from privlab.data.load import NOT_ASKED
from privlab.dpsgd import onepass
from privlab.dpsgd.cipher import CipherStream
from privlab.dpsgd.gaussian import CipherNoise
from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.hooks import HooksModule
from privlab.dpsgd.probes import unusual_tokens
from privlab.dpsgd.selfcheck import self_check
from privlab.dpsgd.step import PrivateStep
from privlab.privacy.plan import PrivacyPlan
from tests.onerecord import Net

PLAN = PrivacyPlan(records=100, batch_size=10, steps=5, noise_multiplier=1.5, max_grad_norm=0.4, delta=1e-5)
PAD, WORDS, PLACES, WIDTH, CLASSES = 0, 11, 6, 5, 3
METHODS = ["one-pass", "hooks", "ghost"]


def texts(language: bool) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(3)
    x = torch.randint(1, WORDS, (40, PLACES), generator=source)
    for row, length in zip(x, torch.randint(1, PLACES + 1, (40,), generator=source), strict=True):
        row[length:] = PAD
    if not language:
        return x, torch.randint(0, CLASSES, (40,), generator=source)
    after = torch.cat([x[:, 1:], torch.full((40, 1), PAD)], 1)
    return x, after.masked_fill(after == PAD, NOT_ASKED)


def network(language: bool) -> nn.Module:
    """Words that look at one another, padding left out: a text of padding alone makes numbers that are none."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        words, mix = nn.Embedding(WORDS, WIDTH, padding_idx=PAD), nn.Linear(WIDTH, WIDTH)
        head = nn.Linear(WIDTH, WORDS if language else CLASSES)

    def compute(parts: nn.ModuleList, x: Tensor) -> Tensor:
        h = parts[0](x)
        scores = (h @ h.transpose(1, 2)).masked_fill((x == PAD)[:, None], -torch.inf)
        h = h + parts[1](scores.softmax(-1) @ h).tanh()
        return parts[2](h if language else h.mean(1))

    return Net(compute, words, mix, head)


def step_for(language: bool, method: str = "one-pass") -> PrivateStep:
    model = network(language)
    noise = CipherNoise(CipherStream(7, "noise"))
    return PrivateStep(model, PLAN, method, torch.optim.SGD(model.parameters(), lr=1.0), noise, 16)


@pytest.mark.parametrize("language", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_sound_mechanism_passes(method: str, language: bool) -> None:
    found = self_check(step_for(language, method), *texts(language))
    # The distorted record's gradient is clipped, and reaches the bound.
    assert found.sensitivity == pytest.approx(1.0, rel=1e-3) and found.gradient_error < 1e-4


@pytest.mark.parametrize("language", [False, True])
def test_records_are_the_longest_the_shortest_and_three_made_up(language: bool) -> None:
    x, y = texts(language)
    records, labels = unusual_tokens(torch.cat([x, x]), torch.cat([y, y]), 8)
    lengths = (records != PAD).sum(1).tolist()
    assert lengths[:4] == [PLACES] * 4 and lengths[4] == 1
    assert lengths[6] == 0 and len(records[5].unique()) == 1 and len(records) == len(labels) == 8
    assert len(records.unique(dim=0)) == 8, "a text that comes twice could not be told from its copy"
    if language:
        assert (labels[6] == NOT_ASKED).all() and (labels[5] == records[5]).all()
    few, _ = unusual_tokens(x[:2], y[:2], 8)
    assert len(few) == 5


@pytest.mark.parametrize("language", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_record_that_is_not_a_number_may_not_get_through(method: str, language: bool, monkeypatch) -> None:
    step = step_for(language, method)
    monkeypatch.setattr(torch.Tensor, "isfinite", lambda t: torch.ones(t.shape, dtype=torch.bool))
    with pytest.raises(MechanismError, match="Self-check failed"):
        self_check(step, *texts(language))


def test_a_loss_that_other_records_weigh_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = onepass.record_losses

    def over_the_batch(logits: Tensor, y: Tensor) -> Tensor:
        asked = (y != NOT_ASKED).sum(1)
        return sound(logits, y) * asked / asked.max()

    monkeypatch.setattr(onepass, "record_losses", over_the_batch)
    with pytest.raises(MechanismError, match="away from the one-record gradients"):
        self_check(step_for(True), *texts(True))


def test_a_wrong_gradient_of_padding_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    opacus = GradSampleModule.GRAD_SAMPLERS[nn.Embedding]
    monkeypatch.setitem(HooksModule.GRAD_SAMPLERS, nn.Embedding, opacus)
    with pytest.raises(MechanismError, match=r"layer parts\.0 \(Embedding\)"):
        self_check(step_for(False, "hooks"), *texts(False))


def test_a_clip_that_lets_long_gradients_through_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter ones are clipped as they should be: only the distorted record shows it."""
    step = step_for(False)

    class Leaky(type(step.gradients.clipping)):
        def factors(self, norms: Tensor, max_grad_norm: float) -> Tensor:
            return torch.where(norms > 100.0, 1.0, super().factors(norms, max_grad_norm))

    step.gradients.clipping = Leaky()
    with pytest.raises(MechanismError, match="moved the clipped sum by"):
        self_check(step, *texts(False))
