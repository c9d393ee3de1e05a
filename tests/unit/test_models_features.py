from __future__ import annotations

import errno
import threading

import numpy as np
import pytest
import torch

from privlab import paths
from privlab.data.load import Dataset, load
from privlab.models import kept as keeping
from privlab.models import scattering
from privlab.models.features import FeaturesError, prepare
from privlab.models.scattering import scatter


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    full = load("fashion-mnist-6k")
    return Dataset(full.facts, full.train_x[:40], full.train_y[:40], full.test_x[:10], full.test_y[:10])


def kept() -> list[str]:
    folder = paths.data_dir() / "features"
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock")) if folder.exists() else []


def test_most_models_are_trained_on_the_inputs_themselves(pictures):
    assert prepare(pictures, "cnn") is pictures


def test_features_have_the_catalogued_shape_and_keep_facts_and_labels(pictures):
    prepared = prepare(pictures, "scatter-linear")
    assert prepared.train_x.shape == (40, 81, 7, 7) and prepared.test_x.shape == (10, 81, 7, 7)
    assert prepared.train_x.dtype == torch.float32
    assert prepared.facts == pictures.facts
    assert torch.equal(prepared.train_y, pictures.train_y) and torch.equal(prepared.test_y, pictures.test_y)


def test_colour_pictures_give_the_channels_of_each_colour():
    x = torch.rand(2, 3, 32, 32)
    assert scatter(x).shape == (2, 243, 8, 8)
    torch.testing.assert_close(scatter(x)[:, 81:162], scatter(x[:, 1:2]))


def test_kept_features_equal_computed_ones(pictures, monkeypatch):
    first = prepare(pictures, "scatter-linear")
    assert len(kept()) == 1
    monkeypatch.setattr(scattering, "scatter", None)  # a second computation would fail
    second = prepare(pictures, "scatter-linear")
    monkeypatch.undo()
    assert torch.equal(first.train_x, second.train_x) and torch.equal(first.test_x, second.test_x)
    torch.testing.assert_close(second.train_x, scatter(pictures.train_x))


def test_features_are_those_of_kymatio_normalised_by_group(pictures):
    from kymatio.numpy import Scattering2D

    raw = Scattering2D(J=2, shape=(28, 28))(pictures.train_x[:4, 0].numpy().astype(np.float64))
    groups = raw.reshape(4, 27, -1)
    expected = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    np.testing.assert_allclose(scatter(pictures.train_x[:4]).numpy().reshape(4, 27, -1), expected, atol=2e-4)


def test_a_pictures_features_do_not_depend_on_the_others(pictures):
    together = scatter(pictures.train_x)
    alone = torch.cat([scatter(picture[None]) for picture in pictures.train_x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_other_pictures_have_features_of_their_own(pictures):
    prepare(pictures, "scatter-linear")
    changed = pictures.train_x.clone()
    changed[5, 0, 3, 3] += 1 / 255
    other = Dataset(pictures.facts, changed, pictures.train_y, pictures.test_x, pictures.test_y)
    prepared = prepare(other, "scatter-linear")
    assert len(kept()) == 2
    torch.testing.assert_close(prepared.train_x, scatter(changed))


def test_progress_counts_pictures(pictures, monkeypatch):
    monkeypatch.setattr(scattering, "_CHUNK", 16)
    seen = []
    prepare(pictures, "scatter-linear", lambda *step: seen.append(step))
    assert [done for done, _, _ in seen] == [0, 16, 32, 40, 50]
    assert {total for _, total, _ in seen} == {50}


def test_an_interrupted_computation_leaves_nothing(pictures, monkeypatch):
    monkeypatch.setattr(scattering, "_CHUNK", 16)

    def interrupt(done, total, what):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        prepare(pictures, "scatter-linear", interrupt)
    assert kept() == []
    assert caught.tb and not [thread for thread in threading.enumerate() if thread.name.startswith("features")]


def test_many_small_chunks_keep_their_order_and_torchs_threads(pictures, monkeypatch):
    monkeypatch.setattr(scattering, "_CHUNK", 3)
    before = torch.get_num_threads()
    prepared = prepare(pictures, "scatter-linear")
    assert torch.get_num_threads() == before
    torch.testing.assert_close(prepared.train_x, scatter(pictures.train_x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("damage", ["cut short", "not an array"])
def test_damaged_features_are_computed_again(pictures, damage):
    first = prepare(pictures, "scatter-linear").train_x.clone()
    (file,) = (paths.data_dir() / "features").glob("*/train.npy")
    raw = file.read_bytes()
    file.unlink()
    file.write_bytes(raw[:-1000] if damage == "cut short" else b"nothing")
    assert torch.equal(prepare(pictures, "scatter-linear").train_x, first)
    assert len(kept()) == 1


def test_writing_to_features_never_reaches_the_kept_ones(pictures):
    first = prepare(pictures, "scatter-linear")
    before = first.train_x.clone()
    first.train_x.zero_()
    assert torch.equal(prepare(pictures, "scatter-linear").train_x, before)


def test_a_full_disk_is_said_in_plain_words(pictures, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keeping, "_write", full)
    with pytest.raises(FeaturesError, match=r"The disk is full: the features of Fashion-MNIST, 6,000 pictures need"):
        prepare(pictures, "scatter-linear")
    assert kept() == []


def test_a_table_is_refused():
    with pytest.raises(ValueError, match="needs pictures"):
        prepare(load("adult"), "scatter-linear")
