"""Training on secret-shared records: three parties that see random numbers only (SPU, ABY3), with DP-SGD inside.

:mod:`~privlab.encryption.shared.bridge` is the way in: ``available()`` and ``train(...)``. SPU and JAX live in an environment of
their own (``make spu``), in which :mod:`~privlab.encryption.shared.party` runs; nothing here loads them.
"""
