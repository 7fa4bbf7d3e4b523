"""What needs a GPU; the same code runs on the CPU in the other tests."""

from __future__ import annotations

import pytest
import torch
from support.training import LABELS, lines, model

import pima_physics as pima
from pima_physics.validation.benchmarks import gpu

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
]


@pytest.mark.parametrize("kind", ["neural", "physics"])
def test_a_fit_on_the_gpu_finds_the_nodes(kind: str) -> None:
    result = pima.fit(model(kind), lines(400), epochs=20, labels=LABELS, device="cuda")
    assert result.tree.attrs["device"].startswith("cuda")
    assert float(result.tree["metrics"]["r2_test_line"]) > 0.8


def test_trajectories_agree_with_those_of_the_cpu() -> None:
    bounds = [
        pima.fit(model(), lines(400), epochs=5, labels=LABELS, device=device, dtype="float64")
        .tree["history"]["elbo"]
        .values
        for device in ("cpu", "cuda")
    ]
    # Other draws of z, so other noise in the bound, around the same values.
    assert abs(bounds[0] - bounds[1]).max() < 0.3 * abs(bounds[0]).max()


def test_a_step_never_waits() -> None:
    row = gpu.measure(torch.device("cuda"), "mlp", 64, 128, steps=5)
    assert row.waits == 0 and row.rate > 0
