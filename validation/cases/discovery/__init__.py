"""Are the right features and the right graph found, seed after seed, and nothing where nothing is?

Run ``python -m pima_physics.validation.cases.discovery [--seeds N] [--only TEXT] [--epochs N]
[--neural] [--small] [--output DIR]``; with ``--seeds 0`` it only writes the table of the runs
that were made.
"""
