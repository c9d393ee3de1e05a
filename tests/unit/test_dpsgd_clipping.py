"""Every way to clip: materialised, ghost and one-record gradients are the same thing, on every kind of network."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privlab.data.catalogue import DATASETS
from privlab.dpsgd.clipping import SHORTEST, Clipping, layers
from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.methods import gradients_for
from privlab.models.build import ResidualBlock, build

CLASSES = 10
FLAT, LAYERS = Clipping(), Clipping("per-layer")
STABLE, NORMALISED = Clipping("automatic", 0.01), Clipping("automatic", 0.0)
WAYS = [(method, clipping) for method in ("one-pass", "hooks", "ghost") for clipping in (FLAT, STABLE, NORMALISED)] + [
    ("hooks", LAYERS)
]


def mlp() -> nn.Module:
    return build("mlp", DATASETS["digits"], seed=1)


def cnn() -> nn.Module:
    net = build("cnn", DATASETS["fashion-mnist-6k"], seed=1)
    return net.to(memory_format=torch.channels_last)


def resnet() -> nn.Module:
    """The blocks of the GroupNorm ResNet, narrow enough for one-record gradients by the dozen."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        blocks = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.GroupNorm(2, 8), nn.ReLU()]
        blocks += [ResidualBlock(8, 8, 1), ResidualBlock(8, 12, 2)]
        return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, CLASSES))


def frozen() -> nn.Module:
    net = resnet()
    net[0].requires_grad_(False)
    net[3].body[1].requires_grad_(False)
    net[-1].bias.requires_grad_(False)
    return net


SHAPES = {mlp: (1, 8, 8), cnn: (1, 28, 28), resnet: (3, 8, 8), frozen: (3, 8, 8)}


