"""Methods times cases times seeds: node accuracy, graph, cross-modal prediction, parameters.

B2 and B3 (MultiVae) and B7 (Pyro) need optional packages, see :mod:`.peers` and :mod:`.twin`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import xarray as xr

import pima_physics as pima
from pima_physics.datasets import circles, lattices
from pima_physics.truth import Truth
from pima_physics.validation.cases.head_to_head import baselines
from pima_physics.validation.cases.head_to_head.peers import peer
from pima_physics.validation.cases.head_to_head.twin import twin
from pima_physics.validation.cases.models import fitted, modalities
from pima_physics.validation.cases.scoring import COLUMNS, Found, score
from pima_physics.validation.cases.study import Method, Study, arguments, conduct

Make = Callable[..., tuple[xr.Dataset, Truth]]

ABOUT = (
    "{samples} samples, {epochs} epochs; every method gets the number of nodes and outcomes. "
    "Clusters without nodes (B1 mixture, B4 joint) are named by the truth, in their favour. "
    "Nothing is tuned for any method. Columns as in the paper studies, a dash where a method says "
    "nothing; the ELBO is that of the values as standardised, B7's of the same model as ours "
    "but for its mixture. Parameter errors are those of samples of which the law's modality was "
    "observed; least squares (B6) fits the first 200 of them."
)


def bent(samples: int, *, seed: int) -> tuple[xr.Dataset, Truth]:
    """Lattices whose law is wrong: each curve sags by up to a tenth at large strain."""
    data, truth = lattices(samples, seed=seed)
    strain = data["strain"] / float(data["strain"].max())
    stress = (data["stress"] * (1 - 0.1 * strain**2)).transpose(*data["stress"].dims)
    return data.assign(stress=stress.assign_attrs(data["stress"].attrs)), truth


CASES: dict[str, tuple[str, Make]] = {
    "circles, fork": ("circles", partial(circles, graph="fork")),
    "circles, collider": ("circles", partial(circles, graph="collider")),
    "circles, no edges": ("circles", partial(circles, graph=())),
    "lattices": ("lattices", lattices),
    "lattices, wrong law": ("lattices", bent),
    "lattices, 30 % missing": ("lattices", partial(lattices, missing=0.3)),
    "lattices, 60 % missing": ("lattices", partial(lattices, missing=0.6)),
}
SMALL = ("circles, fork", "lattices")


def methods(name: str, epochs: int) -> Iterator[tuple[str, Callable[..., Found]]]:
    """Every method of one data set, by its label in the table."""

    def ours(kind: str, structure: str) -> Callable[..., Found]:
        return lambda data, truth, seed: fitted(
            name, kind, data, truth, seed=seed, epochs=epochs, structure=structure
        )

    yield "ours", ours("physics", "learned")
    for label, search in baselines.SEARCHES.items():
        yield f"B1 mixture, {label}", baselines.clusters_then_search(search)
        yield f"B1 axes, {label}", baselines.axes_then_search(search)
    yield "B2 MVAE, mixture, PC", peer(name, "MVAE", baselines.SEARCHES["PC"], epochs)
    yield "B3 CMVAE, PC", peer(name, "CMVAE", baselines.SEARCHES["PC"], epochs)
    yield "B4 ours, edgeless", ours("physics", "edgeless")
    yield "B4 ours, joint", ours("physics", "joint")
    yield "B5 ours, neural", ours("neural", "learned")
    yield "B6 least squares", baselines.least_squares(name)
    yield "B7 Pyro, PC", twin(name, baselines.SEARCHES["PC"], epochs)
    yield "B9 random", baselines.random_graph
    yield "B9 empty", baselines.empty_graph


def where_observed(found: Found, data: xr.Dataset, name: str) -> Found:
    """Parameters of samples of which the law's modality was observed, NaN for the others.

    Fits to single samples say nothing of the others; the model does, from what else there is.
    """
    laws = [m for m in modalities(name, "physics").values() if isinstance(m, pima.Physics)]
    seen = np.ones(data.sizes["sample"], dtype=bool)
    for law in laws:
        values = data[str(law.variable)].transpose("sample", ...).values
        seen &= np.isfinite(values).reshape(len(seen), -1).any(1)
    kept = {
        key: (np.where(seen, values, np.nan), std, unit)
        for key, (values, std, unit) in found.parameters.items()
    }
    return replace(found, parameters=kept)


def study(samples: int, epochs: int, *, small: bool = False) -> Study:
    """All cases and methods at one size."""

    def method(name: str, make: Make, function: Callable[..., Found]) -> Method:
        def run(seed: int) -> dict[str, float]:
            data, truth = make(samples, seed=seed)
            return score(where_observed(function(data, truth, seed), data, name), truth)

        return run

    return Study(
        name="head_to_head",
        title="Head to head",
        about=ABOUT.format(samples=samples, epochs=epochs),
        methods={
            (case, label): method(name, make, function)
            for case, (name, make) in CASES.items()
            if not small or case in SMALL
            for label, function in methods(name, epochs)
        },
        columns=COLUMNS,
        packages=("torch", "numpy", "scipy", "scikit-learn", "causal-learn"),
    )


def main() -> None:
    """Parse the arguments and run."""
    parser = arguments("head_to_head", __doc__)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=200)
    options = parser.parse_args()
    if options.small:
        options.samples, options.epochs, options.seeds = 400, 12, min(options.seeds, 1)
    print(conduct(study(options.samples, options.epochs, small=options.small), options))


if __name__ == "__main__":
    main()
