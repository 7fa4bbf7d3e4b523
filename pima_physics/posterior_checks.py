r"""Posterior predictive checks: where does a modality differ from what the model says of it?

With standardised residuals :math:`z = (\text{observed} - \text{mean}) / \text{std}` of held-out
samples, each check is a mean over samples with a known expectation, so that values of one sample
may be as dependent as they like:

==========  ===============================================  =========================
check       statistic, per sample                            failing means
==========  ===============================================  =========================
spread      mean of z squared                                stated spread wrong
coverage    share inside the central 90 % interval           intervals wrong
bias        z at each place, worst place                     a place is missed
shape       product of z of neighbours along a dimension     smooth misfit, not noise
level       z squared where the prediction is high, low      noise depends on level
outcomes    mean of z by outcome of each node                a feature is half captured
==========  ===============================================  =========================

A check fails where the difference is significant (1 %, Bonferroni over all that is compared in
it) *and* material: with many samples every model differs significantly from the data.

Reference: A. Gelman, X.-L. Meng, H. Stern, "Posterior predictive assessment of model fitness via
realized discrepancies", Statistica Sinica 6, 1996.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.stats import norm, t

from pima_physics.plots_tree import assigned_outcomes, children, held_out_in, nodes
from pima_physics.verdicts import FAILED, OPEN, PASSED, Check, CheckReport

SIGNIFICANCE = 0.01
MATERIAL = 0.1
"""Smallest difference that counts, in units of the stated spread (or as a share)."""

FEWEST = 20
"""Held-out samples below which all samples are looked at instead."""

NINETY = float(norm.ppf(0.95))


def predictive_checks(
    tree: xr.DataTree, modalities: Sequence[str] | None = None, *, group: str = "reconstruction"
) -> CheckReport:
    """Check what the model says of every modality against the data.

    Parameters
    ----------
    tree : DataTree
        Results of a fit.
    modalities : sequence of str, optional
        Default: all.
    group : {"reconstruction", "crossmodal"}
        Predictions given the sample's own data, or given the other modalities alone; "shape" is
        left out of the latter, where the uncertain latent position moves neighbours together.

    Returns
    -------
    CheckReport
        One check per row of the table above; the evidence names the discrepancy. Fewer than
        ten samples leave a check open.
    """
    found: list[Check] = []
    for modality in modalities or children(tree, group):
        data, basis = _judged(tree, f"{group}/{modality}")
        one = _Standardised.of(modality, data, basis)
        for make in (_spread, _coverage, _bias, _shape, _level):
            if make is not _shape or group == "reconstruction":
                found += make(one)
        found += _outcomes(one, tree, data)
    return CheckReport(tuple(found))


@dataclass(frozen=True)
class _Standardised:
    """Residuals of one modality, (sample, *shape); NaN where not observed."""

    modality: str
    z: np.ndarray
    mean: np.ndarray
    inside: np.ndarray
    dims: tuple[str, ...]
    places: xr.Dataset
    basis: str

    @classmethod
    def of(cls, modality: str, data: xr.Dataset, basis: str) -> _Standardised:
        mean, std, observed = (data[n].values.astype(float) for n in ("mean", "std", "observed"))
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.where(std > 0, (observed - mean) / std, np.nan)
        known = np.isfinite(z)
        counts = known.any() and np.all(observed[known] == np.round(observed[known]))
        if counts and {"lower", "upper"} <= set(data.data_vars):
            # Counts and yes/no have no normal intervals.
            inside = (observed >= data["lower"].values) & (observed <= data["upper"].values)
        else:
            inside = np.abs(z) <= NINETY
        dims = tuple(str(d) for d in data["mean"].dims[1:])
        return cls(modality, z, mean, np.where(known, inside, np.nan), dims, data, basis)

    def place(self, position: int) -> str:
        """Where a position of the flattened shape lies, in words."""
        index = np.unravel_index(position, self.z.shape[1:]) if self.dims else ()
        words = []
        for dim, k in zip(self.dims, index, strict=True):
            own = self.places.coords.get(dim)
            label = k if own is None or own.ndim != 1 else own.values[k]
            words.append(f"{dim} = {label:.4g}" if np.isreal(label) else f"{dim} = {label}")
        return ", ".join(words) or "the one value"


def _judged(tree: xr.DataTree, path: str) -> tuple[xr.Dataset, str]:
    data = tree[path].to_dataset().transpose("sample", ...)
    held = held_out_in(tree, data)
    if held is None or held.sum() < FEWEST:
        return data, f"{data.sizes['sample']} samples, training samples included"
    return data.isel(sample=np.flatnonzero(held)), f"{int(held.sum())} held-out samples"


def _means(values: np.ndarray) -> np.ndarray:
    """Mean of each sample over its known values; samples without any are left out."""
    rows = values.reshape(len(values), -1)
    return np.array([np.nanmean(row) for row in rows if np.isfinite(row).any()])


def _judge(
    one: _Standardised,
    name: str,
    values: Sequence[np.ndarray],
    expected: float,
    words: Callable[[int, float], str],
    *,
    material: float = MATERIAL,
    upwards: bool = False,
) -> Check:
    """Compare means over samples with their expectation; the furthest from it speaks.

    Parameters
    ----------
    values : sequence of arrays (samples,)
        Statistics compared together.
    words : callable
        (which of them, its mean) -> text.
    """
    claim = f"{one.modality}: {name}"
    usable = [(k, v[np.isfinite(v)]) for k, v in enumerate(values)]
    usable = [(k, v) for k, v in usable if len(v) >= 10]
    if not usable:
        return Check(claim, OPEN, f"too few samples ({one.basis})")
    limit, worst, failed = SIGNIFICANCE / len(usable), (-np.inf, 0, expected), False
    for k, v in usable:
        gap, error = float(v.mean()) - expected, float(v.std(ddof=1)) / np.sqrt(len(v))
        far = gap if upwards else abs(gap)
        significant = error == 0 or 2 * t.sf(abs(gap) / error, len(v) - 1) < limit
        failed |= bool(significant and far > material)
        worst = max(worst, (far, k, float(v.mean())))
    _, which, mean = worst
    evidence = f"{words(which, mean)} ({one.basis})"
    return Check(claim, FAILED if failed else PASSED, evidence, numbers={"statistic": mean})


def _spread(one: _Standardised) -> Iterator[Check]:
    def words(_: int, mean: float) -> str:
        size = "smaller" if mean > 1 else "larger"
        ratio = np.sqrt(mean)
        return f"errors are {ratio:.2f} of the stated spread; the stated spread is {size}"

    # a tenth in the spread is a fifth in its square
    yield _judge(one, "spread", [_means(one.z**2)], 1.0, words, material=2 * MATERIAL)


def _coverage(one: _Standardised) -> Iterator[Check]:
    def words(_: int, mean: float) -> str:
        return f"{mean:.1%} of the values lie inside the 90 % interval"

    yield _judge(one, "coverage", [_means(one.inside)], 0.9, words, material=0.05)


def _bias(one: _Standardised) -> Iterator[Check]:
    rows = one.z.reshape(len(one.z), -1)

    def words(which: int, mean: float) -> str:
        side = "above" if mean > 0 else "below"
        return (
            f"furthest at {one.place(which)}: observed {abs(mean):.2f} of the stated spread "
            f"{side} the prediction on average"
        )

    yield _judge(one, "bias", list(rows.T), 0.0, words)


def _shape(one: _Standardised) -> Iterator[Check]:
    """Neighbouring residuals of noise alone are uncorrelated."""
    products, along = [], []
    for axis, dim in enumerate(one.dims, start=1):
        if one.z.shape[axis] > 2:
            first = np.take(one.z, range(one.z.shape[axis] - 1), axis)
            second = np.take(one.z, range(1, one.z.shape[axis]), axis)
            scale = np.nanmean(one.z**2) or 1.0
            products.append(_means(first * second / scale))
            along.append(dim)

    def words(which: int, mean: float) -> str:
        return f"residuals of neighbours along {along[which]} are correlated by {mean:.2f}"

    if products:
        yield _judge(one, "shape", products, 0.0, words, upwards=True)


def _level(one: _Standardised) -> Iterator[Check]:
    if not np.isfinite(one.z).any():
        return
    low, high = np.nanquantile(one.mean[np.isfinite(one.z)], [1 / 3, 2 / 3])
    if not low < high:
        return
    overall = np.nanmean(one.z**2)
    parts = [one.mean <= low, one.mean >= high]
    values = [_means(np.where(part, one.z**2, np.nan)) / overall for part in parts]

    def words(which: int, mean: float) -> str:
        third = ("lowest", "highest")[which]
        return (
            f"in the {third} third of predictions errors are {np.sqrt(mean):.2f} times as large "
            "as overall, relative to the stated spread"
        )

    yield _judge(one, "level", values, 1.0, words, material=4 * MATERIAL)


def _outcomes(one: _Standardised, tree: xr.DataTree, data: xr.Dataset) -> Iterator[Check]:
    whole = tree["posterior"].to_dataset() if "posterior" in tree else xr.Dataset()
    if "sample" not in whole.coords or "sample" not in data.coords:
        return
    rows = np.flatnonzero(np.isin(whole["sample"].values, data["sample"].values))
    if len(rows) != len(one.z):
        return
    known = np.isfinite(one.z.reshape(len(one.z), -1)).any(1)
    average = np.full(len(one.z), np.nan)
    average[known] = _means(one.z)
    values, labels = [], []
    for node in nodes(tree):
        assigned = assigned_outcomes(tree, node)
        if assigned is None:
            continue
        for outcome in np.unique(assigned[rows]):
            values.append(np.where(assigned[rows] == outcome, average, np.nan))
            labels.append(f"{node} = {outcome}")

    def words(which: int, mean: float) -> str:
        return f"furthest for {labels[which]}: {mean:+.2f} of the stated spread on average"

    if values:
        yield _judge(one, "outcomes", values, 0.0, words)
