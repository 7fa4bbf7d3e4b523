"""Parameters of a law that are known of every sample: read, used, shown, never inferred."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from support.outside import Hooke
from typer.testing import CliRunner

import pima_physics as pima
from pima_physics import dataset_stream
from pima_physics.cli import app
from pima_physics.dataset import ModalityInfo
from pima_physics.decoders_law import Law
from pima_physics.errors import ConfigError, InputError
from pima_physics.plots_parameters import parameter_names
from pima_physics.refine_jacobian import jacobian_of
from pima_physics.report import render
from pima_physics.representations import representations
from pima_physics.simulators import Linear, OralPK
from pima_physics.training import prepare_fit

TIMES = np.array([0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 24])
BOUNDS = {"elimination_rate": {"bounds": [0.02, 0.4]}, "absorption_rate": {"bounds": [0.45, 10]}}


def patients(size: int = 60, *, seed: int = 0) -> tuple[xr.Dataset, np.ndarray]:
    """Concentrations after doses of 80, 160 and 320 mg (given in g), and apparent volumes.

    A marker goes with the rate of absorption.
    """
    rng = np.random.default_rng(seed)
    dose = rng.choice([80.0, 160.0, 320.0], size)
    volume = np.exp(rng.normal(np.log(30.0), 0.1, size))
    fast = rng.random(size) < 0.5
    rate = np.where(fast, 2.4, 0.6)[:, None]
    shape = rate / (rate - 0.12) * (np.exp(-0.12 * TIMES) - np.exp(-rate * TIMES))
    values = (dose / volume)[:, None] * shape + 0.03 * rng.normal(size=(size, len(TIMES)))
    data = xr.Dataset(
        {
            "concentration": (("sample", "time"), values, {"units": "mg/L"}),
            "given": ("sample", dose / 1000, {"units": "g"}),
            "marker": ("sample", fast + 0.1 * rng.normal(size=size), {"units": "1"}),
        },
        coords={"time": ("time", TIMES, {"units": "hour"})},
    )
    return data, volume


def curve(**changes) -> pima.Physics:
    known = {"dose": {"variable": "given"}}
    return pima.Physics(OralPK(), variable="concentration", parameters=known | BOUNDS | changes)


def model(physics: pima.Physics) -> pima.PIMA:
    return pima.PIMA(modalities={"curve": physics}, dag=pima.DAG(form=2), latent_dim=3)


@pytest.fixture(scope="module")
def fitted() -> tuple[pima.FitResult, xr.Dataset, np.ndarray]:
    data, volume = patients()
    made = pima.PIMA(
        modalities={"curve": curve(), "marker": pima.Neural("marker")},
        dag=pima.DAG(form=2),
        latent_dim=3,
    )
    return pima.fit(made, data, seed=0, epochs=12), data, volume


def test_what_is_known_is_used_and_not_inferred(fitted) -> None:
    result, data, volume = fitted
    group = result.tree["parameters/curve"].to_dataset()
    assert np.abs(group["volume"].values / volume - 1.0).max() < 0.15
    np.testing.assert_allclose(group["dose"], 1000 * data["given"], rtol=1e-6)
    assert group["dose"].attrs["units"] == "mg" and group["dose"].attrs["known_from"] == "given"
    assert "dose_std" not in group and "given" not in result.tree.get("covariates", {})
    assert parameter_names(result.tree, "curve") == (
        "volume", "absorption_rate", "elimination_rate",
    )  # fmt: skip
    assert "dose (mg): 80 to 320, known from given" in str(result)
    assert "nan" not in render(result.tree).lower().split("<main")[1][:2000]


def test_the_encoder_sees_it(fitted) -> None:
    result, data, _ = fitted
    other = data.assign(given=2.0 * data["given"])
    z = [result.predict(d, given=["curve"])["posterior/z_mean"].values for d in (data, other)]
    assert np.abs(z[1] - z[0]).max() > 0.1


def test_predictions_follow_it_and_draws_have_its_median(fitted) -> None:
    result, data, _ = fitted
    drawn = result.intervene(form=1, samples=4)
    assert drawn["given"].attrs["units"] == "mg"
    np.testing.assert_allclose(drawn["given"], 1000 * np.median(data["given"]), rtol=1e-6)
    # Of a curve that was not observed as much is predicted as was given.
    blank = data[["given", "marker"]]
    more = blank.assign(given=2.0 * blank["given"])
    mean = [
        result.predict(d, given=["marker"])["reconstruction/curve/mean"].values
        for d in (blank, more)
    ]
    np.testing.assert_allclose(mean[1], 2.0 * mean[0], rtol=0.1, atol=0.1)
    assert mean[0][data["given"].values > 0.3].max() > 2.0 * mean[0][data["given"] < 0.1].max()


def test_a_stored_run_knows_what_was_known(fitted, tmp_path: Path) -> None:
    result, data, _ = fitted
    result.save(tmp_path / "run")
    again = pima.load(tmp_path / "run")
    want, got = (r.predict(data, given=["curve"])["posterior/z_mean"] for r in (result, again))
    np.testing.assert_array_equal(got, want)
    with pytest.raises(InputError, match="is known from 'given', which is not in the data"):
        again.predict(data.drop_vars("given"), given=["curve"])


def test_its_unit_changes_nothing() -> None:
    data, _ = patients(20)
    milligrams = data.assign(given=(1000 * data["given"]).assign_attrs(units="mg"))
    a, b = (
        prepare_fit(model(curve()), d, seed=0).data.modalities["curve"] for d in (data, milligrams)
    )
    torch.testing.assert_close(a.grid["dose"], b.grid["dose"])  # type: ignore[index]
    assert a.info.inputs["dose"].shift == pytest.approx(b.info.inputs["dose"].shift)
    assert ModalityInfo.from_json(a.info.to_json()).inputs == a.info.inputs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.rename(given="givn"), "did you mean 'givn'"),
        (lambda d: d.assign(given=d["concentration"]), r"expected: \(sample\)"),
        (lambda d: d.assign(given=d["given"].assign_attrs(units="m")), "cannot be converted"),
        (lambda d: d.assign(given=d["given"].where(d["given"] > 0.1)), "NaN in"),
        (lambda d: d.assign(given=("sample", np.full(20, "much"))), "does not hold real numbers"),
        (lambda d: d.rename(time="dose"), "parameter and coordinate have the same name"),
    ],
)
def test_wrong_variables_are_named(change, message: str) -> None:
    data, _ = patients(20)
    with pytest.raises(InputError, match=message):
        prepare_fit(model(curve()), change(data), seed=0)


def test_values_outside_the_bounds_are_refused() -> None:
    data, _ = patients(20)
    physics = curve(dose={"variable": "given", "bounds": [0, 200]})
    with pytest.raises(InputError, match="320 mg at position"):
        prepare_fit(model(physics), data, seed=0)


def test_contradictions_are_refused() -> None:
    with pytest.raises(ConfigError, match="is given otherwise, too"):
        curve(dose={"variable": "given", "vary": True})
    with pytest.raises(ConfigError, match="use per: sample"):
        pima.Physics(OralPK(), per="component", known={"dose": "given"})
    with pytest.raises(InputError, match="dse"):
        pima.Physics(OralPK(), known={"dse": "given"})
    assert not pima.Physics(OralPK(), known={"volume": "given"}).simulator.parameters["volume"].vary


def test_streamed_data_carry_it(monkeypatch, tmp_path: Path) -> None:
    data, _ = patients(30)
    data.to_netcdf(tmp_path / "data.nc")
    whole = prepare_fit(model(curve()), data, seed=0).data.modalities["curve"]
    monkeypatch.setattr(dataset_stream, "available_memory", lambda: 1000)
    with pima.open_dataset(tmp_path / "data.nc") as opened:
        disk = prepare_fit(model(curve()), opened, seed=0).data.modalities["curve"]
        assert dataset_stream.is_streamed(prepare_fit(model(curve()), opened, seed=0).data)
        part = disk.take(torch.arange(5, 9))
    torch.testing.assert_close(part.known, whole.take(torch.arange(5, 9)).known)


class Stretched(Hooke):
    """With derivatives from the outside code."""

    def jacobian(self, x, p):
        return {"stress": {"modulus": x.strain, "offset": 1.0}, "energy": {"modulus": x.strain}}


def test_laws_of_other_codes_get_it() -> None:
    strain = np.linspace(0.0, 0.2, 6)
    offset = np.linspace(1.0, 5.0, 12)
    data = xr.Dataset(
        {
            "stress": (("sample", "strain"), 100.0 * strain + offset[:, None], {"units": "MPa"}),
            "set": ("sample", offset, {"units": "MPa"}),
        },
        coords={"strain": ("strain", strain, {"units": "dimensionless"})},
    )
    physics = pima.Physics(Stretched(), observe="stress", known={"offset": "set"})
    modality = prepare_fit(model(physics), data, seed=0).data.modalities["curve"]
    law = Law(physics.simulator, "stress", modality.info).double()
    grid = {k: v.double() for k, v in modality.grid.items()}  # type: ignore[union-attr]
    raw = torch.zeros(12, len(law.free), dtype=torch.float64)
    low = law(raw, {"offset": grid["offset"] * 0.0})
    torch.testing.assert_close(law(raw, grid) - low, (grid["offset"] * law.gain).expand_as(low))
    assert jacobian_of(law, raw, grid).shape == (12, 6, len(law.free))


def test_groups_of_what_is_known_are_no_discovery() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0.0, 1.0, 8)
    load = rng.choice([1.0, 4.0], 300)
    values = load[:, None] * x + rng.normal(size=(300, 1)) * 0.3 + 0.05 * rng.normal(size=(300, 8))
    data = xr.Dataset(
        {"y": (("sample", "x"), values, {"units": "1"}), "load": ("sample", load, {"units": "1"})},
        coords={"x": ("x", x, {"units": "1"})},
    )
    shares = []
    for known in ({}, {"slope": "load"}):
        made = model(pima.Physics(Linear(), variable="y", known=known))
        prepared = prepare_fit(made, data, seed=0)
        network = made.build(prepared.infos, seed=0)
        views = {v.name: v for v in representations(network, prepared.data, {})}
        first = views["components of curve"].values[:, 0]
        shares.append(np.corrcoef(first, load)[0, 1] ** 2)
    assert shares[0] > 0.85 and shares[1] < 0.01


def test_the_experiment_file_and_the_command_line(tmp_path: Path) -> None:
    data, _ = patients(30)
    data.to_netcdf(tmp_path / "data.nc")
    decoder = {"physics": "oral_pk", "parameters": {"dose": {"variable": "given"}}}
    text = {
        "data": "data.nc",
        "modalities": {"curve": {"variable": "concentration", "decoder": decoder}},
        "latent": {"dim": 3},
        "nodes": {"form": 2},
        "training": {"epochs": 2},
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(json.dumps(text))
    run = CliRunner().invoke(app, ["check", str(path)])
    assert run.exit_code == 0 and "no, known from given" in run.output
    out = tmp_path / "run"
    run = CliRunner().invoke(app, ["fit", str(path), "--output", str(out)])
    assert run.exit_code == 0, run.output
    resolved = yaml.safe_load((out / "experiment.yaml").read_text())
    kept = resolved["modalities"]["curve"]["decoder"]["parameters"]
    assert kept["dose"] == {"variable": "given"}
    text["modalities"]["curve"]["decoder"]["parameters"]["dose"]["value"] = 3.0
    path.write_text(json.dumps(text))
    run = CliRunner().invoke(app, ["check", str(path)])
    assert run.exit_code == 2 and "either variable, or value and vary" in run.output
