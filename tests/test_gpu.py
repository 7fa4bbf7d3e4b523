"""What needs a GPU; the same code runs on the CPU in the other tests."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from support.curves import RATE, curve, curve_model, decay_model, decays, patients
from support.training import LABELS, lines, model

import pima_physics as pima
from pima_physics import datasets
from pima_physics.trainer import train_epoch
from pima_physics.trainer_loop import Options, start
from pima_physics.validation.benchmarks import gpu
from pima_physics.validation.cases.models import built

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
]


def fit(kind: str = "neural", *, epochs: int = 10, **options: Any) -> pima.FitResult:
    """A fit of lines with known labels, so that no search takes time."""
    options = {"device": "cuda", "labels": LABELS} | options
    return pima.fit(model(kind), lines(400), epochs=epochs, **options)


def bounds(result: pima.FitResult) -> np.ndarray:
    """The bound after every epoch."""
    return result.tree["history"]["elbo"].values


@pytest.mark.parametrize("kind", ["neural", "physics"])
def test_a_fit_on_the_gpu_finds_the_nodes(kind: str) -> None:
    result = fit(kind, epochs=20)
    assert result.tree.attrs["device"].startswith("cuda")
    assert float(result.tree["metrics"]["r2_test_line"]) > 0.8


def test_trajectories_agree_with_those_of_the_cpu() -> None:
    here, there = (bounds(fit(device=d, epochs=5, dtype="float64")) for d in ("cpu", "cuda"))
    # Other draws of z, so other noise in the bound, around the same values.
    assert abs(here - there).max() < 0.3 * abs(here).max()


@pytest.mark.parametrize("kind", ["neural", "physics"])
def test_recorded_steps_are_the_steps_themselves(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="pima_physics.training"):
        replayed = fit(kind)
    assert "not recorded" not in caplog.text and "cannot be recorded" not in caplog.text
    plain = fit(kind, cuda_graphs=False)
    # The same kernels and draws; sums within a kernel may differ in their order.
    np.testing.assert_allclose(bounds(replayed), bounds(plain), rtol=2e-3)


@pytest.mark.parametrize("make", [datasets.circles, datasets.lattices])
def test_steps_with_a_closed_form_law_are_recorded(make: Any) -> None:
    data, truth = make(300, seed=0)
    network, prepared = built(make.__name__, "physics", data, truth, latent=6, seed=0)
    loop = start(network.to("cuda"), Options(batch_size=32), seed=0, epochs=2)
    terms = train_epoch(loop, prepared.train.to("cuda"), phase="warm-up", rate=1e-3)
    assert np.isfinite(terms["elbo"])
    assert loop.replays is not None and loop.replays.graphs and not loop.replays.given_up


def test_a_recorded_fit_goes_on_after_it_diverged() -> None:
    result = fit(learning_rate=3.0, epochs=6)
    assert np.isfinite(bounds(result)).all()


def test_bfloat16_finds_what_full_precision_finds() -> None:
    result = fit(epochs=20, autocast="bfloat16")
    assert float(result.tree["metrics"]["r2_test_line"]) > 0.8


def test_curves_on_grids_of_their_own_are_fitted_and_predicted() -> None:
    data = decays()
    result = pima.fit(decay_model(), data, seed=0, epochs=30, device="cuda")
    assert float(result.tree["metrics"]["r2_test_signal"]) > 0.95
    known = result.tree["posterior"]["node_outcome"].sel(node="rate").values
    agree = (known == data["fast"].values).mean()
    assert max(agree, 1.0 - agree) > 0.97
    later = data.assign(taken=data["taken"] + 1.0)
    mean = [
        result.predict(d, given=["marker"])["reconstruction/signal/mean"].values
        for d in (data, later)
    ]
    assert (mean[1] < 0.85 * mean[0])[mean[0] > 0.3].mean() > 0.9


def test_a_common_parameter_is_that_of_the_cpu() -> None:
    data = patients()
    there, here = (
        pima.fit(curve_model(curve()), data, seed=0, epochs=4, device=d).tree["parameters/curve"]
        for d in ("cuda", "cpu")
    )
    value, error = (float(there[n]) for n in ("elimination_rate", "elimination_rate_std"))
    assert abs(value - RATE) < 3.0 * error
    assert abs(value - float(here["elimination_rate"])) < 0.05 * error


@pytest.mark.parametrize("components", [8, 64])
def test_a_step_never_waits(components: int) -> None:
    case = gpu.Case.make(torch.device("cuda"), "mlp", components, 128)
    rows = gpu.measure(case, {"ours": case.ours(cuda_graphs=False), "again": case.ours()}, 5)
    assert all(row.waits == 0 and row.rate > 0 for row in rows)
