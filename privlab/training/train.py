"""Settings in, a stream of points and events out. Needs neither browser nor store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any, Literal

from privlab.config import RunConfig
from privlab.data.own import Added, added
from privlab.metrics import Point, reached
from privlab.preflight import preflight
from privlab.privacy.accounting import epsilon_curve
from privlab.privacy.confirm import Opinions, confirm
from privlab.privacy.plan import PrivacyPlan
from privlab.privacy.planning import logged_steps
from privlab.training.background import Unwanted, narrated
from privlab.training.checkpoint import Checkpoint
from privlab.training.device import choose_device
from privlab.training.events import Event
from privlab.training.exposure import Exposure, summary
from privlab.training.inputs import inputs
from privlab.training.opinions import Others
from privlab.training.trainer import Trainer

#: Looks at how far planted secrets are exposed: one an epoch, but so many at least and at most. Each asks of thousands of texts.
_LOOKS = (4, 20)
Save = Callable[[Checkpoint], None]
Control = Callable[[], Literal["pause", "stop"] | None]


def train(
    config: RunConfig, *, resume: Checkpoint | None = None, save: Save | None = None, control: Control | None = None
) -> Iterator[Point | Event]:
    """Train as ``config`` says; a generator of points and events.

    At each logged step the order is: evaluate, ``save`` the checkpoint, then yield the point. A point that a reader has
    seen therefore never lies ahead of the last durable checkpoint, and steps that a crash makes the run repeat have
    released nothing (see :mod:`privlab.training.checkpoint`). Points before the last are evaluated on the first 2,000
    test records, the last one on all of them.

    Args:
        config: the settings.
        resume: go on after this checkpoint. More epochs than it was made with extend the run; q, σ, C, B and δ must
            stay the same, so an extension of a run with ``target_epsilon`` names its ``noise_multiplier`` instead.
        save: makes a checkpoint durable before it returns; time spent here counts as “encrypt” in a sealed run.
        control: asked at the end of each logical batch, the only place where training may pause or stop, and twice a
            second while the inputs are prepared; a run that ends then has no point and nothing new to save.

    Yields:
        ``info`` and ``warning`` events, ``started``, the points, and last ``finished``, ``paused`` or ``stopped``.

    Raises:
        ConfigError: before anything is computed, with every problem.
        CheckpointError: ``resume`` does not belong to ``config``.
        DataMissing: the records are not on this machine.
        MechanismError: clip or noise are not what the plan says.
        AccountingError: dp-accounting finds a larger ε for the plan.
        StoreError: the store of an encrypted run failed or refused; the last checkpoint can be gone on from.
    """
    checked = preflight(config)
    plan = checked.plan
    if resume:
        resume.require_continuation(config, plan)
    device = choose_device(config.performance.device)
    wished = _Wish(control)
    try:
        dataset = yield from narrated(lambda progress: inputs(config, progress), wished)
    except Unwanted:
        yield _ended(wished.heard, resume.step if resume else 0, plan, None)
        return
    trainer = Trainer(checked, dataset, device)
    yield from _check(trainer)
    if resume:
        trainer.restore(resume)  # 1 load the parameters
    others = Others(plan)
    try:
        trainer.open_store()  # 2 encrypt them: the store's server holds ciphertext only
        yield from _steps(trainer, others, resume.seconds if resume else 0.0, save, wished)
    finally:
        others.close()
        trainer.close()


def _steps(
    trainer: Trainer, others: Others, seconds_before: float, save: Save | None, wished: _Wish
) -> Iterator[Point | Event]:
    config, plan = trainer.config, trainer.plan
    yield _started(trainer)
    if here := added().get(config.model.name):
        yield _began_from(here)
    if share := trainer.full_texts:
        # Of the training texts it would be told outside of the guarantee.
        yield Event(
            "info",
            f"{share:.0%} of the test texts have {trainer.context} tokens or more; the model reads the first {trainer.context}.",
            {"full_texts": share, "context": trainer.context},
        )
    if trainer.fallbacks:
        yield Event(
            "info",
            f"Without a one-pass rule, so by Opacus's per-sample gradients, slower: {', '.join(trainer.fallbacks)}.",
            {"fallbacks": trainer.fallbacks},
        )
    spent = _Spent(plan, logged_steps(plan.steps, config.training.curve_points))
    unconfirmed = plan.is_private
    watch = _Stopwatch(seconds_before)
    point, finite = None, True
    looks = min(max(config.training.epochs, _LOOKS[0]), _LOOKS[1])
    looked, exposed = looks * trainer.step // plan.steps, ()
    for step in range(trainer.step + 1, plan.steps + 1):  # 7 repeat 3–6
        logged, last = step in spent, step == plan.steps
        trainer.advance(logged)  # 3 per-sample gradients · 4 clip · 5 perturb · 6 update, in dpsgd/step.py
        watch.count()
        if not (last or wished() or logged):
            continue
        metrics = {"steps_per_second": watch.pace()} | trainer.diagnostics() | _evaluated(trainer, last)
        if last or wished.heard or looks * step // plan.steps > looked:
            looked, exposed = looks * step // plan.steps, trainer.exposures()
            metrics |= summary(exposed)
        seconds = watch.seconds()
        if save:
            began = perf_counter()
            # 2 encrypt them: a sealed vault lets no parameter reach the disk in clear
            save(trainer.checkpoint(seconds))
            if config.encryption.is_sealed:
                trainer.clock.add("encrypt", perf_counter() - began)
        metrics |= trainer.clock.take()
        point = Point(step, step * plan.sample_rate, seconds, spent.at(step), metrics)
        watch.pause()
        if unconfirmed and (last or others.ready()):
            opinions, unconfirmed = others.opinions(), False
            confirm(plan, opinions)  # no final ε is published that dp-accounting does not confirm
            yield _told(opinions)
        yield point
        if finite and "test_loss" not in metrics:
            finite = False
            yield Event("warning", "The test loss is no longer a finite number; a smaller learning rate may help.")
        if wished.heard:
            break
        watch.go_on()
    if exposed:
        yield _given_away(exposed)
    if held := trainer.held_by_server():
        yield Event(
            "info",
            f"The server's copy of the parameters begins with the bytes {held[:12].hex(' ')} …",
            {"held_by_server": held.hex()},
        )
    yield _ended(wished.heard, trainer.step, plan, point)


def _check(trainer: Trainer) -> Iterator[Event]:
    if not trainer.plan.is_private:
        yield Event("warning", "No differential privacy: without noise no ε is claimed (ε = ∞).")
        return
    found = trainer.check_mechanism()
    yield Event(
        "info",
        f"Self-check passed: one {trainer.plan.unit} moves the clipped sum by at most {found.sensitivity:.3f} C, "
        f"the noise is {found.noise_ratio:.3f} × σ·C.",
        vars(found),
    )
    if trainer.config.privacy.randomness == "reproducible":
        yield Event(
            "warning", "Reproducible, not private: whoever knows the seed can redraw the noise and subtract it."
        )


def _started(trainer: Trainer) -> Event:
    plan, before = trainer.plan, trainer.step
    what = f"Resumed after step {before} of {plan.steps}" if before else f"Started: {plan.steps} steps"
    return Event(
        "started",
        f"{what} on {trainer.device.type}, {trainer.dimension:,} parameters{_kept(trainer)}.",
        {
            "device": trainer.device.type,
            "gradient_method": trainer.method,
            "parameters": trainer.dimension,
            "step": before,
            "plan": plan.to_dict(),
        },
    )


def _began_from(added: Added) -> Event:
    """Where added weights came from, which the claim says also when they are no longer here; a folder's path is kept here."""
    source = added.source if added.revision else ""
    about = {"source": source, "revision": added.revision, "sha256": added.sha256}
    return Event("info", f"Begins from the weights of {added.name}.", {"weights": about})


