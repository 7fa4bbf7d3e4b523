"""The study of the hidden polariser: calibration, angles of outcomes, small version."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import xarray as xr

from pima_physics.errors import DataError
from pima_physics.truth import Truth
from pima_physics.validation.cases.lighttunnel_spur.study import (
    DIALS,
    angles,
    study,
    transmission,
    with_transmission,
)
from pima_physics.validation.cases.study import arguments, conduct, read_runs


def test_the_transmission_is_relative_to_the_reference_run() -> None:
    rng = np.random.default_rng(0)
    colours = {name: ("sample", rng.uniform(10, 100, 400)) for name in ("red", "green", "blue")}
    data = xr.Dataset(colours)
    reference = np.arange(400) < 200
    passed = np.where(reference, 1.0, 0.25)
    noise = 1.0 + 0.05 * rng.normal(size=400)
    light = (0.5 * data.red + 1.0 * data.green + 2.0 * data.blue + 30.0) * passed * noise
    before = data.assign(vis_3=light)
    found = transmission(before, reference)
    assert found[reference].mean() == pytest.approx(1.0, abs=0.01)
    assert found[~reference].mean() == pytest.approx(0.25, abs=0.005)
    assert found[~reference].std() == pytest.approx(0.25 * 0.05, rel=0.15)
    assert before.vis_3.identical(light.rename("vis_3"))


def test_angles_are_those_of_the_commonest_outcome_of_each_dial() -> None:
    dials = np.repeat(DIALS, 5)
    labels = np.repeat([3, 1, 0, 2, 5, 4], 5)
    labels[0] = 5  # one sample assigned wrongly
    degrees = {"axis_by_component": ("component", [20.0, 10.0, 30.0, 2.0, 60.0, 50.0])}
    errors = {"axis_by_component_std": ("component", [0.1, 0.2, 0.1, 2.5, 0.1, 0.1])}
    tree = xr.DataTree.from_dict({"parameters/transmission": xr.Dataset(degrees | errors)})
    meanings = " ".join(map(str, DIALS))
    codes = np.searchsorted(DIALS, dials)
    label = xr.DataArray(codes, dims="sample", attrs={"flag_meanings": meanings})
    truth = Truth(xr.Dataset({"pol_2": label}), xr.DataArray(0), xr.Dataset(), xr.Dataset())
    fit = SimpleNamespace(result=SimpleNamespace(tree=tree), truth=truth, labels=labels)
    found = angles(cast(Any, fit))
    assert [found[f"angle_{d}"] for d in DIALS] == [2.0, 10.0, 20.0, 30.0, 50.0, 60.0]
    assert found["error"] == 2.5


def test_without_the_file_the_study_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lighttunnel_spur"):
        study(10, tmp_path)


def test_what_is_hidden_and_what_light_is_known_of(shared_data: Path) -> None:
    data, _ = with_transmission(shared_data)
    assert not {"pol_2", "environment", "Y", "led_3_ir", "vis_3"} & set(data.variables)
    assert data.transmission.dims == ("sample", "angle")
    assert data.angle.attrs["units"] == "degree"


@pytest.mark.study
def test_small_version(tmp_path: Path, shared_data: Path) -> None:
    chosen = study(10, shared_data, tmp_path)
    options = vars(arguments("study", None, seeds=1).parse_args([])) | {"output": tmp_path}
    for only in ("Malus", "labels"):
        conduct(chosen, Namespace(**(options | {"only": only})), say=lambda line: None)
    ours, known = read_runs(tmp_path / "runs.jsonl")
    assert not ours.error and not known.error
    assert ours.scores["ari"] > 0.64
    # At small angles the transmission hardly says which.
    for dial, tolerance in {20: 3.0, 30: 2.0, 50: 2.0, 60: 2.0}.items():
        assert ours.scores[f"angle_{dial}"] == pytest.approx(
            known.scores[f"angle_{dial}"], abs=tolerance
        )
    assert "axis" in (tmp_path / "report_seed_0.html").read_text()
