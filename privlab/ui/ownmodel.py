"""Bringing a pretrained model of one's own, below the model's field."""

from __future__ import annotations

import streamlit as st

from privlab.data.catalogue import DATASETS
from privlab.models.catalogue import MODELS
from privlab.models.own import add
from privlab.ui.fetching import find, forget, show_progress, start
from privlab.ui.guard import escape

#: The one fetch of a model at a time, in every tab.
_FETCH = "own-model"
_SOURCE = "own-model-source"
_HELP = (
    "A folder on this computer with config.json, tokenizer.json and model.safetensors, or a name on the Hugging Face hub. BERT and "
    "RoBERTa sort texts; GPT-2 and Llama write. The model is copied, so that runs stay what they were; pickled files and code that "
    "comes with a model are never opened."
)


def bring_model(dataset: str) -> None:
    """A field for a folder or a name on the hub, where the data set holds texts; then the progress, or what came of it."""
    facts = DATASETS.get(dataset)
    if facts is None or facts.kind != "text":
        return
    fetching = find(_FETCH)
    with st.expander("Your own model", expanded=fetching is not None):
        st.text_input(
            "Folder or hub name", key=_SOURCE, placeholder="/path/to/folder or prajjwal1/bert-tiny", help=_HELP
        )
        if fetching and not fetching.over:
            show_progress(_FETCH)
            return
        st.button("Add", key="own-model-add", on_click=_begin)
        if fetching and fetching.error:
            st.error(escape(fetching.error))
        elif fetching and fetching.result in MODELS:
            _offer(fetching.result)


def _begin() -> None:
    source = st.session_state.get(_SOURCE, "")
    start(_FETCH, lambda _, note: add(source, progress=note))


def _offer(key: str) -> None:
    st.success(f"{escape(MODELS[key].title)} is here.")
    st.button("Choose it", key="own-model-choose", on_click=_choose, args=(key,), type="primary")


def _choose(key: str) -> None:
    st.session_state["model.name"] = key
    forget(_FETCH)
