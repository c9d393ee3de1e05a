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
from dataclasses import asdict

from privlab import paths
from privlab.privacy.confirm import Opinions, second_opinions
from privlab.privacy.plan import PrivacyPlan

log = logging.getLogger(__name__)


class Others:
    """What other accountants say of ``plan``. Opacus's PRV, which takes many seconds, is not asked: it is on the Budget page, in
    ``verify`` and on the command line. :meth:`close` it at the end."""

    def __init__(self, plan: PrivacyPlan):
        self._plan = plan
        self._process = start(plan) if plan.is_private else None

    def ready(self) -> bool:
        """Whether :meth:`opinions` need not be waited for."""
        return self._process is not None and self._process.poll() is not None

    def opinions(self) -> Opinions:
        """Every accountant's ε but PRV's; worked out here where there was no process to be had."""
        if self._process:
            said, complaint = self._process.communicate()
            try:
                found = json.loads(said)
                return Opinions(**found | {"flags": tuple(found["flags"])})
            except ValueError:
                # The answer must come all the same, or nothing would confirm the last ε.
                log.warning("the accountants' process failed; they are asked in this one: %s", complaint[-500:])
        return second_opinions(self._plan, prv_seconds=0)

    def close(self) -> None:
        """End the process, if it is still at work."""
        if self._process:
            self._process.kill()
            self._process.communicate()


def start(plan: PrivacyPlan) -> subprocess.Popen[str] | None:
    """The process, told ``plan``; None where it cannot be started."""
    try:
        process = subprocess.Popen(
            (sys.executable, "-m", __name__),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=paths.SOURCE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        with process.stdin as told:
            json.dump(plan.to_dict(), told)
    except OSError as error:
        log.warning("no process for the accountants: %s", error)
        return None
    process.stdin = None
    return process


def main() -> None:
    plan = PrivacyPlan.from_dict(json.load(sys.stdin))
    print(json.dumps(asdict(second_opinions(plan, prv_seconds=0))))


if __name__ == "__main__":
    main()
