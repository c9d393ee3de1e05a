"""The records of a run as its model takes them: pictures and tables as they are, features, or the tokens of texts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from privlab.config import RunConfig
from privlab.data.cache import Progress, quiet
from privlab.data.catalogue import DATASETS
from privlab.data.load import Dataset, load
from privlab.models.features import prepare

if TYPE_CHECKING:
    from privlab.data.secrets import Secret
    from privlab.data.texts import Texts


def inputs(config: RunConfig, progress: Progress = quiet) -> Dataset:
    """Load and prepare the records that ``config`` names; from this machine alone.

    Raises:
        KeyError: unknown data set or model.
        DataMissing, FeaturesError: what is needed is not here, or cannot be kept.
        ValueError: the model does not take these records, or more secrets are to be planted than the records leave room for.
    """
    key = config.data.dataset
    records = _texts(config) if DATASETS[key].kind == "text" else load(key)
    return prepare(records, config.model.name, progress)


def _texts(config: RunConfig) -> Texts:
    from privlab.data.texts import load_texts

    return planted(config, load_texts(config.data.dataset))


def secrets_of(config: RunConfig) -> tuple[Secret, ...]:
    """The made-up secrets that ``config`` plants, the same each time."""
    data = config.data
    if not data.secrets:
        return ()
    from privlab.data.secrets import make_secrets

    return make_secrets(data.secret_kind, data.secrets, config.training.seed)


def planted(config: RunConfig, texts: Texts) -> Texts:
    """``texts`` with the secrets of ``config`` in their training part, which has as many records as before.

    Raises:
        ValueError: more secrets than a tenth of the records.
    """
    secrets = secrets_of(config)
    if not secrets:
        return texts
    from privlab.data.secrets import plant

    return replace(texts, train=plant(texts.train, secrets, config.data.secret_repeats, config.training.seed))
