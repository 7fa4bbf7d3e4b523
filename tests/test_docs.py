"""Every command and code block of README.md and docs/ is executed, with few epochs.

``python`` blocks of a page share their names, ``sh`` lines are commands, a block that starts with
``# NAME.yaml`` or ``# NAME.py`` is written to that file.
"""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import pima_physics as pima
from pima_physics import datasets, training
from pima_physics.cli import app
from pima_physics.config import Experiment

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(DOCS.glob("*.md")) + sorted((DOCS / "tutorials").glob("*.md"))
EPOCHS, SAMPLES = 5, 200


def blocks(page: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line, language, content) of every block of a page."""
    text = page.read_text("utf-8")
    for match in FENCE.finditer(text):
        yield text[: match.start()].count("\n") + 1, match[1], match[2]


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which fits have few epochs and generated sets few samples."""
    fit, lattices = training.fit, datasets.lattices

    @functools.wraps(fit)
    def short_fit(model: Any, data: Any, **options: Any) -> Any:
        return fit(model, data, **options | {"epochs": EPOCHS})

    @functools.wraps(lattices)
    def few(samples: int = SAMPLES, **options: Any) -> Any:
        return lattices(min(samples, SAMPLES), **options)

    # The package resolves `fit` on first use: patched in the other order, what is put back
    # afterwards would be the short one.
    monkeypatch.setattr(pima, "fit", short_fit)
    monkeypatch.setattr(training, "fit", short_fit)
    registered = datasets.registered
    monkeypatch.setattr(datasets, "lattices", few, raising=False)
    monkeypatch.setattr(
        "pima_physics.datasets.catalogue.registered", lambda: registered() | {"lattices": few}
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def execute(page: Path) -> None:
    """Execute all blocks of a page in order; say where one fails."""
    names: dict[str, Any] = {}
    for line, language, content in blocks(page):
        where = f"{page.relative_to(REPOSITORY)}:{line}"
        try:
            run_block(language, content, names)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error


def run_block(language: str, content: str, names: dict[str, Any]) -> None:
    first = re.match(r"# (\S+\.(?:yaml|py))\n", content)
    if first:
        Path(first[1]).write_text(content)
        if first[1].endswith(".yaml") and "modalities:" in content:
            Experiment.load(first[1])
    elif language == "python":
        exec(compile(content, "block", "exec"), names)
    elif language == "sh":
        for line in re.sub(r"\\\n\s*", " ", content).splitlines():
            run_line(shlex.split(line, comments=True))
    else:
        assert language in ("text", "toml", "yaml"), f"a block of unknown language {language}"


def run_line(words: list[str]) -> None:
    """Run one command: our own in this process, others as far as they change nothing."""
    if not words:
        return
    if words[0] == "pima-physics":
        may_fail = words[-2:] == ["||", "true"]
        done = CliRunner().invoke(app, words[1:-2] if may_fail else words[1:])
        assert done.exit_code == 0 or (may_fail and done.exit_code == 1), done.output
        assert "Traceback" not in done.output
    elif words[0] == "make":
        command = ["make", "-n", *words[1:]]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[:2] == ["pip", "install"]:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
        extras = re.findall(r"\[(.+)\]", words[2])
        assert set(extras) <= set(project["optional-dependencies"])
    else:
        raise AssertionError(f"no test for the command {words[0]}")


def test_every_block_of_the_readme_works(short: Path) -> None:
    rng = np.random.default_rng(0)
    level, strain = rng.integers(0, 4, 60), np.linspace(0, 0.1, 20)
    stress = (100 + 40 * level[:, None]) * (1 - np.exp(-60 * strain)) + rng.normal(0, 1, (60, 20))
    warm = 300 + 50 * level[:, None] + rng.normal(0, 2, (60, 20))
    xr.Dataset(
        {
            "stress": (("sample", "strain"), stress, {"units": "MPa"}),
            "gauge_temperature": (("sample", "strain"), warm, {"units": "K"}),
        },
        coords={"strain": ("strain", strain, {"units": "dimensionless"})},
    ).to_netcdf("tension.nc")
    execute(REPOSITORY / "README.md")
    assert Path("lattices.html").is_file() and Path("run/report.html").is_file()


@pytest.mark.study
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_the_documentation_works(page: Path, short: Path) -> None:
    if page.stem in ("howto", "api"):
        prepare_run()
    execute(page)


def prepare_run() -> None:
    """A finished run in the working folder, as the how-to pages take for granted."""
    data, _ = datasets.lattices(100, seed=0)
    model = pima.PIMA({"image": pima.Neural("image", network="mlp")}, pima.DAG(lattice=2))
    pima.fit(model, data).save("run")
    data.to_netcdf("data.nc")


def test_the_readme_names_every_command_and_option() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    for command in app.registered_commands:
        name = command.callback.__name__  # type: ignore[union-attr]
        assert f"`pima-physics {name}" in text, f"{name} is missing in the table of commands"


def test_links_to_files_lead_somewhere() -> None:
    link = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
    for page in (REPOSITORY / "README.md", *PAGES):
        for target in link.findall(page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir()}
    assert sizes and max(sizes.values()) < 300_000, sizes


@pytest.mark.study
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="pip install -e '.[docs]'")
    pytest.importorskip("myst_parser", reason="pip install -e '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, str(DOCS), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "fit" in (tmp_path / "api.html").read_text()
