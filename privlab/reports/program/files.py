"""A program that repeats a run, as the one file that a person downloads: a script, or a zip with the inputs beside it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

from privlab.metrics import Point
from privlab.reports.program.notebook import PICTURES, notebook
from privlab.reports.program.records import DATA_FILE
from privlab.reports.program.script import packages, script, travelling
from privlab.runs.inputfile import inputs_npz
from privlab.runs.record import Run, RunEvent


def script_file(run: Run, events: Sequence[RunEvent] = ()) -> tuple[str, bytes]:
    """Name and content: ``….py``, or ``….zip`` of script, requirements and inputs where only PrivLab carries the records.

    Raises:
        NotExpressible: with every reason.
        InputsMissing: the records are not on this machine.
    """
    return _file(run, "py", script(run, events).encode())


def notebook_file(run: Run, events: Sequence[RunEvent] = (), points: Sequence[Point] = ()) -> tuple[str, bytes]:
    """The same as a Jupyter notebook. Raises as :func:`script_file`."""
    return _file(run, "ipynb", notebook(run, events, points).encode())


def file_name(run: Run, kind: str) -> str:
    """Name of the file for ``kind`` ``py`` or ``ipynb``. Raises KeyError: unknown data set."""
    name = f"privlab-{run.id}-opacus"
    return f"{name}-{'notebook' if kind == 'ipynb' else 'script'}.zip" if travelling(run) else f"{name}.{kind}"


def _file(run: Run, kind: str, program: bytes) -> tuple[str, bytes]:
    name = file_name(run, kind)
    if not travelling(run):
        return name, program
    pinned = packages(run) | (PICTURES if kind == "ipynb" else {})
    members = {f"train.{kind}": program, "requirements.txt": requirements(pinned), DATA_FILE: inputs_npz(run.config)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return name, out.getvalue()


def requirements(pinned: Mapping[str, str]) -> bytes:
    """A pip requirements file of names and versions."""
    return "".join(f"{name}=={number}\n" for name, number in pinned.items()).encode()
