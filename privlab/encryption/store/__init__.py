"""Parameter stores: the parameters of a run, plain in this process or as ciphertext that a server without a key adds up."""

from privlab.encryption.store.contract import ParameterStore, StoreError, Traffic
from privlab.encryption.store.launch import open_store

__all__ = ["ParameterStore", "StoreError", "Traffic", "open_store"]
