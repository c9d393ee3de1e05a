"""``python -m privlab.encryption.shared.job``: one secret-shared training of the digits, a JSON object a line: ``started``, a
``point`` at each opening of the parameters, ``finished``.

SIGTERM stops it at the next opening, with ``stopped`` for ``finished``. What is refused is a line ``refused`` and exit status 2.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import closing
from dataclasses import asdict
from math import isfinite
from typing import Any

import numpy as np

from privlab.encryption.shared.bridge import owners_of, train
from privlab.encryption.shared.settings import MODELS, SharedError, SharedSettings

_WHITE = 16.0
_CLASSES = 10


def digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Training and test part of the digits (Alpaydin and Kaynak 1998, with scikit-learn), 64 inputs in 0…1: every fifth of each
    digit is a test picture, as in :mod:`privlab.data.load`."""
    from sklearn.datasets import load_digits

    pixels, digit = load_digits(return_X_y=True)
    test = np.zeros(len(digit), dtype=bool)
    for kind in range(_CLASSES):
        test[np.flatnonzero(digit == kind)[4::5]] = True
    pixels = pixels / _WHITE
    return (pixels[~test], digit[~test]), (pixels[test], digit[test])


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 finished or stopped, 2 refused or failed in words."""
    default = SharedSettings()
    parser = argparse.ArgumentParser(
        prog="python -m privlab.encryption.shared.job", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", default=default.model, choices=MODELS)
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--sigma", type=float, default=default.noise_multiplier, help="noise multiplier")
    parser.add_argument("--delta", type=float, default=default.delta)
    given = parser.parse_args(arguments)
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    try:
        settings = SharedSettings(model=given.model, steps=given.steps, noise_multiplier=given.sigma, delta=given.delta)
        records, test = digits()
        _say("started", delta=settings.delta, steps=settings.steps, model=settings.model)
        with closing(train(settings, owners_of(*records), test, _CLASSES)) as points:
            for point in points:
                # JSON knows no infinity.
                _say("point", **{key: None if _infinite(value) else value for key, value in asdict(point).items()})
                if stop:
                    break
    except SharedError as error:
        _say("refused", message=str(error))
        return 2
    _say("stopped" if stop else "finished", step=point.step)
    return 0


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and not isfinite(value)


def _say(kind: str, **fields: Any) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
