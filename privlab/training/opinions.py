"""The other accountants, asked beside the training in a process of their own.

They take a second or two of Python, which in a thread of the training's process would hold Python's lock, and so hold up every
step. ``python -m privlab.training.opinions`` reads a plan as JSON from standard input and prints the opinions as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import privlab
from privlab.privacy.confirm import Opinions, second_opinions
from privlab.privacy.plan import PrivacyPlan

log = logging.getLogger(__name__)


def ask_others(plan: PrivacyPlan) -> Future[Opinions]:
    """What other accountants say of ``plan``. Opacus's PRV, which takes many seconds, is not asked: it is on the Budget page,
    in ``verify`` and on the command line."""
    pool = ThreadPoolExecutor(1, "privlab-opinions")
    asked = pool.submit(asked_elsewhere, plan)
    pool.shutdown(wait=False)
    return asked


def asked_elsewhere(plan: PrivacyPlan) -> Opinions:
    """Every accountant's ε of ``plan`` but PRV's, from another process; from this one where none can be had."""
    try:
        done = subprocess.run(
            (sys.executable, "-m", __name__),
            input=json.dumps(plan.to_dict()),
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(privlab.__file__).parent.parent,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        said = json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        # The answer must come all the same, or nothing would confirm the last ε.
        log.warning("the accountants' process failed (%s); they are asked in this one", error)
        return second_opinions(plan, prv_seconds=0)
    return Opinions(**said | {"flags": tuple(said["flags"])})


def main() -> None:
    plan = PrivacyPlan.from_dict(json.load(sys.stdin))
    print(json.dumps(asdict(second_opinions(plan, prv_seconds=0))))


if __name__ == "__main__":
    main()
