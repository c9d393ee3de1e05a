"""Models from the hub, by its own client and a small hub on this machine: only what is needed comes, and every refusal is in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from privlab.data import own
from privlab.data.fetch import FetchError
from privlab.data.weightfiles import FILES, weights_folder
from privlab.models.own import add
from tests import ownmodels
from tests.fakehub import COMMIT, Hub, fake_hub


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of a repository with one safetensors file, and of one with shards."""
    place = tmp_path_factory.mktemp("hub")
    whole = ownmodels.folder(place / "whole", "bert")
    shards = ownmodels.folder(place / "shards", "gpt2", shards=3)
    return {folder.name: {path.name: path.read_bytes() for path in folder.iterdir()} for folder in (whole, shards)}


@pytest.fixture
def hub(files: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    # What the client would keep elsewhere, and the tokens of who runs the tests.
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    more = {"pytorch_model.bin": b"pickled", "onnx/model.onnx": b"another form", "README.md": b"read me"}
    with fake_hub(
        **{"models/me/Tiny-BERT": {**files["whole"], **more}, "models/me/sharded": files["shards"]}
    ) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


def test_only_what_is_needed_comes_and_the_commit_is_kept(hub: Hub, files: dict, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None, str]] = []
    key = add("me/Tiny-BERT", progress=lambda *step: seen.append(step))
    added = own.added()[key]
    assert key.startswith("own-tiny-bert-") and (added.source, added.revision) == ("me/Tiny-BERT", COMMIT)
    assert sorted(hub.asked) == sorted(FILES), "no pickled file, nor any other, is even asked for"
    assert all((weights_folder(key) / name).read_bytes() == files["whole"][name] for name in FILES)
    assert any("downloading me/Tiny-BERT" in what and total for _, total, what in seen)
    assert [path.name for path in weights_folder("").glob(".*-*") if path.is_dir()] == []
    assert not (tmp_path / "hf").exists() or not list((tmp_path / "hf").rglob("*.safetensors"))


def test_shards_come_and_a_revision_may_be_named(hub: Hub) -> None:
    key = add("me/sharded", revision=COMMIT, name="In pieces")
    assert own.added()[key].name == "In pieces" and len([name for name in hub.asked if name.startswith("model-")]) > 1


@pytest.mark.parametrize(
    ("name", "revision", "said"),
    [
        ("me/nothing", "", r"has no model me/nothing, or it is private.*hf auth login"),
        ("me/Tiny-BERT", "v9", r"no revision 'v9'"),
        ("me/gated", "", r"gated on the hub: accept its terms.*hf auth login"),
        ("me/pickled", "", r"only pytorch_model.bin, which is pickled.*on a machine that you trust"),
        ("me/other", "", r"'mamba'; supported are"),
    ],
)
def test_what_the_hub_does_not_give_is_said_in_words(
    hub: Hub, files: dict, name: str, revision: str, said: str
) -> None:
    hub.repos["models/me/gated"] = files["whole"]
    hub.gated.add("models/me/gated")
    hub.repos["models/me/pickled"] = {"config.json": b"{}", "tokenizer.json": b"{}", "pytorch_model.bin": b"pickled"}
    hub.repos["models/me/other"] = files["whole"] | {"config.json": b'{"model_type": "mamba"}'}
    with pytest.raises(FetchError, match=f"(?s)^{name} was not added.*{said}"):
        add(name, revision=revision)
    assert not [path for path in hub.asked if path.endswith((".safetensors", ".bin"))], (
        "refused before anything large came"
    )
    assert not own.added()


def test_a_hub_that_cannot_be_reached_is_named_and_so_is_the_way_out(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match=r"http://127.0.0.1:9 cannot be reached.*everything else works.*name a folder"):
        add("me/Tiny-BERT")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FetchError, match=r"cannot be reached.*[Oo]ffline"):
        add("me/Tiny-BERT")


def test_stopping_ends_the_client_and_leaves_nothing_behind(hub: Hub) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int | None, what: str) -> None:
        if total:
            raise Stop

    with pytest.raises(Stop):
        add("me/Tiny-BERT", progress=stop)
    assert [path.name for path in weights_folder("").iterdir() if path.is_dir()] == []
