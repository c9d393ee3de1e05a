"""Text that runs' models write, by a process each. Torch-free."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from privlab.config import ConfigError
from privlab.config.writing import WritingConfig
from privlab.encryption import open_vault
from privlab.runs import files
from privlab.runs.jobs import Job
from privlab.runs.record import Run

_MODULE = "privlab.training.writing"


def state_of(run: Run, passphrase: str | None = None) -> bytes:
    """The run's released weights, unsealed: its weights file, or its newest checkpoint while it trains.

    Raises:
        ConfigError: there is neither yet.
        SealError: the key does not open them.
    """
    vault = open_vault(run.config.encryption, passphrase)
    for path in (files.weights_path(run), files.checkpoint_path(run.id)):
        # The weights file goes while the next checkpoint is written.
        with suppress(FileNotFoundError):
            return vault.read(path)
    raise ConfigError.at("run", f"run {run.id} is {run.status} and has no weights yet; they come with its first point.")


class Writing(Job):
    """One text under way or over.

    Attributes:
        run_id, step: whose weights, and after how many steps.
        asked: what it goes on from, and how.
        text: what has been written so far, without the beginning.
    """

    def __init__(self, run: Run, asked: WritingConfig, *, threads: int = 1):
        """Raises ConfigError, SealError, OSError: as :func:`state_of`, or the process cannot be started."""
        self.run_id, self.step, self.asked, self.text = run.id, run.step, asked, ""
        request = {"config": run.config.to_dict(), "writing": asked.model_dump()}
        given = json.dumps(request).encode() + b"\n" + state_of(run)
        super().__init__(_MODULE, given, log="writing.log", threads=threads, name="writing", ends=True)

    def hear(self, kind: str, line: dict[str, Any]) -> None:
        if kind == "text":
            self.text += line["text"]
