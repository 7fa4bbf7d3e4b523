"""The benchmark's problems and its table (no times are asserted)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pima_physics.validation.benchmarks import engines
from pima_physics.validation.benchmarks.systems import make, reference


@pytest.mark.parametrize("name", [*engines.SYSTEMS, "Robertson"])
def test_our_engine_agrees_with_the_reference(name: str) -> None:
    system = make(name, 2, points=6)
    method = "rodas3" if system.stiff else "dopri5"
    _, states = engines.once(system, engines.ours(method))
    assert engines.error(system, states) < 1e-4


def test_closed_form_is_the_solution() -> None:
    system = make("damped oscillator", 3, points=9)
    assert system.exact is not None
    exact = system.exact(system.times, system.parameters).numpy()
    np.testing.assert_allclose(exact, reference(system, system.parameters), atol=1e-9)


def test_error_sees_a_wrong_solution() -> None:
    system = make("damped oscillator", 3, points=9)
    right = engines.closed_form(system, system.parameters)
    wrong = right.clone()
    wrong[1, 4, 0] += 0.01
    assert engines.error(system, right) < 1e-12
    assert engines.error(system, wrong) == pytest.approx(0.01, rel=0.05)


def test_a_solver_that_is_late_is_stopped_and_named() -> None:
    system = make("Van der Pol", 1, points=3)
    with pytest.raises(engines.OutOfTimeError):
        engines.torchdiffeq(system, system.parameters, limit=0.0)
    rows = [
        engines.Row("a", 1, "ours", 0.5, 1e-6),
        engines.Row("a", 1, engines.PEER, float("nan"), float("nan"), "not done after 5 s"),
        engines.Row("b", 1, engines.PEER, 2.0, 1e-5),
        engines.Row("b", 1, "ours", 0.5, 1e-6),
    ]
    text = engines.table(rows)
    assert "| a | 1 | ours | 500 | > 10 | 1.0e-06 |" in text
    assert "not done after 5 s" in text
    assert "| b | 1 | ours | 500 | 4.0 | 1.0e-06 |" in text


def test_problems_repeat() -> None:
    first, second = make("Lotka-Volterra", 4), make("Lotka-Volterra", 4)
    torch.testing.assert_close(first.parameters, second.parameters, rtol=0, atol=0)
