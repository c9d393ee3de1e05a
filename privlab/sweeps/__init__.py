"""Many runs of one question: which settings to vary, how to search them, and what the search itself costs. Torch-free."""
