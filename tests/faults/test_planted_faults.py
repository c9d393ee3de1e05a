"""Broken mechanisms, each planted in the real code, each caught; and their sound twins, which pass.

``docs/privacy.md`` lists which check catches which fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MethodType

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from privlab.config.schedule import Schedule
from privlab.dpsgd import correlated
from privlab.dpsgd.adaptive import QuantileClip
from privlab.dpsgd.augment import MovedPictures
from privlab.dpsgd.cipher import CipherStream
from privlab.dpsgd.clipping import Clipping
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.ghost import GhostGradients
from privlab.dpsgd.gradients import Chunk
from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.hooks import HooksGradients
from privlab.dpsgd.layers.uses import Shared
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.onepass import OnePassGradients
from privlab.dpsgd.optimizer import NoisyOptimizer
from privlab.dpsgd.sampling import PoissonSampler
from privlab.dpsgd.selfcheck import self_check
from privlab.dpsgd.step import PrivateStep
from privlab.privacy.plan import AdaptiveClip, PrivacyPlan

CPU = torch.device("cpu")
FLAT = PrivacyPlan(records=2000, batch_size=100, steps=40, noise_multiplier=1.2, max_grad_norm=0.5, delta=1e-5)
PER_LAYER = replace(FLAT, clipping="per-layer")
AUTOMATIC = replace(FLAT, clipping="automatic", stability=0.01)
ADAPTIVE = replace(FLAT, clipping="adaptive", adaptive=AdaptiveClip(quantile=0.5, rate=0.2, count_noise=5.0))
SCHEDULED = replace(FLAT, clip_schedule=Schedule("linear", 0.5), noise_schedule=Schedule("step", 2.0, 4))
BANDED = replace(FLAT, bands=4)


def records(n: int = 2000) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(n, 1, 8, 8, generator=generator), torch.randint(0, 4, (n,), generator=generator)


def network(norm: Callable[[], nn.Module] = lambda: nn.GroupNorm(2, 4)) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2),
            norm(),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(36, 16),
            nn.Tanh(),
            nn.Linear(16, 4),
        )


def make(
    plan: PrivacyPlan = FLAT,
    method: str = "one-pass",
    augmentations: int = 1,
    network: Callable[[], nn.Module] = network,
) -> PrivateStep:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    noise = noise_source("reproducible", "none", plan.bands, CPU, 7)
    return PrivateStep(
        model,
        plan,
        method,
        optimizer,
        noise,
        16,
        MovedPictures(augmentations, 1),
    )


def train(step: PrivateStep, steps: int = 3, sample_rate: float | None = None) -> PrivateStep:
    sampler = PoissonSampler(2000, sample_rate or step.plan.sample_rate, CipherStream(5, "batches"))
    x, y = records()
    for _ in range(steps):
        step.run(x, y, torch.from_numpy(sampler.draw()), PhaseClock(CPU))
    return step


def check_and_train(step: PrivateStep, steps: int = 3) -> None:
    """What every run does: the self-check, then steps that check themselves."""
    self_check(step, *records(12))
    train(step, steps)


@dataclass(frozen=True)
class Fault:
    """A broken mechanism.

    Attributes:
        name: what is broken, as in docs/privacy.md.
        words: how the error that catches it begins to explain itself.
        plant: breaks the code.
        plan: what is to be done.
        methods: whose code is broken.
        options: of :func:`make`.
    """

    name: str
    words: str
    plant: Callable[[pytest.MonkeyPatch], None]
    plan: PrivacyPlan = FLAT
    methods: tuple[str, ...] = ("one-pass", "hooks", "ghost")
    options: Mapping[str, object] = field(default_factory=dict)


def noise_halved(patch: pytest.MonkeyPatch) -> None:
    sound = NoisyOptimizer.add_noise

    def add_noise(self: NoisyOptimizer, owner: int | None = None) -> None:
        source, self.source = self.source, _Scaled(self.source, 0.5)
        sound(self, owner)
        self.source = source

    patch.setattr(NoisyOptimizer, "add_noise", add_noise)


class _Scaled:
    def __init__(self, source, factor: float):
        self._source, self._factor = source, factor

    def perturb(self, sums, std: float):
        return self._source.perturb(sums, std * self._factor)


def last_layer_without_noise(patch: pytest.MonkeyPatch) -> None:
    sound = NoisyOptimizer.add_noise

    def add_noise(self: NoisyOptimizer, owner: int | None = None) -> None:
        sound(self, owner)
        *_, last = self.params
        last.grad = last.summed_grad.clone()

    patch.setattr(NoisyOptimizer, "add_noise", add_noise)


def noise_for_each_chunk(patch: pytest.MonkeyPatch) -> None:
    sound = NoisyOptimizer.accumulate

    def accumulate(self: NoisyOptimizer) -> None:
        for p, noisy in zip(self.params, self.source.perturb([p.grad for p in self.params], 0.3), strict=True):
            p.grad = noisy
        sound(self)

    patch.setattr(NoisyOptimizer, "accumulate", accumulate)


def no_clip(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Clipping, "factors", lambda self, norms, bound: torch.ones_like(norms))


def clip_of_the_mean(patch: pytest.MonkeyPatch) -> None:
    """What Opacus 1.6.0's adaptive engine amounts to."""

    def clip(self: OnePassGradients | HooksGradients) -> Chunk:
        if isinstance(self, HooksGradients):
            means = [p.grad_sample.sum(0) for p in self.parameters]
        else:
            means = [use.total(torch.ones_like(self._losses)) for use in self._uses]
        factor = self.max_grad_norm / torch.cat([m.flatten() for m in means]).norm() * len(self._losses)
        for p, mean in zip(self.parameters, means, strict=True):
            p.grad, p.grad_sample = mean * factor.clamp(max=1), None
        return Chunk(self._losses, self._losses, self._losses > 0, 0)

    for method in (OnePassGradients, HooksGradients):
        patch.setattr(method, "clip", clip)


