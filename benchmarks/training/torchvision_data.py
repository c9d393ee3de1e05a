"""torchvision's Fashion-MNIST with the transforms of Opacus's MNIST example, one picture at a time through PIL.

torchvision has no CPU build for this torch. Its data sets and transforms are plain Python, so they are taken from the wheel
made for CUDA (`make peers`), whose compiled operators, for boxes around objects, are declared here and never called.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

PACKAGES = Path(__file__).parents[2] / ".venv-peers" / "torchvision"


def installed() -> bool:
    return (PACKAGES / "torchvision").is_dir()


@functools.cache
def _torchvision():
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float most) -> Tensor")
    sys.path.append(str(PACKAGES))
    from torchvision import datasets, transforms

    return datasets, transforms


@functools.cache
def _raw_files() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()


def fashion_mnist(x: Tensor, y: Tensor) -> Dataset:
    """``torchvision.datasets.FashionMNIST`` of the given pictures (N, 1, 28, 28) in 0…1 and labels.

    The transforms are the example's, ``ToTensor`` and ``Normalize``, with mean 0 and deviation 1: the same work, and the same
    inputs as everybody else's.
    """
    datasets, transforms = _torchvision()
    root = Path(_raw_files().name)
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    _write(raw / "train-images-idx3-ubyte", (x[:, 0] * 255).round().to(torch.uint8))
    _write(raw / "train-labels-idx1-ubyte", y.to(torch.uint8))
    # torchvision looks for the test files too before it reads any.
    _write(raw / "t10k-images-idx3-ubyte", torch.zeros(1, 28, 28, dtype=torch.uint8))
    _write(raw / "t10k-labels-idx1-ubyte", torch.zeros(1, dtype=torch.uint8))
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.0,), (1.0,))])
    return datasets.FashionMNIST(str(root), train=True, transform=steps)


def _write(path: Path, values: Tensor) -> None:
    """The IDX format: type and number of dimensions, sizes, bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(bytes((0, 0, 8, values.dim())) + sizes + values.numpy().tobytes())
