"""The same library from a shell: ``python -m privlab train | runs | show | export | data``."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privlab import __version__, paths
from privlab.config import ConfigError, RunConfig, load_preset, preset_names
from privlab.config.run import set_path
from privlab.data.catalogue import DATASETS, availability
from privlab.data.fetch import FetchError, fetch
from privlab.encryption import SealError
from privlab.metrics import Point
from privlab.preflight import Preflight, preflight
from privlab.runs.limits import threads_for
from privlab.runs.record import Run, Status
from privlab.runs.store import Store, StoreError

if TYPE_CHECKING:
    from privlab.training.events import Event

#: Errors that a person can do something about: shown as a sentence, never as a trace.
PLAIN = (ConfigError, FetchError, SealError, StoreError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 refused or failed, 130 interrupted."""
    given = _parser().parse_args(arguments)
    try:
        return given.act(given)
    except ConfigError as error:
        for problem in error.problems:
            print(f"{problem.path}: {problem.message}", file=sys.stderr)
    except PLAIN as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m privlab", description="Differentially private training, from a shell."
    )
    parser.add_argument("--version", action="version", version=f"PrivLab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    train = commands.add_parser("train", help="train one run here, with a progress bar; the browser sees it too")
    start = train.add_mutually_exclusive_group(required=True)
    start.add_argument("--preset", metavar="NAME", help=f"one of {', '.join(preset_names())}")
    start.add_argument("--config", metavar="FILE.toml", type=Path, help="settings from a file")
    start.add_argument("--resume", metavar="RUN", help="go on with a paused, stopped or failed run")
    train.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change one setting: privacy.max_grad_norm=0.5"
    )
    train.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="passphrase of a sealed run; else it is asked"
    )
    train.add_argument("--json", action="store_true", help="one JSON object a line: the plan, then every point")
    train.set_defaults(act=_train)

    runs = commands.add_parser("runs", help="list runs, newest first")
    runs.add_argument("--json", action="store_true", help="one JSON object a line")
    runs.set_defaults(act=_runs)

    show = commands.add_parser("show", help="one run: settings, privacy statement and events")
    show.add_argument("run")
    show.set_defaults(act=_show)

    export = commands.add_parser("export", help="a run's points, settings or weights")
    export.add_argument("run")
    export.add_argument("--what", choices=("csv", "json", "toml", "weights"), default="csv")
    export.add_argument("--out", type=Path, metavar="FILE", help="default: standard output (weights need a file)")
    export.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="passphrase of a sealed run; else it is asked"
    )
    export.set_defaults(act=_export)

    data = commands.add_parser("data", help="data sets").add_subparsers(required=True, metavar="command")
    data.add_parser("list", help="what there is and whether it is here").set_defaults(act=_data_list)
    data_fetch = data.add_parser("fetch", help="fetch a data set into PrivLab's folder, verified")
    data_fetch.add_argument("key", metavar="NAME", help=f"one of {', '.join(DATASETS)}")
    data_fetch.set_defaults(act=_data_fetch)
    return parser


# train ----------------------------------------------------------------------------------------------------------------


def _train(given: argparse.Namespace) -> int:
    store = Store()
    if given.resume:
        if given.set:
            raise ConfigError.at("--set", "a resumed run keeps its settings; start a new run to change them.")
        run = store.get(given.resume)
        checked, config = preflight(run.config), run.config
    else:
        config = _settings(given)
        checked = preflight(config)
        here = availability(config.data.dataset)
        if not here.ready:
            raise ConfigError.at("data.dataset", here.message)
    passphrase = _passphrase(config, given.passphrase_file, confirm=not given.resume)

    # Only from here on is torch needed, and it takes seconds to load.
    import torch

    from privlab.runs.worker import work

    torch.set_num_threads(threads_for(config))
    if given.resume:
        run = store.claim(run.id, foreground=True)
    else:
        run = store.create(config, checked.plan, status=Status.STARTING)

    show = _Lines(checked) if given.json else _Bar(checked, run)
    with show:
        try:
            ended = work(store, run.id, run.attempt, passphrase=passphrase, in_background=False, on_item=show)
        except KeyboardInterrupt:
            print(f"\nPaused. Go on with: python -m privlab train --resume {run.id}", file=sys.stderr)
            return 130
    if ended.status is Status.FAILED:
        print(ended.error, file=sys.stderr)
    elif not given.json:
        print(_summary(ended))
    return 0 if ended.status is Status.FINISHED else 1


def _settings(given: argparse.Namespace) -> RunConfig:
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


def _passphrase(config: RunConfig, file: Path | None, *, confirm: bool) -> str | None:
    if config.encryption.mode != "sealed" or config.encryption.key != "passphrase":
        return None
    if file:
        try:
            return file.read_text("utf-8").rstrip("\n")
        except OSError as error:
            raise ConfigError.at("--passphrase-file", f"{file} cannot be read: {error.strerror}.") from None
    passphrase = getpass.getpass("Passphrase: ")
    if confirm and getpass.getpass("Passphrase again: ") != passphrase:
        raise ConfigError.at("encryption.key", "the two passphrases differ; nothing was started.")
    return passphrase


