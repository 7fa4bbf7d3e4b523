"""A machine that is too small, and one whose clock goes back."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from test_fuzz_runs import command, laboratory

from pima_physics import results
from pima_physics.config import Experiment
from pima_physics.dataset import open_dataset
from pima_physics.runfolder import RunFolder
from pima_physics.training import fit

# The cap is what the process has mapped when all is loaded, and a margin for a small fit.
CAPPED = """
import re, resource, sys
from pathlib import Path
import pima_physics.cli_fit, pima_physics.report_figures
import matplotlib.pyplot, sklearn.mixture, netCDF4
from pima_physics.cli import main
mapped = int(re.search(r"VmSize:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
cap = mapped + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (cap, cap))
main(sys.argv[2:])
"""


def capped(megabytes: int, *words: object) -> subprocess.CompletedProcess[str]:
    """A command that may map only so much memory more than its libraries have."""
    return subprocess.run(
        [sys.executable, "-c", CAPPED, str(megabytes), *map(str, words)],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file() and path.name != "log.txt"
    }


def large(folder: Path, samples: int, points: int) -> Path:
    """The experiment of the laboratory with data of samples x points doubles (zeros take none)."""
    folder.mkdir()
    experiment = laboratory(folder, {"neural": "mlp"})
    (folder / "data.nc").unlink()
    with netCDF4.Dataset(folder / "data.nc", "w") as file:
        file.createDimension("sample", samples)
        file.createDimension("strain", points)
        stress = file.createVariable("stress", "f8", ("sample", "strain"), zlib=True)
        stress.units = "MPa"
        for start in range(0, samples, 50):
            rows = np.arange(start, min(start + 50, samples))
            stress[rows] = np.linspace(0, 1, points) * (1 + rows[:, None] % 2)
    return experiment


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_AS and /proc")
@pytest.mark.slow
@pytest.mark.parametrize(("megabytes", "fits"), [(700, True), (150, False)])
def test_a_cap_on_memory_is_one_clear_error(tmp_path: Path, megabytes: int, fits: bool) -> None:
    """The same fit ends well with enough memory, or with one error and the old results whole."""
    small = laboratory(tmp_path, {"neural": "mlp"})
    run = tmp_path / "run"
    command("fit", small, "--output", run)
    before = digests(run)
    # 200 MB of numbers
    experiment = small if fits else large(tmp_path / "large", 500, 50_000)
    done = capped(megabytes, "fit", experiment, "--output", run, "--overwrite")
    assert "Traceback" not in done.stderr, done.stderr
    if fits:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("error: ") == 1 and "not enough memory" in done.stderr
    assert "fix:" in done.stderr
    assert digests(run) == before
    results.load(run)


class Backwards:
    """A clock that is set back by an hour whenever it is read."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        self.now -= 3600.0
        return self.now


def test_a_clock_that_goes_back_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment.load(laboratory(tmp_path, {"neural": "mlp"}))
    data, run = open_dataset(experiment.data), RunFolder(tmp_path / "run")
    model, options = experiment.to_model(), {"epochs": 5, "seed": 3}
    right = fit(model, data, **options).to_datatree()
    seen: list[float] = []

    def stop(record: object) -> None:
        seen.append(time.time())
        if len(seen) == 3:
            raise KeyboardInterrupt

    clock = Backwards()
    monkeypatch.setattr(time, "time", clock)
    with run.locked(), pytest.raises(KeyboardInterrupt):
        fit(model, data, run=run, progress=stop, checkpoint_every=1, **options)
    assert seen == sorted(seen, reverse=True) and run.checkpoint.is_dir()
    with run.locked():  # the lock of a process that is gone holds nobody, whatever its date
        result = fit(model, data, run=run, resume=True, **options)
        result.save(run.path)
    monkeypatch.undo()
    tree = results.load(run.path).to_datatree()
    assert 0 < tree.attrs["wall_time_seconds"] < 600
    xr.testing.assert_equal(tree["posterior"].to_dataset(), right["posterior"].to_dataset())
