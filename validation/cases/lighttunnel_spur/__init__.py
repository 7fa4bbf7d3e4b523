"""A polariser that was turned unseen, from what is left of the light behind it.

Run ``python -m pima_physics.validation.cases.lighttunnel_spur [--seeds N] [--only TEXT]
[--epochs N] [--small] [--output DIR]``. Beside the table it writes ``report_seed_N.html`` of every
fit with the law. The file is looked for where ``PIMA_SHARED_DATA`` says.
"""
