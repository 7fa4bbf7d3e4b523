"""Coloured circles and damped oscillations: one modality, both with networks, both with the law.

Run ``python -m pima_physics.validation.cases.paper_circles [--small] [--seeds N] [--output DIR]``.
See `pima_physics.validation.cases.paper`.
"""
