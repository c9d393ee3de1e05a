"""A measuring process that behaves as ``FAULT`` says, without torch. For the tests of what starts it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

COST = dict(seconds=0.5, low=0.4, high=0.6, memory=10, steps=3, busy=None, evaluation=0.1, device="CPU")


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    fault = os.environ["FAULT"]
    asked = json.loads(sys.stdin.readline())
    if fault == "dies at once":
        raise SystemExit("no torch here")
    if fault == "refuses":
        say(kind="refused", message="device=cuda is not here.")
        return
    first, second, *rest = asked["methods"]
    say(kind="measuring", method=first, done=0.1)
    say(kind="cost", method=first, **COST)
    say(kind="failure", method=second, message="It needs more memory than is free here.")
    if fault == "is killed":
        sys.stdout.write('{"kind": "co')
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "takes long":
        say(kind="measuring", method=rest[0], done=0.5)
        time.sleep(600)
    for method in rest:
        say(kind="cost", method=method, **COST)
    say(kind="finished")


if __name__ == "__main__":
    main()
