"""Is the graph itself found, not only its class, where something tells the directions?

Run ``python -m pima_physics.validation.cases.interventions [--seeds N] [--cases TEXT] [--only TEXT]
[--epochs N] [--small] [--output DIR]``; with ``--seeds 0`` it only writes the table of the runs
that were made.
"""
