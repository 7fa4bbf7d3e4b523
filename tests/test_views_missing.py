"""Views of samples that lack modalities: groups are sought where most was measured."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pima_physics as pima
from pima_physics import datasets, schedule_epoch
from pima_physics.dataset import Data
from pima_physics.evidence import predicted
from pima_physics.representations import Representation, representations
from pima_physics.trainer_loop import Loop
from pima_physics.training import prepare_fit
from pima_physics.validation.cases import models

SAMPLES = 120


def views(seen: np.ndarray) -> dict[str, Representation]:
    """Views by an untrained network of modalities (samples x modalities) of four numbers each."""
    rng = np.random.default_rng(0)
    data = xr.Dataset()
    for m in range(seen.shape[1]):
        values = np.where(seen[:, m : m + 1], rng.normal(size=(len(seen), 4)), np.nan)
        data[f"m{m}"] = ("sample", f"p{m}"), values, {"units": "1"}
    made = pima.PIMA(
        modalities={str(name): pima.Neural(str(name)) for name in data},
        dag=pima.DAG(a=2),
        latent_dim=3,
    )
    prepared = prepare_fit(made, data, seed=0)
    network = made.build(prepared.infos, seed=0)
    return {v.name: v for v in representations(network, prepared.data, {})}


def test_views_are_of_the_samples_with_all_modalities_where_these_are_most() -> None:
    seen = np.ones((SAMPLES, 2), dtype=bool)
    seen[:25, 0] = seen[25:50, 1] = False
    found = views(seen)
    assert {"latent", "components of m0", "components of m1", "stacked components"} <= set(found)
    for view in found.values():
        np.testing.assert_array_equal(view.present, seen.all(1), err_msg=view.name)
    assert not found["components of m0"].values[:50].any()
    assert found["latent"].values[:50].any(1).all()  # to guess from


def test_where_hardly_a_sample_has_all_the_latent_is_of_everyone() -> None:
    seen = np.ones((SAMPLES, 2), dtype=bool)
    seen[: SAMPLES // 2, 0] = seen[SAMPLES // 2 :, 1] = False
    found = views(seen)
    assert found["latent"].present.all()
    np.testing.assert_array_equal(found["components of m0"].present, seen[:, 0])


def test_with_many_modalities_some_may_be_missing() -> None:
    """A sixth has all five, five lack one, and the rest two: those that lack one are most."""
    seen = np.ones((SAMPLES, 5), dtype=bool)
    seen[np.arange(20, 100), np.arange(80) % 5] = False
    for i, pair in zip(range(100, SAMPLES), [*combinations(range(5), 2)] * 2, strict=True):
        seen[i, list(pair)] = False
    found = views(seen)
    np.testing.assert_array_equal(found["latent"].present, seen.sum(1) >= 4)
    np.testing.assert_array_equal(
        found["components of m3"].present, seen[:, 3] & (seen.sum(1) >= 4)
    )


@pytest.mark.parametrize("name", ["latent", "components of m0"])
def test_others_are_guessed_from_the_latent(name: str) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 400)
    values = 6.0 * label[:, None] + rng.normal(size=(400, 2))
    known = np.arange(400) < 300
    found = predicted([Representation(name, "latent", values, known)], known, label, 2)
    right = (found.argmax(1) == label[300:]).mean()
    assert right > 0.98 if name == "latent" else np.ptp(found) == 0.0


@pytest.mark.parametrize("lost", [0, 30, 70])
def test_the_warm_up_sees_the_samples_that_groups_are_sought_among(
    lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where most samples lack something, all take part."""
    sizes: dict[str, set[int]] = {}
    rows: dict[str, set[int]] = {}
    own = schedule_epoch.train_epoch

    def noted(loop: Loop, data: Data, **options: Any) -> Any:
        sizes.setdefault(options["phase"], set()).add(data.size)
        surrogates = options["surrogates"] or {}
        rows.setdefault(options["phase"], set()).update(len(f.raw) for f in surrogates.values())
        return own(loop, data, **options)

    monkeypatch.setattr(schedule_epoch, "train_epoch", noted)
    data, _ = datasets.circles(SAMPLES, seed=0)
    data["image"][:lost] = np.nan
    model = pima.PIMA(
        modalities=models.modalities("circles", "physics"), dag=pima.DAG(a=2), latent_dim=4
    )
    prepared = prepare_fit(model, data, seed=0)
    train = prepared.parts.train
    seen = int((train >= lost).sum())
    pima.fit(model, data, epochs=10, prepared=prepared)
    expected = seen if 2 * seen > len(train) else len(train)
    assert sizes == {"warm-up": {expected}, "held": {len(train)}, "free": {len(train)}}
    assert rows["warm-up"] == {expected}
