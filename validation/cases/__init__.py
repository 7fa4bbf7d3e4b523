"""Studies behind our claims: ``python -m pima_physics.validation.cases.NAME`` runs one."""
