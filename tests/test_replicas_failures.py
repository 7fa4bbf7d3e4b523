"""A fit of a series that cannot be trained: left out, named and counted; the others go on."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from support.training import LABELS, lines, model
from test_replicas import same

import pima_physics as pima
from pima_physics import training_replicas
from pima_physics.errors import TrainingError
from pima_physics.runfolder import RunFolder

OPTIONS: dict[str, Any] = {"epochs": 6, "seed": 3, "restarts": 2, "bootstrap": 1, "labels": LABELS}


def failing(monkeypatch: pytest.MonkeyPatch, seeds: Collection[int]) -> list[int]:
    """Let the runs with these seeds diverge; which seeds were run is noted."""
    real, asked = training_replicas.run, []

    def run(*args: Any, seed: int, **options: Any) -> Any:
        asked.append(seed)
        if seed in seeds:
            raise TrainingError("the bound is not finite in epoch 2\n  fix:  a smaller rate")
        return real(*args, seed=seed, **options)

    monkeypatch.setattr(training_replicas, "run", run)
    return asked


def test_a_failed_start_is_named_and_the_others_are_as_they_were(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = lines(160)
    whole = pima.fit(model(), data, **OPTIONS).tree["replicas"].to_dataset()
    asked = failing(monkeypatch, {1003})
    found = pima.fit(model(), data, **OPTIONS)
    assert asked == [3, 1003, 2003]
    group = found.tree["replicas"].to_dataset()
    assert (group.attrs["finished"], group.attrs["failed"]) == (2, 1)
    assert group["failed_seed"].values.tolist() == [1003]
    assert group["failed_kind"].values.tolist() == ["start"]
    assert "not finite in epoch 2" in str(group["failed_reason"].values[0])
    assert group["seed"].values.tolist() == [3, 2003]
    left = whole.isel(replica=[0, 2])
    xr.testing.assert_equal(group["validation_bound"].drop_vars("replica"),
                            left["validation_bound"].drop_vars("replica"))  # fmt: skip
    assert any("1 of 3 fits failed" in text for text in json.loads(found.tree.attrs["warnings"]))
    found.save(tmp_path)
    again = pima.load(tmp_path)
    xr.testing.assert_identical(again.tree["replicas"].to_dataset(), group)
    page = again.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "1 of 3 fits failed" in page and "1003" in page and "not finite in epoch 2" in page


def test_one_that_is_left_says_nothing_of_stability(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing(monkeypatch, {3, 2003})
    found = pima.fit(model(), lines(160), **OPTIONS)
    group = found.tree["replicas"].to_dataset()
    assert group["seed"].values.tolist() == [1003] and group["chosen"].values.tolist() == [1]
    assert group.attrs["failed"] == 2 and np.isnan(group["stability"].values).all()
    page = found.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "One fit is left" in page


def test_no_start_left_is_an_error_with_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = failing(monkeypatch, {3, 1003})
    with pytest.raises(TrainingError, match="all 2 starts failed") as caught:
        pima.fit(model(), lines(160), **OPTIONS)
    assert "seed 3: the bound" in str(caught.value) and "seed 1003: the bound" in str(caught.value)
    assert asked == [3, 1003]  # a bootstrap sample cannot be kept: none is fitted
    failing(monkeypatch, {3})
    with pytest.raises(TrainingError, match=r"^the bound is not finite"):
        pima.fit(model(), lines(160), epochs=6, seed=3, labels=LABELS)


def test_an_interrupted_series_remembers_what_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing(monkeypatch, {3})
    whole = pima.fit(model(), lines(160), **OPTIONS)
    run, epochs = RunFolder(tmp_path), []

    def die(record: Any) -> None:
        epochs.append(record)
        if len(epochs) == 4:  # in the start after the failed one
            raise SystemError

    with pytest.raises(SystemError):
        pima.fit(model(), lines(160), run=run, progress=die, checkpoint_every=1, **OPTIONS)
    asked = failing(monkeypatch, ())
    found = pima.fit(model(), lines(160), run=run, resume=True, **OPTIONS)
    assert asked == [1003, 2003]
    same(found, whole)
