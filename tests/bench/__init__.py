"""Numbers, reproducibly: one canonical workload a stage. `python -m tests.bench --help`."""
