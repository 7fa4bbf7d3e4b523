"""Strut lattices and their tension tests: features, graph, predictions, parameters."""

from __future__ import annotations

from pima_physics.datasets import lattices
from pima_physics.validation.cases.paper import main

TITLE = "Strut lattices and their tension tests"

if __name__ == "__main__":
    main("paper_lattices", TITLE, lattices, "curve", __doc__)
