"""Units in which numbers are huge or tiny, small spread on a large offset, both precisions."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from test_user_journeys import curves

import pima_physics as pima
from pima_physics.dataset import Request, prepare
from pima_physics.elbo import elbo
from pima_physics.pursuit import pursue, whiten
from pima_physics.results_fields import width_of
from pima_physics.training import prepare_fit

SIZE = 60
MEASURED = {"curve": "stress", "image": "image", "width": "width"}
# A power of two moves the exponent only: standardised data, and so the fit, are the same bits.
HUGE = 2.0**100


def measured(samples: int = SIZE) -> xr.Dataset:
    """Curves, noisy images and one number."""
    data, rng = curves(samples), np.random.default_rng(3)
    image = data["image"].astype(float) + rng.normal(0, 8, data["image"].shape)
    width = 3.0 + data["size"].values + rng.normal(0, 0.1, samples)
    return data.assign(
        image=image.assign_attrs(units="dimensionless"),
        width=("sample", width, {"units": "mm"}),
    )


def changed(data: xr.Dataset, factor: float, offset: float = 0.0) -> xr.Dataset:
    """Every measured variable times a factor, in the same units."""
    return data.assign(
        {v: (offset + factor * data[v]).assign_attrs(data[v].attrs) for v in MEASURED.values()}
    )


def model() -> pima.PIMA:
    modalities = {name: pima.Neural(v, hidden=(16,)) for name, v in MEASURED.items()}
    return pima.PIMA(modalities, pima.DAG(strength=2, size=2), latent_dim=3)


def fit(data: xr.Dataset, **options) -> pima.FitResult:
    return pima.fit(model(), data, epochs=6, seed=0, **options)


@pytest.fixture(scope="module")
def ordinary() -> xr.DataTree:
    return fit(measured()).to_datatree()


def in_data_units(path: str, name: str) -> bool:
    """Whether a variable of the results scales with the data."""
    return path.split("/")[1] in ("reconstruction", "crossmodal", "features") and name in (
        "mean", "std", "lower", "upper", "observed",
    )  # fmt: skip


def compare(one: xr.DataTree, other: xr.DataTree, factor: float, rtol: float) -> int:
    """Every number of the results, up to the factor; returns how many variables scale."""
    scaled = 0
    for node in one.subtree:
        for name, first in node.to_dataset().variables.items():
            second = other[node.path].to_dataset().variables[name].values
            if first.dtype.kind == "f":
                assert not np.isinf(second).any(), (node.path, name)
                scales = in_data_units(node.path, str(name))
                scaled += scales
                expected = first.values.astype(float) * (factor if scales else 1.0)
                size = np.nanmax(np.abs(expected), initial=0.0)
                np.testing.assert_allclose(
                    second, expected, rtol=rtol, atol=rtol * size, err_msg=f"{node.path}/{name}"
                )
            elif first.dtype.kind in "ib":
                np.testing.assert_array_equal(second, first.values)
    return scaled


@pytest.mark.parametrize(
    "factor", [HUGE, *(pytest.param(f, marks=pytest.mark.slow) for f in (1 / HUGE, 1e30, 1e-30))]
)
def test_a_fit_in_huge_and_tiny_numbers_is_the_same(
    ordinary: xr.DataTree, tmp_path: Path, factor: float
) -> None:
    """Bit for bit for powers of two (also the responsibilities); rounding may grow otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        result = fit(changed(measured(), factor))
        result.save(tmp_path / "run")
        result.report(tmp_path / "run" / "report.html")
    exact = factor in (HUGE, 1 / HUGE)
    tree = pima.load(tmp_path / "run").to_datatree()
    assert compare(ordinary, tree, factor, rtol=1e-6 if exact else 1e-3) >= 20
    if exact:
        for name in ("posterior/responsibility", "posterior/z_mean"):
            np.testing.assert_array_equal(ordinary[name], tree[name])
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000


def test_a_small_spread_on_a_large_offset_is_not_lost(ordinary: xr.DataTree) -> None:
    """A spread of 1e-3 around 1e6 is far below what float32 resolves there."""
    data = measured()
    spread = float(data["width"].std())
    shifted = 1e6 + (data["width"] - data["width"].mean()) / spread * 1e-3
    tree = fit(data.assign(width=shifted.assign_attrs(units="mm"))).to_datatree()
    for field in ("mean", "lower", "upper", "observed"):
        found = tree[f"reconstruction/width/{field}"]
        before = ordinary[f"reconstruction/width/{field}"]
        assert found.dtype == np.float64
        back = (found - 1e6) * 1e3 * spread + float(data["width"].mean())
        np.testing.assert_allclose(back, before, atol=0.02 * spread)
    np.testing.assert_allclose(
        tree["posterior/responsibility"], ordinary["posterior/responsibility"], atol=0.02
    )
    assert tree["reconstruction/curve/mean"].dtype == np.float32


@pytest.mark.parametrize(
    ("factor", "offset", "width"),
    [
        (1.0, 0.0, np.float32),
        (1.0, 2e2, np.float32),
        (1e-3, 1e6, np.float64),
        (1e40, 0.0, np.float64),
        (1e-40, 0.0, np.float64),
    ],
)
def test_results_are_as_wide_as_their_numbers_need(factor: float, offset: float, width) -> None:
    data = changed(measured(), factor, offset)
    found = prepare(data, [Request("width", ("width",))]).modalities["width"]
    assert width_of(found.info) is width


def test_both_precisions_give_the_same_bound() -> None:
    """One network, the same weights and data, z at its mean: nothing cancels in float32."""
    single = prepare_fit(model(), measured(), seed=0)
    double = prepare_fit(model(), measured(), seed=0, dtype="float64")
    for unit_prior in (True, False):
        network = model().build(single.infos, seed=0)
        with torch.no_grad():
            one = elbo(network, single.data, draw=False, unit_prior=unit_prior)
            two = elbo(network.double(), double.data, draw=False, unit_prior=unit_prior)
        assert one.total.dtype == torch.float32 and two.total.dtype == torch.float64
        torch.testing.assert_close(one.total.double(), two.total, rtol=1e-5, atol=1e-4)
        for name, value in two.reconstruction.items():
            torch.testing.assert_close(
                one.reconstruction[name].double(), value, rtol=1e-5, atol=1e-4
            )


def test_both_precisions_discover_the_same() -> None:
    """One set of starts; whole fits would differ by their random draws, not by rounding."""
    data, scores = measured(300), []
    for dtype in ("float32", "float64"):
        parts = prepare_fit(model(), data, seed=0, dtype=dtype).data.modalities
        flat = [parts[name].values.flatten(1).numpy() for name in ("curve", "width")]
        values = np.concatenate(flat, axis=1)
        assert values.dtype == dtype
        white = whiten(values, tolerance=0.05).apply(values)
        start = np.random.default_rng(0).normal(size=(8, white.shape[1]))
        found = pursue(white, np.empty((len(white), 0)), 2, start, steps=40)
        scores.append(np.abs(white @ found.T))
    assert scores[0].shape == scores[1].shape
    # Most starts end at the same directions; one that lies between two may go to either.
    gaps = np.abs(scores[0] - scores[1]).max(0)
    assert (gaps < 1e-3).mean() >= 0.75, gaps
