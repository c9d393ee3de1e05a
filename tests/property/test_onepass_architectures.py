"""Whatever a network is made of: one pass = Opacus's hooks, where it has them = one-record gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from privlab.dpsgd.clipping import Clipping
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.methods import gradients_for
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.step import PrivateStep
from privlab.privacy.plan import PrivacyPlan
from tests.onerecord import Net, clipped, length, one_by_one, summed

CPU = torch.device("cpu")
CLASSES, WORDS, WIDTH = 3, 9, 4
#: Float32 rounding, of the longest gradient or the sum of all.
ROOM = 1e-5
LAWS = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Architecture:
    """A network, and what goes in.

    Attributes:
        model: in general position.
        shape: of one record.
        opacus: whether Opacus's hooks can do it: no parameter used twice, no layer norm without a bias, nothing in place.
        kinds: of layers in it.
    """

    model: nn.Module
    shape: tuple[int, ...]
    opacus: bool
    kinds: list[str] = field(default_factory=list)

    def records(self, rows: int, generator: torch.Generator) -> Tensor:
        if len(self.shape) == 1:
            return torch.randint(0, WORDS, (rows, *self.shape), generator=generator)
        x = torch.randn(rows, *self.shape, generator=generator)
        return x * torch.logspace(-0.5, 0.5, max(rows, 1))[:rows].view(-1, *[1] * len(self.shape))


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


@st.composite
def picture_networks(draw: st.DrawFn) -> Architecture:
    """Signals, pictures or volumes through convolutions and norms."""
    axes = draw(st.integers(1, 3))
    channels, side = draw(st.sampled_from([1, 2, 4])), {1: 9, 2: 6, 3: 4}[axes]
    shape = (channels, *[side] * axes)
    parts: list[nn.Module] = []
    opacus = True
    x = torch.zeros(1, *shape)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["convolution", "convolution", "twice", "group norm", "instance norm"]))
        if kind == "convolution":
            groups = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == 0]))
            after = groups * draw(st.integers(1, 2))
            part = CONVOLUTIONS[axes - 1](
                channels,
                after,
                draw(st.integers(1, 3)),
                stride=draw(st.integers(1, 2)),
                padding=draw(st.integers(0, 1)),
                dilation=draw(st.integers(1, 2)),
                groups=groups,
                bias=draw(st.booleans()),
            )
            channels = after
            parts.append(part)
        elif kind == "twice":
            part = CONVOLUTIONS[axes - 1](channels, channels, 3, padding=1)
            parts += [part, nn.Tanh(), part]
            opacus = False
        elif kind == "group norm":
            parts.append(
                nn.GroupNorm(draw(st.sampled_from([g for g in (1, 2) if channels % g == 0])), channels, eps=0.1)
            )
        elif kind == "instance norm":
            parts.append(INSTANCE_NORMS[axes - 1](channels, eps=0.1, affine=True))
        in_place = draw(st.booleans())
        parts.append(nn.ReLU(inplace=True) if in_place else nn.Tanh())
        opacus &= not in_place
        try:
            nn.Sequential(*parts)(x)
        except (RuntimeError, ValueError):  # nothing is left to slide over, or to normalise
            del parts[-2:]
            channels = nn.Sequential(*parts)(x).shape[1]
    parts.append(nn.Flatten())
    wide = nn.Sequential(*parts)(x).shape[1]
    if draw(st.booleans()):
        parts += [draw(st.sampled_from([nn.LayerNorm, nn.RMSNorm]))(wide, eps=0.1), nn.Tanh()]
    parts.append(nn.Linear(wide, CLASSES, bias=draw(st.booleans())))
    return Architecture(nn.Sequential(*parts), shape, opacus, [type(part).__name__ for part in parts])


def _self_attention(parts: nn.ModuleList, x: Tensor) -> Tensor:
    return parts[0](x, x, x)[0]


@st.composite
def word_networks(draw: st.DrawFn) -> Architecture:
    """Words through linear layers, norms and attention, to a head that may be the embedding too."""
    places = draw(st.integers(1, 6))
    embedding = nn.Embedding(WORDS, WIDTH, padding_idx=draw(st.sampled_from([None, 2])))
    opacus = True
    blocks: list[nn.Module] = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(
            st.sampled_from(
                [
                    "linear",
                    "wide",
                    "layer norm",
                    "rms norm",
                    "attention",
                    "encoder",
                    "twice",
                    "weights shared",
                    "norm twice",
                ]
            )
        )
        bias = draw(st.booleans())
        if kind == "linear":
            blocks += [nn.Linear(WIDTH, WIDTH, bias=bias), nn.Tanh()]
        elif kind == "wide":
            blocks += [nn.Linear(WIDTH, 40, bias=bias), nn.ReLU(inplace=True), nn.Linear(40, WIDTH)]
        elif kind == "layer norm":
            blocks.append(nn.LayerNorm(WIDTH, eps=0.1, bias=bias))
        elif kind == "rms norm":
            blocks.append(nn.RMSNorm(WIDTH, eps=0.1))
        elif kind == "attention":
            blocks.append(Net(_self_attention, nn.MultiheadAttention(WIDTH, 2, bias=bias, batch_first=True)))
        elif kind == "encoder":
            blocks.append(nn.TransformerEncoderLayer(WIDTH, 2, 6, 0.0, batch_first=True, bias=bias, layer_norm_eps=0.1))
        elif kind == "twice":
            layer = nn.Linear(WIDTH, WIDTH, bias=bias)
            blocks += [layer, nn.Tanh(), layer, nn.Tanh()]
        elif kind == "weights shared":
            first, second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=bias)
            second.weight = first.weight
            blocks += [first, nn.Tanh(), second, nn.Tanh()]
        elif kind == "norm twice":
            norm = nn.LayerNorm(WIDTH, eps=0.1)
            blocks += [norm, nn.Tanh(), norm]
        opacus &= kind in {"linear", "rms norm"} or (kind == "layer norm" and bias)
    position = nn.Embedding(places, WIDTH) if draw(st.booleans()) else None
    ids = torch.arange(places).view(draw(st.sampled_from([(places,), (1, places)])))
    head = nn.Linear(WIDTH, WORDS, bias=draw(st.booleans()))
    if is_tied := draw(st.booleans()):
        head.weight = embedding.weight
    body = nn.Sequential(*blocks)

    def compute(parts: nn.ModuleList, x: Tensor) -> Tensor:
        h = parts[0](x)
        if position is not None:
            h = h + parts[3](ids)
        return parts[2](parts[1](h).tanh().mean(1))[:, :CLASSES]

    model = Net(compute, embedding, body, head, *([position] if position is not None else []))
    kinds = [type(part).__name__ for part in blocks] + ["tied"] * is_tied + ["position"] * (position is not None)
    return Architecture(model, (places,), opacus and not is_tied and position is None, kinds)


@st.composite
def cases(
    draw: st.DrawFn, networks: Callable[[], st.SearchStrategy[Architecture]]
) -> tuple[Architecture, torch.Generator]:
    seed = draw(st.integers(0, 2**31 - 1))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        architecture = draw(networks())
        with torch.no_grad():
            for p in architecture.model.parameters():
                p.copy_(0.5 * torch.randn_like(p) + (p.dim() == 1))
        trained = [p for p in architecture.model.parameters()]
        for p in trained[:-1]:
            p.requires_grad_(draw(st.integers(0, 4)) > 0)
    for kind in set(architecture.kinds):
        event(kind)
    return architecture, torch.Generator().manual_seed(seed)


def _agrees(case: tuple[Architecture, torch.Generator], records: int, physical: int, views: int, mode: str) -> None:
    architecture, generator = case
    model = architecture.model.train()
    x = architecture.records(records * views, generator)
    y = torch.randint(0, CLASSES, (records,), generator=generator)
    reference = one_by_one(model, x, y, views)
    lengths = torch.tensor([length(one) for one in reference])
    bound = max(lengths.median().item(), 1e-3)
    expected = clipped(model, reference, bound, mode)
    for method in ("one-pass", "hooks")[: 1 + architecture.opacus]:
        gradients = gradients_for(method, model, bound, Clipping(mode), views)
        total, chunks = summed(gradients, x, y, physical, views)
        if method == "hooks":
            event("with hooks")
            gradients.module.remove_hooks()
        norms = torch.cat([chunk.norms for chunk in chunks])
        assert (norms - lengths).abs().max() <= ROOM * lengths.max(), method
        assert (total - expected).norm() <= ROOM * min(bound, lengths.max().item()) * records**0.5, method


sizes = {
    "records": st.integers(1, 6),
    "physical": st.integers(1, 7),
    "views": st.integers(1, 3),
    "mode": st.sampled_from(["flat", "per-layer"]),
}


@LAWS
@given(case=cases(picture_networks), **sizes)
def test_networks_for_pictures(case, records: int, physical: int, views: int, mode: str) -> None:
    _agrees(case, records, physical, views, mode)


@LAWS
@given(case=cases(word_networks), **sizes)
def test_networks_for_words(case, records: int, physical: int, views: int, mode: str) -> None:
    _agrees(case, records, physical, views, mode)


@settings(LAWS, max_examples=20)
@given(
    case=cases(lambda: st.one_of(picture_networks(), word_networks())),
    records=st.sampled_from([0, 1, 5]),
    physical=st.integers(1, 6),
)
def test_a_whole_step(case, records: int, physical: int) -> None:
    """An empty batch is noise alone and moves the model all the same; others add their clipped sum to that noise."""
    architecture, generator = case
    model = architecture.model
    x, y = architecture.records(5, generator), torch.randint(0, CLASSES, (5,), generator=generator)
    plan = PrivacyPlan(records=100, batch_size=5, steps=4, noise_multiplier=0.7, max_grad_norm=0.5, delta=1e-5)
    trained = [p for p in model.parameters() if p.requires_grad]
    reference = one_by_one(model.train(), x[:records], y[:records])
    expected = clipped(model, reference, 0.5) if records else torch.zeros(sum(p.numel() for p in trained))
    noise = noise_source("reproducible", "none", 1, CPU, 3).perturb([torch.zeros_like(p) for p in trained], 0.35)
    before = torch.cat([p.detach().flatten().clone() for p in trained])
    step = PrivateStep(
        model,
        plan,
        "one-pass",
        torch.optim.SGD(trained, 1.0),
        noise_source("reproducible", "none", 1, CPU, 3),
        physical,
    )
    report = step.run(x, y, torch.arange(records), PhaseClock(CPU))
    moved = before - torch.cat([p.detach().flatten() for p in trained])
    assert report.batch_size == records and len(report.chunks) == -(-records // physical)
    torch.testing.assert_close(
        moved, (expected.float() + torch.cat([n.flatten() for n in noise])) / 5, rtol=1e-4, atol=1e-5
    )
