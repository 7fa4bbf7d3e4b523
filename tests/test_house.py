"""The house: one version, a complete package list, lazy public names, guarded folders."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from support.source import FOLDERS, REPOSITORY

import pima_physics

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
ENTRIES = PROJECT["project"]["entry-points"]


def run_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def canonical(requirement: str) -> str:
    """Name of a requirement as package indexes compare it."""
    name = re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def test_version_is_stated_once() -> None:
    assert version("pima-physics") == pima_physics.__version__
    citation = (REPOSITORY / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {pima_physics.__version__}\n" in citation


def test_package_list_matches_the_folders() -> None:
    on_disk = set()
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            on_disk.add(".".join([package, *path.parent.relative_to(folder).parts]))
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(on_disk) == sorted(listed), "correct `packages` in pyproject.toml"


def test_every_folder_with_python_files_is_a_package() -> None:
    folders = {path.parent for folder in FOLDERS.values() for path in folder.rglob("*.py")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_constraints_pin_every_direct_dependency() -> None:
    project = PROJECT["project"]
    wanted = {canonical(name) for name in project["dependencies"]}
    for extra in project["optional-dependencies"].values():
        wanted |= {canonical(name) for name in extra}
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {canonical(line) for line in lines if re.fullmatch(r"[\w.-]+==[\w.]+", line)}
    assert wanted <= pinned, f"pin in constraints.txt: {sorted(wanted - pinned)}"


def test_import_is_light(tmp_path: Path) -> None:
    code = (
        "import sys, pima_physics, pima_physics.simulators, pima_physics.datasets\n"
        "dir(pima_physics), pima_physics.InputError\n"
        "heavy = {'torch', 'numpy', 'xarray', 'pint', 'scipy', 'sklearn', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    run = run_python(code, tmp_path)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


@pytest.mark.parametrize("name", pima_physics.__all__)
def test_public_name_is_there(name: str) -> None:
    assert getattr(pima_physics, name) is not None


def test_public_names_are_listed_once_and_in_full() -> None:
    lazy = {*pima_physics._HOME, *pima_physics._SUBPACKAGES, "__version__"}
    assert set(pima_physics.__all__) == lazy
    assert dir(pima_physics) == sorted(lazy)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Pima'"):
        _ = pima_physics.Pima


@pytest.mark.parametrize("folder", ["simulators", "datasets", "validation"])
def test_bare_import_is_refused(folder: str) -> None:
    run = run_python(f"import {folder}", REPOSITORY)
    assert run.returncode != 0
    assert run.stderr.splitlines()[-1].startswith("ImportError: ")
    assert f"pima_physics.{folder}" in run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group in ENTRIES for name in ENTRIES[group]]
)
def test_entry_point_loads(group: str, name: str) -> None:
    module, _, attribute = ENTRIES[group][name].partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))


def test_installed_entry_points_are_those_of_the_project() -> None:
    for group, entries in ENTRIES.items():
        installed = {entry.name: entry.value for entry in entry_points(group=group)}
        assert entries.items() <= installed.items(), "install again: pip install -e ."


def test_every_simulator_file_is_registered() -> None:
    """A file is registered, or shared by others and named with a leading underscore."""
    files = {path.stem for path in FOLDERS["pima_physics.simulators"].glob("[!_]*.py")}
    assert files == set(ENTRIES["pima_physics.simulators"])
