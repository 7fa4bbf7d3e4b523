"""Least squares and its derivatives on laws whose optimum is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pima_physics.dataset import Coordinate, ModalityInfo
from pima_physics.decoders_law import Law
from pima_physics.parameters import Parameter
from pima_physics.refine import double, jacobian_of, refine
from pima_physics.refine_identifiability import alike
from pima_physics.refine_jacobian import backward_twice, predict, predict_or_nan
from pima_physics.simulator import ODE, Simulator

TIME = np.linspace(0.0, 2.0, 12)


class Decay(Simulator):
    coordinates, outputs = {"time": "s"}, {"y": "dimensionless"}
    height = Parameter(value=1.0, min=0.0)
    rate = Parameter("1/s", value=1.0, min=0.01, max=100.0)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.height * torch.exp(-p.rate * x.time)}


class SolvedDecay(ODE):
    """The same law as a differential equation; ``level`` reaches the output beside the solver."""

    time, state, outputs = "s", {"u": "dimensionless"}, {"y": "dimensionless"}
    rtol = 1e-9
    level = Parameter(value=1.0)
    rate = Parameter("1/s", value=1.0, min=0.01, max=100.0)

    def initial(self, p: Any) -> dict[str, Any]:
        return {"u": 1.0}

    def rhs(self, t: Any, y: Any, p: Any) -> dict[str, Any]:
        return {"u": -p.rate * y.u}

    def observables(self, t: Any, y: Any, p: Any) -> dict[str, Tensor]:
        return {"y": y.u * p.level}


class Fragile(Decay):
    """Not finite where the rate is large."""

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        y = super().evaluate(x, p)["y"]
        return {"y": torch.where(p.rate > 3.0, torch.nan, y)}


def bound(simulator: Simulator) -> Law:
    info = ModalityInfo(
        name="y", variables=("y",), unit="dimensionless", dims=("time",), shape=(len(TIME),),
        coordinates={"time": Coordinate("time", "s", TIME)},
        shift=np.zeros(1), scale=np.ones(1),
    )  # fmt: skip
    return double(Law(simulator, "y", info))


def draws(count: int, spread: float = 0.5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return spread * torch.randn(count, 2, generator=generator, dtype=torch.float64)


def fitted(law: Law, target: Tensor, start: Tensor, **options: Any) -> Any:
    none = torch.zeros(2, dtype=torch.float64)
    given = {"noise_variance": 1e-4, "prior_mean": none, "prior_precision": torch.diag(none)}
    return refine(law, target, torch.ones_like(target), start, **{**given, **options})


def test_jacobian_through_a_solver_leaves_nothing_out() -> None:
    """Autograd drops the solver's part in silence when it is differentiated twice."""
    law, raw = bound(SolvedDecay()), draws(3)
    rate = law.parameters_of(raw)["rate"][:, None]
    level = law.parameters_of(raw)["level"][:, None]
    time = torch.as_tensor(TIME)
    fall = torch.exp(-rate * time)
    found = jacobian_of(law, raw, None)
    torch.testing.assert_close(found[..., 0], fall, rtol=1e-5, atol=1e-7)
    leaf = raw.clone().requires_grad_()
    (slope,) = torch.autograd.grad(law.parameters_of(leaf)["rate"].sum(), leaf)
    expected = -time * level * fall * slope[:, 1:]
    torch.testing.assert_close(found[..., 1], expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(RuntimeError):
        backward_twice(law, raw, None)


def test_every_row_as_if_alone() -> None:
    law, truth = bound(Decay()), draws(6)
    target = predict(law, truth, None)
    together = fitted(law, target, torch.zeros(6, 2, dtype=torch.float64))
    torch.testing.assert_close(together.raw, truth, rtol=0, atol=1e-6)
    assert bool(together.converged.all())
    for row in range(6):
        start = torch.zeros(1, 2, dtype=torch.float64)
        alone = fitted(law, target[row : row + 1], start)
        torch.testing.assert_close(alone.value[0], together.value[row], rtol=1e-7, atol=0)
        torch.testing.assert_close(alone.std[0], together.std[row], rtol=1e-6, atol=0)


def test_standard_errors_are_those_of_repeated_noise() -> None:
    law = bound(Decay())
    truth = torch.zeros(2000, 2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    clean = predict(law, truth, None)
    noise = 0.01 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    found = fitted(law, clean + noise, truth)
    spread = found.value.std(0) / found.std.mean(0)
    assert bool(((spread > 0.95) & (spread < 1.05)).all())


def test_a_strong_prior_wins_over_the_data() -> None:
    law = bound(Decay())
    target = predict(law, draws(4), None)
    mean = torch.tensor([0.3, -0.2], dtype=torch.float64)
    strong = 1e12 * torch.eye(2, dtype=torch.float64)
    start = torch.zeros(4, 2, dtype=torch.float64)
    found = fitted(law, target, start, prior_mean=mean, prior_precision=strong)
    torch.testing.assert_close(found.raw, mean.expand(4, 2), rtol=0, atol=1e-5)


def test_points_without_weight_do_not_count() -> None:
    law, truth = bound(Decay()), draws(3)
    target = predict(law, truth, None)
    target[:, 4] = torch.nan
    weight = torch.ones_like(target)
    weight[:, 4] = 0.0
    none = torch.zeros(2, dtype=torch.float64)
    found = refine(
        law, target, weight, torch.zeros(3, 2, dtype=torch.float64),
        noise_variance=1e-4, prior_mean=none, prior_precision=torch.diag(none),
    )  # fmt: skip
    torch.testing.assert_close(found.raw, truth, rtol=0, atol=1e-6)


def test_steps_into_failure_are_refused() -> None:
    """A sample that the law cannot follow neither ends the fit nor disturbs its neighbours."""
    law = bound(Fragile())
    rates = torch.tensor([0.5, 50.0, 2.0], dtype=torch.float64)[:, None]
    target = torch.exp(-rates * torch.as_tensor(TIME))
    found = fitted(law, target, torch.zeros(3, 2, dtype=torch.float64))
    assert found.converged.tolist() == [True, False, True]
    torch.testing.assert_close(found.value[[0, 2], 1], rates[[0, 2], 0], rtol=1e-6, atol=0)
    assert 1.0 < float(found.value[1, 1]) <= 3.0


class Saturation(Simulator):
    """Height and rate act by their product only where the curve is seen at its start."""

    coordinates, outputs = {"time": "s"}, {"y": "dimensionless"}
    height = Parameter(value=1.0, min=0.0)
    rate = Parameter("1/s", value=1.0, min=1e-4, max=100.0)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.height * (1.0 - torch.exp(-p.rate * x.time))}


def test_parameters_that_the_grid_cannot_tell_apart() -> None:
    law = bound(Saturation())
    assert alike(law) == []
    slow = torch.tensor([0.0, float(Saturation().parameters["rate"].unconstrain(1e-3))])
    (text,) = alike(law, slow)
    assert "height and rate" in text or "rate and height" in text
    assert "fix one of them" in text
    assert alike(bound(Saturation().replace(rate={"vary": False}))) == []


def test_failing_samples_are_told_apart() -> None:
    law = bound(Fragile())
    raw = torch.zeros(5, 2, dtype=torch.float64)
    raw[3, 1] = 3.0
    found = predict_or_nan(law, raw, None, torch.zeros(5, len(TIME), dtype=torch.float64))
    assert torch.isnan(found).any(1).tolist() == [False, False, False, True, False]
