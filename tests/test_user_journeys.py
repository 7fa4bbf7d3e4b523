"""What a new user does from end to end, with fits of a few epochs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
from typer.testing import CliRunner, Result

import pima_physics as pima
from pima_physics.atomic import write_text
from pima_physics.cli import app
from pima_physics.errors import PimaError

PLAIN = {"units": "dimensionless"}
LAW = '''
import torch
import pima_physics as pima

class Saturation(pima.Simulator):
    """A law of the user's own."""

    coordinates = {"strain": "dimensionless"}
    outputs = {"stress": "MPa"}
    limit = pima.Parameter("MPa", min=1, max=1000, value=100)

    def evaluate(self, x, p):
        return {"stress": p.limit * (1 - torch.exp(-100.0 * x.strain))}
'''


def run(*arguments: object, code: int = 0) -> Result:
    """A command, its exit code checked; never a traceback."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def curves(samples: int = 60) -> xr.Dataset:
    """Curves and images that two independent factors change."""
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 2, samples), rng.integers(0, 2, samples)
    strain = np.linspace(0, 0.1, 12)
    stress = (100 + 80 * first[:, None]) * (1 - np.exp(-strain / 0.01))
    y, x = np.mgrid[0:8, 0:8] / 7 - 0.5
    image = np.hypot(y, x) < 0.2 + 0.2 * second[:, None, None]
    return xr.Dataset(
        {
            "stress": (
                ("sample", "strain"),
                stress + rng.normal(0, 2, stress.shape),
                {"units": "MPa"},
            ),
            "image": (("sample", "y", "x"), (200 * image).astype("uint8"), PLAIN),
            "strength": ("sample", first, PLAIN),
            "size": ("sample", second, PLAIN),
        },
        coords={"strain": ("strain", strain, PLAIN)},
    )


def write(folder: Path, data: xr.Dataset, modalities: dict[str, Any], **more: Any) -> Path:
    """An experiment file beside its data."""
    folder.mkdir(parents=True, exist_ok=True)
    data.to_netcdf(folder / "data.nc")
    mapping = {
        "data": "data.nc", "modalities": modalities, "nodes": {"strength": 2, "size": 2},
        "latent": {"dim": 3}, "training": {"epochs": 5}, **more,
    }  # fmt: skip
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(mapping))
    return path


def all_have_units(file: Path) -> bool:
    """Whether a file opens with plain xarray and every number in it has a unit."""
    with xr.open_datatree(file) as tree:
        missing = [
            f"{node.path}/{name}"
            for node in tree.subtree
            for name, array in node.to_dataset().variables.items()
            if array.dtype.kind in "iufb" and "units" not in array.attrs
        ]
    assert missing == []
    return True


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Forget the user's own module before and after, as a new process would."""
    sys.modules.pop("own_law", None)
    yield
    sys.modules.pop("own_law", None)


def test_a_law_beside_the_experiment_serves_every_later_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None
) -> None:
    decoder = {"physics": "own_law:Saturation"}
    experiment = write(
        tmp_path / "lab",
        curves(),
        {"curve": {"variable": "stress", "decoder": decoder}, "image": {}},
    )
    (tmp_path / "lab" / "own_law.py").write_text(LAW)
    elsewhere, fitted = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    said = f"code of {tmp_path / 'lab' / 'own_law.py'}"
    assert said in run("check", experiment).stdout
    run("fit", experiment, "--output", fitted)
    assert said in (fitted / "log.txt").read_text()
    data = tmp_path / "lab" / "data.nc"
    for command in (
        ("predict", fitted, data, "--given", "image", "--output", "curves.nc"),
        ("intervene", fitted, "--do", "strength=1", "--do", "size=0", "--samples", "5",
         "--output", "done.nc"),
        ("report", fitted),
        ("validate", fitted, "--labels", f"{data}:strength,size"),
    ):  # fmt: skip
        sys.modules.pop("own_law", None)
        assert said in run(*command).stderr
    assert all(map(all_have_units, (fitted / "results.nc", Path("curves.nc"), Path("done.nc"))))
    assert "own_law:Saturation" in (fitted / "report.html").read_text()

    (tmp_path / "lab" / "own_law.py").rename(tmp_path / "lab" / "moved.py")
    sys.modules.pop("own_law", None)
    said = run("report", fitted, code=2).stderr
    assert "No module named 'own_law'" in said and "beside the experiment file" in said


@pytest.mark.parametrize(
    ("code", "name", "expected"),
    [
        ("def f(:", "Saturation", "SyntaxError"),
        ("1 / 0", "Saturation", "ZeroDivisionError"),
        (LAW, "Saturated", "did you mean 'own_law:Saturation'?"),
        (LAW, "torch", "did you mean 'own_law:Saturation'?"),
        (LAW.replace("def evaluate", "def compute"), "Saturation", "abstract"),
    ],
)
def test_a_wrong_law_beside_the_experiment_is_explained(
    tmp_path: Path, code: str, name: str, expected: str, forgotten: None
) -> None:
    decoder = {"physics": f"own_law:{name}"}
    experiment = write(tmp_path, curves(20), {"curve": {"variable": "stress", "decoder": decoder}})
    (tmp_path / "own_law.py").write_text(code)
    said = run("check", experiment, code=2).stderr
    assert f"own_law:{name}" in said and expected in said


@pytest.mark.parametrize("samples", [0, 1, 2])
def test_too_few_samples_are_named_as_such(tmp_path: Path, samples: int) -> None:
    experiment = write(tmp_path, curves().isel(sample=slice(samples)), {"image": {}})
    said = run("check", experiment, code=2).stderr
    assert "too few samples" in said and "joint outcomes" not in said


VOCE = {"physics": "voce"}
FALL = {"physics": "falling_body", "observe": "speed"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "law over another coordinate": (
        {"c": {"variable": "stress", "decoder": FALL}},
        "a unit compatible with s",
    ),
    "law of a curve for one number": (
        {"c": {"variable": "strength", "decoder": VOCE}},
        "expected: strain (dimensionless)",
    ),
    "law of another quantity": (
        {"c": {"variable": "duration", "decoder": VOCE}},
        "compatible with",
    ),
    "convolution of one number": (
        {"c": {"variable": "strength", "decoder": {"neural": "conv"}}},
        "at least 4",
    ),
    "output instead of variable": ({"tension": {"decoder": VOCE}}, "write variable: tension"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fitted_is_refused_before_a_folder_exists(tmp_path: Path, case: str) -> None:
    modalities, expected = REFUSED[case]
    data = curves(20)
    data["duration"] = data["stress"].assign_attrs(units="s")
    if case == "output instead of variable":
        data = data.rename(stress="tension")
    experiment = write(tmp_path / "lab", data, modalities)
    for command in (("check", experiment), ("fit", experiment, "--output", tmp_path / "run")):
        assert expected in run(*command, code=2).stderr
    assert not (tmp_path / "run").exists()


def test_a_file_in_the_way_of_an_output_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    asked = ("intervene", tmp_path / "run", "--do", "a=1", "--output", tmp_path / "file" / "o.nc")
    assert f"a file at {tmp_path / 'file'}" in run(*asked, code=2).stderr
    with pytest.raises(PimaError, match="a file is where a folder should be"):
        write_text(tmp_path / "file" / "page.html", "text")


def test_slips_in_python_are_named() -> None:
    model = pima.PIMA({"image": pima.Neural("image")}, pima.DAG(size=2))
    with pytest.raises(PimaError, match="must be an xarray Dataset"):
        pima.fit(model, "data.nc")  # type: ignore[arg-type]
    with pytest.raises(PimaError, match="set sample_dim to 'sample'"):
        pima.fit(model, curves(), sample_dim="samples")
    with pytest.raises(PimaError, match=r"pima.Neural\(...\)"):
        pima.PIMA({"image": "image"}, pima.DAG(size=2))  # type: ignore[dict-item]


def test_results_of_other_data_are_not_replaced_unasked(tmp_path: Path) -> None:
    data, modalities = curves(), {"stress": {"variable": "stress", "decoder": "mlp"}}
    path = write(tmp_path, data, modalities, nodes={"strength": 2})
    done = tmp_path / "done"
    run("fit", path, "--epochs", 2, "--output", done)
    (done / "validation.json").write_text("{}")
    first = (done / "results.nc").read_bytes()
    write(tmp_path, data.assign(stress=1.1 * data["stress"]), modalities, nodes={"strength": 2})
    said = run("fit", path, "--epochs", 2, "--output", done, code=2).output
    assert "finished run of other data" in said and "--overwrite" in said
    assert (done / "results.nc").read_bytes() == first and (done / "validation.json").exists()
    run("fit", path, "--epochs", 2, "--output", done, "--overwrite")
    assert (done / "results.nc").read_bytes() != first
    assert not (done / "validation.json").exists()  # it was of the results that were replaced
