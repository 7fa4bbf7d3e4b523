"""Checks against known truth: metrics, graphs, mechanisms, calibration and cases."""

from __future__ import annotations

if __name__ != "pima_physics.validation":
    raise ImportError(
        "the folder validation/ is the package pima_physics.validation: "
        "write `from pima_physics import validation` (after `pip install -e .`)"
    )