def clip_schedule_for_the_noise_only(patch: pytest.MonkeyPatch) -> None:
    """What Opacus 1.6.0's clip schedulers do in ghost mode."""
    sound = PrivateStep._aim

    def aim(self: PrivateStep) -> None:
        clip = self.gradients.max_grad_norm
        sound(self)
        self.gradients.max_grad_norm = clip

    patch.setattr(PrivateStep, "_aim", aim)


def noise_schedule_not_followed(patch: pytest.MonkeyPatch) -> None:
    sound = PrivateStep._aim

    def aim(self: PrivateStep) -> None:
        sound(self)
        self.optimizer.noise_multiplier = self.plan.noise_multiplier

    patch.setattr(PrivateStep, "_aim", aim)


def realised_size(patch: pytest.MonkeyPatch) -> None:
    counts = []

    def counting(sound: Callable[..., None]) -> Callable[..., None]:
        def differentiate(self, x: Tensor, y: Tensor) -> None:
            counts.append(len(y))
            sound(self, x, y)

        return differentiate

    def scale_grad(self: NoisyOptimizer) -> None:
        for p in self.params:
            p.grad /= max(1, sum(counts))
        counts.clear()

    for method in (OnePassGradients, HooksGradients, GhostGradients):
        patch.setattr(method, "differentiate", counting(method.differentiate))
    patch.setattr(NoisyOptimizer, "scale_grad", scale_grad)


def sum_survives_a_stop(patch: pytest.MonkeyPatch) -> None:
    """``summed_grad`` outlives ``zero_grad``, as in Opacus after a stop inside a logical batch."""

    def clear(self: PrivateStep) -> None:
        for p in self.gradients.parameters:
            p.grad = None
            if getattr(p, "summed_grad", None) is None:
                p.summed_grad = torch.zeros_like(p)
            p.summed_grad = p.summed_grad.clone()

    patch.setattr(PrivateStep, "clear", clear)


def count_not_paid_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AdaptiveClip, "gradient_noise", lambda self, sigma: sigma)


