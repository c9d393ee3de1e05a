"""Every clipping, noise and optimiser mode at equal ε, beside flat clipping with constant noise, over several seeds.

All runs of a data set have the same model, batch size, epochs, ε and δ; only what the row names differs. Adaptive clipping, whose
C finds a scale of its own, and the Adams have learning rates of their own. Nothing else was tuned for a mode, so a row says
what switching it on does, not its best.
"""

from __future__ import annotations

import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.common import arguments, machine, report
from privlab.config import RunConfig, load_preset

#: Row → settings that differ from the base.
MODES: dict[str, dict[str, object]] = {
    "flat": {},
    "per layer": {"privacy.clipping": "per-layer"},
    "automatic (γ = 0.01)": {"privacy.clipping": "automatic"},
    "normalised (γ = 0)": {"privacy.clipping": "automatic", "privacy.automatic_stability": 0.0},
    "adaptive quantile": {"privacy.clipping": "adaptive"},
    "C linear to 0.5": {"privacy.clip_schedule": "linear"},
    "C exponential to 0.5": {"privacy.clip_schedule": "exponential"},
    "C in stairs to 0.5": {"privacy.clip_schedule": "step"},
    "C custom": {"privacy.clip_schedule": "custom", "privacy.clip_schedule_custom": "1:1, 60:0.7"},
    "σ linear to 0.5": {"privacy.noise_schedule": "linear"},
    "σ exponential to 0.5": {"privacy.noise_schedule": "exponential"},
    "σ in stairs to 0.5": {"privacy.noise_schedule": "step"},
    "σ custom": {"privacy.noise_schedule": "custom", "privacy.noise_schedule_custom": "1:1, 60:0.7"},
    "DP-FTRL, 2 bands": {"privacy.bands": 2},
    "DP-FTRL, 4 bands": {"privacy.bands": 4},
    "rounded noise": {"privacy.protection": "rounded"},
    "plain generator": {"privacy.randomness": "plain"},
    "RDP accountant": {"privacy.accountant": "rdp"},
    "replace one": {"privacy.adjacency": "replace-one"},
    "DP-Adam": {"training.optimizer": "adam"},
    "DP-Adam, corrected": {"training.optimizer": "adam-bc"},
    "no weight averaging": {"training.ema_decay": 0.0},
    "2 views a record": {"training.augmentations": 2},
}
#: Learning rates of the rows whose updates have another scale than the base's, by data set.
LEARNING_RATES = {
    "digits": {"adaptive quantile": 0.03, "DP-Adam": 0.01, "DP-Adam, corrected": 0.0003},
    "fashion-mnist": {"adaptive quantile": 0.3, "DP-Adam": 0.01, "DP-Adam, corrected": 0.001},
}


def base(dataset: str) -> RunConfig:
    """The settings that every row of ``dataset`` shares."""
    config = load_preset("digits").replace(training__curve_points=2)
    if dataset == "digits":
        return config
    return config.replace(
        data__dataset=dataset,
        privacy__delta=1e-5,
        privacy__max_grad_norm=0.5,
        training__batch_size=2048,
        training__epochs=4,
        training__learning_rate=0.5,
    )


def accuracy(task: tuple[str, str, int]) -> tuple[float, float, float]:
    """Test accuracy in per cent, ε and σ of one run."""
    import torch

    from privlab.metrics import Point
    from privlab.training.train import train

    torch.set_num_threads(1)
    dataset, mode, seed = task
    settings = {path.replace(".", "__"): value for path, value in MODES[mode].items()}
    if rate := LEARNING_RATES[dataset].get(mode):
        settings["training__learning_rate"] = rate
    config = base(dataset).replace(**settings, training__seed=seed)
    points = [item for item in train(config) if isinstance(item, Point)]
    last = points[-1]
    return 100 * last.metrics["test_accuracy"], last.epsilon, last.metrics["noise_multiplier"]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--datasets", nargs="+", choices=LEARNING_RATES, default=list(LEARNING_RATES))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    for dataset in given.datasets:
        tasks = [(dataset, mode, seed) for mode in given.modes for seed in range(given.seeds)]
        with ProcessPoolExecutor(given.processes, get_context("spawn")) as pool:
            found = {}
            for task, result in zip(tasks, pool.map(accuracy, tasks), strict=True):
                found[task] = result
                print(f"{len(found)} of {len(tasks)}: {task[1]}, seed {task[2]}: {result[0]:.2f} %", file=sys.stderr)
        rows = []
        for mode in given.modes:
            each = [found[dataset, mode, seed] for seed in range(given.seeds)]
            accuracies = [one for one, _, _ in each]
            rows.append(
                {
                    "mode": mode,
                    "epsilon": each[0][1],
                    "last sigma": each[0][2],
                    "mean accuracy %": statistics.fmean(accuracies),
                    "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
                    "each %": " ".join(f"{one:.2f}" for one in accuracies),
                }
            )
        report(given.json, f"{dataset}: every mode at the same ε", machine("torch", "opacus"), rows)


if __name__ == "__main__":
    main()
