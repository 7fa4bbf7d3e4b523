"""Several processes on one fit: the trajectory of one process, one writer, one result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from support.training import lines
from test_checkpoint import experiment

import pima_physics as pima
from pima_physics import distributed
from pima_physics.distributed import Share

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def test_a_single_process_has_all() -> None:
    assert not distributed.launched() and not distributed.active()
    assert Share.of(7) == Share(7, slice(0, 7))
    values = torch.arange(3.0)
    distributed.total([values])
    assert values.tolist() == [0.0, 1.0, 2.0]
    assert distributed.from_first(lambda: 5) == 5
    assert distributed.anyone(True) and not distributed.anyone(False)
    with distributed.connected():
        assert not distributed.active()


@pytest.mark.parametrize("world", [2, 3])
def test_shares_cover_a_batch_and_draws_are_those_of_the_whole(
    world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "active", lambda: True)
    monkeypatch.setattr(distributed.dist, "get_world_size", lambda: world)
    whole = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    rows = []
    for rank in range(world):
        monkeypatch.setattr(distributed.dist, "get_rank", lambda rank=rank: rank)
        share = Share.of(8)
        own = torch.zeros(share.part.stop - share.part.start, 3)
        generator = torch.Generator().manual_seed(0)
        rows.append(share.of_all(lambda z, g=generator: torch.randn(z.shape, generator=g), own))
    assert torch.equal(torch.cat(rows), whole)


def run(words: list[str]) -> None:
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.study
@pytest.mark.parametrize("gaps", [False, True])
def test_two_processes_follow_the_trajectory_of_one(gaps: bool, tmp_path: Path) -> None:
    path = experiment(tmp_path, 10)
    if gaps:  # hidden entries are drawn too
        data = lines(200)
        data["vector"][::7, 1] = np.nan
        data.to_netcdf(tmp_path / "lines.nc")
    tail = ["-m", "pima_physics.cli", "fit", str(path), "--output"]
    run([sys.executable, *tail, str(tmp_path / "one")])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    run([*torchrun, "--master-port", "29577", *tail, str(tmp_path / "two")])
    one, two = (pima.load(tmp_path / name) for name in ("one", "two"))
    a, b = (r.to_datatree()["history"].to_dataset() for r in (one, two))
    assert a.sizes["epoch"] == b.sizes["epoch"] == 10
    for name in a.data_vars:
        if a[name].dtype.kind == "f":
            xr.testing.assert_allclose(a[name], b[name], rtol=2e-3, atol=2e-3)
    # The first epochs, before rounding has had time to grow.
    np.testing.assert_allclose(a["elbo"][:3], b["elbo"][:3], rtol=1e-4)
    first, second = (r.to_datatree()["posterior"]["node_outcome"].values for r in (one, two))
    assert (first == second).mean() > 0.98
    assert not (tmp_path / "two" / "checkpoint").exists()
    assert (tmp_path / "two" / "log.txt").read_text().count("fit into") == 1
