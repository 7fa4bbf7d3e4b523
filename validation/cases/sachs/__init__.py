"""Single-cell signalling data (Sachs et al. 2005) against the biologists' consensus graph.

Run ``python -m pima_physics.validation.cases.sachs [--data sachs.nc] [--output DIR]``. Peers
(causal-learn, pgmpy) are imported when the study runs; without them their rows say so.
"""
