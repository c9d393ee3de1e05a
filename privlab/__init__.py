"""PrivLab: a laboratory for differentially private deep learning that works with or without a browser."""

__version__ = "0.1.0"
