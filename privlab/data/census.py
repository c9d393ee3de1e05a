"""The public schema of the Adult census table: which values a column may hold, known without looking at any record.

Categories and their order are those of the data set's documentation (Becker and Kohavi, UCI Machine Learning Repository,
1996); the numeric ranges are those of the questionnaire. Nothing here was measured on the records: scaling by statistics
of the training data would reveal something about it outside the guarantee.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: The documentation's "?": the person gave no answer. It is a category of its own.
UNKNOWN = "?"

#: Allowed values of each column of categories.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "workclass": (
        *("Private", "Self-emp-not-inc", "Self-emp-inc", "Federal-gov", "Local-gov", "State-gov"),
        *("Without-pay", "Never-worked", UNKNOWN),
    ),
    "education": (
        *("Bachelors", "Some-college", "11th", "HS-grad", "Prof-school", "Assoc-acdm", "Assoc-voc", "9th"),
        *("7th-8th", "12th", "Masters", "1st-4th", "10th", "Doctorate", "5th-6th", "Preschool"),
    ),
    "marital-status": (
        *("Married-civ-spouse", "Divorced", "Never-married", "Separated", "Widowed"),
        *("Married-spouse-absent", "Married-AF-spouse"),
    ),
    "occupation": (
        *("Tech-support", "Craft-repair", "Other-service", "Sales", "Exec-managerial", "Prof-specialty"),
        *("Handlers-cleaners", "Machine-op-inspct", "Adm-clerical", "Farming-fishing", "Transport-moving"),
        *("Priv-house-serv", "Protective-serv", "Armed-Forces", UNKNOWN),
    ),
    "relationship": ("Wife", "Own-child", "Husband", "Not-in-family", "Other-relative", "Unmarried"),
    "race": ("White", "Asian-Pac-Islander", "Amer-Indian-Eskimo", "Other", "Black"),
    "sex": ("Female", "Male"),
    "native-country": (
        *("United-States", "Cambodia", "England", "Puerto-Rico", "Canada", "Germany", "Outlying-US(Guam-USVI-etc)"),
        *("India", "Japan", "Greece", "South", "China", "Cuba", "Iran", "Honduras", "Philippines", "Italy", "Poland"),
        *("Jamaica", "Vietnam", "Mexico", "Portugal", "Ireland", "France", "Dominican-Republic", "Laos", "Ecuador"),
        *("Taiwan", "Haiti", "Columbia", "Hungary", "Guatemala", "Nicaragua", "Scotland", "Thailand", "Yugoslavia"),
        *("El-Salvador", "Trinadad&Tobago", "Peru", "Hong", "Holand-Netherlands", UNKNOWN),
    ),
}

#: Lowest and highest value of each numeric column; values outside are moved to the nearer end.
RANGES: dict[str, tuple[int, int]] = {
    "age": (0, 100),
    "education-num": (1, 16),
    "capital-gain": (0, 99_999),
    "capital-loss": (0, 99_999),
    "hours-per-week": (0, 99),
}

#: Amounts of money spread over orders of magnitude: scaled by the logarithm of 1 + value.
LOGARITHMIC = frozenset({"capital-gain", "capital-loss"})

#: The documentation's order of columns. ``fnlwgt`` says how many people a record stands for, nothing about the person.
FILE_COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country"),
)

#: Inputs of one encoded record.
WIDTH = len(RANGES) + sum(len(values) for values in CATEGORIES.values())


def encode(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Inputs for a model: numbers scaled to 0…1 by their public range, then one 0/1 input for each category.

    Args:
        columns: for each key of :data:`RANGES` the numbers, for each key of :data:`CATEGORIES` the place of the value in
            its tuple; each of shape (records,).

    Returns:
        float32 array of shape (records, :data:`WIDTH`), every value in 0…1. A row depends on its own record only.

    Raises:
        IndexError: a category's place is outside its tuple.
    """
    parts = [_scale(name, columns[name]) for name in RANGES]
    parts += [np.eye(len(values), dtype=np.float32)[columns[name]] for name, values in CATEGORIES.items()]
    return np.concatenate(parts, axis=1)


def _scale(name: str, values: np.ndarray) -> np.ndarray:
    low, high = RANGES[name]
    offset = np.clip(values.astype(np.float64), low, high) - low
    span = float(high - low)
    if name in LOGARITHMIC:
        offset, span = np.log1p(offset), float(np.log1p(span))
    return (offset / span).astype(np.float32)[:, None]
