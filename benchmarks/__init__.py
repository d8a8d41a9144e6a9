"""Timings against plain PyTorch, each beside its target: ``python -m benchmarks``."""
