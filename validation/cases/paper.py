"""The comparison of the paper: one modality alone, both with networks, both with the law.

Reference: E. Walker, J. A. Actor, C. Martinez, N. Trask, "Causal disentanglement of multimodal
data", arXiv:2310.18471. The data are generated anew after its description; its numbers are not
reproduced, its comparison is.
"""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from pima_physics.truth import Truth
from pima_physics.validation.cases.models import fitted
from pima_physics.validation.cases.scoring import COLUMNS, score
from pima_physics.validation.cases.study import Method, Study, arguments, conduct

Generator = Callable[..., tuple[xr.Dataset, Truth]]

ABOUT = (
    "{samples} samples, {epochs} epochs, nodes and outcomes as many as there are; data, split and "
    "weights from the seed. Node accuracy is that of the worst node, matched one to one; the "
    "cross-modal scores are means over both directions on held-out samples, the log score in nats "
    "per value with spreads in units of that of the data; the parameter error is the mean rmse of "
    "the physical parameters in units of the spread of their true values."
)


def study(name: str, title: str, make: Generator, second: str, samples: int, epochs: int) -> Study:
    """The four models on one data set; ``second`` is the modality with the law."""

    def method(kind: str) -> Method:
        def run(seed: int) -> dict[str, float]:
            data, truth = make(samples, seed=seed)
            found = fitted(name.removeprefix("paper_"), kind, data, truth, seed=seed, epochs=epochs)
            return score(found, truth)

        return run

    kinds = {
        "image alone": "image",
        f"{second} alone": second,
        "both, neural": "neural",
        "both, physics": "physics",
    }
    return Study(
        name=name,
        title=title,
        about=ABOUT.format(samples=samples, epochs=epochs),
        methods={("", label): method(kind) for label, kind in kinds.items()},
        columns=COLUMNS,
    )


def main(name: str, title: str, make: Generator, second: str, about: str | None) -> None:
    """Parse the arguments and run."""
    parser = arguments(name, about)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=200)
    options = parser.parse_args()
    if options.small:
        options.samples, options.epochs, options.seeds = 400, 12, min(options.seeds, 1)
    found = study(name, title, make, second, options.samples, options.epochs)
    print(conduct(found, options))
