"""Negative controls: data in which a trustworthy method finds no (shared) discrete feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from pima_physics.datasets.assembly import graph_array
from pima_physics.datasets.circle import NODES, circle_factors, circle_truth, circles, observe
from pima_physics.datasets.sampling import check_options, drop_modalities
from pima_physics.truth import Truth

FORK_CORRELATION = np.array([[1.0, 0.6, 0.6], [0.6, 1.0, 0.36], [0.6, 0.36, 1.0]])
"""Correlations of the outcomes in the fork of `circles`: 2 * 0.8 - 1 along each edge."""


def continuous_control(
    samples: int = 3000,
    seed: int = 0,
    *,
    separation: float = 5.0,
    nuisance: float = 1.0,
    image_size: int = 28,
    points: int = 64,
    missing: float = 0.0,
) -> tuple[xr.Dataset, Truth]:
    r"""The modalities of `circles` with one Gaussian cloud instead of discrete features.

    Positions u of hue, radius and shift are Gaussian around 1/2 with the variance and the
    correlations that the fork of `circles` has at this ``separation`` s,

    .. math:: \mathrm{var}\,u = \tfrac14 + s^{-2},

    so first and second moments tell nothing; only clusters are absent.

    Returns
    -------
    dataset : xr.Dataset
        As `circles`.
    truth : Truth
        No labels and an empty graph; parameters and nuisance as `circles`.
    """
    check_options(
        samples=samples,
        separation=separation,
        nuisance=nuisance,
        missing=missing,
        image_size=image_size,
        points=points,
    )
    generator = np.random.default_rng(seed)
    # the within-outcome scatter is independent between nodes: it adds to the diagonal only
    covariance = 0.25 * FORK_CORRELATION + np.eye(3) / separation**2
    normal = generator.normal(size=(samples, len(NODES)))
    positions = 0.5 + normal @ np.linalg.cholesky(covariance).T
    factors = circle_factors(positions, nuisance, generator)
    dataset = observe(factors, generator, image_size=image_size, points=points, missing=missing)
    dataset.attrs["title"] = "Negative control: circles without discrete features (generated)"
    return dataset, circle_truth(factors, labels={}, graph=graph_array(np.zeros((0, 0)), ()))


def permuted_control(
    samples: int = 3000,
    seed: int = 0,
    *,
    graph: str | Sequence[tuple[str, str]] = "fork",
    separation: float = 5.0,
    nuisance: float = 1.0,
    image_size: int = 28,
    points: int = 64,
    missing: float = 0.0,
) -> tuple[xr.Dataset, Truth]:
    """The `circles` set with its signals permuted over the samples.

    Each modality by itself is unchanged (its own clusters are still there), but the image tells
    nothing of the signal: no feature is shared.

    Returns
    -------
    dataset : xr.Dataset
        As `circles`.
    truth : Truth
        Labels and nuisance describe the image, parameters the permuted signal; ``graph`` is that of
        the image's features. ``nuisance.signal_source`` says which sample a signal came from.
    """
    dataset, truth = circles(
        samples,
        graph=graph,
        seed=seed,
        separation=separation,
        nuisance=nuisance,
        image_size=image_size,
        points=points,
    )
    check_options(samples=samples, missing=missing)
    # a stream of its own: the same seed must not repeat the numbers that made the data
    generator = np.random.default_rng([seed, 1])
    source = generator.permutation(samples)
    arrays = {"image": dataset["image"].values, "signal": dataset["signal"].values[source]}
    # modalities are dropped after the permutation, so that no sample loses both
    seen = drop_modalities(arrays, missing, generator)
    dataset = dataset.assign({name: dataset[name].copy(data=seen[name]) for name in seen})
    dataset.attrs["title"] = "Negative control: circles with permuted signals (generated)"
    parameters = {
        name: values.copy(data=values.values[source])
        for name, values in truth.parameters.data_vars.items()
    }
    origin = xr.Variable(
        "sample", source, {"units": "dimensionless", "long_name": "sample the signal came from"}
    )
    return dataset, Truth(
        labels=truth.labels,
        graph=truth.graph,
        parameters=truth.parameters.assign(parameters),
        nuisance=truth.nuisance.assign(signal_source=origin),
    )
