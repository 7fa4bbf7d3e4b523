"""The wheel adds one name to site-packages and carries everything that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.source import FOLDERS, REPOSITORY

MAX_BYTES = 2_000_000
DATA_SUFFIXES = {".typed", ".html", ".css", ".yaml", ".md"}


def expected_files() -> set[str]:
    """Paths inside the wheel of every file in the four folders that it must carry."""
    found = set()
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*"):
            if path.suffix in DATA_SUFFIXES | {".py"} and "__pycache__" not in path.parts:
                found.add(f"{package.replace('.', '/')}/{path.relative_to(folder).as_posix()}")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that no build folder appears in the checkout."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in FOLDERS.values():
        name = folder.relative_to(REPOSITORY)
        shutil.copytree(folder, source / name, ignore=ignore, dirs_exist_ok=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target)]
    run = subprocess.run(
        [*command, str(source)], cwd=target, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (built,) = target.glob("*.whl")
    return built


def test_wheel_adds_one_name_and_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    metadata = {top for top in tops if top.endswith(".dist-info")}
    assert tops - metadata == {"pima_physics"}
    assert len(metadata) == 1
    assert wheel.stat().st_size < MAX_BYTES


def test_wheel_carries_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == expected_files()
    assert {"pima_physics/py.typed", "pima_physics/simulators/__init__.py"} <= inside


def test_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the three folders are found beneath the package and only there."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys, pima_physics, importlib.util as util\n"
        f"assert pima_physics.__file__.startswith({str(tmp_path / 'site')!r}), pima_physics\n"
        "for name in ('simulators', 'datasets', 'validation'):\n"
        "    module = getattr(pima_physics, name)\n"
        "    assert module.__file__.startswith(pima_physics.__path__[0]), module\n"
        "    assert util.find_spec(name) is None, name\n"
        "assert pima_physics.simulators.__dir__(), 'no simulator is registered'\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
