"""Test accuracy on the whole Fashion-MNIST at ε ≤ 3, δ = 1e-5 over three seeds, beside training without privacy.

Each run is the command a person types, from process start to result. With ``--cold`` the cached ScatterNet features are
removed before the first seed, so its time holds their computation.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time

from benchmarks.common import arguments, machine, report
from privlab import paths

#: Presets, each with the learning rate of its baseline: what suits short, clipped gradients is too much for the CNN's own.
PRESETS = {"fashion-mnist": 1.2, "fashion-mnist-cnn": 0.1}
WITHOUT_PRIVACY = ("privacy.clipping=none", "privacy.noise_multiplier=0")


def trained(preset: str, *settings: str) -> tuple[dict, dict, float]:
    """Plan, last point and seconds from start to end of one command."""
    command = [sys.executable, "-m", "privlab", "train", "--preset", preset, "--json"]
    for setting in settings:
        command += ["--set", setting]
    began = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines()
    return json.loads(lines[0]), json.loads(lines[-1]), time.perf_counter() - began


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--cold", action="store_true", help="compute the features anew in the first run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    given = parser.parse_args()
    if given.cold:
        shutil.rmtree(paths.data_dir() / "features", ignore_errors=True)
    rows = []
    for preset in given.presets:
        baseline = (*WITHOUT_PRIVACY, f"training.learning_rate={PRESETS[preset]}")
        for label, settings in (("private", ()), ("without privacy", baseline)):
            seeds = range(given.seeds if label == "private" else 1)
            runs = [trained(preset, *settings, f"training.seed={seed}") for seed in seeds]
            accuracies = [point["test_accuracy"] for _, point, _ in runs]
            rows.append(
                {
                    "preset": preset,
                    "": label,
                    "epsilon": runs[0][1]["epsilon"] or "∞",
                    "sigma": runs[0][0]["noise_multiplier"],
                    "mean accuracy %": 100 * statistics.fmean(accuracies),
                    "each %": " ".join(f"{100 * a:.2f}" for a in accuracies),
                    "seconds": " ".join(f"{seconds:.0f}" for _, _, seconds in runs),
                }
            )
    report(given.json, "Fashion-MNIST, 60,000 records, δ = 1e-5, Poisson, PLD", machine("torch", "opacus"), rows)


if __name__ == "__main__":
    main()
