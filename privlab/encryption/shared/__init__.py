"""Training on secret-shared records: three parties that see random numbers only (SPU, ABY3), with DP-SGD inside.

The way in is :func:`~privlab.encryption.shared.environment.available` and :func:`~privlab.encryption.shared.train.train`. SPU and
JAX live in an environment of their own (``make spu``), in which :mod:`~privlab.encryption.shared.party` runs; nothing here loads
them.
"""
