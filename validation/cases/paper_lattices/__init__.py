"""Strut lattices and their tension tests: one modality, both with networks, both with the law.

Run ``python -m pima_physics.validation.cases.paper_lattices [--small] [--seeds N] [--output DIR]``.
See `pima_physics.validation.cases.paper`.
"""
