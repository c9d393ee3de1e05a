"""Language losses: every method clips to the sum of one-record gradients, whatever is asked of each record."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from privlab.data.load import NOT_ASKED
from privlab.dpsgd.clipping import Clipping
from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.loss import record_losses
from privlab.dpsgd.methods import gradients_for
from tests.onerecord import Net, clipped, length, one_by_one, own_loss, summed

WORDS, WIDTH = 7, 4
LAWS = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def language_model(tied: bool, places: int) -> nn.Module:
    """Words and places through a causal attention to the next word, its parameters in general position."""
    words, position = nn.Embedding(WORDS, WIDTH, padding_idx=0), nn.Embedding(places, WIDTH)
    mix, norm, head = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH, eps=0.1), nn.Linear(WIDTH, WORDS, bias=not tied)
    if tied:
        head.weight = words.weight
    later = torch.ones(places, places, dtype=torch.bool).triu(1)

    def compute(parts: nn.ModuleList, x: Tensor) -> Tensor:
        # One row of places for each record, as Opacus's hooks need them.
        h = parts[0](x) + parts[1](torch.arange(places).expand(len(x), places))
        weights = (h @ h.transpose(1, 2)).masked_fill(later, -torch.inf).softmax(-1)
        return parts[4](parts[3](h + parts[2](weights @ h).tanh()))

    model = Net(compute, words, position, mix, norm, head)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.5 * torch.randn_like(p) + (p.dim() == 1))
    return model.train()


@st.composite
def asked(draw: st.DrawFn) -> tuple[bool, Tensor, Tensor]:
    """Whether the head is the embedding too, ids (n, L), and next words of which any may be unasked, or all."""
    n, places = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31 - 1)))
    x = torch.randint(0, WORDS, (n, places), generator=generator)
    y = torch.randint(0, WORDS, (n, places), generator=generator)
    for i in range(n):
        kind = draw(st.sampled_from(["all", "first", "some", "none"]))
        event(kind)
        if kind == "first":
            y[i, draw(st.integers(1, places)) :] = NOT_ASKED
        elif kind == "some":
            y[i, torch.rand(places, generator=generator) < 0.5] = NOT_ASKED
        elif kind == "none":
            y[i] = NOT_ASKED
    return draw(st.booleans()), x, y


def _model(tied: bool, x: Tensor) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(int(x.sum()))
        return language_model(tied, x.shape[1])


@LAWS
@given(case=asked(), physical=st.integers(1, 6), mode=st.sampled_from(["flat", "per-layer", "automatic"]))
def test_all_methods_clip_to_the_sum_of_one_record_gradients(case, physical: int, mode: str) -> None:
    tied, x, y = case
    reference = one_by_one(_model(tied, x), x, y)
    lengths = torch.tensor([length(one) for one in reference])
    bound = max(lengths.median().item(), 1e-3)
    expected = None
    for method in ("one-pass", "hooks", "ghost"):
        if method == "ghost" and (tied or mode == "per-layer"):
            continue
        model = _model(tied, x)
        total, chunks = summed(gradients_for(method, model, bound, Clipping(mode)), x, y, physical)
        norms = torch.cat([chunk.norms for chunk in chunks])
        assert (norms - lengths).abs().max() <= 1e-5 * max(lengths.max().item(), 1e-3), method
        if mode != "automatic":
            expected = clipped(model, reference, bound, mode)
        elif expected is None:
            expected = total.double()
        assert (total - expected).norm() <= 1e-5 * bound * len(y), method


@LAWS
@given(case=asked())
def test_without_clipping_the_sum_is_that_of_one_record_gradients(case) -> None:
    tied, x, y = case
    model = _model(tied, x)
    expected = torch.cat([sum(parts).flatten() for parts in zip(*one_by_one(model, x, y), strict=True)])
    total, chunks = summed(gradients_for("one-pass", model, None), x, y, 3)
    assert (total - expected).norm() <= 1e-5 * max(expected.norm().item(), 1e-3)
    losses = torch.cat([chunk.losses for chunk in chunks])
    own = [own_loss(model(row[None]), label) for row, label in zip(x, y, strict=True)]
    torch.testing.assert_close(losses, torch.stack(own).float().detach(), rtol=1e-5, atol=1e-6)


@LAWS
@given(case=asked())
def test_a_record_that_asks_nothing_changes_nothing(case) -> None:
    tied, x, y = case
    y[0] = NOT_ASKED
    gradients = gradients_for("one-pass", _model(tied, x), 0.5)
    whole, _ = summed(gradients, x, y, 8)
    alone, chunks = summed(gradients, x[:1], y[:1], 8)
    assert not alone.any() and chunks[0].norms.item() == 0 and chunks[0].losses.item() == 0
    if len(y) > 1:
        rest, _ = summed(gradients, x[1:], y[1:], 8)
        torch.testing.assert_close(whole, rest, rtol=1e-4, atol=1e-6)


def test_one_records_length_is_no_part_of_anothers_loss() -> None:
    logits = torch.randn(2, 5, WORDS, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[1, 2, 3, 4, 5], [6, 5, NOT_ASKED, NOT_ASKED, NOT_ASKED]])
    shorter = y.clone()
    shorter[0, 1:] = NOT_ASKED
    assert record_losses(logits, y)[1] == record_losses(logits, shorter)[1]


@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_places_that_are_looked_up_once_for_all_records_are_refused_by_name(method: str) -> None:
    words, places, head = nn.Embedding(WORDS, WIDTH), nn.Embedding(5, WIDTH), nn.Linear(WIDTH, WORDS)
    model = Net(lambda parts, x: parts[2](parts[0](x) + parts[1](torch.arange(5))), words, places, head)
    gradients = gradients_for(method, model, 1.0)
    x = torch.randint(0, WORDS, (3, 5), generator=torch.Generator().manual_seed(0))
    with pytest.raises(MechanismError, match=r"parts\.1\.weight got 5 rows for 3 records.*Use one-pass"):
        gradients.differentiate(x, x)


def test_ghost_refuses_a_tied_head_by_name() -> None:
    with pytest.raises(MechanismError, match=r"parts\.0\.weight, parts\.4\.weight are shared; ghost"):
        gradients_for("ghost", language_model(True, 3), 1.0)
