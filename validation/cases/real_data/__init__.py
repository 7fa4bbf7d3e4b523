"""Are the known factors of data that we did not make found, with their labels hidden?

Run ``python -m pima_physics.validation.cases.real_data [--seeds N] [--only TEXT] [--epochs N]
[--small] [--output DIR]``; with ``--seeds 0`` it only writes the table of the runs that were made.
The files are looked for where ``PIMA_SHARED_DATA`` says; a set without its file is left out.
"""
