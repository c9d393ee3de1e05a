"""``python -m privlab.encryption.shared.job``: one secret-shared training, a JSON object a line: ``started``, a
``point`` at each opening of the parameters, ``finished``.

SIGTERM stops it at the next opening, with ``stopped`` for ``finished``. What is refused, or fails because a party
died, is a line ``refused`` or ``failed`` and exit status 2.
"""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import closing
from dataclasses import asdict
from math import isfinite
from typing import Any

from privlab.encryption.shared.datasets import DATASETS, owners_of
from privlab.encryption.shared.settings import MODELS, SharedError, SharedFailed, SharedSettings
from privlab.encryption.shared.train import train
from privlab.joblines import say


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 finished or stopped, 2 refused or failed in words."""
    default = SharedSettings()
    parser = argparse.ArgumentParser(
        prog="python -m privlab.encryption.shared.job", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", default=default.model, choices=MODELS)
    parser.add_argument("--dataset", default="digits", choices=DATASETS)
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--sigma", type=float, default=default.noise_multiplier, help="noise multiplier")
    parser.add_argument("--delta", type=float, default=default.delta)
    given = parser.parse_args(arguments)
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    try:
        records = DATASETS[given.dataset]()
        settings = SharedSettings(
            model=given.model,
            batch_size=records.batch_size,
            steps=given.steps,
            noise_multiplier=given.sigma,
            delta=given.delta,
        )
        say("started", delta=settings.delta, steps=settings.steps, model=settings.model)
        with closing(train(settings, owners_of(*records.train), records.test, records.classes)) as points:
            for point in points:
                # JSON knows no infinity.
                say("point", **{key: None if _infinite(value) else value for key, value in asdict(point).items()})
                if stop:
                    break
    except SharedError as error:
        say("failed" if isinstance(error, SharedFailed) else "refused", message=str(error))
        return 2
    say("stopped" if stop else "finished", step=point.step)
    return 0


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and not isfinite(value)


if __name__ == "__main__":
    sys.exit(main())
