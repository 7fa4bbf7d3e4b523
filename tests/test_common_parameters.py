"""Parameters of a law that are unknown and the same for all samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from support.curves import COMMON, RATE, curve, curve_model, patients
from support.outside import Hooke
from typer.testing import CliRunner

import pima_physics as pima
from pima_physics.calibrate import calibrate
from pima_physics.cli import app
from pima_physics.decoders import PhysicsDecoder
from pima_physics.errors import ConfigError
from pima_physics.plots_parameters import parameter_names
from pima_physics.report import render
from pima_physics.simulators import Linear
from pima_physics.training import prepare_fit
from pima_physics.units import compatible


def calibrated(physics: pima.Physics, data: xr.Dataset, *, seed: int = 0) -> PhysicsDecoder:
    made = curve_model(physics)
    prepared = prepare_fit(made, data, seed=seed)
    network = made.build(prepared.infos, seed=seed)
    calibrate(network, prepared.train, seed=seed)
    decoder = network.decoders[0]
    assert isinstance(decoder, PhysicsDecoder)
    return decoder


@pytest.fixture(scope="module")
def fitted() -> tuple[pima.FitResult, xr.Dataset]:
    data = patients()
    return pima.fit(curve_model(curve()), data, seed=0, epochs=12), data


def test_one_value_with_its_error_is_inferred(fitted) -> None:
    result, _ = fitted
    group = result.tree["parameters/curve"].to_dataset()
    value, error = group["elimination_rate"], group["elimination_rate_std"]
    assert value.ndim == error.ndim == 0 and value.attrs["common"] == 1
    assert compatible(value.attrs["units"], error.attrs["units"])
    assert 0.0 < float(error) < 0.003
    assert abs(float(value) - RATE) < 3.0 * float(error)
    assert parameter_names(result.tree, "curve") == ("volume", "absorption_rate")
    assert "elimination_rate (1/h): 0.1" in str(result)
    assert "inferred, one value for all samples" in str(result)
    assert "Parameters with one value for all samples" in render(result.tree)


@pytest.mark.study
def test_the_error_is_as_large_as_estimates_scatter() -> None:
    """24 sets: the scatter of z has a relative error of 0.15; 0.55 to 1.45 are 3 of it."""
    z = []
    for seed in range(24):
        law = calibrated(curve(), patients(40, seed=seed), seed=seed).law
        raw = law.simulator.parameters["elimination_rate"].unconstrain(torch.tensor(RATE))
        z.append(float(law.common_raw[0] - raw) / float(law.common_covariance[0, 0].sqrt()))
    assert 0.55 < np.std(z) < 1.45
    assert abs(np.mean(z)) < 3.0 / np.sqrt(len(z))


def test_samples_that_belong_together_count_as_groups() -> None:
    """Every curve five times, with the same noise, tells no more than once."""
    once = patients(30)
    again = xr.concat([once] * 5, "sample")
    patient = np.tile(np.arange(30), 5)
    again["patient"] = ("sample", patient, {"units": "1"})

    def error(data: xr.Dataset, groups: str | None = None) -> float:
        made = curve_model(curve())
        prepared = prepare_fit(made, data, seed=0, groups=groups, validation=0.0, test=0.0)
        network = made.build(prepared.infos, seed=0)
        calibrate(network, prepared.train, seed=0)
        decoder = network.decoders[0]
        assert isinstance(decoder, PhysicsDecoder)
        return float(decoder.law.common_covariance[0, 0].sqrt())

    assert error(again) < 0.55 * error(once)
    assert 0.8 < error(again, "patient") / error(once) < 1.25


def test_it_is_better_known_than_that_of_single_samples(fitted) -> None:
    _, data = fitted
    own = pima.fit(
        curve_model(curve(elimination_rate={"bounds": [0.02, 0.4]})), data, seed=0, epochs=6
    ).tree["parameters/curve"]
    common = fitted[0].tree["parameters/curve"]
    assert float(common["elimination_rate_std"]) < 0.3 * float(own["elimination_rate_std"].mean())
    assert float(common["volume_std"].mean()) < float(own["volume_std"].mean())


def test_a_stored_run_predicts_with_it(fitted, tmp_path: Path) -> None:
    result, data = fitted
    result.save(tmp_path / "run")
    again = pima.load(tmp_path / "run")
    for given in (["marker"], ["curve"]):
        want, got = (
            r.predict(data, given=given)["reconstruction/curve/mean"] for r in (result, again)
        )
        np.testing.assert_array_equal(got, want)


def test_derivatives_of_outside_codes_are_taken_too() -> None:
    rng = np.random.default_rng(0)
    strain = np.linspace(0.001, 0.01, 12)
    offset = rng.normal(20.0, 5.0, 40)
    values = 70e3 * strain + offset[:, None] + rng.normal(size=(40, 12))
    data = xr.Dataset(
        {
            "stress": (("sample", "strain"), values, {"units": "MPa"}),
            "marker": ("sample", offset, {"units": "MPa"}),
        },
        coords={"strain": ("strain", strain, {"units": "1"})},
    )
    own = {"modulus": {"common": True}, "offset": {"vary": True, "bounds": [0, 100]}}
    law = pima.Physics(Hooke(), "stress", parameters=own)
    found = calibrated(law, data).law
    modulus = found.simulator.parameters["modulus"].constrain(found.common_raw)
    assert abs(float(modulus[0]) / 70e3 - 1.0) < 0.01


def test_what_the_data_cannot_tell_is_said() -> None:
    """A slope times a factor: only their product shows."""

    class Product(pima.Simulator):
        coordinates, outputs = {"x": "m"}, {"y": "V"}
        slope = pima.Parameter("V/m", min=0.1, max=10.0)
        factor = pima.Parameter(min=0.1, max=10.0)

        def evaluate(self, x, p):
            return {"y": p.slope * p.factor * x.x}

    rng = np.random.default_rng(0)
    x, slope = np.linspace(0.1, 1.0, 8), rng.choice([1.0, 2.0], 40)
    values = slope[:, None] * x + 0.01 * rng.normal(size=(40, 8))
    data = xr.Dataset(
        {
            "y": (("sample", "x"), values, {"units": "V"}),
            "marker": ("sample", slope + 0.1 * rng.normal(size=40), {"units": "1"}),
        },
        coords={"x": ("x", x, {"units": "m"})},
    )
    physics = pima.Physics(Product(), parameters={"factor": {"common": True}})
    result = pima.fit(curve_model(physics), data, seed=0, epochs=5)
    assert "the data do not tell 'factor'" in str(result.tree.attrs["warnings"])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"slope": {"common": True}, "intercept": {"common": True}}, "every parameter"),
        ({"slope": {"common": True, "vary": False}}, "is fixed, and not inferred"),
        ({"slope": {"common": True, "variable": "given"}}, "is given otherwise, too"),
    ],
)
def test_contradictions_are_refused(parameters: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        pima.Physics(Linear(), parameters=parameters)


def test_components_have_no_common_parameters() -> None:
    with pytest.raises(ConfigError, match="common to all samples cannot be one of a component"):
        pima.Physics(Linear(), parameters={"slope": {"common": True}}, per="component")


def test_on_the_command_line(tmp_path: Path) -> None:
    patients().to_netcdf(tmp_path / "data.nc")
    decoder = {"physics": "oral_pk", "parameters": COMMON}
    experiment = {
        "data": "data.nc",
        "modalities": {
            "curve": {"variable": "concentration", "decoder": decoder},
            "marker": {"variable": "marker"},
        },
        "nodes": {"form": 2},
        "training": {"epochs": 4},
    }
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(experiment))
    run = CliRunner().invoke(app, ["fit", str(file), "--output", str(tmp_path / "run")])
    assert run.exit_code == 0, run.output
    assert "inferred, one value for all samples" in run.output
    shown = CliRunner().invoke(app, ["check", str(file)])
    assert "one value for" in shown.output
    decoder["parameters"] = COMMON | {"volume": {"common": True, "vary": False}}
    file.write_text(yaml.safe_dump(experiment))
    run = CliRunner().invoke(app, ["fit", str(file), "--output", str(tmp_path / "run")])
    assert run.exit_code == 2 and "either common or vary: false" in run.output
