"""What the last steps say about clipping and noise. Private: computed from training records, not covered by ε."""

from __future__ import annotations

import math

import torch

from privlab.dpsgd.report import StepReport
from privlab.privacy.plan import PrivacyPlan


class Diagnostics:
    """Gathers step reports between two points. Nothing is read back from the device before :meth:`collect`.

    Args:
        plan: gives σ and C of the first step, until a step has been added.
        dimension: d, the number of trained parameters.
    """

    def __init__(self, plan: PrivacyPlan, dimension: int):
        self._plan, self._dimension = plan, dimension
        self._forget()

    def _forget(self) -> None:
        self._loss: torch.Tensor | float = 0.0
        self._records = self._dropped = 0
        self._last: StepReport | None = None

    def add(self, report: StepReport) -> None:
        for chunk in report.chunks:
            self._loss = self._loss + chunk.losses.sum()
            self._records += len(chunk.losses)
            self._dropped += chunk.dropped
        self._last = report

    def collect(self) -> dict[str, float]:
        """Metrics since the last call, by key of ``METRICS``; what cannot be said is left out.

        Mean loss and dropped records are over all steps since then; gradient norms, clipped share, signal to noise
        (‖clipped sum‖ over the noise's expected length, its deviation times √d), batch size, C, σ and the released share
        of adaptive clipping are those of the last step.
        """
        last = self._last
        in_force = last or self._plan
        found = {"noise_multiplier": float(in_force.noise_multiplier)}
        if in_force.max_grad_norm is not None:
            found["max_grad_norm"] = float(in_force.max_grad_norm)
        if last is not None:
            found |= {"batch_size": float(last.batch_size), "non_finite": float(self._dropped)}
            found |= _norms(last)
            if last.signal is not None and last.noise_std:
                found["snr"] = last.signal.item() / (last.noise_std * math.sqrt(self._dimension))
            if last.quantile_share is not None:
                found["quantile_share"] = last.quantile_share
        if self._records:
            found["train_loss"] = float(self._loss) / self._records
        self._forget()
        return {key: value for key, value in found.items() if math.isfinite(value)}


def _norms(report: StepReport) -> dict[str, float]:
    parts = [chunk.norms for chunk in report.chunks if chunk.norms is not None]
    if not parts or not len(norms := torch.cat(parts)):
        return {}
    p10, p50, p90 = torch.quantile(norms, norms.new_tensor([0.1, 0.5, 0.9])).tolist()
    share = torch.cat([chunk.shortened for chunk in report.chunks]).float().mean().item()
    return {"grad_norm_p10": p10, "grad_norm_p50": p50, "grad_norm_p90": p90, "clipped_share": share}
