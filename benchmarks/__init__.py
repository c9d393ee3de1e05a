"""One script per figure quoted in docs/performance.md. Each takes ``--json``; ``python -m benchmarks`` runs them all."""
