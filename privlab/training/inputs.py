"""The records of a run as its model takes them: pictures and tables as they are, features, or the tokens of texts."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from privlab.config import RunConfig
from privlab.data.cache import Progress, quiet
from privlab.data.catalogue import DATASETS, RECORDS_OF_A_USER
from privlab.data.load import NOT_ASKED, Dataset, load
from privlab.data.secrets import plant, secrets_of
from privlab.data.texts import Texts, load_texts
from privlab.models.features import prepare


def inputs(config: RunConfig, progress: Progress = quiet) -> Dataset:
    """Load and prepare the records that ``config`` names; from this machine alone.

    Where users are the unit of privacy, training inputs and labels are (users, R, L): each user's records, filled up with some
    that ask nothing. Test records are one by one all the same.

    Raises:
        KeyError: unknown data set or model.
        DataMissing, FeaturesError: what is needed is not here, or cannot be kept.
        ValueError: the model does not take these records, or more secrets are to be planted than the records leave room for.
    """
    key = config.data.dataset
    if DATASETS[key].kind != "text":
        return prepare(load(key), config.model.name, progress)
    texts = planted(config, load_texts(key))
    prepared = prepare(texts, config.model.name, progress)
    return _by_user(prepared, texts.train_users) if config.data.unit == "user" else prepared


def planted(config: RunConfig, texts: Texts) -> Texts:
    """``texts`` with the secrets of ``config`` in their training part, which has as many records as before.

    Raises:
        ValueError: more secrets than a tenth of the records, or than users have room for.
    """
    users = None if texts.train_users is None else _places(texts.train_users)
    secrets, repeats = secrets_of(config), config.data.secret_repeats
    return replace(texts, train=plant(texts.train, secrets, repeats, config.training.seed, users))


def _places(users: Tensor) -> list[list[int]]:
    """Where each user's first records are, as many of them as are trained on at most."""
    found: list[list[int]] = [[] for _ in range(int(users.max()) + 1)]
    for place, user in enumerate(users.tolist()):
        if len(found[user]) < RECORDS_OF_A_USER:
            found[user].append(place)
    return found


def _by_user(dataset: Dataset, users: Tensor) -> Dataset:
    places = _places(users)
    shape = (len(places), max(map(len, places)))
    x = dataset.train_x.new_zeros(*shape, *dataset.train_x.shape[1:])
    y = dataset.train_y.new_full((*shape, *dataset.train_y.shape[1:]), NOT_ASKED)
    for user, own in enumerate(places):
        x[user, : len(own)], y[user, : len(own)] = dataset.train_x[own], dataset.train_y[own]
    return replace(dataset, train_x=x, train_y=y)
