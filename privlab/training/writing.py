"""What a run's model writes, from its released weights or from a checkpoint of a run that still trains.

``python -m privlab.training.writing`` does it in a process of its own, so that no other loads torch: the request as one line of JSON
and then the weights on standard input, JSON lines out, each with its ``kind``: ``text`` (a piece of it), last ``finished`` or
``refused`` (``message``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from privlab.config import ConfigError, RunConfig
from privlab.config.writing import WritingConfig
from privlab.data.catalogue import DATASETS
from privlab.data.load import DataMissing
from privlab.data.own import is_own, missing
from privlab.joblines import say
from privlab.models.build import build
from privlab.models.catalogue import MODELS, TRANSFORMERS
from privlab.models.tokens import tokenizer
from privlab.preflight import part_trained
from privlab.training.checkpoint import Checkpoint, CheckpointError
from privlab.training.evaluate import released
from privlab.training.generate import generate
from privlab.training.weights import load_trained


def write(config: RunConfig, state: bytes, asked: WritingConfig) -> Iterator[str]:
    """Pieces of text as they come.

    Args:
        config: settings of the run, of a language model.
        state: its weights file or its checkpoint, unsealed.
        asked: how to go on from what.

    Raises:
        ConfigError: the run's model does not write, the weights that it started from are not here, or the state is damaged or does
            not fit it.
    """
    chosen = config.model
    if config.data.task != "language":
        title = MODELS[chosen.name].title if chosen.name in MODELS else chosen.name
        raise ConfigError.at("run", f"{title} sorts texts and pictures into classes; only a language model can write.")
    if is_own(chosen.name) and chosen.name not in MODELS:
        raise ConfigError.at("run", missing(chosen.name))
    trains = part_trained(chosen.name, chosen.trains)
    try:
        model = build(chosen.name, DATASETS[config.data.dataset], config.training.seed, trains, chosen.lora_rank)
        load_trained(model, released_of(state))
    except DataMissing as error:
        raise ConfigError.at("run", str(error)) from None
    except (CheckpointError, SafetensorError, ValueError) as error:
        raise ConfigError.at("run", f"The weights cannot be read: {error}") from None
    generator = torch.Generator()
    if asked.seed is None:
        generator.seed()
    else:
        generator.manual_seed(asked.seed)
    with released(model) as logits:
        yield from generate(
            logits,
            tokenizer(chosen.name),
            asked.prompt,
            most=asked.tokens,
            context=TRANSFORMERS[chosen.name].context,
            temperature=asked.temperature,
            top_k=asked.top_k,
            beams=asked.beams,
            generator=generator,
        )


def released_of(state: bytes) -> Mapping[str, Tensor]:
    """The released weights of a weights file or of a checkpoint, which differ by their metadata."""
    try:
        return Checkpoint.from_bytes(state).weights
    except CheckpointError:
        return safetensors.torch.load(state)


def main() -> int:
    """The exit status: 0 written, 2 refused."""
    asked = json.loads(sys.stdin.buffer.readline())
    try:
        config, wanted = RunConfig.from_dict(asked["config"]), WritingConfig.from_dict(asked["writing"])
        for piece in write(config, sys.stdin.buffer.read(), wanted):
            say("text", text=piece)
    except ConfigError as error:
        say("refused", message=" ".join(problem.message for problem in error.problems))
        return 2
    say("finished")
    return 0


if __name__ == "__main__":
    sys.exit(main())
