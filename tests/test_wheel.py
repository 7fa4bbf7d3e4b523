"""The wheel adds one name to site-packages and carries everything that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from support.source import FOLDERS, REPOSITORY

MAX_BYTES = 2_000_000
DATA_SUFFIXES = {".typed", ".json", ".html", ".css", ".yaml", ".md"}


def expected_files() -> set[str]:
    """Paths inside the wheel of every file in the four folders that it must carry, and no other."""
    found = set()
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*"):
            record = path.name == "RESULTS.md" or path.parent.name.startswith("results")
            wanted = path.suffix in DATA_SUFFIXES | {".py"} and "__pycache__" not in path.parts
            if wanted and not record:
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
    # Without --wheel: the source distribution first, then the wheel from it.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target)]
    done(*command, str(source), cwd=target)
    (built,) = target.glob("*.whl")
    return built


def done(*command: str, cwd: Path) -> str:
    """Run a command that must succeed; return what it printed."""
    run = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_an_index_would_take_both_distributions(wheel: Path) -> None:
    pytest.importorskip("twine")
    files = sorted(str(path) for path in wheel.parent.iterdir())
    assert [name.rpartition(".")[2] for name in files] == ["whl", "gz"]
    printed = done(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files,
                   cwd=wheel.parent)  # fmt: skip
    assert printed.count("PASSED") == 2


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_in_an_environment_of_its_own(
    wheel: Path, tmp_path: Path
) -> None:
    """The wheel is installed alone; what it needs is found in the environment of the tests."""
    done(sys.executable, "-m", "venv", str(tmp_path / "venv"), cwd=tmp_path)
    python = str(tmp_path / "venv" / "bin" / "python")
    done(python, "-m", "pip", "install", "--no-deps", "--no-index", str(wheel), cwd=tmp_path)
    (site,) = (tmp_path / "venv" / "lib").glob("*/site-packages")
    files = [p for p in (site / "pima_physics").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    assert sum(p.stat().st_size for p in files) < MAX_BYTES
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = done(python, "-c", "import pima_physics; print(pima_physics.__file__)", cwd=tmp_path)
    assert where.startswith(str(site))
    command = str(tmp_path / "venv" / "bin" / "pima-physics")
    printed = done(command, "demo", "--output", "demo", "--epochs", "5", cwd=tmp_path)
    assert "report: demo/run/report.html" in printed
    assert (tmp_path / "demo" / "run" / "report.html").is_file()


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
