"""``python -m privlab.encryption.fully.job``: one encrypted training, a JSON object a line: ``started``, a ``point`` a step, ``finished``.

SIGTERM stops it after the step that is under way, with ``stopped`` for ``finished``. What is refused, or fails because the
server died, is a line ``refused`` or ``failed`` and exit status 2. It is the key holder's process and starts the server's.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from contextlib import closing
from typing import get_args

from privlab.encryption.child import ChildError, ChildRefused
from privlab.encryption.fully import datasets
from privlab.encryption.fully.arithmetic import FullyError
from privlab.encryption.fully.config import FullyConfig, Mode, guarantee_of
from privlab.encryption.fully.train import train_encrypted
from privlab.joblines import say


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 finished or stopped, 2 refused or failed in words."""
    given = _parser().parse_args(arguments)
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    try:
        config = FullyConfig(
            mode=given.mode,
            steps=given.steps,
            noise_multiplier=given.sigma,
            learning_rate=given.learning_rate,
            momentum=given.momentum,
            delta=given.delta,
            twin=not given.no_twin,
        )
        records = datasets.load(given.dataset)
        guarantee = guarantee_of(config, *records.train_x.shape)
        say(
            "started",
            dataset=given.dataset,
            mode=config.mode,
            steps=config.steps,
            records=guarantee.layout.records,
            inputs=guarantee.layout.inputs,
            test_records=len(records.test_y),
            ciphertexts=guarantee.layout.blocks,
            noise_multiplier=config.noise_multiplier,
            accounted_noise_multiplier=guarantee.accounted,
            sensitivity=guarantee.sensitivity,
            noise_std=guarantee.noise_std,
            delta=config.delta,
            epsilon=_finite(guarantee.epsilons(config.steps)[-1]),
            holds_against=config.holds_against,
            twin=config.twin,
            labels=records.labels,
        )
        points = train_encrypted(config, records.train_x, records.train_y, records.test_x, records.test_y)
        with closing(points):
            for point in points:
                say("point", **point.to_dict())
                if stop:
                    break
    except (FullyError, ChildError) as error:
        # A dead server is no refusal.
        say("refused" if isinstance(error, FullyError | ChildRefused) else "failed", message=str(error))
        return 2
    say("stopped" if stop else "finished", step=point.step)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m privlab.encryption.fully.job", description=__doc__.splitlines()[0])
    default = FullyConfig()
    parser.add_argument("--dataset", default="breast-cancer", choices=tuple(datasets.DATASETS))
    parser.add_argument("--mode", default=default.mode, choices=get_args(Mode))
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--sigma", type=float, default=default.noise_multiplier, help="noise multiplier")
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate)
    parser.add_argument("--momentum", type=float, default=default.momentum)
    parser.add_argument("--delta", type=float, default=default.delta)
    parser.add_argument("--no-twin", action="store_true", help="leave out the plain twin, which is told the noise")
    return parser


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


if __name__ == "__main__":
    sys.exit(main())
