"""Data sets: torch-free facts (``catalogue``, ``references``), fetching (``fetch``) and loading into tensors (``load``)."""