def _kept(trainer: Trainer) -> str:
    encryption = trainer.config.encryption
    if not encryption.is_store:
        return ""
    owners = f", {trainer.plan.owners} data owners simulated in one process" if trainer.plan.owners > 1 else ""
    where = f"the server at {encryption.server}" if encryption.server else "a server process on this machine"
    return f", which {where} keeps as ciphertext ({encryption.mode}) without a key{owners}"


def _told(opinions: Opinions) -> Event:
    about = {"opinions": asdict(opinions)}
    if opinions.flags:
        return Event("warning", "The accountants do not agree: " + " ".join(opinions.flags), about)
    return Event(
        "info",
        f"Second opinions on the final ε: PLD {opinions.pld:.4f}, dp-accounting's PLD {opinions.pld_library:.4f}, "
        f"RDP {opinions.rdp:.4f} (looser).",
        about,
    )


def _given_away(exposed: Sequence[Exposure]) -> Event:
    recited = sum(found.recited for found in exposed)
    most = max(found.bits for found in exposed)
    return Event(
        "warning" if recited else "info",
        f"The model recites {recited} of {len(exposed)} planted secrets; the most exposed one has {most:.1f} bits.",
        {"exposures": [{**asdict(found.secret), "bits": found.bits, "by": found.by} for found in exposed]},
    )


