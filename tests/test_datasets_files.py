"""Data sets as files: real measurements, names, writing, suggested experiments and errors."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pima_physics import datasets, simulator, units
from pima_physics.datasets import catalogue, real
from pima_physics.errors import DataError

GENERATORS = ["circles", "lattices", "digits_line", "continuous_control", "permuted_control"]
REAL = ["al6061_tension", "ising_images", "lighttunnel_spur", "sachs", "nist_strd"]


def make(name: str, *args: Any, **options: Any) -> tuple[xr.Dataset, Any]:
    return getattr(datasets, name)(*args, **options)


# ---- real data


@pytest.mark.parametrize("name", REAL)
def test_real_sets_load_and_hide_their_factors(name: str, shared_data: Path) -> None:
    data, truth = make(name, shared_data)
    known = {str(key) for key in truth.labels.data_vars} | {str(key) for key in truth.nuisance}
    assert not known & {str(key) for key in data.variables}
    for values in data.variables.values():
        assert values.attrs.get("role") != "known factor"
    for codes in truth.labels.data_vars.values():
        assert codes.values.min() == 0
        assert len(codes.attrs["flag_meanings"].split()) == codes.values.max() + 1
    assert set(truth.labels.data_vars) <= {str(node) for node in truth.graph["parent"].values}


def test_real_sets_have_the_published_sizes(shared_data: Path) -> None:
    tension, truth = datasets.al6061_tension(shared_data)
    assert tension["stress"].shape == (57, 161)
    assert int(tension["gauge_temperature"].isnull().all("strain").sum()) == 26
    assert truth.labels["temperature_level"].attrs["flag_meanings"] == "RT 100C 200C 300C"
    assert int(datasets.sachs(shared_data)[1].graph.sum()) == 20
    light, hidden = datasets.lighttunnel_spur(shared_data)
    assert light.sizes["sample"] == 85_000 and "pol_2" not in light
    assert hidden.parameters["polariser_angle"].attrs["units"] == "degree"
    nist, certified = datasets.nist_strd(shared_data)
    assert nist.sizes["dataset"] == certified.parameters["certified"].sizes["dataset"] == 26


def test_folder_comes_from_the_environment(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(real.FOLDER_VARIABLE, str(shared_data))
    assert datasets.ising_images()[0].sizes["sample"] == 5000
    monkeypatch.delenv(real.FOLDER_VARIABLE)
    with pytest.raises(DataError, match=real.FOLDER_VARIABLE):
        datasets.ising_images()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sachs\.nc"):
        datasets.sachs(tmp_path)
    (tmp_path / "sachs.nc").write_text("not a NetCDF file")
    with pytest.raises(DataError, match="cannot be read"):
        datasets.sachs(tmp_path)


def test_schema_names_every_offender() -> None:
    data = xr.Dataset(
        {
            "spins": (("sample", "y", "x"), np.ones((3, 2, 2)), {"units": "dimensionless"}),
            "temperature": ("sample", np.ones(3), {"units": "K"}),
            "above_curie": ("other", np.ones(3), {"units": "dimensionless"}),
        }
    )
    schema = {
        "spin": (("sample", "y", "x"), "dimensionless"),
        "temperature": (("sample",), "dimensionless"),
        "above_curie": (("sample",), "dimensionless"),
    }
    with pytest.raises(DataError) as caught:
        real.check_schema(data, schema, "ising.nc")
    message = str(caught.value)
    assert "3 problems" in message
    assert "rename 'spins'" in message and "K" in message and "('other',)" in message


# ---- names, files, experiments


def test_every_set_is_registered_and_described() -> None:
    assert list(datasets.registered()) == [*GENERATORS, *REAL]
    assert all(len(line) > 20 and line.endswith(".") for line in datasets.describe().values())


@pytest.mark.parametrize("name", ["circles", "lattices", "digits_line", "continuous_control"])
def test_write_makes_two_files_that_plain_xarray_reads(name: str, tmp_path: Path) -> None:
    data_path, truth_path = datasets.write(name, tmp_path / "set.nc", samples=12, seed=7)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set.nc", "set_truth.nc"]
    data, truth = make(name, 12, seed=7)
    with xr.open_dataset(data_path) as read:
        xr.testing.assert_equal(read.load(), data)
        assert {k: v.attrs["units"] for k, v in read.data_vars.items()} == {
            k: v.attrs["units"] for k, v in data.data_vars.items()
        }
    with xr.open_dataset(truth_path) as read:
        for part in (truth.labels, truth.parameters, truth.nuisance):
            for key, values in part.data_vars.items():
                np.testing.assert_array_equal(read[key].values, values.values)
        np.testing.assert_array_equal(read["graph"].values, truth.graph.values)
        assert all("role" in values.attrs for values in read.data_vars.values())


def test_real_sets_can_be_written(shared_data: Path, tmp_path: Path) -> None:
    data_path, truth_path = datasets.write(
        "al6061_tension", tmp_path / "tension.nc", folder=shared_data
    )
    with xr.open_dataset(data_path) as data, xr.open_dataset(truth_path) as truth:
        assert "temperature_level" in truth and "temperature_level" not in data


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: datasets.write("circels", p / "a.nc"), "did you mean 'circles'"),
        (lambda p: datasets.write("circles", p / "a.nc", sample=3), "did you mean 'samples'"),
        (lambda p: datasets.write("circles", p / "a.csv"), "a.nc"),
        (lambda p: datasets.experiment("lattice"), "did you mean 'lattices'"),
        (lambda p: datasets.circles(5, graph="forks"), "did you mean 'fork'"),
        (lambda p: datasets.circles(5, graph=[("hue", "size")]), "unknown node 'size'"),
        (lambda p: datasets.circles(5, graph=[("hue", "hue")]), "cycle"),
        (lambda p: datasets.circles(5, graph=[("hue", "shift"), ("shift", "hue")]), "cycle"),
        (lambda p: datasets.circles(5, outcomes=(2, 2)), "hue, radius, shift"),
        (lambda p: datasets.circles(5, weights={"radius": (0.5, 0.5)}), "root nodes"),
        (lambda p: datasets.circles(5, weights=(0.9, 0.2)), "sum to 1"),
        (lambda p: datasets.digits_line(5000), "at most 1797"),
    ],
)
def test_errors_say_what_to_do(call: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_option_out_of_range_is_named() -> None:
    with pytest.raises(DataError) as caught:
        datasets.lattices(0, separation=0.0, nuisance=-1, missing=2, intervened=-1, points=1)
    for option in ("samples", "separation", "nuisance", "missing", "intervened", "points"):
        assert f"'{option}'" in str(caught.value)


@pytest.mark.parametrize("name", ["circles", "lattices", "digits_line"])
def test_suggested_experiments_name_what_exists(name: str) -> None:
    suggestion = datasets.experiment(name)
    data, truth = make(name, 10)
    assert suggestion["nodes"] == {
        node: len(codes.attrs["flag_meanings"].split())
        for node, codes in truth.labels.data_vars.items()
    }
    for modality in suggestion["modalities"].values():
        variable, decoder = data[modality["variable"]], modality["decoder"]
        if "physics" not in decoder:
            continue
        law = simulator.find(decoder["physics"])
        assert set(law.coordinates) == set(variable.dims) - {"sample"}
        (output,) = law.outputs.values()
        assert units.compatible(output, modality["units"])
        changed = law.replace(**decoder["parameters"])
        assert set(decoder["parameters"]) == set(law.parameters) == set(truth.parameters.data_vars)
        for key, parameter in changed.parameters.items():
            values = units.convert(
                truth.parameters[key].values, truth.parameters[key].attrs["units"], parameter.unit
            )
            assert parameter.min < values.min() and values.max() < parameter.max, key  # type: ignore[operator]


def test_steady_motion_meets_its_golden_point() -> None:
    from pima_physics.datasets.digits import SteadyMotion

    golden = SteadyMotion.golden
    assert golden is not None
    result = SteadyMotion().simulate(
        golden.coordinates, {k: [v] for k, v in golden.parameters.items()}
    )
    np.testing.assert_allclose(result["line"].numpy()[0], golden.expected["line"])


def test_importing_the_folder_under_another_name_fails() -> None:
    path = Path(__file__).resolve().parents[1] / "datasets" / "__init__.py"
    spec = importlib.util.spec_from_file_location("datasets", path)
    assert spec is not None and spec.loader is not None
    with pytest.raises(ImportError, match=r"pima_physics\.datasets"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_lazy_names_are_complete() -> None:
    assert all(callable(getattr(datasets, name)) for name in datasets.__all__)
    assert set(dir(datasets)) == set(datasets.__all__)
    with pytest.raises(AttributeError, match="no attribute 'circle_set'"):
        _ = datasets.circle_set
    assert callable(catalogue.make)
