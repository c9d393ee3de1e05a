"""Exposure and recitation of planted secrets, by models whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from privlab.config import RunConfig
from privlab.data.catalogue import DATASETS
from privlab.data.secrets import MOST_SECRETS, make_secrets
from privlab.dpsgd.loss import record_losses
from privlab.metrics import EXPOSURE_CHANCE, Point
from privlab.models.build import build
from privlab.models.tokens import Bytes, encode, next_tokens
from privlab.training.exposure import exposures, summary
from privlab.training.generate import generate
from privlab.training.train import train

TOKENS, CONTEXT, CPU = Bytes(), 128, torch.device("cpu")


class Oracle(nn.Module):
    """Knows some texts by heart: behind each beginning of one, of at least ``least`` ids, it is sure of the next id."""

    def __init__(self, texts: list[str], least: int = 1) -> None:
        super().__init__()
        self.texts, self.least = [torch.tensor(TOKENS.ids(text)) for text in texts], least

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*ids.shape, TOKENS.size)
        for text in self.texts:
            length = min(len(text) - 1, ids.shape[1])
            same = (ids[:, :length] == text[:length]).cumprod(1).bool()
            same[:, : self.least - 1] = False
            rows, places = same.nonzero(as_tuple=True)
            logits[rows, places, text[places + 1]] = 10.0
        return logits


class Noise(nn.Module):
    """Likes and dislikes at random what follows what, whatever the secrets are."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.table = torch.randn(TOKENS.size, TOKENS.size, generator=torch.Generator().manual_seed(seed))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[ids]


def look(model: nn.Module, secrets, context: int = CONTEXT):
    return exposures(model, TOKENS, secrets, context=context, device=CPU)


@pytest.mark.parametrize("kind", ["card", "phone", "pin", "name"])
def test_a_model_that_knows_a_secret_recites_it(kind: str) -> None:
    secrets = make_secrets(kind, 2, 0)
    told, hidden = look(Oracle([secrets[0].text]), secrets)
    assert told.recited and told.bits == pytest.approx(math.log2(999 if kind == "phone" else 1024))
    assert told.secret == secrets[0]
    # A code of which nothing is known ties with all others: none is less likely than it.
    assert not hidden.recited and hidden.bits == 0


def test_one_wrong_digit_is_not_recited() -> None:
    (secret,) = make_secrets("card", 1, 0)
    wrong = secret.text[:-1] + str((int(secret.text[-1]) + 1) % 10)
    (found,) = look(Oracle([wrong]), [secret])
    assert not found.recited and found.bits > 0
    # What the model says inside of the beginning is no part of the code.
    assert look(Oracle([secret.text], least=1 + len(secret.prefix)), [secret])[0].recited
    assert not look(Oracle([secret.text], least=2 + len(secret.prefix)), [secret])[0].recited


def test_beam_search_finds_what_greedy_decoding_misses() -> None:
    """Behind the beginning a digit is a little likelier that leads nowhere; the secret as a whole is far likelier."""
    (secret,) = make_secrets("pin", 1, 0)

    class Detour(Oracle):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            logits = super().forward(ids)
            at = len(secret.prefix)
            if ids.shape[1] > at:
                wrong = (int(secret.code[0]) + 1) % 10
                logits[:, at, ord(str(wrong))] = logits[:, at].max() + 0.1
            return logits

    (found,) = look(Detour([secret.text]), [secret])
    assert found.by == "beam search" and look(Oracle([secret.text]), [secret])[0].by == "greedy decoding"
    tokens = list(generate(Detour([secret.text]), TOKENS, secret.prefix, most=6, context=CONTEXT))
    assert "".join(tokens) != secret.code


def test_a_code_that_the_model_cannot_read_whole_is_not_recited() -> None:
    (secret,) = make_secrets("card", 1, 0)
    model = Oracle([secret.text])
    assert look(model, [secret], len(secret.text))[0].recited
    assert not look(model, [secret], len(secret.text) - 1)[0].recited


def test_exposure_of_what_was_never_learnt_is_chance() -> None:
    bits = [found.bits for seed in range(6) for found in look(Noise(seed), make_secrets("pin", 10, seed))]
    assert len(bits) == 60
    # Exponential with mean 1/ln 2 (the ranks are uniform): five standard errors.
    assert abs(sum(bits) / len(bits) - EXPOSURE_CHANCE) < 5 * EXPOSURE_CHANCE / len(bits) ** 0.5
    assert 0.3 < sum(b >= 1 for b in bits) / len(bits) < 0.7


def test_other_planted_secrets_are_no_rivals() -> None:
    # Of 1,000 phone numbers all are ranked but the other four, which this model finds likeliest.
    secrets = make_secrets("phone", 5, 0)
    told, *_ = look(Oracle([secrets[0].prefix + other.code for other in secrets[1:]] + [secrets[0].text]), secrets)
    assert told.bits == pytest.approx(math.log2(1000 - 4))


def test_ten_are_watched_and_summed_up() -> None:
    secrets = make_secrets("pin", min(20, MOST_SECRETS), 1)
    found = look(Oracle([secrets[3].text, secrets[15].text]), secrets)
    assert len(found) == 10
    assert summary(found) == {"exposure_max": 10.0, "exposure_mean": 1.0, "recited": 1.0}
    assert summary(()) == {}


def test_a_run_tells_what_its_model_gives_away() -> None:
    config = RunConfig.from_dict(
        {
            "data": {"dataset": "sms-messages", "secrets": 2, "secret_kind": "pin", "secret_repeats": 3},
            "model": {"name": "small-gpt"},
            "privacy": {"noise_multiplier": 1.0, "delta": 1e-4, "max_grad_norm": 0.5},
            "training": {
                "batch_size": 2000,
                "epochs": 1,
                "optimizer": "adam",
                "learning_rate": 0.002,
                "curve_points": 2,
            },
        }
    )
    items = list(train(config, control=lambda: "stop"))
    points = [item for item in items if isinstance(item, Point)]
    assert {"exposure_max", "exposure_mean", "recited"} <= points[-1].metrics.keys()
    (told,) = [item for item in items if not isinstance(item, Point) and "exposures" in item.data]
    assert [secret["code"] for secret in told.data["exposures"]] == [s.code for s in make_secrets("pin", 2, 0)]
    assert "recites 0 of 2 planted secrets" in told.message


def test_a_real_model_that_read_one_secret_often_recites_that_one() -> None:
    known, unknown = make_secrets("pin", 2, 0)
    gpt = build("small-gpt", DATASETS["sms-messages"], 0)
    x, y = next_tokens(encode(TOKENS, [known.text], 40), TOKENS.pad)
    optimizer = torch.optim.Adam(gpt.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        record_losses(gpt(x), y).sum().backward()
        optimizer.step()
    told, hidden = look(gpt, [known, unknown])
    assert told.recited and told.bits == 10 and not hidden.recited and hidden.bits < 10
    # Averaged weights are looked at in the place of the model's own.
    fresh = build("small-gpt", DATASETS["sms-messages"], 1)
    weights = dict(gpt.named_parameters())
    assert exposures(fresh, TOKENS, [known], context=CONTEXT, device=CPU, weights=weights)[0].recited
    assert not look(fresh, [known])[0].recited
