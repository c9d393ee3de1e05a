"""What a model is given of a record: the tokens of a text, or fixed features of a picture, computed once and kept on disk.

A feature vector depends on its own picture and on constants only. Normalising with statistics of the training set, as
the original code also offers, would mix records and spend privacy that nobody counts.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from privlab import paths
from privlab.data.cache import Progress, disk_full, is_disk_full, making, publish, quiet
from privlab.data.load import Dataset
from privlab.data.texts import Texts
from privlab.models.catalogue import MODELS, SCATTER_ANGLES, SCATTER_SCALES, TRANSFORMERS, misfit, scatter_shape
from privlab.models.tokens import Tokenizer, encode, next_tokens, tokenizer

#: Raise it whenever the features of a picture change.
_VERSION = 1
#: Pictures transformed at once: larger is not faster, and 512 pictures of 28×28 need about 150 MB.
_CHUNK = 512
#: More threads would only need more memory: eight transform 70,000 pictures in seconds.
_MOST_WORKERS = 8
#: Channels that share one mean and deviation (81 channels in 27 groups, Tramèr and Boneh 2021).
_CHANNELS_A_GROUP = 3


class FeaturesError(Exception):
    """Features could not be computed or kept. The message says why in plain words."""


def prepare(dataset: Dataset | Texts, model_key: str, progress: Progress | None = None) -> Dataset:
    """The data set as the model is trained on it: its fixed features, the tokens of texts, or the data set itself.

    The features lie in PrivLab's data folder and are mapped into memory, so runs side by side share one copy. Two
    processes that need the same features at once: the second waits for the first.

    Args:
        dataset: pictures in 0…1, or texts.
        model_key: a key of MODELS.
        progress: called with pictures done, pictures in all, and what is being done; what it raises ends the work and
            leaves nothing behind.

    Returns:
        A data set with the same facts and labels; inputs of shape (records, *scatter_shape(facts.shape)), or tokens as
        :func:`tokenised` gives them.

    Raises:
        ValueError: the model does not take this data set.
        FeaturesError: the disk is full, or the folder cannot be written.
    """
    problem = misfit(model_key, dataset.facts.key)
    if problem:
        raise ValueError(problem)
    if isinstance(dataset, Texts):
        return tokenised(dataset, tokenizer(model_key), TRANSFORMERS[model_key].context)
    if MODELS[model_key].features is None:
        return dataset
    say, place = progress or quiet, _place(dataset)
    features = _load(place, dataset)
    if features is None:
        try:
            features = _make(place, dataset, say)
        except OSError as error:
            raise _refusal(place, dataset, error) from error
    train_x, test_x = features
    return Dataset(dataset.facts, train_x, dataset.train_y, test_x, dataset.test_y)


def tokenised(texts: Texts, tokens: Tokenizer, context: int) -> Dataset:
    """Texts as tokens, each cut off after ``context`` of them.

    Returns:
        Inputs (records, context) int64, filled up on the right. For language the labels are the next tokens, of the same
        shape, with -100 where the text is over.
    """

    def part(texts: Sequence[str], labels: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        if labels is not None:
            return encode(tokens, texts, context), labels
        return next_tokens(encode(tokens, texts, context + 1), tokens.pad)

    return Dataset(texts.facts, *part(texts.train, texts.train_y), *part(texts.test, texts.test_y))


def scatter(pictures: torch.Tensor) -> torch.Tensor:
    """Normalised scattering features of pictures (records, channels, height, width).

    The transform is that of Oyallon and Mallat 2015 with J = 2 and L = 8; each picture's features are then normalised
    in groups of three channels with that picture's own mean and deviation (Tramèr and Boneh 2021, section 3).

    Returns:
        float32 tensor of shape (records, *scatter_shape(picture shape)), the same to rounding in any company of pictures.
    """
    shape = scatter_shape(tuple(pictures.shape[1:]))
    with torch.inference_mode():
        channels = _scattering(tuple(pictures.shape[2:]))(pictures.contiguous()).reshape(-1, *shape)
        return functional.group_norm(channels, shape[0] // _CHANNELS_A_GROUP)


@cache
def _scattering(side: tuple[int, int]) -> torch.nn.Module:
    # Slow to import, and only this model needs it.
    from kymatio.torch import Scattering2D

    return Scattering2D(J=SCATTER_SCALES, L=SCATTER_ANGLES, shape=side)


def _parts(dataset: Dataset) -> dict[str, torch.Tensor]:
    return {"train.npy": dataset.train_x, "test.npy": dataset.test_x}


def _place(dataset: Dataset) -> Path:
    """A folder named by all that the features depend on: the pictures themselves, and how they are transformed."""
    seen = hashlib.sha256(f"{_VERSION} {version('kymatio')} {SCATTER_SCALES} {SCATTER_ANGLES}".encode())
    for pictures in _parts(dataset).values():
        seen.update(str(tuple(pictures.shape)).encode())
        seen.update(pictures.contiguous().numpy().data)
    return paths.data_dir() / "features" / f"{dataset.facts.key}-scatter-{seen.hexdigest()[:16]}"


def _make(place: Path, dataset: Dataset, say: Progress) -> list[torch.Tensor]:
    title = dataset.facts.title
    total = sum(len(pictures) for pictures in _parts(dataset).values())
    with making(place, lambda: say(0, total, f"waiting for another run to compute the features of {title}")) as folder:
        ready = _load(place, dataset)
        if ready is not None:
            return ready
        complete, done = folder / "complete", 0
        complete.mkdir()
        say(done, total, f"computing features of {title}")
        for name, pictures in _parts(dataset).items():
            with closing(_write(complete / name, pictures)) as written:
                for count in written:
                    done += count
                    say(done, total, f"computing features of {title}")
        publish(complete, place)
    features = _load(place, dataset)
    if features is None:
        raise OSError("what was just written cannot be read back")
    return features


def _write(path: Path, pictures: torch.Tensor) -> Generator[int, None, None]:
    """Write the features chunk by chunk, so that memory holds one chunk; yields the pictures done."""
    shape = (len(pictures), *scatter_shape(tuple(pictures.shape[1:])))
    with path.open("wb") as file, closing(_in_parallel(pictures.split(_CHUNK))) as computed:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for features in computed:
            # Not a memory map: on a full disk, writing through one kills the process.
            file.write(features.numpy().data)
            yield len(features)


def _in_parallel(chunks: Sequence[torch.Tensor]) -> Generator[torch.Tensor, None, None]:
    """The features of each chunk, in order, computed on all cores by threads of one core each.

    torch's own threads wait for each other inside every operation. When another program wants the cores too, that was
    measured to be twenty times slower; threads that share nothing lose nothing.
    """
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    before, ahead = torch.get_num_threads(), deque()
    pool = ThreadPoolExecutor(workers, "features", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for chunk in chunks:
            ahead.append(pool.submit(scatter, chunk))
            # Results wait in memory for the disk, so only a few may.
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _load(place: Path, dataset: Dataset) -> list[torch.Tensor] | None:
    """The kept features, or None where they are not there or not whole."""
    features = []
    for name, pictures in _parts(dataset).items():
        try:
            # Copy on write: torch wants writable memory, and the file must never change.
            array = np.load(place / name, mmap_mode="c", allow_pickle=False)
        except (FileNotFoundError, ValueError, EOFError):
            return None
        if array.shape != (len(pictures), *scatter_shape(tuple(pictures.shape[1:]))):
            return None
        features.append(torch.from_numpy(array))
    return features


def _refusal(place: Path, dataset: Dataset, error: OSError) -> FeaturesError:
    title = dataset.facts.title
    if not is_disk_full(error):
        return FeaturesError(f"The features of {title} could not be kept in {place.parent}: {error}.")
    records = sum(len(pictures) for pictures in _parts(dataset).values())
    need = 4 * records * int(np.prod(scatter_shape(dataset.facts.shape)))
    return FeaturesError(disk_full(f"the features of {title} need", need, place.parent))
