"""A law in another distribution is found by its name once that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The plug-in, pip-installed into a folder of its own; the environment that sees it."""
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    run = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return {**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}


def python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_found_by_name_and_passes_the_check(installed):
    run = python(
        "from pima_physics.simulator import find, registered\n"
        "from pima_physics.check import check_simulator\n"
        "law = find('cooling')\n"
        "print(registered()['cooling'], law.reference, check_simulator(law).passed)",
        installed,
    )
    assert run.stdout.split() == ["cooling_law:Cooling", "cooling", "True"], run.stderr


def test_the_command_line_lists_and_checks_it(installed):
    for arguments, expected in (
        ([], "cooling"),
        (["cooling"], "cooling_rate"),
        (["cooling", "--check"], "Cooling: passed"),
        (["cooling_law:Cooling", "--check"], "Cooling: passed"),
    ):
        command = [sys.executable, "-m", "pima_physics.cli", "simulators", *arguments]
        run = subprocess.run(command, env=installed, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert expected in run.stdout


def test_unknown_where_it_is_not_installed():
    bare = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run = python("from pima_physics.simulator import find; find('cooling')", bare)
    assert run.returncode != 0 and "no simulator is named 'cooling'" in run.stderr
