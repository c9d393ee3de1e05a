"""``cost``: what a step of some settings costs on this machine, by each gradient method."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from privlab.cli.output import print_record
from privlab.cli.training import settings
from privlab.metrics import size
from privlab.preflight import preflight
from privlab.runs import costs, measuring
from privlab.runs.costs import METHODS


def measure_cost(given: argparse.Namespace) -> int:
    """Measure, or tell what was measured before, and print a line for each method. Raises ConfigError."""
    checked = preflight(settings(given))
    known = None if given.again else costs.known(checked.config)
    if known is None or not known.covers(checked):
        job = measuring.start(checked)
        try:
            _watch(job)
        except KeyboardInterrupt:
            job.stop()
            job.wait()
            raise
        if job.state != "finished":
            print(f"Not measured. {job.message}", file=sys.stderr)
            return 1
        known = costs.known(checked.config)
        if known is None:
            print("Not measured: the result could not be read back.", file=sys.stderr)
            return 1
    marked = costs.chosen(checked)
    for method in METHODS:
        cost = known.costs.get(method)
        if cost is None:
            if method in known.failures and not given.json:
                print(f"  {METHODS[method]:<10} {known.failures[method]}")
            continue
        total = known.run_seconds(checked, method)
        if given.json:
            print_record({"method": method, "chosen": method == marked, **asdict(cost), "run_seconds": total})
        else:
            memory = "not known" if cost.memory is None else size(cost.memory)
            mark = "▸" if method == marked else " "
            print(
                f"{mark} {METHODS[method]:<10} {1000 * cost.seconds:9.3g} ms a step  {memory:>9}  "
                f"{total:8.3g} s for {checked.plan.steps:,} steps and evaluations"
            )
    return 0


def _watch(job: measuring.Measuring) -> None:
    from tqdm import tqdm

    with tqdm(total=100, unit="%", bar_format="{desc:<24}{percentage:3.0f}%|{bar}|", leave=False) as bar:
        while not job.wait(0.2):
            words = "waiting for another measurement" if job.waiting else METHODS.get(job.method, "starting")
            bar.set_description_str(words, refresh=False)
            bar.update(100 * job.done - bar.n)