def count_without_noise(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(QuantileClip, "count_noise", property(lambda self: 1e-3, lambda self, value: None), raising=False)


def count_of_records_doubled(patch: pytest.MonkeyPatch) -> None:
    def heavy(chunks, device: torch.device) -> Tensor:
        return torch.tensor([float(sum((~chunk.shortened).sum() for chunk in chunks))])

    patch.setattr("privlab.dpsgd.adaptive.count", heavy)
    patch.setattr("privlab.dpsgd.selfcheck.count", heavy)


def nan_let_through(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tensor, "isfinite", lambda t: torch.ones(t.shape, dtype=torch.bool))


def each_layer_with_the_whole_bound(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Clipping, "bound", lambda self, bound, parts: bound)


def per_layer_noise_of_one_layer(patch: pytest.MonkeyPatch) -> None:
    """Noise σ·C/√L, as if each layer were released by itself and the others did not count."""
    sound = NoisyOptimizer.add_noise

    def add_noise(self: NoisyOptimizer, owner: int | None = None) -> None:
        source, self.source = self.source, _Scaled(self.source, 4**-0.5)
        sound(self, owner)
        self.source = source

    patch.setattr(NoisyOptimizer, "add_noise", add_noise)


def automatic_without_normalisation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Clipping, "factors", lambda self, norms, bound: bound / (torch.zeros_like(norms) + 1.0))


def views_clipped_one_by_one(patch: pytest.MonkeyPatch) -> None:
    for method in (OnePassGradients, HooksGradients):

        def each(self, x: Tensor, y: Tensor, sound: Callable[..., None] = method.differentiate) -> None:
            self.views = 1
            sound(self, x, y)

        patch.setattr(method, "differentiate", each)


def ghost_norms_of_the_last_layer_only(patch: pytest.MonkeyPatch) -> None:
    sound = GhostGradients._first_pass

    def first_pass(self: GhostGradients, x: Tensor, y: Tensor) -> None:
        sound(self, x, y)
        self._norms = torch.stack([p._norm_sample for p in self.parameters[-2:]]).norm(dim=0)

    patch.setattr(GhostGradients, "_first_pass", first_pass)


def one_pass_norms_of_the_last_layer_only(patch: pytest.MonkeyPatch) -> None:
    sound = OnePassGradients._pass

    def one_pass(self: OnePassGradients, x: Tensor, y: Tensor) -> None:
        sound(self, x, y)
        self._norms = torch.stack(self._lengths[-2:]).norm(dim=0)

    patch.setattr(OnePassGradients, "_pass", one_pass)


def shared_uses_measured_apart(patch: pytest.MonkeyPatch) -> None:
    """√Σ‖use‖² for a parameter that two layers share; fastDP exceeds C by it (docs/privacy.md)."""
    patch.setattr(Shared, "lengths", lambda self: torch.stack([use.lengths() for use in self._uses]).norm(dim=0))


