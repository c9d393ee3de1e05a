"""The models that were added on this machine, as facts. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from privlab.data import own
from privlab.models.configfile import Unsupported
from privlab.models.facts import ModelFacts
from privlab.models.families import FAMILIES, TASKS, Described, describe
from privlab.models.forms import Transformer, parts
from privlab.models.tensors import shapes

_looked_up: tuple[Mapping, dict[str, ModelFacts], dict[str, Transformer]] | None = None


def added_facts() -> tuple[dict[str, ModelFacts], dict[str, Transformer]]:
    """Facts and sizes of the added models; made again only where there are others."""
    global _looked_up
    here, known = own.added(), _looked_up
    if known is None or known[0] is not here:
        models, forms = {}, {}
        for key, each in here.items():
            try:
                described = describe(each.config)
            except Unsupported:
                # Added by another version of PrivLab, or changed since.
                continue
            models[key], forms[key] = _facts_of(each, described), described.form
        known = _looked_up = here, models, forms
    return known[1], known[2]


def _facts_of(each: own.Added, described: Described) -> ModelFacts:
    form = described.form
    count = sum(map(prod, shapes(described).values()))
    reads = f"that reads {form.context} pieces of words"
    does = (
        f"{reads}, with a new head. Its tables never train."
        if TASKS[form.family] == "classify"
        else f"{reads} and goes on with them. Its tables and its head never train."
    )
    return ModelFacts(
        each.key,
        f"{each.name} ({FAMILIES[form.family]}, {_rough(count)} parameters)",
        f"Added from {each.origin}. A pretrained transformer of {form.blocks} blocks {does}",
        ("text",),
        task=TASKS[form.family],
        trains=parts(form),
        weights=each.key,
    )


def _rough(count: int) -> str:
    """Three digits: 4.39 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
