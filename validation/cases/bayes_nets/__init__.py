"""Does the exact graph posterior find known Bayesian networks, and is it calibrated?

Run ``python -m pima_physics.validation.cases.bayes_nets [--small] [--output DIR]``. Peers
(causal-learn, pgmpy) are imported when the study runs; without them their columns are empty.
"""
