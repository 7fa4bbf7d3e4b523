"""Handwritten digits with a line whose slope follows the digit: what do image, line, both give?

Run ``python -m pima_physics.validation.cases.digits_line [--small] [--output DIR]``.
The experiment of PIMA, arXiv:2202.03242: clusters of the image alone confuse digits of like shape,
the slope alone confuses neighbouring digits, and the two confuse different pairs.
"""
