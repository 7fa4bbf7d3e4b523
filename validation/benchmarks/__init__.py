"""Benchmarks against peers: ``python -m pima_physics.validation.benchmarks``."""
