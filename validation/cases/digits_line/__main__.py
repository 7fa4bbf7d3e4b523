"""Clustering accuracy of four models and of what a scientist would do first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import pima_physics as pima
from pima_physics.datasets import digits_line
from pima_physics.datasets.digits import SteadyMotion
from pima_physics.truth import Truth
from pima_physics.validation.cases.scoring import Found, from_tree, score
from pima_physics.validation.cases.study import Method, Study, arguments, conduct

COLUMNS = {"worst": "clustering accuracy", "ari": "ARI", "nmi": "NMI"}

ABOUT = (
    "{samples} of the 1797 digits of scikit-learn, ten outcomes, {epochs} epochs; accuracy under "
    "the best one-to-one matching of clusters with digits. k-means and the mixtures (scikit-learn, "
    "full covariances, the best of ten starts by likelihood) see the standardised first eight "
    "principal components of the image, with the slope of a straight line fitted to each sample "
    "where named so."
)


def models() -> dict[str, Callable[[], dict[str, pima.Neural | pima.Physics]]]:
    """The four sets of modalities."""
    image, line = pima.Neural("image"), pima.Neural("line")
    law = pima.Physics(SteadyMotion(), variable="line")
    return {
        "image only": lambda: {"image": image},
        "line only": lambda: {"line": line},
        "both": lambda: {"image": image, "line": line},
        "both + physics": lambda: {"image": image, "line": law},
    }


def ours(kind: str, samples: int, epochs: int) -> Method:
    """Fit the model of that kind; data and fit have the same seed."""

    def run(seed: int) -> dict[str, float]:
        data, truth = digits_line(samples, seed=seed)
        model = pima.PIMA(modalities=models()[kind](), dag=pima.DAG(digit=10), latent_dim=10)
        return score(from_tree(pima.fit(model, data, seed=seed, epochs=epochs).tree), truth)

    return run


def simple(kind: str, samples: int) -> Method:
    """k-means or a Gaussian mixture on components of the image, with or without the slope."""

    def run(seed: int) -> dict[str, float]:
        from sklearn.cluster import KMeans
        from sklearn.mixture import GaussianMixture

        views, truth = _views(samples, seed)
        x = views["image"] if "image" in kind else np.concatenate(list(views.values()), axis=1)
        if kind.startswith("k-means"):
            k_means = KMeans(10, random_state=seed).set_params(n_init=10)
            labels = k_means.fit_predict(x)
        else:
            mixture = GaussianMixture(10, n_init=10, reg_covar=1e-3, random_state=seed)
            labels = mixture.fit_predict(x)
        return score(Found(labels[:, None]), truth)

    return run


def _views(samples: int, seed: int) -> tuple[dict[str, np.ndarray], Truth]:
    from sklearn.decomposition import PCA

    data, truth = digits_line(samples, seed=seed)
    pixels = data["image"].values.reshape(samples, -1)
    time = data["time"].values
    slope = np.polynomial.polynomial.polyfit(time, data["line"].values.T, 1)[1]
    parts = {"image": PCA(8, random_state=0).fit_transform(pixels), "slope": slope[:, None]}
    return {name: (v - v.mean(0)) / v.std(0) for name, v in parts.items()}, truth


def study(samples: int, epochs: int) -> Study:
    """All methods at one size."""
    methods: dict[tuple[str, str], Method] = {
        ("", kind): ours(kind, samples, epochs) for kind in models()
    }
    for kind in ("k-means, image", "mixture, image", "k-means, both", "mixture, both"):
        methods["", kind] = simple(kind, samples)
    return Study(
        name="digits_line",
        title="Handwritten digits with a line",
        about=ABOUT.format(samples=samples, epochs=epochs),
        methods=methods,
        columns=COLUMNS,
    )


def main() -> None:
    """Parse the arguments and run."""
    options = arguments("digits_line", __doc__).parse_args()
    if options.small:
        options.seeds = min(options.seeds, 1)
    print(conduct(study(600, 20) if options.small else study(1797, 100), options))


if __name__ == "__main__":
    main()
