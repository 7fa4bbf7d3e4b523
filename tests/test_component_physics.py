"""One set of physical parameters for every joint outcome: fitted, stored, used and reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from support.training import LABELS, lines

import pima_physics as pima
from pima_physics.errors import ConfigError
from pima_physics.report import render
from pima_physics.results import FitResult
from pima_physics.simulators.linear import Linear

SPREAD = 0.1  # of slopes and heights between samples of a component, see `lines`


def model(**changes: object) -> pima.PIMA:
    law = pima.Physics(Linear(), variable="response", per="component", **changes)  # type: ignore[arg-type]
    modalities = {"line": law, "vector": pima.Neural("vector", hidden=(12,))}
    return pima.PIMA(modalities=modalities, dag=pima.DAG(slope=2, height=2), latent_dim=2)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return lines(200)


@pytest.fixture(scope="module")
def result(data: xr.Dataset) -> FitResult:
    return pima.fit(model(), data, epochs=25, seed=0, labels=LABELS, device="cpu")


def test_parameters_are_those_of_the_outcomes(result: FitResult, data: xr.Dataset) -> None:
    tree = result.to_datatree()
    group, outcome = tree["parameters/line"].to_dataset(), tree["components/outcome"].values
    used = tree["posterior/split"].values != 2
    codes = 2 * data["slope_known"].values + data["height_known"].values
    for k, (slope, height) in enumerate(outcome):
        count = int((used & (codes == 2 * slope + height)).sum())
        for name, true in (("slope", 1.0 + 2.0 * slope), ("intercept", 2.0 * height)):
            value = float(group[f"{name}_by_component"][k])
            error = float(group[f"{name}_by_component_std"][k])
            assert abs(value - true) < 4.0 * error
            # The error is that of the scatter between samples, not of the points on the curves.
            assert error == pytest.approx(SPREAD / count**0.5, rel=0.6)
    own = group["slope"].values
    np.testing.assert_allclose(own, 1.0 + 2.0 * data["slope_known"].values, atol=0.1)


def test_noise_contains_what_samples_of_a_component_differ_by(result: FitResult) -> None:
    tree = result.to_datatree()
    group = tree["reconstruction/line"].to_dataset()
    score = ((group["observed"] - group["mean"]) / group["std"]).values
    assert 0.8 < score.std() < 1.2
    assert float(tree["metrics/r2_test_line"]) > 0.9


def test_the_law_is_predicted_from_another_modality(result: FitResult, data: xr.Dataset) -> None:
    found = result.predict(data[["vector"]], given=["vector"])
    mean = found["reconstruction/line/mean"].values
    right = 1 - np.square(mean - data["response"].values).mean() / data["response"].values.var()
    assert right > 0.8


def test_it_survives_the_disk_and_is_reported(result: FitResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    again = pima.load(tmp_path)
    first, second = (r.to_datatree()["parameters/line"].to_dataset() for r in (result, again))
    xr.testing.assert_identical(first, second)
    page = render(again.to_datatree())
    assert "Parameters by component (joint outcome)" in page
    assert "slope by outcome" in page


def test_it_does_not_depend_on_the_unit_of_the_data(result: FitResult, data: xr.Dataset) -> None:
    """The vector in millimetres; the law's own variable is a plain number."""
    other = data.assign(vector=(1e3 * data["vector"]).assign_attrs(units="mm"))
    again = pima.fit(model(), other, epochs=25, seed=0, labels=LABELS, device="cpu")
    for name in ("slope_by_component", "intercept_by_component"):
        a, b = (r.to_datatree()[f"parameters/line/{name}"].values for r in (result, again))
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3)


def test_bounds_in_the_way_are_told(data: xr.Dataset) -> None:
    """Slopes are 1 and 3; with at most 2 allowed, half of the samples sit at the bound."""
    law = {"parameters": {"slope": {"bounds": [0.1, 2.0], "value": 1.0}}}
    found = pima.fit(model(**law), data, epochs=15, seed=0, labels=LABELS, device="cpu")
    warnings = json.loads(found.to_datatree().attrs["warnings"])
    assert any("line: slope sits within 1 % of a bound" in text for text in warnings), warnings
    assert not any("intercept sits" in text for text in warnings)
    assert "Parameters at their bounds" in render(found.to_datatree())


def test_only_normal_noise() -> None:
    with pytest.raises(ConfigError, match="normal likelihood"):
        model(likelihood="student_t")
