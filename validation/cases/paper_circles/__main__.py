"""Coloured circles and damped oscillations: features, graph, predictions, parameters."""

from __future__ import annotations

from pima_physics.datasets import circles
from pima_physics.validation.cases.paper import main

TITLE = "Coloured circles and damped oscillations"

if __name__ == "__main__":
    main("paper_circles", TITLE, circles, "signal", __doc__)
