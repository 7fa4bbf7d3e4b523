"""Curves that every sample has on a grid of its own: networks and views see the grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from support.curves import decay_model, decays
from typer.testing import CliRunner, Result

import pima_physics as pima
from pima_physics import importing
from pima_physics.cli import app
from pima_physics.cli_inspect import inspect_dataset
from pima_physics.dataset import ModalityInfo, Request, prepare
from pima_physics.errors import DataError
from pima_physics.model import Network
from pima_physics.representations_regrid import on_one_grid


@pytest.fixture(scope="module")
def fitted() -> tuple[pima.FitResult, xr.Dataset]:
    data = decays()
    return pima.fit(decay_model(), data, seed=0, epochs=30), data


def test_a_network_predicts_at_the_times_of_the_sample(fitted) -> None:
    result, data = fitted
    metrics = result.tree["metrics"].to_dataset()
    assert float(metrics["r2_test_signal"]) > 0.95
    later = data.assign(taken=data["taken"] + 1.0)
    given = {"given": ["marker"]}
    mean = [result.predict(d, **given)["reconstruction/signal/mean"].values for d in (data, later)]
    # A second later a decay of 0.4 to 1 per second has lost a third to two thirds.
    assert (mean[1] < 0.85 * mean[0])[mean[0] > 0.3].mean() > 0.9


def test_where_nothing_was_observed_the_grid_may_be_given(fitted) -> None:
    result, data = fitted
    want = result.predict(data, given=["marker"])["reconstruction/signal"]
    asked = data.drop_vars("signal").assign(
        taken=(data["taken"].dims, data["taken"].values * 1000.0, {"units": "ms"})
    )
    got = result.predict(asked, given=["marker"])["reconstruction/signal"]
    np.testing.assert_allclose(got["mean"], want["mean"], atol=1e-4)
    np.testing.assert_allclose(got["taken"], want["taken"], rtol=1e-6)
    bare = result.predict(data[["marker"]], given=["marker"])["reconstruction/signal"]
    middle = np.median(data["taken"].values, axis=0)
    np.testing.assert_allclose(bare["taken"][0], middle, atol=0.1)  # training samples only
    np.testing.assert_array_equal(bare["taken"][1:], bare["taken"][:-1])
    with pytest.raises(DataError, match="'taken' is not that of the fit"):
        result.predict(asked.isel(point=slice(5)), given=["marker"])


def test_the_encoder_knows_when_values_were_taken(fitted) -> None:
    result, data = fitted
    known = result.tree["posterior"]["node_outcome"].sel(node="rate").values
    agree = (known == data["fast"].values).mean()
    assert max(agree, 1.0 - agree) > 0.97


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_stored_runs_predict_the_same(network: str, tmp_path: Path) -> None:
    data = decays(60, gaps=True)
    result = pima.fit(decay_model(network), data, seed=0, epochs=3)
    result.save(tmp_path / "run")
    want, got = (
        r.predict(data, given=["signal"])["posterior/z_mean"].values
        for r in (result, pima.load(tmp_path / "run"))
    )
    np.testing.assert_array_equal(got, want)


def test_networks_of_older_runs_do_not_see_the_grid() -> None:
    data = prepare(decays(40), [Request("signal", ("signal",), coordinates={"point": "taken"})])
    info = data.modalities["signal"].info
    again = ModalityInfo.from_json(info.to_json())
    old, new = info.coordinates["taken"], again.coordinates["taken"]
    assert (old.shift, old.scale, old.typical) == (new.shift, new.scale, new.typical)
    assert again.grid_points == 12
    text = info.to_json().replace(
        '"scale": ' + str(info.coordinates["taken"].scale), '"scale": 0.0'
    )
    assert ModalityInfo.from_json(text).grid_points == 0


def test_units_of_the_grid_do_not_matter() -> None:
    data = decays(60)
    minutes = data.assign(taken=(data["taken"].dims, data["taken"].values / 60.0, {"units": "min"}))
    found = [
        pima.fit(decay_model(), d, seed=0, epochs=2).tree["posterior"]["z_mean"].values
        for d in (data, minutes)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("gaps", [False, True])
def test_views_have_one_grid(gaps: bool) -> None:
    """Straight lines over shuffled own times are interpolated without error."""
    rng = np.random.default_rng(0)
    time = rng.uniform(0.0, 5.0, (30, 9))
    slope = rng.normal(size=(30, 1))
    values = slope * time
    if gaps:
        values[rng.random(values.shape) < 0.3] = np.nan
    data = xr.Dataset(
        {
            "signal": (("sample", "point"), values, {"units": "V"}),
            "taken": (("sample", "point"), time, {"units": "s"}),
        }
    )
    modality = prepare(
        data, [Request("signal", ("signal",), coordinates={"point": "taken"})], drop_empty=True
    ).modalities["signal"]
    stored, mask = modality.values.double().numpy(), modality.mask.numpy()
    found, seen = on_one_grid(modality, stored, mask.copy())
    common = np.quantile(modality.grid["taken"].double().numpy()[mask], (np.arange(9) + 0.5) / 9)
    info = modality.info
    want = (slope * common - info.shift) / info.scale
    assert 0.5 < seen.mean() < 1.0
    np.testing.assert_allclose(found[seen], want[seen], atol=1e-4)
    assert not found[~seen].any()


def test_a_common_grid_is_left_alone() -> None:
    data = decays(40).drop_vars("taken")
    made = pima.PIMA(
        modalities={"signal": pima.Neural("signal")}, dag=pima.DAG(rate=2), latent_dim=2
    )
    modality = prepare(data, [made.modalities["signal"].request("signal")]).modalities["signal"]
    values, mask = modality.values.double().numpy(), modality.mask.numpy()
    again = on_one_grid(modality, values, mask)
    assert again[0] is values and again[1] is mask
    assert modality.beside is None
    network = Network(made, {"signal": modality.info})
    assert network.encoders[0].network[0].in_features == 12
    assert torch.isfinite(network.decode(torch.zeros(3, 2))["signal"]).all()


def curves(folder: Path, size: int = 40) -> None:
    """One CSV file for each curve, of different lengths."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(size):
        time = np.sort(rng.uniform(0.0, 4.0, rng.integers(9, 14)))
        signal = np.exp(-time * (1.0 if i % 2 else 0.4)) + 0.01 * rng.normal(size=len(time))
        rows = "".join(f"{a:.6f},{b:.6f}\n" for a, b in zip(time, signal, strict=True))
        (folder / f"run{i:02d}.csv").write_text("time [s],signal [V]\n" + rows)


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize("as_coordinate", [True, False])
def test_from_csv_files_to_a_fit(as_coordinate: bool, tmp_path: Path) -> None:
    curves(tmp_path / "curves")
    data = importing.from_csv_folder(tmp_path / "curves", along="time")
    file, experiment = tmp_path / "data.nc", tmp_path / "data.yaml"
    (data if as_coordinate else data.reset_coords("time")).to_netcdf(file)
    assert command("init", file, "--output", experiment).exit_code == 0
    text = experiment.read_text()
    assert "over its own time" in text and "\n  time:" not in text
    assert ("coordinates: {point: time}" in text) is not as_coordinate
    run = command("fit", experiment, "--epochs", 3, "--output", tmp_path / "run")
    assert run.exit_code == 0, run.output
    info = pima.load(tmp_path / "run").network.infos["signal"]
    assert info.coordinates["time"].own_grid and info.grid_points == data.sizes["point"]


def test_init_takes_one_file(tmp_path: Path) -> None:
    file = tmp_path / "data.nc"
    decays(20).to_netcdf(file)
    twice = command("init", file, "--from", tmp_path / "other.nc")
    assert twice.exit_code == 2 and "two data files are named" in twice.output


def test_a_modality_that_rises_is_no_grid_where_there_is_one(tmp_path: Path) -> None:
    """Cumulative release over the time of all samples."""
    release = np.cumsum(np.random.default_rng(0).random((20, 6)), axis=1)
    data = xr.Dataset(
        {
            "release": (("sample", "time"), release, {"units": "mg"}),
            "rate": (("sample", "time"), np.gradient(release, axis=1), {"units": "mg/s"}),
        },
        coords={"time": ("time", np.arange(6.0), {"units": "s"})},
    )
    found = inspect_dataset(data)
    assert [g.name for g in found.modalities] == ["release", "rate"]
    bare = inspect_dataset(data.drop_vars("time"))
    assert [g.name for g in bare.modalities] == ["rate"]
    assert bare.modalities[0].coordinates == {"time": "release"}
