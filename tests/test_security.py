"""Nothing that a stranger's file holds is run or written where it should not be.

That reports show hostile text as text is in ``test_report.py`` and ``test_report_browser.py``, that
no shipped file imports pickle or calls eval in ``test_architecture.py``.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from support.source import REPOSITORY, imports, module_name, shipped_files
from typer.testing import CliRunner

from pima_physics import importing, results
from pima_physics.checkpoint_codec import unpack
from pima_physics.cli import app
from pima_physics.config import Experiment
from pima_physics.dataset import open_dataset
from pima_physics.errors import InputError, PimaError
from pima_physics.results_store import read_model, read_tree


class Payload:
    """Unpickling it makes the file ``owned`` in the working folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def malicious() -> dict[str, bytes]:
    """The same payload in every wrapping that a Python file format uses."""
    plain, saved, array = pickle.dumps(Payload()), io.BytesIO(), io.BytesIO()
    torch.save(Payload(), saved)
    np.save(array, np.array([Payload()], dtype=object), allow_pickle=True)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("x.npy", array.getvalue())
    return {
        "pickle": plain,
        "torch": saved.getvalue(),
        "npy": array.getvalue(),
        "npz": zipped.getvalue(),
    }


FILES = malicious()


def test_the_payload_works(folder: Path) -> None:
    """A negative control: where something unpickles, the tests below would see it."""
    pickle.loads(FILES["pickle"])
    assert (folder / "owned").exists()


@pytest.mark.parametrize("kind", FILES)
def test_malicious_files_are_refused_and_not_run(folder: Path, kind: str) -> None:
    for name in ("model.safetensors", "results.nc", "data.nc", "a.mat", "a.csv", "a.png", "e.yaml"):
        (folder / name).write_bytes(FILES[kind])
    arrays = {"x": ("x", ("sample",))}
    readers = [
        lambda: results.load(folder),
        lambda: read_model(folder / "model.safetensors"),
        lambda: read_tree(folder / "results.nc"),
        lambda: open_dataset(folder / "data.nc"),
        lambda: importing.from_mat("a.mat", arrays, units={"x": "m"}),
        lambda: importing.from_hdf5("a.mat", arrays, units={"x": "m"}),
        lambda: importing.from_csv("a.csv"),
        lambda: importing.from_images("."),
        lambda: Experiment.load("e.yaml"),
        lambda: unpack(FILES[kind]),
    ]
    for read in readers:
        with pytest.raises(PimaError):
            read()
    assert not (folder / "owned").exists()


TAGS = (
    "!!python/object/apply:os.mkdir [owned]",
    "!!python/object/new:os.mkdir [owned]",
    "!!python/name:os.mkdir",
    "!!python/module:os",
    "!<tag:yaml.org,2002:python/object/apply:os.mkdir> [owned]",
)


@pytest.mark.parametrize("tag", TAGS)
def test_yaml_makes_plain_values_only(folder: Path, tag: str) -> None:
    (folder / "e.yaml").write_text(f"data: {tag}\nmodalities: {{m: {{}}}}\nnodes: {{a: 2}}\n")
    with pytest.raises(InputError, match="not valid YAML"):
        Experiment.load("e.yaml")
    assert not (folder / "owned").exists()


@pytest.mark.parametrize(
    "reference", ["os:mkdir", "builtins:eval", "subprocess:run", "os:system", "os.path:join"]
)
def test_only_laws_are_taken_from_modules(folder: Path, reference: str) -> None:
    """``module:Object`` imports a module, but calls nothing that is no simulator."""
    mapping = {
        "data": "data.nc",
        "modalities": {"m": {"variable": "x", "decoder": {"physics": reference}}},
        "nodes": {"a": 2},
    }
    (folder / "e.yaml").write_text(yaml.safe_dump(mapping))
    with pytest.raises(InputError, match=re.escape(reference)):
        _ = Experiment.load("e.yaml").modalities


@pytest.mark.parametrize("name", ["../up", "/abs", "a/b", "..", "a\x00b", "C:\\x", "a\nb"])
def test_names_cannot_become_paths(name: str) -> None:
    """Names of nodes and modalities name groups and options: they have no separators."""
    base: dict[str, Any] = {
        "data": "d.nc",
        "modalities": {"m": {"variable": "x"}},
        "nodes": {"a": 2},
    }
    for change in ({"modalities": {name: {"variable": "x"}}}, {"nodes": {name: 2}}):
        with pytest.raises(InputError):
            Experiment.from_mapping(base | change)


@pytest.mark.parametrize("output", ["data.nc", "link.nc", "data.nc/x.nc", "folder.nc"])
def test_a_query_writes_over_no_input(folder: Path, output: str) -> None:
    xr.Dataset({"x": ("sample", [1.0])}).to_netcdf("data.nc")
    (folder / "link.nc").symlink_to("data.nc")
    (folder / "folder.nc").mkdir()
    before = (folder / "data.nc").read_bytes()
    asked = ["predict", "run", "data.nc", "--given", "m", "--output", output]
    assert CliRunner().invoke(app, asked).exit_code == 2
    assert (folder / "data.nc").read_bytes() == before


def bomb(path: Path) -> None:
    """Fifteen kB that claim eight TB."""
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("sample", 2_000_000)
        file.createDimension("t", 1_000_000)
        made = file.createVariable("x", "f4", ("sample", "t"), zlib=True, chunksizes=(1000, 1000))
        made.units = "MPa"
        made[0, 0] = 1.0


def test_a_decompression_bomb_is_refused(folder: Path) -> None:
    bomb(folder / "bomb.nc")
    assert (folder / "bomb.nc").stat().st_size < 100_000
    mapping = {"data": "bomb.nc", "modalities": {"m": {"variable": "x"}}, "nodes": {"a": 2}}
    (folder / "e.yaml").write_text(yaml.safe_dump(mapping))
    for asked in (["check", "e.yaml"], ["init", "--from", "bomb.nc", "--output", "i.yaml"]):
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 2 and "8000 GB" in done.stderr, done.output


def test_an_array_that_claims_to_be_huge_is_not_imported(folder: Path) -> None:
    bomb(folder / "bomb.nc")
    with pytest.raises(InputError, match="too large to import"):
        importing.from_hdf5("bomb.nc", {"x": ("x", ("sample", "t"))})


def test_the_dependencies_are_the_declared_ones() -> None:
    """Every import of shipped code is the standard library, a declared dependency or guarded."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    wanted.append("pydantic_core")  # the other half of pydantic, which asks for its exact version
    names = {re.split(r"[\s\[<>=!~;]", text)[0].lower().replace("_", "-") for text in wanted}
    provided = packages_distributions()
    for path in shipped_files():
        module = module_name(path)
        if module.startswith("pima_physics.validation"):
            continue  # studies compare with peers where those are installed
        for line, target in imports(path.read_text("utf-8"), module):
            top = target.split(".")[0]
            if top in sys.stdlib_module_names or top == "pima_physics":
                continue
            offered = {name.lower().replace("_", "-") for name in provided.get(top, [top])}
            assert offered & names, f"{path}:{line}: {top} is not declared"