class _Lines:
    """``--json``: the plan, then each point, one object a line and nothing else on standard output."""

    def __init__(self, checked: Preflight):
        plan = checked.plan
        _line({"sample_rate": plan.sample_rate, **plan.to_dict()})

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, item: Point | Event) -> None:
        if isinstance(item, Point):
            _line(point_record(item))
        elif item.kind == "warning":
            print(item.message, file=sys.stderr)


class _Bar:
    """A progress bar in steps, with ε and accuracy beside it."""

    def __init__(self, checked: Preflight, run: Run):
        from tqdm import tqdm

        plan = checked.plan
        sigma = f"σ = {plan.noise_multiplier:.4g}" if plan.noise_multiplier else "no noise"
        clip = f"C = {plan.max_grad_norm:g}" if plan.max_grad_norm is not None else "no clipping"
        print(
            f"Run {run.id}: {checked.dataset.title}, {checked.model.title}; q = {plan.sample_rate:.4g}, {sigma}, {clip}, {plan.steps:,} steps"
        )
        self._bar = tqdm(total=plan.steps, initial=run.step, unit="step", dynamic_ncols=True)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, item: Point | Event) -> None:
        if isinstance(item, Point):
            spent = "∞" if item.epsilon is None else f"{item.epsilon:.3f}"
            self._bar.set_postfix_str(f"ε {spent}, accuracy {100 * item.metrics['test_accuracy']:.2f} %", refresh=False)
            self._bar.update(item.step - self._bar.n)
        elif item.kind != "started":
            self._bar.write(item.message)


def _summary(run: Run) -> str:
    spent = "∞ (no guarantee)" if run.epsilon is None else f"{run.epsilon:.4g} at δ = {run.plan.delta:g}"
    accuracy = run.metrics.get("test_accuracy")
    reached = f"test accuracy {100 * accuracy:.2f} %, " if accuracy is not None else ""
    return f"{run.id} {run.status}: {reached}ε = {spent}, {run.seconds:.1f} s"


# runs, show, export ---------------------------------------------------------------------------------------------------


def _runs(given: argparse.Namespace) -> int:
    runs = Store().list()
    if given.json:
        for run in runs:
            _line(run_record(run))
        return 0
    if not runs:
        print("No runs yet. Start one: python -m privlab train --preset digits")
    for run in runs:
        print(f"{_summary(run)}  {run.name or '(no name)'}: {run.config.data.dataset}, {run.config.model.name}")
    return 0


def _show(given: argparse.Namespace) -> int:
    from privlab.reports import statement

    store = Store()
    run = store.get(given.run)
    said = statement(run)
    print(_summary(run), "", said.headline, *(f"- {line}" for line in said.details), "", run.config.to_toml(), sep="\n")
    for event in store.events(run.id):
        print(f"- {event.message}")
    return 0


def _export(given: argparse.Namespace) -> int:
    from privlab.reports import points_csv, points_json, settings_toml

    store = Store()
    run = store.get(given.run)
    if given.what == "weights":
        if not given.out:
            raise ConfigError.at("--out", "weights are binary; name a file with --out.")
        content = _weights(run, given.passphrase_file)
    elif given.what == "toml":
        content = settings_toml(run).encode()
    else:
        write = {"csv": points_csv, "json": points_json}[given.what]
        content = write([(run, store.points(run.id))]).encode()
    if not given.out:
        sys.stdout.buffer.write(content)
        return 0
    try:
        given.out.write_bytes(content)
    except OSError as error:
        raise ConfigError.at("--out", f"{given.out} cannot be written: {error.strerror}.") from None
    return 0


def _weights(run: Run, passphrase_file: Path | None) -> bytes:
    """The run's weights, unsealed: a safetensors file."""
    from privlab.encryption import open_vault
    from privlab.runs.files import weights_path

    place = weights_path(run)
    if not place.exists():
        raise ConfigError.at("run", f"run {run.id} is {run.status} and has no weights yet.")
    passphrase = _passphrase(run.config, passphrase_file, confirm=False)
    return open_vault(run.config.encryption, passphrase).read(place)


# data -----------------------------------------------------------------------------------------------------------------


def _data_list(_: argparse.Namespace) -> int:
    for key, facts in DATASETS.items():
        print(f"{key:18} {facts.train_records:>7,} + {facts.test_records:>6,} records  {availability(key).message}")
    print(f"Fetched data sets are kept in {paths.data_dir()}")
    return 0


def _data_fetch(given: argparse.Namespace) -> int:
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, dynamic_ncols=True) as bar:

        def progress(done: int, total: int | None, what: str) -> None:
            bar.total, bar.n = total, done
            bar.set_description_str(what)

        place = fetch(given.key, progress)
    print(f"{given.key}: {place}")
    return 0


# records --------------------------------------------------------------------------------------------------------------


def point_record(point: Point) -> dict[str, Any]:
    """A point as one flat JSON object; ``epsilon`` is null where no guarantee is claimed."""
    return {
        "step": point.step,
        "epoch": point.epoch,
        "seconds": point.seconds,
        "epsilon": point.epsilon,
        **point.metrics,
    }


def run_record(run: Run) -> dict[str, Any]:
    """A run as one flat JSON object, its last point's metrics included."""
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "step": run.step,
        "steps": run.steps,
        "epsilon": run.epsilon,
        "delta": run.plan.delta,
        "seconds": run.seconds,
        **run.metrics,
        "config": run.config.to_dict(),
    }


def _line(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)
