"""Logistic regression trained on ciphertext: records and weights encrypted (C2), or weights only (C1)."""
