"""Run folders with damaged files and simulators that misbehave: no wrong number in silence."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.fuzz import (
    ACCEPTED,
    LIBRARY,
    MUTATIONS,
    READ,
    REFUSED,
    isolated,
    mutated,
    profile,
    tally,
)
from typer.testing import CliRunner, Result

from pima_physics import results, training
from pima_physics.cli import app
from pima_physics.config import Experiment
from pima_physics.dataset import open_dataset
from pima_physics.errors import InputError

FILES = ("model.safetensors", "results.nc", "history.csv", "SHA256SUMS", "experiment.yaml",
         "report.html", "log.txt")  # fmt: skip


def command(*words: object) -> Result:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert "Traceback" not in done.output
    return done


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def laboratory(folder: Path, decoder: dict[str, object]) -> Path:
    """An experiment beside its data: 24 curves of two kinds."""
    rng, strain = np.random.default_rng(0), np.linspace(0.01, 0.1, 6)
    kind = np.arange(24) % 2
    stress = (100 + 80 * kind[:, None]) * (1 - np.exp(-80 * strain)) + rng.normal(0, 2, (24, 6))
    xr.Dataset(
        {"stress": (("sample", "strain"), stress, {"units": "MPa"})},
        coords={"strain": ("strain", strain, {"units": "dimensionless"})},
    ).to_netcdf(folder / "data.nc")
    mapping = {
        "data": "data.nc",
        "modalities": {"curve": {"variable": "stress", "decoder": decoder}},
        "nodes": {"kind": 2},
        "latent": {"dim": 2},
        "training": {"epochs": 5},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(mapping))
    return folder / "experiment.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("finished")
    experiment = Experiment.load(laboratory(folder, {"neural": "mlp"}))
    data = open_dataset(experiment.data)
    training.fit(experiment.to_model(), data, epochs=5).save(folder / "run")
    for name in ("experiment.yaml", "report.html", "log.txt"):
        shutil.copy(experiment.path or "", folder / "run" / name)
    return folder / "run"


def read(folder: Path, whole: xr.DataTree) -> str:
    """Load a run; what loads must be what was saved."""
    try:
        again = results.load(folder)
    except InputError as error:
        assert str(error).strip()
        return REFUSED
    assert again.to_datatree().identical(whole)
    return ACCEPTED


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_damage_to_any_file_is_noticed_and_made_no_worse(finished: Path, tmp_path: Path) -> None:
    whole, folder = results.load(finished).to_datatree(), tmp_path / "run"
    with tally("run folders, a file damaged") as counts:

        @profile(14)
        @given(st.sampled_from(FILES), MUTATIONS)
        def check(name: str, changes: list[tuple[str, float, int]]) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(finished, folder)
            before = (folder / name).read_bytes()
            (folder / name).write_bytes(mutated(before, changes))
            held = digests(folder)
            became = isolated(lambda: read(folder, whole))
            assert became in (ACCEPTED, REFUSED), became
            read_anyway = name not in ("model.safetensors", "results.nc", "SHA256SUMS")
            same = (folder / name).read_bytes() == before
            assert (became == ACCEPTED) or not (read_anyway or same), name
            assert digests(folder) == held
            counts[became] += 1

        check()
    assert counts[REFUSED] and counts[ACCEPTED]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", ["model.safetensors", "results.nc"])
def test_damage_without_checksums_is_no_crash(finished: Path, tmp_path: Path, name: str) -> None:
    """As older runs are, and files that were copied alone."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "SHA256SUMS").unlink()
    before = (folder / name).read_bytes()

    def load() -> str:
        try:
            results.load(folder)
        except InputError as error:
            assert str(error).strip()
            return REFUSED
        return READ

    with tally(f"{name} damaged, no checksums") as counts:

        @profile(8, share=0.5)
        @given(MUTATIONS)
        def check(changes: list[tuple[str, float, int]]) -> None:
            (folder / name).write_bytes(mutated(before, changes))
            became = isolated(load, seconds=20)
            if name == "results.nc" and became.startswith("died by"):
                became = LIBRARY
            assert became in (READ, REFUSED, LIBRARY), became
            counts[became] += 1

        check()
    assert counts[REFUSED]


@pytest.mark.parametrize(
    ("version", "expected"), [(999, "written by a newer version"), ("x", "cannot be read")]
)
def test_results_of_another_layout_are_refused(
    finished: Path, tmp_path: Path, version: object, expected: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    with netCDF4.Dataset(folder / "results.nc", "a") as file:
        assert file.format_version == 1
        file.format_version = version
    (folder / "SHA256SUMS").unlink()
    assert expected in command("report", folder).stderr


def test_results_from_before_layouts_had_numbers_are_read(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    with netCDF4.Dataset(folder / "results.nc", "a") as file:
        del file.format_version
    (folder / "SHA256SUMS").unlink()
    assert read(folder, results.load(finished).to_datatree()) == ACCEPTED


# --- simulators ------------------------------------------------------------------------------

LAW = """
import torch
import pima_physics as pima

CALLS = [0]

class Law(pima.Simulator):
    coordinates = {{"strain": "dimensionless"}}
    outputs = {{"stress": "MPa"}}
    limit = pima.Parameter("MPa", min=1, max=1000, value=100)

    def evaluate(self, x, p):
        CALLS[0] += 1
        y = p.limit * (1 - torch.exp(-80.0 * x.strain))
        {body}
"""
MISBEHAVIOUR = {
    "raises at once": "raise RuntimeError('the code crashed')",
    "raises later": "if CALLS[0] > 12: raise ValueError('too often')\n        return {'stress': y}",
    "NaN": "return {'stress': y * float('nan')}",
    "NaN later": "return {'stress': y * (float('nan') if CALLS[0] > 12 else 1)}",
    "infinite": "return {'stress': y / 0.0}",
    "wrong shape": "return {'stress': y[:, :2]}",
    "wrong name": "return {'strss': y}",
    "no tensor": "return {'stress': 'high'}",
    "nothing": "return None",
    "complex": "return {'stress': y * 1j}",
    "no gradient": "return {'stress': y.detach()}",
    "huge": "return {'stress': y * 1e300}",
    "divides by zero": "return {'stress': 1 / 0}",
    "exits": "raise SystemExit(0)",
    "endless recursion": "return self.evaluate(x, p)",
}


@pytest.fixture
def forgotten() -> Iterator[None]:
    sys.modules.pop("bad_law", None)
    yield
    sys.modules.pop("bad_law", None)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(how, marks=() if how in ("raises later", "NaN") else pytest.mark.study)
        for how in MISBEHAVIOUR
    ],
)
def test_a_simulator_that_misbehaves(tmp_path: Path, how: str, forgotten: None) -> None:
    """A clear error and no results, or finite ones."""
    experiment = laboratory(tmp_path, {"physics": "bad_law:Law"})
    (tmp_path / "bad_law.py").write_text(LAW.format(body=MISBEHAVIOUR[how]))
    with tally("simulators that misbehave") as counts:
        done = command("fit", experiment, "--output", tmp_path / "run")
        if done.exit_code == 0:
            tree = results.load(tmp_path / "run").to_datatree()
            assert np.isfinite(tree["parameters/curve/limit"]).all()
            counts[ACCEPTED] += 1
            assert how in ("no gradient",)
        else:
            assert done.exit_code in (1, 2) and "error: " in done.stderr, done.output
            assert "bad_law" in done.stderr and "unexpected" not in done.stderr, done.stderr
            assert not (tmp_path / "run" / "results.nc").exists()
            counts[REFUSED] += 1
