"""Parts of the recipe of discovery one by one, from the same warm-up.

``python -m pima_physics.validation.cases.ablation`` runs all sets, ways and seeds; ``--small`` one
seed of small sets.
"""
