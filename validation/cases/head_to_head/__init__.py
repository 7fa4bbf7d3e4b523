"""Ours against what a scientist would do instead, on the same data.

Run ``python -m pima_physics.validation.cases.head_to_head [--small] [--seeds N] [--only TEXT]``.
"""
