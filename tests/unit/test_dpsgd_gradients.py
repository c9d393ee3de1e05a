"""Clipped sums: hooks, ghost and one-record gradients are the same thing, whatever the physical batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privlab.dpsgd.chunks import quickest_chunk
from privlab.dpsgd.guards import MechanismError, refuse_unsupported
from privlab.dpsgd.methods import gradients_for

CLASSES = 3


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(2 * 6 * 6, CLASSES))


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.GroupNorm(2, 4),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.LayerNorm(5),
        nn.Linear(5, CLASSES, bias=False),
    )


def make(build, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def records(n: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, 6, 6, generator=generator)
    # Lengths that differ by a factor of a hundred, so that some records are clipped and some are not.
    x *= torch.logspace(-1, 1, n).view(-1, 1, 1, 1)
    return x, torch.randint(0, CLASSES, (n,), generator=generator)


def one_by_one(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Each record's own gradient by plain autograd, (n, d)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for i in range(len(x)):
        grads = torch.autograd.grad(cross_entropy(model(x[i : i + 1]), y[i : i + 1]), trained)
        rows.append(torch.cat([g.flatten() for g in grads]))
    return torch.stack(rows) if rows else torch.zeros(0, sum(p.numel() for p in trained))


def clipped(rows: Tensor, bound: float) -> Tensor:
    """Σ min(1, C/‖g‖)·g in double precision."""
    rows = rows.double()
    return sum(g * min(1.0, bound / g.norm().item()) for g in rows)


def summed(gradients, x: Tensor, y: Tensor, physical: int) -> tuple[Tensor, list]:
    total, chunks = 0, []
    for inputs, labels in zip(x.split(physical), y.split(physical), strict=True):
        gradients.differentiate(inputs, labels)
        chunks.append(gradients.clip())
        total = total + torch.cat([p.grad.flatten() for p in gradients.parameters])
    return total, chunks


def deep() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=2),
        nn.Tanh(),
        nn.Conv2d(4, 6, 2, padding=1, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 5 * 5, CLASSES),
    )


def deep_channels_last() -> nn.Module:
    """Opacus's own convolution rule gets this wrong without a word."""
    return deep().to(memory_format=torch.channels_last)


@pytest.mark.parametrize("build", [linear, conv, deep, deep_channels_last])
@pytest.mark.parametrize("method", ["one-pass", "hooks", "ghost"])
@pytest.mark.parametrize(("n", "physical"), [(1, 8), (8, 8), (37, 8), (37, 64), (37, 1)])
def test_clipped_sum_is_that_of_one_record_gradients(build, method: str, n: int, physical: int) -> None:
    x, y = records(n)
    reference = one_by_one(make(build), x, y)
    bound = reference.norm(dim=1).median().item()
    total, chunks = summed(gradients_for(method, make(build), bound), x, y, physical)
    expected = clipped(reference, bound)
    assert (total - expected).norm() <= 1e-5 * expected.norm()
    norms = torch.cat([chunk.norms for chunk in chunks])
    torch.testing.assert_close(norms, reference.norm(dim=1), rtol=1e-4, atol=1e-6)
    losses = torch.cat([chunk.losses for chunk in chunks])
    torch.testing.assert_close(losses, cross_entropy(make(build)(x), y, reduction="none"))


@pytest.mark.parametrize("build", [linear, conv])
def test_plain_sum_clips_nothing(build) -> None:
    x, y = records(20)
    total, chunks = summed(gradients_for("ghost", make(build), None), x, y, 8)
    expected = one_by_one(make(build), x, y).double().sum(0)
    assert (total - expected).norm() <= 1e-5 * expected.norm()
    assert all(chunk.norms is None for chunk in chunks)


@pytest.mark.parametrize("method", ["one-pass", "hooks", "ghost"])
@pytest.mark.parametrize("build", [linear, conv])
def test_no_record_exceeds_the_bound(method: str, build) -> None:
    x, y = records(30)
    gradients = gradients_for(method, make(build), 0.05)
    for i in range(30):
        total, _ = summed(gradients, x[i : i + 1] * 1e4, y[i : i + 1], 8)
        assert total.norm() <= 0.05 * (1 + 1e-5)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 3e38])
@pytest.mark.parametrize(("method", "bound"), [("hooks", 0.5), ("ghost", 0.5), ("plain", None)])
@pytest.mark.parametrize("build", [linear, conv])
def test_record_that_is_not_finite_contributes_zero_and_is_counted(build, method: str, bound, poison: float) -> None:
    x, y = records(12)
    good = torch.ones(12, dtype=torch.bool)
    good[[0, 5]] = False
    if method == "plain" and poison == 3e38:
        pytest.skip("without clipping each gradient is finite here, and their sum is not")
    expected, _ = summed(gradients_for(method, make(build), bound), x[good], y[good], 64)
    x[~good] = poison
    x[5, 0] = -poison  # so that GroupNorm cannot cancel equal entries
    total, (chunk,) = summed(gradients_for(method, make(build), bound), x, y, 64)
    assert total.isfinite().all()
    torch.testing.assert_close(total, expected)
    assert chunk.dropped == 2
    assert len(chunk.losses) == 10 and chunk.losses.isfinite().all()
    if chunk.norms is not None:
        assert len(chunk.norms) == 10 and chunk.norms.isfinite().all()


