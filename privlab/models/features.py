"""What a model is given of a record: the tokens of a text, or fixed features of a picture or a text, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from privlab.data.cache import Progress, quiet
from privlab.data.catalogue import DatasetFacts
from privlab.data.load import Dataset
from privlab.data.texts import Texts
from privlab.models.catalogue import MODELS, TRANSFORMERS, misfit
from privlab.models.embeddings import embedding_features
from privlab.models.kept import Features, FeaturesError, kept
from privlab.models.scattering import scatter_features
from privlab.models.tokens import Tokenizer, encode, next_tokens, tokenizer

__all__ = ["FeaturesError", "prepare", "tokenised"]

_FEATURES: dict[str, Callable[[DatasetFacts], Features]] = {"scatter": scatter_features, "minilm": embedding_features}


def prepare(dataset: Dataset | Texts, model_key: str, progress: Progress | None = None) -> Dataset:
    """The data set as the model is trained on it: its fixed features, the tokens of texts, or the data set itself.

    The features lie in PrivLab's data folder, as :func:`privlab.models.kept.kept` says.

    Args:
        dataset: pictures in 0…1, or texts.
        model_key: a key of MODELS.
        progress: called with records done, records in all, and what is being done; what it raises ends the work and
            leaves nothing behind.

    Returns:
        A data set with the same facts and labels; inputs of :func:`privlab.models.sizes.input_shape`, tokens as
        :func:`tokenised` gives them.

    Raises:
        ValueError: the model does not take this data set.
        DataMissing: weights or a tokenizer that the model needs are not on this machine.
        FeaturesError: the disk is full, or the folder cannot be written.
    """
    problem = misfit(model_key, dataset.facts.key)
    if problem:
        raise ValueError(problem)
    wanted, texts = MODELS[model_key].features, isinstance(dataset, Texts)
    if wanted is None:
        if texts:
            return tokenised(dataset, tokenizer(model_key), TRANSFORMERS[model_key].context)
        return dataset
    parts = (
        {"train": dataset.train, "test": dataset.test} if texts else {"train": dataset.train_x, "test": dataset.test_x}
    )
    train_x, test_x = kept(dataset.facts, parts, _FEATURES[wanted](dataset.facts), progress or quiet)
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
