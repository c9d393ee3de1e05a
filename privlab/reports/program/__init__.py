"""A run as a program that repeats it without PrivLab, with plain PyTorch and Opacus: a script or a notebook."""
