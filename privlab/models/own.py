"""Adding a pretrained transformer from a folder or from the Hugging Face hub: looked at first, then copied. Torch-free."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from privlab.data import own
from privlab.data.cache import Progress, disk_full, is_disk_full, making, quiet
from privlab.data.client import DiskFull, SourceFailed
from privlab.data.fetch import FetchError
from privlab.data.hub import HubRepo, download, listing
from privlab.data.tensorfiles import TensorFileError, joined, tensor_facts
from privlab.data.weightfiles import CONFIG, PIECE, TENSORS, TOKENIZER, weights_folder
from privlab.models.configfile import Unsupported
from privlab.models.families import Described, describe
from privlab.models.tensors import check_tensors

_INDEX = f"{TENSORS}.index.json"
#: An owner and a name, or a name alone.
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_LONGEST_NAME = 60
_CONVERT = (
    "convert it on a machine that you trust, since a pickled file can run anything when it is opened: "
    "AutoModel.from_pretrained(…).save_pretrained(FOLDER) and AutoTokenizer.from_pretrained(…).save_pretrained(FOLDER), with the "
    "package transformers, write what is needed"
)


@dataclass(frozen=True)
class _Model:
    """A model that was looked at and will be taken: its files, and what is said of it."""

    config: Path
    tokenizer: Path
    tensors: tuple[Path, ...]
    source: str
    revision: str


def add(source: str, *, revision: str = "", name: str = "", progress: Progress | None = None) -> str:
    """Add a pretrained transformer to this machine and return its key.

    What is refused is refused before anything large is copied. Only config.json, tokenizer.json and safetensors files are read:
    nothing is unpickled and no code of a model is run. A model whose content is here already keeps its key.

    Args:
        source: a folder, or a name on the hub such as ``prajjwal1/bert-tiny``.
        revision: branch, tag or commit on the hub; its default branch where empty.
        name: for people; that of the folder or on the hub where empty.
        progress: called with bytes done, bytes in all, and what is being done; what it raises ends the work and leaves nothing
            behind.

    Raises:
        FetchError: it cannot be had or is not taken, or the disk is full. The message says what to do.
    """
    source, say = source.strip(), progress or quiet
    if not source:
        raise FetchError("Name a folder, or a model on the Hugging Face hub such as prajjwal1/bert-tiny.")
    folder = Path(source).expanduser()
    # A folder's path is long, and who named it knows it.
    said = folder.name if folder.is_dir() and folder.name else source
    called = (name.strip() or folder.name or folder.absolute().name)[:_LONGEST_NAME]
    needed = 0
    try:
        with ExitStack() as stack:
            if folder.is_dir():
                if revision:
                    raise Unsupported(f"revision={revision!r} has no meaning for a folder; leave it out.")
                model = _in_folder(folder.absolute())
            else:
                repo = HubRepo(_hub_name(source), "model", revision or "main")
                place = weights_folder(f"{own.PREFIX}download")
                waiting = partial(say, 0, None, "waiting for another download of a model")
                model = _from_hub(repo, stack.enter_context(making(place, waiting)), say)
            needed = sum(path.stat().st_size for path in (model.config, model.tokenizer, *model.tensors))
            return _kept(model, called, needed, say)
    except Unsupported as error:
        raise FetchError(f"{said} was not added. {error}") from error
    except TensorFileError as error:
        raise FetchError(f"{said} was not added. Its weights cannot be read: {error}") from error
    except SourceFailed as failure:
        if isinstance(failure, DiskFull):
            raise FetchError(disk_full(f"{said} needs", needed, weights_folder("").parent)) from failure
        raise FetchError(f"{said} was not added. {str(failure).rstrip('.')}.") from failure
    except OSError as error:
        if is_disk_full(error):
            raise FetchError(disk_full(f"{said} needs", needed, weights_folder("").parent)) from error
        raise FetchError(f"{said} was not added: {error}.") from error


def _hub_name(source: str) -> str:
    if not _HUB_NAME.fullmatch(source) or ".." in source:
        raise Unsupported("There is no such folder, and a name on the hub is like prajjwal1/bert-tiny.")
    return source


def _in_folder(folder: Path) -> _Model:
    names = [path.name for path in folder.iterdir()]
    _check_names(names, str(folder))
    described = _described(folder / CONFIG)
    tensors = tuple(folder / name for name in _tensor_files(names, folder))
    _check(described, tensors, folder / TOKENIZER)
    return _Model(folder / CONFIG, folder / TOKENIZER, tensors, str(folder), "")


def _from_hub(repo: HubRepo, folder: Path, say: Progress) -> _Model:
    """Its small files first: what they rule out is not downloaded."""
    said = f"asking the hub for {repo.name}"
    say(0, None, said)
    found = listing(repo, folder, lambda done: say(0, None, said))
    _check_names(list(found.sizes), repo.name)
    pinned = HubRepo(repo.name, repo.kind, found.commit)
    small = [name for name in (CONFIG, TOKENIZER, _INDEX) if name in found.sizes]
    download(pinned, small, folder, lambda done: say(0, None, said))
    described = _described(folder / CONFIG)
    tensors = _tensor_files(list(found.sizes), folder)
    total, what = sum(found.sizes[name] for name in (*small, *tensors)), f"downloading {repo.name}"
    download(pinned, tensors, folder, lambda done: say(min(done, total), total, what))
    paths = tuple(folder / name for name in tensors)
    _check(described, paths, folder / TOKENIZER)
    return _Model(folder / CONFIG, folder / TOKENIZER, paths, repo.name, found.commit)


def _check_names(names: Sequence[str], where: str) -> None:
    """Refuse by name what lacks a file."""
    there = set(names)
    if CONFIG not in there:
        adapter = (
            " It is an adapter (adapter_config.json); add the model that it adapts."
            if "adapter_config.json" in there
            else ""
        )
        raise Unsupported(f"{where} has no {CONFIG}.{adapter}")
    if not {TENSORS, _INDEX} & there:
        pickled = next((name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))), None)
        has = f"only {pickled}, which is pickled" if pickled else "none"
        raise Unsupported(f"Its weights must be in {TENSORS} (or in shards of it), and there is {has}: {_CONVERT}.")
    if TOKENIZER not in there:
        raise Unsupported(
            f"It has no {TOKENIZER}: AutoTokenizer.from_pretrained(…).save_pretrained(FOLDER) of the package transformers writes it "
            "from older files."
        )


def _described(path: Path) -> Described:
    return describe(_json(path))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Unsupported(f"Its {path.name} is no JSON ({error}).") from None


def _tensor_files(names: Sequence[str], folder: Path) -> tuple[str, ...]:
    """The safetensors files of a model: one, or the shards that its index names."""
    if TENSORS in names:
        return (TENSORS,)
    index = _json(folder / _INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(shard, str) for shard in places.values()):
        raise Unsupported(f"Its {_INDEX} names no shards.")
    shards = tuple(sorted(set(places.values())))
    for shard in shards:
        # A name and no path: nothing outside of the model's own folder is read.
        if shard not in names or "/" in shard or "\\" in shard or not shard.endswith(".safetensors"):
            raise Unsupported(f"Its {_INDEX} names the shard {shard!r}, which is not there.")
    return shards


def _check(described: Described, tensors: Sequence[Path], tokenizer: Path) -> None:
    present = {}
    for path in tensors:
        present |= tensor_facts(path)
    check_tensors(described, present)
    _check_tokenizer(described, tokenizer)


def _check_tokenizer(described: Described, path: Path) -> None:
    """Whether every id of its vocabulary has a row in the table of tokens, and a text becomes some."""
    try:
        # Optional.
        from tokenizers import Tokenizer
    except ImportError:
        raise Unsupported(
            "The package tokenizers is not installed: run “pip install -r requirements-language.txt” and start PrivLab again."
        ) from None
    try:
        tokens = Tokenizer.from_file(str(path))
        ids = tokens.encode("A text, to see.").ids
    except Exception as error:  # The package raises nothing more special.
        raise Unsupported(f"Its {path.name} cannot be read ({error}).") from None
    most = max(tokens.get_vocab(with_added_tokens=True).values(), default=-1)
    if most >= described.form.vocabulary:
        raise Unsupported(
            f"Its {path.name} has the token {most:,}, and its table of tokens has {described.form.vocabulary:,} rows (vocab_size): "
            "they do not belong together."
        )
    if not ids:
        raise Unsupported(f"Its {path.name} makes no token of a text.")


def _kept(model: _Model, name: str, total: int, say: Progress) -> str:
    files: dict[str, Callable[[], Iterator[bytes]]] = {
        CONFIG: partial(_pieces, model.config),
        TOKENIZER: partial(_pieces, model.tokenizer),
        TENSORS: partial(joined, model.tensors) if len(model.tensors) > 1 else partial(_pieces, model.tensors[0]),
    }
    return own.keep(
        files,
        name=name,
        source=model.source,
        revision=model.revision,
        progress=lambda done: say(min(done, total), total, f"copying {name}"),
    )


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
