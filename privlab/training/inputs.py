"""The records of a run as its model takes them: pictures and tables as they are, features, or the tokens of texts."""

from __future__ import annotations

from dataclasses import replace

from privlab.config import RunConfig
from privlab.data.cache import Progress, quiet
from privlab.data.catalogue import DATASETS
from privlab.data.load import Dataset, load
from privlab.data.secrets import plant, secrets_of
from privlab.data.texts import Texts, load_texts
from privlab.models.features import prepare


def inputs(config: RunConfig, progress: Progress = quiet) -> Dataset:
    """Load and prepare the records that ``config`` names; from this machine alone.

    Raises:
        KeyError: unknown data set or model.
        DataMissing, FeaturesError: what is needed is not here, or cannot be kept.
        ValueError: the model does not take these records, or more secrets are to be planted than the records leave room for.
    """
    key = config.data.dataset
    records = planted(config, load_texts(key)) if DATASETS[key].kind == "text" else load(key)
    return prepare(records, config.model.name, progress)


def planted(config: RunConfig, texts: Texts) -> Texts:
    """``texts`` with the secrets of ``config`` in their training part, which has as many records as before.

    Raises:
        ValueError: more secrets than a tenth of the records.
    """
    return replace(
        texts, train=plant(texts.train, secrets_of(config), config.data.secret_repeats, config.training.seed)
    )
