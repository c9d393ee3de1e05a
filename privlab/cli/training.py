"""``train``: one run in this process, with its settings from a preset, a file and the command line."""

from __future__ import annotations

import argparse
import sys
import tomllib
from typing import Any

from privlab.cli.output import Bar, Lines, summary
from privlab.cli.passphrase import passphrase_for
from privlab.config import ConfigError, RunConfig, load_preset
from privlab.config.run import set_path
from privlab.preflight import missing_inputs, preflight
from privlab.runs.limits import threads_for
from privlab.runs.record import Run, Status
from privlab.runs.store import Store


def train_run(given: argparse.Namespace) -> int:
    """Train here, in the foreground; exit status 0 only for a finished run. Raises what the settings or the store refuse."""
    store = Store()
    if given.resume:
        if given.set:
            raise ConfigError.at("--set", "a resumed run keeps its settings; start a new run to change them.")
        before = store.get(given.resume)
        config = before.config
        preflight(config)
    else:
        before, config = None, settings(given)
        require_inputs(config)
    passphrase = passphrase_for(config, given.passphrase_file, confirm=not given.resume)
    try:
        ended = train_here(store, config, json=given.json, passphrase=passphrase, resume=before)
    except Interrupted as interrupted:
        print(f"\nPaused. Go on with: python -m privlab train --resume {interrupted.run_id}", file=sys.stderr)
        return 130
    if ended.status is Status.FAILED:
        print(ended.error, file=sys.stderr)
    elif not given.json:
        print(summary(ended))
    return 0 if ended.status is Status.FINISHED else 1


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a training, which is now paused."""

    def __init__(self, run_id: str):
        super().__init__(run_id)
        self.run_id = run_id


def require_inputs(config: RunConfig) -> None:
    """Records and weights must be on this machine. Raises ConfigError for settings that do not fit, or saying how to get
    them."""
    preflight(config)
    if problems := missing_inputs(config.data.dataset, config.model.name):
        raise ConfigError(problems)


def train_here(
    store: Store,
    config: RunConfig,
    *,
    json: bool,
    passphrase: str | None = None,
    resume: Run | None = None,
    group: str | None = None,
) -> Run:
    """One training in this process, shown as it goes; the run as it ended. Raises Interrupted on Ctrl-C."""
    checked = preflight(config)

    # Only from here on is torch needed, and it takes seconds to load.
    import torch

    from privlab.runs.worker import work

    torch.set_num_threads(threads_for(config))
    if resume:
        run = store.claim(resume.id, foreground=True)
    else:
        run = store.create(config, checked.plan, status=Status.STARTING, group=group)
    show = Lines(checked) if json else Bar(checked, run)
    with show:
        try:
            return work(store, run.id, run.attempt, passphrase=passphrase, in_background=False, on_item=show)
        except KeyboardInterrupt:
            raise Interrupted(run.id) from None


def settings(given: argparse.Namespace) -> RunConfig:
    """Preset or file, then each ``--set`` in order. Raises ConfigError."""
    if given.preset:
        raw = load_preset(given.preset).to_dict()
    else:
        try:
            raw = tomllib.loads(given.config.read_text("utf-8"))
        except OSError as error:
            raise ConfigError.at("--config", f"{given.config} cannot be read: {error.strerror}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError.at("--config", f"{given.config} is not valid TOML: {error}.") from None
    for item in given.set:
        path, equals, text = item.partition("=")
        if not equals:
            raise ConfigError.at("--set", f"{item!r} is not of the form PATH=VALUE.")
        set_path(raw, path.strip(), _value(text.strip()))
    return RunConfig.from_dict(raw)


def _value(text: str) -> Any:
    """A number or true/false as TOML reads it; anything else is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
