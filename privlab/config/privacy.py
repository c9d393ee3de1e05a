"""The settings that decide the guarantee: clipping, noise, and how the cost is counted."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from privlab.config.knobs import knob
from privlab.config.schedule import CONSTANT, Schedule, parse_custom
from privlab.config.section import Section, refusal

_SCHEDULES = {
    "constant": "constant",
    "linear": "linear",
    "exponential": "exponential",
    "step": "stairs",
    "custom": "custom",
}
_NOT_CONSTANT = ("linear", "exponential", "step")
#: Ways to clip whose C is planned, so that it may follow a schedule.
_PLANNED_CLIP = ("flat", "per-layer", "automatic")
ScheduleKind = Literal["constant", "linear", "exponential", "step", "custom"]


class PrivacyConfig(Section):
    """Clipping, noise and how the cost is counted (Abadi et al. 2016, algorithm 1)."""

    clipping: Literal["flat", "per-layer", "automatic", "adaptive", "none"] = knob(
        "flat",
        label="Clipping",
        help="How each record's gradient is bounded before summing. Flat shortens the whole gradient to C; per layer "
        "shortens each layer's part to C/√(layers); automatic scales every gradient to nearly C; adaptive lets C follow "
        "a quantile of the gradient norms, at a share of the budget. Without clipping no noise is enough.",
        labels={
            "flat": "per record (flat)",
            "per-layer": "per record and layer",
            "automatic": "automatic (AUTO-S)",
            "adaptive": "adaptive quantile",
            "none": "none",
        },
    )
    max_grad_norm: float = knob(
        1.0,
        gt=0,
        le=1000,
        label="Clipping bound",
        symbol="C",
        unit="L2 norm",
        step=0.1,
        format="%.4g",
        help="The longest gradient that one record may contribute; longer ones are shortened to this length. "
        "Adaptive clipping starts from it.",
    )
    noise_multiplier: float | None = knob(
        None,
        ge=0,
        le=1000,
        label="Noise multiplier",
        symbol="σ",
        unit="× C",
        step=0.1,
        format="%.4g",
        help="Standard deviation of the Gaussian noise added to the summed gradients, in multiples of C.",
    )
    target_epsilon: float | None = knob(
        None,
        gt=0,
        le=1000,
        label="Target epsilon",
        symbol="ε",
        unit="for the whole run",
        step=0.5,
        format="%.4g",
        help="The privacy budget for the whole run; PrivLab finds the smallest noise that keeps to it.",
    )
    delta: float = knob(
        1e-5,
        gt=0,
        lt=1,
        label="Delta",
        symbol="δ",
        unit="probability",
        format="%.1e",
        help="The small chance that the ε bound does not hold; it must stay below 1 / number of records.",
    )
    epsilon_limit: float = knob(
        0.0,
        ge=0,
        le=1000,
        label="Stop at epsilon",
        symbol="ε",
        unit="0: at the last epoch",
        step=0.5,
        format="%.4g",
        expert=True,
        help="The run ends by itself after the last step whose ε does not exceed this; 0 trains all epochs.",
    )
    automatic_stability: float = knob(
        0.01,
        ge=0,
        le=10,
        label="Stability",
        symbol="γ",
        step=0.01,
        format="%.4g",
        expert=True,
        when={"privacy.clipping": ("automatic",)},
        help="Automatic clipping scales a gradient g to C·g/(‖g‖+γ), so short gradients stay shorter; 0 makes every "
        "gradient exactly C long (Bu et al. 2023).",
    )
    target_quantile: float = knob(
        0.5,
        gt=0,
        lt=1,
        label="Target quantile",
        symbol="γ",
        step=0.05,
        format="%.3g",
        expert=True,
        when={"privacy.clipping": ("adaptive",)},
        help="The share of gradients that C should not shorten (Andrew et al. 2021).",
    )
    quantile_rate: float = knob(
        0.2,
        gt=0,
        le=5,
        label="Quantile learning rate",
        symbol="η_C",
        step=0.05,
        format="%.3g",
        expert=True,
        when={"privacy.clipping": ("adaptive",)},
        help="How fast C follows: each step multiplies it by exp(−η_C·(share not clipped − target quantile)).",
    )
    quantile_noise: float = knob(
        0.05,
        gt=0,
        le=10,
        label="Noise on the count",
        symbol="σ_b/B",
        unit="× B",
        step=0.01,
        format="%.4g",
        expert=True,
        when={"privacy.clipping": ("adaptive",)},
        help="Noise on the number of gradients that are not clipped. Less noise here takes a larger share of the budget, "
        "so the gradients get more; the total stays at σ.",
    )
    clip_schedule: ScheduleKind = knob(
        "constant",
        label="Clip schedule",
        expert=True,
        labels=_SCHEDULES,
        when={"privacy.clipping": _PLANNED_CLIP},
        help="How C changes over the steps. The noise follows it step by step, so ε does not change.",
    )
    clip_schedule_end: float = knob(
        0.5,
        ge=0.001,
        le=1000,
        label="C at the end",
        unit="× C",
        step=0.1,
        format="%.4g",
        expert=True,
        when={"privacy.clip_schedule": _NOT_CONSTANT, "privacy.clipping": _PLANNED_CLIP},
        help="The bound at the last step, in multiples of the first.",
    )
    clip_schedule_custom: str = knob(
        "1:1",
        label="C from step on",
        unit="step:factor, …",
        expert=True,
        when={"privacy.clip_schedule": ("custom",), "privacy.clipping": _PLANNED_CLIP},
        help="From which step on C is multiplied by what: 1:1, 500:0.5 halves it from step 500 on.",
    )
    noise_schedule: ScheduleKind = knob(
        "constant",
        label="Noise schedule",
        expert=True,
        labels=_SCHEDULES,
        help="How σ changes over the steps; ε counts every step with its own σ. With a target ε the whole schedule is scaled.",
    )
    noise_schedule_end: float = knob(
        0.5,
        ge=0.001,
        le=1000,
        label="σ at the end",
        unit="× σ",
        step=0.1,
        format="%.4g",
        expert=True,
        when={"privacy.noise_schedule": _NOT_CONSTANT},
        help="The noise multiplier at the last step, in multiples of the first.",
    )
    noise_schedule_custom: str = knob(
        "1:1",
        label="σ from step on",
        unit="step:factor, …",
        expert=True,
        when={"privacy.noise_schedule": ("custom",)},
        help="From which step on σ is multiplied by what: 1:1, 500:2 doubles it from step 500 on.",
    )
    schedule_stairs: int = knob(
        4,
        ge=2,
        le=64,
        label="Stairs",
        step=1,
        expert=True,
        when={"privacy.clip_schedule|privacy.noise_schedule": ("step",)},
        help="In how many even stairs a stairs schedule goes from its first value to its last.",
    )
    bands: int = knob(
        1,
        ge=1,
        le=64,
        label="Bands of correlated noise",
        symbol="b",
        unit="1: DP-SGD",
        step=1,
        expert=True,
        help="Above 1: DP-FTRL by banded matrix factorisation. The noise of b steps in a row partly cancels, and each "
        "record can join every b-th batch only, with b times the chance; ε counts these.",
    )
    adjacency: Literal["add-or-remove-one", "replace-one"] = knob(
        "add-or-remove-one",
        label="Neighbouring data sets",
        expert=True,
        labels={"add-or-remove-one": "one record added or removed", "replace-one": "one record replaced"},
        help="What an attacker must not tell apart: the data with and without one record, or with one record replaced "
        "by any other. Replacing is the stronger promise: the same noise gives up to twice the ε.",
    )
    accountant: Literal["pld", "rdp"] = knob(
        "pld",
        label="Accountant",
        expert=True,
        labels={"pld": "PLD (tight)", "rdp": "RDP (looser)"},
        help="How ε is added up. PLD composes privacy loss distributions and is tight; RDP (Rényi) gives 9–20 % more ε for "
        "the same noise. Both are upper bounds.",
    )
    randomness: Literal["private", "plain", "reproducible"] = knob(
        "private",
        label="Randomness",
        help="Private draws noise and batches from a stream cipher keyed by the operating system. Plain takes the noise "
        "from PyTorch's generator, which is not cryptographic. Reproducible derives all from a known seed, which voids "
        "the privacy guarantee.",
        labels={
            "private": "private (stream cipher)",
            "plain": "plain (PyTorch's generator)",
            "reproducible": "reproducible, not private",
        },
        expert=True,
    )
    sampling: Literal["poisson", "shuffled"] = knob(
        "poisson",
        label="Batches",
        expert=True,
        when={"privacy.clipping": ("none",)},
        labels={"poisson": "coin flips (Poisson)", "shuffled": "shuffled, no guarantee"},
        help="How the records of a batch are drawn. The accountants count coin flips. Shuffling takes every record once an epoch, "
        "as training without privacy usually does, and is for comparing with it: a shuffled run claims no guarantee.",
    )
    protection: Literal["none", "rounded"] = knob(
        "none",
        label="Floating-point protection",
        expert=True,
        labels={"none": "none", "rounded": "rounded Gaussian"},
        help="Noise in floating point leaves traces in the last digits, which can give a record away. Rounded puts sum and "
        "noise on a common grid and adds them as whole numbers; ε counts the rounding.",
    )

    @model_validator(mode="after")
    def _noise_is_said_once(self) -> Self:
        sigma, target = self.noise_multiplier, self.target_epsilon
        if sigma is not None and target is not None:
            raise refusal(
                "privacy.noise_multiplier",
                f"noise_multiplier={sigma:g} and target_epsilon={target:g} are both set; give one of them.",
            )
        if sigma is None and target is None:
            raise refusal(
                "privacy.noise_multiplier",
                "neither noise_multiplier nor target_epsilon is set; give one (noise_multiplier=0 trains without noise).",
            )
        if self.clipping == "none" and self.is_private:
            given = f"target_epsilon={target:g}" if target is not None else f"noise_multiplier={sigma:g}"
            raise refusal(
                "privacy.clipping",
                f"clipping=none with {given}: without a bound on each record no noise gives a guarantee; "
                "choose flat clipping, or noise_multiplier=0.",
            )
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """Combinations for which no sound mechanism is built."""
        for which in ("clip", "noise"):
            path, text = f"{which}_schedule_custom", getattr(self, f"{which}_schedule_custom")
            if getattr(self, f"{which}_schedule") == "custom":
                try:
                    parse_custom(text)
                except ValueError as error:
                    raise refusal(f"privacy.{path}", f"{path}={text!r} is refused: {error}") from None
        if self.clipping == "adaptive" and not self.is_private:
            raise refusal(
                "privacy.clipping",
                "clipping=adaptive without noise: its count is only private with noise; choose flat.",
            )
        if self.sampling == "shuffled" and (self.is_private or self.clipping != "none"):
            raise refusal(
                "privacy.sampling",
                f"sampling=shuffled with clipping={self.clipping}: noise is counted for coin flips only, so shuffled batches are "
                "for clipping=none, noise_multiplier=0; choose poisson.",
            )
        if self.protection == "rounded" and self.randomness == "plain":
            raise refusal(
                "privacy.protection",
                "protection=rounded with randomness=plain: whole-number noise comes from the stream cipher only; choose "
                "randomness=private.",
            )
        if self.bands > 1:
            clashes = {
                "clipping=adaptive": self.clipping == "adaptive",
                f"clip_schedule={self.clip_schedule}": not self.schedule_of_clip.is_constant,
                f"noise_schedule={self.noise_schedule}": not self.schedule_of_noise.is_constant,
                "protection=rounded": self.protection == "rounded",
                "noise_multiplier=0": not self.is_private,
            }
            clash = next((what for what, there in clashes.items() if there), None)
            if clash:
                raise refusal(
                    "privacy.bands",
                    f"bands={self.bands} with {clash}: correlated noise is counted for one constant C and σ above 0 in "
                    "floating point only; choose bands=1, or change the other setting.",
                )
        return self

    @property
    def is_private(self) -> bool:
        """Whether a finite ε is claimed at all (noise is added to clipped gradients)."""
        return self.target_epsilon is not None or bool(self.noise_multiplier)

    @property
    def schedule_of_noise(self) -> Schedule:
        """Factor on σ, step by step."""
        return _schedule(self.noise_schedule, self.noise_schedule_end, self.schedule_stairs, self.noise_schedule_custom)

    @property
    def schedule_of_clip(self) -> Schedule:
        """Factor on C, step by step; constant where C is learnt or not used."""
        if self.clipping in ("adaptive", "none"):
            return CONSTANT
        return _schedule(self.clip_schedule, self.clip_schedule_end, self.schedule_stairs, self.clip_schedule_custom)


def _schedule(kind: str, end: float, stairs: int, custom: str) -> Schedule:
    if kind == "constant":
        return CONSTANT
    if kind == "custom":
        return Schedule("custom", custom=parse_custom(custom))
    return Schedule(kind, end, stairs) if kind == "step" else Schedule(kind, end)
