"""Are as many nodes with as many outcomes proposed as there are, and none where there are none?

Run ``python -m pima_physics.validation.cases.auto_nodes [--seeds N] [--only TEXT] [--epochs N]
[--samples N] [--small] [--output DIR]``; with ``--seeds 0`` it only writes the table of the runs
that were made. The tension tests are looked for where ``PIMA_SHARED_DATA`` says.
"""