def records(network, n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    shape = DATASETS["digits"].shape if network is mlp else SHAPES[network]
    x = torch.randn(n, *shape, generator=generator)
    # Lengths that differ by a factor of ten, so that some records are clipped and some are not.
    x *= torch.logspace(-0.5, 0.5, n).view(-1, *[1] * len(shape))
    return x, torch.randint(0, CLASSES, (n,), generator=generator)


def one_by_one(network, x: Tensor, y: Tensor, views: int = 1) -> list[list[Tensor]]:
    """Each record's own gradient by plain autograd, by parameter, in double precision."""
    model = network().double()
    trained = [p for p in model.parameters() if p.requires_grad]
    x = x.double().unflatten(0, (len(y), views))
    return [
        list(torch.autograd.grad(cross_entropy(model(a), b.repeat(views)), trained)) for a, b in zip(x, y, strict=True)
    ]


def norm(parts) -> float:
    return math.sqrt(sum(p.square().sum().item() for p in parts))


def clipped(network, rows: list[list[Tensor]], clipping: Clipping, bound: float) -> Tensor:
    """The sum that the papers' formulas say."""
    model = network()
    trained = [p for p in model.parameters() if p.requires_grad]
    places = {id(p): i for i, p in enumerate(trained)}
    groups = [[places[id(p)] for p in m.parameters(recurse=False) if p.requires_grad] for m in model.modules()]
    groups = [g for g in groups if g]
    total = [torch.zeros(p.shape, dtype=torch.double) for p in trained]
    for row in rows:
        for group in groups:
            length = norm(row)
            if clipping.mode == "per-layer":
                factor = min(1.0, bound / math.sqrt(len(groups)) / norm(row[i] for i in group))
            elif clipping.mode == "automatic":
                factor = bound / (length + clipping.stability)
            else:
                factor = min(1.0, bound / length)
            for i in group:
                total[i] += factor * row[i]
    return torch.cat([t.flatten() for t in total])


def summed(gradients, x: Tensor, y: Tensor, physical: int, views: int = 1) -> tuple[Tensor, list]:
    total, chunks = torch.zeros(sum(p.numel() for p in gradients.parameters)), []
    rows = physical * views
    for inputs, labels in zip(x.split(rows), y.repeat_interleave(views, 0).split(rows), strict=True):
        gradients.differentiate(inputs, labels)
        chunks.append(gradients.clip())
        total = total + torch.cat([p.grad.flatten() for p in gradients.parameters])
    return total, chunks


@pytest.mark.parametrize("network", [mlp, cnn, resnet, frozen])
@pytest.mark.parametrize("clipping", [FLAT, Clipping("adaptive"), STABLE, NORMALISED, LAYERS], ids=str)
@pytest.mark.parametrize(("n", "physical"), [(1, 8), (13, 5), (13, 64)])
def test_hooks_and_ghost_are_the_papers_formula(network, clipping: Clipping, n: int, physical: int) -> None:
    x, y = records(network, n)
    rows = one_by_one(network, x, y)
    bound = sorted(norm(row) for row in rows)[n // 2]
    expected = clipped(network, rows, clipping, bound)
    for method in ("hooks",) if clipping.by_layer else ("one-pass", "hooks", "ghost"):
        total, chunks = summed(gradients_for(method, network(), bound, clipping), x, y, physical)
        assert (total.double() - expected).norm() <= 1e-5 * expected.norm()
        norms = torch.cat([chunk.norms for chunk in chunks])
        torch.testing.assert_close(
            norms.double(), torch.tensor([norm(row) for row in rows]).double(), rtol=1e-4, atol=0
        )


@pytest.mark.parametrize(("method", "clipping"), WAYS, ids=str)
def test_no_record_contributes_more_than_c(method: str, clipping: Clipping) -> None:
    x, y = records(cnn, 6)
    for scale in (1e-4, 1.0, 1e4):
        gradients = gradients_for(method, cnn(), 0.05, clipping)
        for i in range(6):
            total, _ = summed(gradients, scale * x[i : i + 1], y[i : i + 1], 8)
            assert 0 < total.norm() <= 0.05 * (1 + 1e-5)


def sure(margin: float) -> nn.Module:
    """A network that is all but certain of class 0."""
    net = nn.Sequential(nn.Linear(4, 3))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.copy_(torch.tensor([margin, 0.0, 0.0]))
    return net


@pytest.mark.parametrize("margin", [14.0, 15.5, 16.3, 17.0, 30.0])
@pytest.mark.parametrize("method", ["one-pass", "hooks", "ghost"])
def test_record_that_the_model_is_sure_of_keeps_to_the_bound(method: str, margin: float) -> None:
    # 1 − p is a few units of 2⁻²⁴, so a second, differently rounded way to it would show.
    x, y = torch.rand(40, 4, generator=torch.Generator().manual_seed(0)) + 0.5, torch.zeros(1, dtype=torch.int64)
    gradients = gradients_for(method, sure(margin), 0.7, NORMALISED)
    for record in x:
        total, _ = summed(gradients, record[None], y, 1)
        assert total.norm() <= 0.7 * (1 + 1e-5)


@pytest.mark.parametrize(("method", "clipping"), WAYS, ids=str)
def test_zero_gradient_contributes_zero(method: str, clipping: Clipping) -> None:
    # The model is so sure that float32 has no gradient left.
    total, (chunk,) = summed(
        gradients_for(method, sure(500.0), 0.7, clipping), torch.ones(1, 4), torch.zeros(1).long(), 1
    )
    assert total.count_nonzero() == 0 and total.isfinite().all()
    assert chunk.dropped == 0 and chunk.norms.tolist() == [0.0] and not chunk.shortened.any()


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize(("method", "clipping"), WAYS, ids=str)
def test_record_that_is_not_finite_contributes_exactly_zero(method: str, clipping: Clipping, poison: float) -> None:
    x, y = records(cnn, 7)
    gradients = gradients_for(method, cnn(), 0.3, clipping)
    good = torch.tensor([0, 1, 3, 4, 6])
    expected, _ = summed(gradients, x[good], y[good], 64)
    x[2], x[5, 0, 0] = poison, -poison
    total, (chunk,) = summed(gradients, x, y, 64)
    torch.testing.assert_close(total, expected)
    assert chunk.dropped == 2 and len(chunk.norms) == len(chunk.shortened) == 5
    alone, (chunk,) = summed(gradients, x[2:3], y[2:3], 64)
    assert alone.count_nonzero() == 0 and chunk.dropped == 1 and len(chunk.shortened) == 0


def test_short_gradients_count_as_zero_only_where_they_would_be_scaled_up() -> None:
    norms = torch.tensor([[0.0, SHORTEST / 2, SHORTEST * 2, 1.0]])
    assert NORMALISED.factors(norms, 1.0).tolist()[0][:2] == [0.0, 0.0]
    assert NORMALISED.factors(norms, 1.0)[0, 2].item() == pytest.approx(0.5 / SHORTEST)
    assert FLAT.factors(norms, 1.0).tolist() == [[1.0, 1.0, 1.0, 1.0]]


def test_layers_are_modules_with_parameters_that_train() -> None:
    net = frozen()
    names = [name for name, _ in layers(net)]
    assert names[:2] == ["1 (GroupNorm)", "3.body.0 (Conv2d)"] and names[-1] == "7 (Linear)"
    assert "0 (Conv2d)" not in names and "3.body.1 (GroupNorm)" not in names
    places = [place for _, own in layers(net) for place in own]
    assert sorted(places) == list(range(sum(p.requires_grad for p in net.parameters())))


def test_shared_parameter_belongs_to_its_first_layer() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    assert layers(net) == (("0 (Linear)", (0, 1)), ("2 (Linear)", (2,)))


def test_shortened_says_whose_gradient_was_too_long() -> None:
    norms = torch.tensor([[0.3, 0.8, 0.1], [0.3, 0.1, 0.71]])
    assert LAYERS.shortened(norms, 1.0).tolist() == [False, True, True]  # the bound of a layer is 1/√2 = 0.7071
    assert FLAT.shortened(norms[:1], 0.3).tolist() == [False, True, False]


def test_ghost_refuses_what_one_norm_a_record_cannot_do() -> None:
    with pytest.raises(MechanismError, match=r"one factor.*clipping=per-layer.*Use one-pass"):
        gradients_for("ghost", mlp(), 1.0, LAYERS)
    with pytest.raises(MechanismError, match=r"3 views of a record cannot be averaged.*Use one-pass"):
        gradients_for("ghost", mlp(), 1.0, FLAT, views=3)


@pytest.mark.parametrize("network", [mlp, cnn, resnet])
@pytest.mark.parametrize("clipping", [FLAT, NORMALISED, LAYERS], ids=str)
@pytest.mark.parametrize("physical", [2, 64])
def test_views_are_averaged_before_the_clip(network, clipping: Clipping, physical: int) -> None:
    x, _ = records(network, 15)
    y = torch.arange(5)
    rows = one_by_one(network, x, y, views=3)
    bound = sorted(norm(row) for row in rows)[2]
    expected = clipped(network, rows, clipping, bound)
    total, chunks = summed(gradients_for("hooks", network(), bound, clipping, views=3), x, y, physical, views=3)
    assert (total.double() - expected).norm() <= 1e-5 * expected.norm()
    losses = cross_entropy(network()(x), y.repeat_interleave(3), reduction="none").view(5, 3).mean(1)
    torch.testing.assert_close(torch.cat([chunk.losses for chunk in chunks]), losses)


def test_one_bad_view_drops_its_record_alone() -> None:
    x, _ = records(cnn, 15)
    y = torch.arange(5)
    for method, bound in (("hooks", 0.3), ("plain", None)):
        gradients = gradients_for(method, cnn(), bound, views=3)
        expected, _ = summed(gradients, x[3:], y[1:], 64, views=3)
        bad = x.clone()
        bad[1] = float("nan")
        total, (chunk,) = summed(gradients, bad, y, 64, views=3)
        torch.testing.assert_close(total, expected)
        assert chunk.dropped == 1 and len(chunk.losses) == 4


def test_without_clipping_views_are_averaged_too() -> None:
    x, _ = records(mlp, 15)
    y = torch.arange(5)
    expected = sum(torch.cat([g.flatten() for g in row]) for row in one_by_one(mlp, x, y, views=3))
    total, _ = summed(gradients_for("hooks", mlp(), None, views=3), x, y, 2, views=3)
    assert (total.double() - expected).norm() <= 1e-5 * expected.norm()


def test_bound_may_change_between_batches() -> None:
    x, y = records(mlp, 9)
    for method in ("one-pass", "hooks", "ghost"):
        gradients = gradients_for(method, mlp(), 1e-3)
        first, _ = summed(gradients, x, y, 4)
        gradients.max_grad_norm = 2e-3
        second, _ = summed(gradients, x, y, 4)
        torch.testing.assert_close(second, 2 * first)
