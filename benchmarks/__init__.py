"""Benchmarks whose results are recorded under ``results/``. Not installed; may import anything, imported by nothing."""