def _ended(wish: str | None, step: int, plan: PrivacyPlan, point: Point | None) -> Event:
    where = f"step {step} of {plan.steps}"
    data: dict[str, Any] = {"step": step} | ({"epsilon": point.epsilon, **point.metrics} if point else {})
    if wish:
        kind, word = {"pause": ("paused", "Paused"), "stop": ("stopped", "Stopped")}[wish]
        return Event(kind, f"{word} after {where}.", data)
    result = f"; {words}" if point and (words := reached(point.metrics)) else ""
    if plan.planned_steps and plan.steps < plan.planned_steps:
        where += f", at its limit: one more of the {plan.planned_steps} planned would pass ε = {plan.epsilon_limit:g}"
    return Event("finished", f"Finished after {where}{result}.", data)


def _evaluated(trainer: Trainer, last: bool) -> dict[str, float]:
    began = perf_counter()
    found = trainer.evaluate(everything=last)
    return found.metrics | {"time_evaluate": perf_counter() - began}


class _Wish:
    """Asks ``control`` whether training should pause or stop, and keeps the last answer."""

    def __init__(self, control: Control | None):
        self._control = control
        self.heard: Literal["pause", "stop"] | None = None

    def __call__(self) -> bool:
        self.heard = self._control() if self._control else None
        return self.heard is not None


class _Spent:
    """ε at the logged steps, in one pass over the plan: about 0.1 s for 60 points; a call a point takes 60 times that."""

    def __init__(self, plan: PrivacyPlan, marks: Sequence[int]):
        self._plan = plan
        self._epsilons = self._curve(marks)

    def _curve(self, steps: Sequence[int]) -> dict[int, float]:
        return dict(zip(steps, epsilon_curve(self._plan, steps).tolist(), strict=True))

    def __contains__(self, step: int) -> bool:
        return step in self._epsilons

    def at(self, step: int) -> float | None:
        """ε after ``step`` steps; None where no guarantee is claimed."""
        if not self._plan.is_private:
            return None
        if step not in self:
            # A pause between two marks; computed with all of them, so that it lies between theirs.
            self._epsilons |= self._curve(sorted({*self._epsilons, step}))
        return self._epsilons[step]


class _Stopwatch:
    """Seconds of training and evaluation, without the time that the reader of the points takes."""

    def __init__(self, before: float):
        self._before, self._since = before, perf_counter()
        self._steps, self._lapped = 0, self._since

    def count(self) -> None:
        self._steps += 1

    def seconds(self) -> float:
        return self._before + perf_counter() - self._since

    def pace(self) -> float:
        """Steps per second since the last point was handed over."""
        return self._steps / (perf_counter() - self._lapped)

    def pause(self) -> None:
        self._before = self.seconds()

    def go_on(self) -> None:
        self._since = self._lapped = perf_counter()
        self._steps = 0
