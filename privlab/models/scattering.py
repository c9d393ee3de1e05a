"""Fixed wavelet features of pictures."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import torch
from torch.nn import functional

from privlab.data.catalogue import DatasetFacts
from privlab.models.kept import Features
from privlab.models.sizes import SCATTER_ANGLES, SCATTER_SCALES, scatter_shape

#: Raise it whenever the features of a picture change.
_VERSION = 1
#: Pictures transformed at once: larger is not faster, and 512 pictures of 28×28 need about 150 MB.
_CHUNK = 512
#: Channels that share one mean and deviation (81 channels in 27 groups, Tramèr and Boneh 2021).
_CHANNELS_A_GROUP = 3


def scatter_features(facts: DatasetFacts) -> Features:
    how = f"{_VERSION} {version('kymatio')} {SCATTER_SCALES} {SCATTER_ANGLES}"
    return Features("scatter", how, scatter_shape(facts.shape), _CHUNK, scatter)


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
