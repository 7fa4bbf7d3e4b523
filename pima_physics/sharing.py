"""What modalities have in common: how much a second one knows of a feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pima_physics.dataset import Data
from pima_physics.representations import Representation
from pima_physics.sharing_views import ENOUGH, shared_views

Array = NDArray[np.float64]

# Folds, samples and samples per outcome with which one modality's knowledge of an outcome can be
# measured; share of a guess that is left to the frequencies.
FOLDS, LEAST, FEWEST = 4, 20, 3
DOUBT = 0.02
# Log of the odds against chance that dependence between modalities must reach.
SURE = float(np.log(100.0))


def shared_nats(
    probability: Array, views: Sequence[Representation], modalities: Sequence[str]
) -> float:
    """How much a second modality knows of a partition, in nats per sample.

    Modalities predict the outcomes of samples not seen; the gain of the second best over the
    frequencies counts. A partition found in several modalities at once carries a trace of each,
    even if they are independent. At most what another modality knows of the *guesses* of the best
    therefore counts: a guess comes from one modality alone, so that under independence the gain
    times the number of samples exceeds log(1/a) with a probability of about a at most (the
    predictive likelihood ratio is an e-value).

    Parameters
    ----------
    probability : array, shape (sample, outcome)
    views : sequence of Representation
        Principal components, fitted parameters and shared views.
    modalities : sequence of str

    Returns
    -------
    float
        NaN where no two modalities have enough samples in common.
    """
    features = {name: f for name in modalities if (f := _features(name, views)) is not None}
    label = probability.argmax(1)
    gains = {n: _gain(_guess(*f, label), label, f[1]) for n, f in features.items()}
    best = sorted(gains, key=lambda n: -gains[n])
    first = best[0] if best else ""
    found = []
    for name in best[1:]:
        both = features[first][1] & features[name][1]
        if both.sum() >= LEAST:
            own = _guess(*features[first], label).argmax(1)
            told = _gain(_guess(features[name][0], both, own), own, both)
            found.append(max(min(told, gains[name]), 0.0) * float(both.mean()))
    return max(found, default=float("nan"))


def nothing_shared(
    shared: Sequence[float], views: Sequence[Representation], data: Data, *, seed: int
) -> bool:
    """Whether enough samples of several modalities show nothing that they have in common.

    Then their groups are features of single modalities, and no cause of both.

    Parameters
    ----------
    shared : sequence of float
        Nats per sample of each node, by `shared_nats`.
    """
    several = sum(v.name.startswith("components of") for v in views) > 1
    if not several or data.size < ENOUGH or any(s * data.size > SURE for s in shared):
        return False
    return not shared_views(data, views, seed=seed)


def _features(name: str, views: Sequence[Representation]) -> tuple[Array, NDArray[np.bool_]] | None:
    """All that is known of the samples by one modality."""
    kinds = (f"components of {name}", f"fits of {name}", f"{name} about the others")
    own = [v for v in views if v.name in kinds]
    if not own:
        return None
    return np.concatenate([v.values for v in own], axis=1), own[0].present


def _guess(values: Array, present: NDArray[np.bool_], label: NDArray[np.int64]) -> Array:
    """Outcome probabilities by linear discriminants fitted to other samples."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import KFold

    outcomes = int(label.max()) + 1
    found = np.full((len(values), outcomes), 1.0 / outcomes)
    index = np.flatnonzero(present)
    if len(index) < LEAST:
        return found
    for seen, new in KFold(FOLDS, shuffle=True, random_state=0).split(index):
        old, target = index[seen], label[index[seen]]
        counts = np.bincount(target, minlength=outcomes)
        prior = (counts + 0.5) / (counts + 0.5).sum()
        found[index[new]] = prior
        kept = np.isin(target, np.flatnonzero(counts >= FEWEST))
        if len(np.unique(target[kept])) < 2 or not values[old].std() > 0.0:
            continue
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        lda.fit(values[old][kept], target[kept])
        part = np.full((len(new), outcomes), 0.0)
        part[:, lda.classes_] = lda.predict_proba(values[index[new]])
        # A guess leaves room for its own error, so that no single sample decides.
        found[index[new]] = (1.0 - DOUBT) * part + DOUBT * prior
    return found


def _gain(guess: Array, label: NDArray[np.int64], present: NDArray[np.bool_]) -> float:
    """Log score of guesses above that of the frequencies, in nats per present sample."""
    if not present.any():
        return 0.0
    share = np.bincount(label[present], minlength=guess.shape[1]) / present.sum()
    own = label[present]
    return float(np.log(guess[present, own] / share[own]).mean())