def sharing_network() -> nn.Module:
    """Two layers with one weight, whose gradients point the same way, so that their lengths nearly add up."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4))
    model[3].weight = model[2].weight
    with torch.no_grad():
        model[2].weight.copy_(torch.eye(16))
    return model


def scrambled_gradients_of_one_layer(patch: pytest.MonkeyPatch) -> None:
    """As Opacus 1.6.0 makes them for convolutions on channels_last inputs."""
    hooks, one_pass = HooksGradients.differentiate, OnePassGradients.clip

    def differentiate(self: HooksGradients, x: Tensor, y: Tensor) -> None:
        hooks(self, x, y)
        first = self.parameters[0]
        first.grad_sample = first.grad_sample.flip(-1)

    def clip(self: OnePassGradients) -> Chunk:
        chunk, first = one_pass(self), self.parameters[0]
        first.grad = first.grad.flip(-1)
        return chunk

    patch.setattr(HooksGradients, "differentiate", differentiate)
    patch.setattr(OnePassGradients, "clip", clip)


def column_norm_above_one(patch: pytest.MonkeyPatch) -> None:
    sound = correlated.strategy
    patch.setattr(correlated, "strategy", lambda bands: sound(bands) / sound(bands)[0])


def layer_thawed_after_wrapping(patch: pytest.MonkeyPatch) -> None:
    sound = PrivateStep.__init__

    def init(self: PrivateStep, model: nn.Module, *args, **options) -> None:
        model[0].requires_grad_(False)
        sound(self, model, *args, **options)
        model[0].requires_grad_(True)

    patch.setattr(PrivateStep, "__init__", init)


FORMING = ("one-pass", "hooks")

FAULTS = [
    Fault("noise halved", r"the noise has 0\.(49|50)", noise_halved),
    Fault(
        "one layer without noise",
        r"in layer 6 \(Linear\): the noise of one of its parameters has 0\.0000",
        last_layer_without_noise,
    ),
    Fault("noise once per physical batch", "Self-check failed", noise_for_each_chunk),
    Fault("no clip", "moved the clipped sum by .* more than C", no_clip),
    Fault("clip of the mean", "moved the clipped sum by .* more than C", clip_of_the_mean, methods=FORMING),
    Fault(
        "C of the schedule not followed",
        "max_grad_norm of the clip is .* at step 2",
        clip_schedule_for_the_noise_only,
        SCHEDULED,
    ),
    Fault(
        "σ of the schedule not followed", "noise_multiplier is 1.2 at step 11", noise_schedule_not_followed, SCHEDULED
    ),
    Fault("realised-size normalisation", "was divided by .* not by the expected batch size 100", realised_size),
    Fault("leak across a stop", "Self-check failed", sum_survives_a_stop),
    Fault("adaptive quantile uncounted", "together have σ=", count_not_paid_for, ADAPTIVE),
    Fault("adaptive count without noise", "noise on the count of adaptive", count_without_noise, ADAPTIVE),
    Fault("adaptive count too sensitive", "moved the count of adaptive clipping", count_of_records_doubled, ADAPTIVE),
    Fault("NaN record let through", "a record that is not a number", nan_let_through),
    Fault(
        "each layer with the whole C", "moved the clipped sum by", each_layer_with_the_whole_bound, PER_LAYER, FORMING
    ),
    Fault(
        "per-layer noise scaled wrongly",
        r"the noise has 0\.(49|50)",
        per_layer_noise_of_one_layer,
        PER_LAYER,
        FORMING,
    ),
    Fault("automatic without normalisation", "moved the clipped sum by", automatic_without_normalisation, AUTOMATIC),
    Fault(
        "views clipped one by one and summed",
        "Self-check failed",
        views_clipped_one_by_one,
        methods=FORMING,
        options={"augmentations": 3},
    ),
    Fault(
        "ghost norms of some layers only",
        "moved the clipped sum",
        ghost_norms_of_the_last_layer_only,
        methods=("ghost",),
    ),
    Fault(
        "one-pass norms of some layers only",
        "moved the clipped sum",
        one_pass_norms_of_the_last_layer_only,
        methods=("one-pass",),
    ),
    Fault(
        "uses of a shared parameter measured apart",
        "moved the clipped sum",
        shared_uses_measured_apart,
        methods=("one-pass",),
        options={"network": sharing_network},
    ),
    Fault(
        "wrong gradients of one layer",
        r"in layer 0 \(Conv2d\)",
        scrambled_gradients_of_one_layer,
        methods=FORMING,
    ),
    Fault("correlated noise with columns above 1", "× the planned standard deviation", column_norm_above_one, BANDED),
    Fault("layer thawed after wrapping", "changed after wrapping", layer_thawed_after_wrapping),
]


@pytest.mark.parametrize(
    ("fault", "method"),
    [pytest.param(fault, method, id=f"{fault.name}-{method}") for fault in FAULTS for method in fault.methods],
)
def test_fault_is_caught(fault: Fault, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.plant(monkeypatch)
    with pytest.raises(MechanismError, match=fault.words):
        check_and_train(make(fault.plan, method, **fault.options), steps=12)


def test_sound_twin_of_a_shared_parameter_passes() -> None:
    check_and_train(make(network=sharing_network))


@pytest.mark.parametrize("method", ["one-pass", "hooks", "ghost"])
@pytest.mark.parametrize(
    "plan", [FLAT, AUTOMATIC, ADAPTIVE, SCHEDULED, BANDED], ids=["flat", "automatic", "adaptive", "scheduled", "banded"]
)
def test_sound_twin_passes(plan: PrivacyPlan, method: str) -> None:
    check_and_train(make(plan, method), steps=12)


@pytest.mark.parametrize("method", FORMING)
def test_sound_twin_passes_by_layer_and_with_views(method: str) -> None:
    check_and_train(make(PER_LAYER, method))
    check_and_train(make(FLAT, method, augmentations=3))
    check_and_train(make(PER_LAYER, method, augmentations=2))


def test_steps_beyond_the_plan_are_refused() -> None:
    train(make(replace(FLAT, steps=4)), 4)
    with pytest.raises(MechanismError, match="Step 5 comes after the 4 steps"):
        train(make(replace(FLAT, steps=4)), 5)


def test_understated_sample_rate_is_refused() -> None:
    train(make(), 40, FLAT.sample_rate)
    with pytest.raises(MechanismError, match="its sample rate is above that of the plan"):
        train(make(), 40, 1.3 * FLAT.sample_rate)


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.SyncBatchNorm])
def test_batchnorm_is_refused(kind: type[nn.Module]) -> None:
    make()
    with pytest.raises(MechanismError, match=r"mixes the records of a batch.*use GroupNorm"):
        make(network=lambda: network(lambda: kind(4)))


@pytest.mark.parametrize("policy", ["private", "plain", "reproducible"])
def test_seeded_noise_is_told_from_secret_noise(policy: str) -> None:
    """Two sources made alike give the same noise only under the policy whose label says so."""
    first, second = (noise_source(policy, "none", 1, CPU, 5).perturb([torch.zeros(50)], 1.0)[0] for _ in range(2))
    assert torch.equal(first, second) == (policy == "reproducible")


def moves(step: PrivateStep, count: int) -> np.ndarray:
    """What ``count`` steps release from an empty batch, in units of the planned σ·C/B."""
    found = []
    for _ in range(count):
        before = torch.cat([p.detach().flatten() for p in step.gradients.parameters])
        step.run(*records(1), torch.arange(0), PhaseClock(CPU))
        found.append(before - torch.cat([p.detach().flatten() for p in step.gradients.parameters]))
    return torch.stack(found).numpy() * FLAT.batch_size / (0.1 * FLAT.noise_multiplier * FLAT.max_grad_norm)


def looks_right(values: np.ndarray) -> bool:
    """χ² test of the noise's deviation; refuses sound noise once in 10⁹ times."""
    squares = float(np.square(values, dtype=np.float64).sum())
    return min(stats.chi2.cdf(squares, values.size), stats.chi2.sf(squares, values.size)) > 5e-10


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.1])
def test_released_noise_shows_its_scale(factor: float) -> None:
    """With 22,000 values 10 % too little or too much is 21 standard errors away."""
    step = make()
    step.optimizer.source = _Scaled(step.noise, factor)
    assert looks_right(moves(step, 30)) == (factor == 1.0)


def test_noise_again_at_each_chunk_of_a_step_shows() -> None:
    """The same fault outside of what the self-check sees: in the loop over steps."""
    step = make()
    sound = step.perturb

    def perturb(self: PrivateStep, owner: int | None = None) -> None:
        sound()
        for p, noisy in zip(
            self.gradients.parameters,
            self.noise.perturb([p.grad for p in self.gradients.parameters], 0.006),
            strict=True,
        ):
            p.grad = noisy

    step.perturb = MethodType(perturb, step)
    assert not looks_right(moves(step, 10))
    assert looks_right(moves(make(), 10))
