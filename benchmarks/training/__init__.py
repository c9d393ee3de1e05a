"""The same training work for PrivLab, its rivals in PyTorch, and its peers in environments of their own."""