@pytest.mark.parametrize(("method", "bound"), [("hooks", 0.5), ("ghost", 0.5), ("plain", None)])
def test_chunk_of_only_bad_records_is_zero(method: str, bound) -> None:
    gradients = gradients_for(method, make(linear), bound)
    x, y = records(3)
    total, (chunk,) = summed(gradients, x * float("nan"), y, 8)
    assert total.count_nonzero() == 0 and chunk.dropped == 3 and len(chunk.losses) == 0
    # … and the next chunk is as if nothing had happened.
    after, _ = summed(gradients, x, y, 8)
    fresh, _ = summed(gradients_for(method, make(linear), bound), x, y, 8)
    torch.testing.assert_close(after, fresh)


@pytest.mark.parametrize("method", ["one-pass", "hooks", "ghost"])
def test_frozen_layers_stay_out_of_norm_and_sum(method: str) -> None:
    x, y = records(9)
    reference_model, model = make(conv), make(conv)
    for net in (reference_model, model):
        net[0].requires_grad_(False)
    reference = one_by_one(reference_model, x, y)
    bound = reference.norm(dim=1).median().item()
    total, _ = summed(gradients_for(method, model, bound), x, y, 4)
    expected = clipped(reference, bound)
    assert (total - expected).norm() <= 1e-5 * expected.norm()


def test_chunks_shrink_on_the_cpu_only_where_gradients_are_kept() -> None:
    cpu, other = torch.device("cpu"), torch.device("meta")
    wide = nn.Sequential(nn.Linear(1000, 1000, bias=False))
    assert quickest_chunk(gradients_for("hooks", wide, 1.0), cpu, 512) == (32 << 20) // 4_000_000
    assert quickest_chunk(gradients_for("hooks", make(linear), 1.0), cpu, 512) == 512
    wide = nn.Sequential(nn.Linear(1000, 1000, bias=False))
    assert quickest_chunk(gradients_for("ghost", wide, 1.0), cpu, 512) == 512
    wide = nn.Sequential(nn.Linear(1000, 1000), nn.LayerNorm(1000))
    assert quickest_chunk(gradients_for("ghost", wide, 1.0), cpu, 512) == 8
    assert quickest_chunk(gradients_for("hooks", make(conv), 1.0), other, 512) == 512
    huge = nn.Sequential(nn.Linear(10_000, 1000))
    assert quickest_chunk(gradients_for("hooks", huge, 1.0), cpu, 512) == 1


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(5), nn.BatchNorm1d(5, affine=False), nn.SyncBatchNorm(5)])
def test_batchnorm_is_refused_by_name_even_frozen(layer: nn.Module) -> None:
    layer.requires_grad_(False)
    with pytest.raises(MechanismError, match=r"Layer “1” \((Sync)?BatchNorm.*GroupNorm"):
        refuse_unsupported(nn.Sequential(nn.Linear(4, 5), layer))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Linear(4, 3), Scaled()), r"“1” \(Scaled\) has no exact rule"),
        (nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4)), r"“1” \(LSTM\) has no exact rule"),
        (
            nn.Sequential(nn.InstanceNorm1d(4, affine=True, track_running_stats=True)),
            r"InstanceNorm1d.*running statistics",
        ),
        (nn.Sequential(nn.Flatten()), "no trainable parameters"),
    ],
)
def test_layers_without_a_record_gradient_are_refused_by_name(model: nn.Module, words: str) -> None:
    with pytest.raises(MechanismError, match=words):
        refuse_unsupported(model)


def test_shared_parameters_are_refused_with_ghost_only() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    with pytest.raises(MechanismError, match=r"0\.weight, 2\.weight are shared"):
        refuse_unsupported(model, shared=False)
    refuse_unsupported(model)


@pytest.mark.parametrize("build", [linear, conv, deep_channels_last])
def test_a_coarse_pass_keeps_the_bound_exactly(build) -> None:
    """Passes in bfloat16 round gradients to 8 bits, but what is measured is what is summed."""
    x, y = records(30)
    reference = one_by_one(make(build), x, y)
    bound = reference.norm(dim=1).median().item()
    gradients = gradients_for("one-pass", make(build), bound, precision=torch.bfloat16)
    for i in range(30):
        total, (chunk,) = summed(gradients, x[i : i + 1], y[i : i + 1], 8)
        expected = min(bound, chunk.norms.item())
        assert total.norm().item() == pytest.approx(expected, rel=1e-5) and total.dtype == torch.float32
    total, _ = summed(gradients, x, y, 8)
    assert (total - clipped(reference, bound)).norm() <= 0.05 * clipped(reference, bound).norm()


@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_opacus_methods_refuse_a_coarse_pass(method: str) -> None:
    with pytest.raises(MechanismError, match=r"too coarse. Use one-pass"):
        gradients_for(method, make(linear), 1.0, precision=torch.bfloat16)
