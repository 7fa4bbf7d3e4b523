"""Our least squares on NIST's certified problems."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pima_physics.refine_jacobian import backward_twice, differences, forward
from pima_physics.validation.cases.nist_strd.fits import (
    Problem,
    bound,
    chosen,
    digits,
    fit,
    read,
)
from pima_physics.validation.cases.nist_strd.laws import LAWS

SHARED = Path(os.environ.get("PIMA_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
FILE = SHARED / "nist_strd.nc"
NEAR, FAR = 1, 0
# The residuals of exact data are rounding errors: no digits of them are certified.
EXACT = {"Lanczos1"}
pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is not there")


@pytest.fixture(scope="module")
def problems() -> dict[str, Problem]:
    return {problem.name: problem for problem in read(FILE)}


def test_every_problem_has_a_law(problems: dict[str, Problem]) -> None:
    assert problems.keys() == LAWS.keys()
    for name, problem in problems.items():
        assert len(LAWS[name]().free) == len(problem.certified)


@pytest.mark.parametrize("name", LAWS)
def test_certified_residuals(problems: dict[str, Problem], name: str) -> None:
    """The laws are NIST's: certified parameters leave the certified residuals."""
    problem = problems[name]
    law = bound(problem, problem.certified)
    left = law(torch.zeros(1, len(problem.certified), dtype=torch.float64), None)[0].numpy()
    rss = float(np.sum((problem.y - left) ** 2))
    # Certified to 11 digits; Bennett5, Lanczos are ill-conditioned in these digits.
    assert rss < 1e-20 if name in EXACT else digits(rss, problem.rss) > 5


@pytest.mark.parametrize("name", LAWS)
def test_near_start(problems: dict[str, Problem], name: str) -> None:
    problem = problems[name]
    found = fit(problem, problem.starts[:, NEAR])
    assert found.claimed
    assert digits(found.value, problem.certified) > 7
    if name not in EXACT:
        assert digits(found.error, problem.errors) > 7
        assert digits(found.rss, problem.rss) > 9


@pytest.mark.parametrize("name", ["BoxBOD", "MGH09", "MGH17", "Hahn1", "Lanczos3", "Bennett5"])
def test_far_start(problems: dict[str, Problem], name: str) -> None:
    problem = problems[name]
    found = fit(problem, problem.starts[:, FAR])
    assert found.claimed
    assert digits(found.value, problem.certified) > 8


def test_a_fit_that_fails_says_so(problems: dict[str, Problem]) -> None:
    """From its far start, MGH10 creeps along a valley for longer than we wait."""
    problem = problems["MGH10"]
    found = fit(problem, problem.starts[:, FAR])
    assert not found.claimed or digits(found.value, problem.certified) > 4


def test_model_selection(problems: dict[str, Problem]) -> None:
    names = ["Misra1a", "Misra1b", "Misra1c", "Misra1d"]
    fits = {name: fit(problems[name], problems[name].starts[:, FAR]) for name in names}
    assert chosen(fits) == "Misra1c"


@pytest.mark.parametrize("name", ["ENSO", "Thurber", "Roszman1"])
def test_ways_to_the_jacobian_agree(problems: dict[str, Problem], name: str) -> None:
    problem = problems[name]
    law = bound(problem, problem.starts[:, NEAR])
    generator = torch.Generator().manual_seed(0)
    size = len(problem.certified)
    raw = 1e-2 * torch.randn(3, size, generator=generator, dtype=torch.float64)
    exact = backward_twice(law, raw, None)
    assert exact.shape == (3, len(problem.x), size)
    torch.testing.assert_close(forward(law, raw, None), exact)
    scale = exact.abs().amax((0, 1))
    torch.testing.assert_close(
        differences(law, raw, None) / scale, exact / scale, rtol=1e-5, atol=1e-7
    )


def test_digits() -> None:
    assert digits(np.array([1.0, 2.0]), np.array([1.0, 2.002])) == pytest.approx(3.0, abs=1e-3)
    assert digits(np.array([1.0]), np.array([1.0])) == 11.0
    assert digits(np.array([np.nan]), np.array([1.0])) == 0.0
