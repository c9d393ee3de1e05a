"""Files of a repository on the Hugging Face hub, by its client in a process of its own. Torch-free.

``HF_ENDPOINT`` names another hub, and what ``hf auth login`` keeps opens gated repositories, as with every tool of the hub.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from privlab.data import hubclient
from privlab.data.client import DiskFull, Report, SourceFailed, run

_REQUEST = "request.json"
_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class HubRepo:
    """A repository: ``name`` with its owner, what it holds, and a branch, tag or commit."""

    name: str
    kind: Literal["model", "dataset"]
    revision: str


@dataclass(frozen=True)
class Listing:
    """What is in a repository: the commit that a revision stands for, and bytes of each file by its path."""

    commit: str
    sizes: dict[str, int]


def listing(repo: HubRepo, folder: Path, report: Report) -> Listing:
    """Ask which files there are, at which commit.

    Args:
        folder: where the client may work.

    Raises:
        SourceFailed: the hub cannot be reached or refuses, or there is no such repository.
    """
    said = _ask(repo, None, folder, report)
    return Listing(said["commit"], said["sizes"])


def download(repo: HubRepo, files: Sequence[str], folder: Path, report: Report) -> None:
    """Bring these files into ``folder``, under their paths in the repository.

    Raises:
        SourceFailed: as :func:`listing`, or a file did not arrive.
        DiskFull: the disk has no room left.
    """
    # As patterns of the client, signs of a name that mean something there stand for themselves.
    _ask(repo, [_literal(name) for name in files], folder, report)
    for name in files:
        if not (folder / name).is_file():
            raise SourceFailed(f"the hub did not bring {name} of {repo.name}")


def _literal(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _ask(repo: HubRepo, files: list[str] | None, folder: Path, report: Report) -> dict:
    asked = {"name": repo.name, "kind": repo.kind, "revision": repo.revision, "files": files}
    request, found = folder / _REQUEST, folder / hubclient.ANSWER
    request.write_text(json.dumps(asked), "utf-8")
    found.unlink(missing_ok=True)
    # Run as a file, with -P, so that it starts from any folder whether or not PrivLab is installed as a package.
    run((sys.executable, "-P", hubclient.__file__, str(request)), folder, report)
    said = json.loads(found.read_text("utf-8"))
    if problem := said.get("problem"):
        raise _failure(problem, said["message"], repo)
    return said


def _failure(problem: str, message: str, repo: HubRepo) -> SourceFailed:
    hub = os.environ.get("HF_ENDPOINT", _HUB)
    if problem == "disk":
        return DiskFull("the disk is full")
    return SourceFailed(
        {
            "client": "The package huggingface_hub is not installed: run “pip install -r requirements-language.txt” and start PrivLab "
            f"again{_or_folder(repo)}",
            "gated": f"{repo.name} is gated on the hub: accept its terms on its page there, run “hf auth login”, and try again",
            "unknown": f"{hub} has no {repo.kind} {repo.name}, or it is private; look at the name, or run “hf auth login”",
            "revision": f"{repo.name} has no revision {repo.revision!r} on {hub}",
            "name": f"{repo.name!r} is no name on the hub ({message})",
            "refused": f"{hub} refused ({message}); try again later",
            "unreachable": f"The hub {hub} cannot be reached ({message}); everything else works without it{_or_folder(repo)}",
        }[problem]
    )


def _or_folder(repo: HubRepo) -> str:
    """A model may be brought without the hub."""
    return ". Or name a folder with the model's files" if repo.kind == "model" else ""
