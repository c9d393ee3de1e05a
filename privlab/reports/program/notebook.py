"""The program of :mod:`privlab.reports.program.script` as a Jupyter notebook, with words between the cells and a picture at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from privlab.metrics import UTILITY, Point
from privlab.reports.program.mechanism import measure
from privlab.reports.program.script import about, headline, packages, sections
from privlab.runs.record import Run, RunEvent

#: What the picture is drawn with; PrivLab itself does not need it.
PICTURES = {"matplotlib": "3.11.2"}
#: Points of the notebook's own curve.
_MARKS = 20


def notebook(run: Run, events: Sequence[RunEvent] = (), points: Sequence[Point] = ()) -> str:
    """The notebook, in the format nbformat 4.5. A file of inputs, where one travels, lies beside it.

    Args:
        points: of the run, drawn beside the notebook's own curve.

    Raises:
        NotExpressible: with every reason of :func:`privlab.reports.program.expressible.not_expressible`.
    """
    first, *others = sections(run, events, folder="Path.cwd()", marks=_MARKS)
    pinned = " ".join(f"{name}=={number}" for name, number in (packages(run) | PICTURES).items())
    cells = [
        _words(f"# {headline(run)}\n\n{about(run)}"),
        _code(f"%pip install --quiet {pinned}"),
        _code(f"{first.code}import matplotlib.pyplot as plt\n"),
    ]
    for part in others:
        cells += [_words(f"## {part.title}\n\n{part.words}".rstrip()), _code(part.code)]
    cells += [_words(f"## {_picture_title(run)}"), _code(_picture(run, points))]
    document = {
        "cells": [{"id": f"part-{place}", **cell} for place, cell in enumerate(cells, 1)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def _words(text: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _code(text: str) -> dict:
    return {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": text.rstrip("\n")}


def _picture_title(run: Run) -> str:
    against = "against ε" if run.plan.is_private else "step by step"
    return f"The {measure(run)} {against}, beside the run's"


def _picture(run: Run, points: Sequence[Point]) -> str:
    private, key = run.plan.is_private, UTILITY[run.config.data.task].key
    place = 1 if private else 0
    known = [(each.epsilon if private else each.step, each.metrics.get(key)) for each in points]
    known = [(x, y) for x, y in known if x is not None and y is not None and math.isfinite(y)]
    rows = ["plt.figure(figsize=(7, 4.5))"]
    if known:
        pairs = ", ".join(f"({x:.5g}, {y:.5g})" for x, y in known)
        rows += [f"of_the_run = [{pairs}]", f'plt.plot(*zip(*of_the_run), ":", label="run {run.id} of PrivLab")']
    rows += [
        f'plt.plot([each[{place}] for each in curve], [each[2] for each in curve], "o-", label="this notebook")',
        f'plt.xlabel("{"ε spent, at δ = " + format(run.plan.delta, "g") if private else "Step"}")',
        f'plt.ylabel("Test {measure(run)}")',
        "plt.legend()",
        "plt.grid(alpha=0.3)",
        "plt.show()",
    ]
    return "\n".join(rows)
