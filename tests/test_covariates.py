"""Physical parameters against what is known of every sample, from the data set to the page."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from synthetic_results import make_tree

from pima_physics import plots_covariates as against
from pima_physics import plots_statistics as statistics
from pima_physics.report import render
from pima_physics.report_physics import leading_node
from pima_physics.results_covariates import covariates_group


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    """The leading node of the yield stress is a temperature, as a later look shows."""
    tree = make_tree(modalities=("image", "curve"))
    found = leading_node(tree, "curve", "yield_stress")
    assert found is not None
    outcomes = tree["posterior/node_outcome"].sel(node=found[0]).values
    rng = np.random.default_rng(0)
    temperature = np.array([473.0, 296.0])[outcomes] + rng.normal(size=len(outcomes))
    tree["covariates"] = xr.DataTree(
        xr.Dataset(
            {
                "bench": ("sample", rng.integers(0, 3, len(outcomes)), {"units": "dimensionless"}),
                "code": ("sample", outcomes, {"units": "dimensionless"}),
                "test_temperature": ("sample", temperature, {"units": "K"}),
            }
        )
    )
    return tree


def node_of(tree: xr.DataTree) -> str:
    found = leading_node(tree, "curve", "yield_stress")
    assert found is not None
    return found[0]


def test_what_varies_with_a_node_and_what_has_a_unit_comes_first(tree: xr.DataTree) -> None:
    found = against.covariates(tree, node_of(tree))
    assert list(found) == ["test_temperature", "code"]
    assert min(found.values()) > 0.99
    assert against.covariates(make_tree(), node_of(tree)) == {}


def test_levels_are_in_the_order_of_the_covariate(tree: xr.DataTree) -> None:
    node = node_of(tree)
    levels = against.levels(tree, "curve", "yield_stress", node, "test_temperature")
    assert [level.outcome for level in levels] == [1, 0]
    assert [level.place for level in levels] == pytest.approx([296.0, 473.0], abs=1.0)
    assert levels[0].width == pytest.approx(1.0, abs=0.3)
    values = tree["parameters/curve/yield_stress"].values
    std = tree["parameters/curve/yield_stress_std"].values
    outcomes = tree["posterior/node_outcome"].sel(node=node).values
    groups = {g.outcome: g for g in statistics.group_statistics(values, outcomes, std)}
    for level in levels:
        assert level.mean == groups[level.outcome].mean
        assert level.error == groups[level.outcome].error


def test_errors_are_those_of_the_results_where_stored(tree: xr.DataTree) -> None:
    # Samples of a component share its value and do not scatter: their mean has its error still.
    node = node_of(tree)
    stored = {
        f"yield_stress_by_outcome{end}": (("node", "outcome"), [[10.0 * k, 20.0 * k]])
        for k, end in ((2, ""), (1, "_std"))
    }
    group = tree["parameters/curve"].to_dataset().assign_coords(node=[node])
    tree["parameters/curve"] = xr.DataTree(group.assign(stored))
    levels = against.levels(tree, "curve", "yield_stress", node, "test_temperature")
    assert [(level.mean, level.error) for level in levels] == [(40.0, 20.0), (20.0, 10.0)]


def test_the_figure_has_units_and_two_standard_errors(tree: xr.DataTree) -> None:
    node = node_of(tree)
    ax = against.plot_against(
        tree, "curve", parameter="yield_stress", node=node, covariate="test_temperature"
    )
    assert ax.get_xlabel() == "test temperature (K)"
    assert ax.get_ylabel() == "yield stress (MPa)"
    levels = against.levels(tree, "curve", "yield_stress", node, "test_temperature")
    bars = [c for c in ax.containers if c.has_yerr]  # type: ignore[attr-defined]
    drawn = [np.ptp(bar.lines[2][1].get_segments()[0][:, 1]) for bar in bars]  # type: ignore[attr-defined]
    assert drawn == pytest.approx([4 * level.error for level in levels])


def test_the_page_shows_them(tree: xr.DataTree) -> None:
    page = render(tree)
    assert "yield stress against test temperature" in page
    assert "Mean ± standard error by test temperature" in page
    assert "against code" not in page
    assert "against test temperature" not in render(make_tree(modalities=("image", "curve")))


def test_the_lower_decades_of_a_rate_are_no_bound() -> None:
    tree = make_tree(modalities=("curve",))
    group = tree["parameters/curve"].to_dataset()
    values = group["yield_stress"]
    pages = {}
    for scale in ("linear", "log"):
        attrs = values.attrs | {"parameter_bounds": [1.0, 1e5], "parameter_scale": scale}
        tree["parameters/curve"] = xr.DataTree(
            group.assign(yield_stress=values.assign_attrs(attrs))
        )
        pages[scale] = render(tree)
    assert "Parameters at their bounds" in pages["linear"]
    assert "Parameters at their bounds" not in pages["log"]
    attrs = values.attrs | {"parameter_bounds": [1.0, 1e5], "parameter_scale": "log"}
    low = group.assign(yield_stress=(0.0 * values + 1.01).assign_attrs(attrs))
    tree["parameters/curve"] = xr.DataTree(low)
    assert "Parameters at their bounds" in render(tree)


def test_numbers_of_every_sample_that_no_modality_uses() -> None:
    data = xr.Dataset(
        {
            "stress": (("sample", "strain"), np.zeros((3, 4)), {"units": "MPa"}),
            "hardness": ("sample", np.ones(3), {"units": "GPa"}),
            "temperature": ("sample", [296.0, np.nan, 473.0], {"units": "K", "role": "known"}),
            "level": ("sample", [0, 1, 1]),
            "name": ("sample", ["a", "b", "c"]),
            "whole": ((), 3.0),
        }
    )
    group = covariates_group(data, "sample", np.arange(3), ["stress", "hardness"])
    assert list(group.data_vars) == ["temperature", "level"]
    assert group["temperature"].attrs == {"units": "K"}
    assert group["level"].attrs["units"] == "dimensionless"
