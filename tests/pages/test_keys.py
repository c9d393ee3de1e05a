"""The panel of keys, on a page of its own."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from privlab.encryption import Passphrase, SealedVault, SealError
from privlab.encryption.keybook import Keybook, NamedKey, create_key, rotate
from privlab.runs.files import checkpoint_path
from privlab.runs.record import Status
from tests.pages.conftest import errors, stored

PHRASE, LATER = "correct horse battery staple", "another staple entirely"


def page() -> None:
    from privlab.ui.guard import guarded, show_notice
    from privlab.ui.keyspage import keys_panel

    with guarded():
        show_notice()
        keys_panel()


@pytest.fixture
def app(store, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr("privlab.ui.keyspage.Passphrase", lambda text: Passphrase(text, log2_n=10))
    return AppTest.from_function(page, default_timeout=60)


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def kept(app: AppTest) -> str:
    """Everything that the session's state holds, what Streamlit does not show of it included."""
    state = app.session_state._state._state
    return repr([state._new_session_state, state._old_state, state._new_widget_state.states])


def good(app: AppTest) -> str:
    return "\n".join(each.value for each in app.success).replace("\\", "")


def test_a_key_is_made_and_listed(app: AppTest) -> None:
    app.run()
    assert "No key yet" in app.info[0].value
    app.text_input(key="new-key-name").input("lab")
    press(app, "new-key-make")
    assert "Made the key lab" in good(app) and not errors(app)
    assert Keybook().get("lab").source == "keyfile"
    assert any("**lab**" in each.value for each in app.markdown)
    app.text_input(key="new-key-name").input("lab")
    press(app, "new-key-make")
    assert "There is a key “lab” already" in errors(app)
    app.text_input(key="new-key-name").input("../x")
    press(app, "new-key-make")
    assert "'../x' is refused" in errors(app)


def test_passphrases_are_used_and_forgotten(app: AppTest) -> None:
    app.run()
    app.radio(key="new-key-source").set_value("passphrase").run()
    app.text_input(key="new-key-name").input("seen-by-the-test")
    app.text_input(key="new-key-passphrase").input(PHRASE)
    app.text_input(key="new-key-again-passphrase").input(PHRASE[:-1])
    press(app, "new-key-make")
    assert "seen-by-the-test" in kept(app), "the test looks where values are"
    assert "The two passphrases differ" in errors(app) and Keybook().find("lab") is None
    assert "staple" not in kept(app)
    app.text_input(key="new-key-name").input("lab")
    app.text_input(key="new-key-passphrase").input(PHRASE)
    app.text_input(key="new-key-again-passphrase").input(PHRASE)
    press(app, "new-key-make")
    NamedKey("lab", Passphrase(PHRASE)).check("passphrase")
    assert "staple" not in kept(app)

    app.text_input(key="rotate-lab-passphrase").input(LATER)
    press(app, "rotate-lab-now")
    assert "passphrase does not open the key “lab”" in errors(app)
    app.text_input(key="rotate-lab-passphrase").input(PHRASE)
    app.text_input(key="rotate-lab-new-passphrase").input(LATER)
    press(app, "rotate-lab-now")
    assert "The two new passphrases differ" in errors(app)
    app.text_input(key="rotate-lab-passphrase").input(PHRASE)
    app.text_input(key="rotate-lab-new-passphrase").input(LATER)
    app.text_input(key="rotate-lab-again-passphrase").input(LATER)
    press(app, "rotate-lab-now")
    assert "The new key lab is in place" in good(app)
    NamedKey("lab", Passphrase(LATER)).check("passphrase")
    with pytest.raises(SealError):
        NamedKey("lab", Passphrase(PHRASE)).check("passphrase")
    assert "staple" not in kept(app)


def test_destroying_names_the_runs_and_asks_for_the_name(app: AppTest, store) -> None:
    create_key("lab")
    settings = {"encryption__mode": "sealed", "encryption__key_name": "lab"}
    run = stored(store, status=Status.FINISHED, name="my run", **settings)
    stored(store, name="to come", **settings)
    vault = SealedVault(NamedKey("lab"))
    vault.write(checkpoint_path(run.id), b"secret")
    app.run()
    said = "\n".join(each.value for each in app.markdown)
    assert "- my run (finished)" in said and "- to come (queued; nothing sealed yet, it could not start)" in said
    assert "lost for good (1 file)" in errors(app)
    assert any("an SSD" in each.value for each in app.caption)
    app.text_input(key="destroy-lab-name").input("lag")
    press(app, "destroy-lab-now")
    assert "You typed “lag”, not “lab”: nothing was destroyed" in errors(app)
    assert vault.read(checkpoint_path(run.id)) == b"secret"
    app.text_input(key="destroy-lab-name").input("lab")
    press(app, "destroy-lab-now")
    assert "The key lab is destroyed. 1 sealed file lost for good" in good(app)
    with pytest.raises(SealError, match="was destroyed"):
        vault.read(checkpoint_path(run.id))


def test_an_unfinished_rotation_and_a_damaged_entry_are_said(
    app: AppTest, store, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key("lab")
    create_key("bad")
    run = stored(store, encryption__mode="sealed", encryption__key_name="lab")
    SealedVault(NamedKey("lab")).write(checkpoint_path(run.id), b"secret")
    with monkeypatch.context() as broken:
        broken.setattr(rotate, "rewrap", lambda *_: (_ for _ in ()).throw(SealError("planted")))
        with pytest.raises(SealError, match="planted"):
            rotate.rotate_key("lab")
    (Keybook().folder / "bad.json").write_text("{")
    app.run()
    assert any("rotation not finished" in each.value for each in app.caption)
    assert "entry" in errors(app) and "damaged" in errors(app)
    press(app, "rotate-lab-now")
    assert "The interrupted rotation was finished. The new key lab is in place, in front of 1 file;" in good(app)
