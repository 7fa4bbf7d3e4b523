"""Cuts through continuous features, and groups that a latent shows or hardly knows."""

from __future__ import annotations

import numpy as np
import pytest

from pima_physics.evidence_cuts import cuts_through
from pima_physics.nodesets import Node, along
from pima_physics.representations import LATENT, Representation
from pima_physics.views import View

SAMPLES = 2000


def view(values: np.ndarray, kind: str = "components") -> View:
    everyone = np.ones(len(values), dtype=bool)
    return View.of(Representation(LATENT if kind == "latent" else "bent", kind, values, everyone))


def node(values: np.ndarray, outcomes: int = 2) -> Node:
    """The partition along the first column of a view with bends."""
    shown = view(values)
    axis = np.linalg.lstsq(shown.white, values[:, 0], rcond=None)[0]
    return along(shown, (axis / np.linalg.norm(axis))[None], outcomes)[0]


def beside(column: np.ndarray, rng: np.random.Generator, axes: int = 4) -> np.ndarray:
    return np.column_stack([column, rng.normal(size=(len(column), axes - 1))])


@pytest.mark.parametrize("seed", range(5))
def test_a_bend_cuts_through_what_the_latent_lays_out_straight(seed: int) -> None:
    rng = np.random.default_rng(seed)
    position = rng.normal(size=SAMPLES)
    bent = beside(np.sin(1.3 * position) + 0.05 * rng.normal(size=SAMPLES), rng)
    found = node(bent)
    assert found.nats > 50.0  # it does look like two groups
    latent = view(beside(position + 0.1 * rng.normal(size=SAMPLES), rng), "latent")
    assert cuts_through([latent], found)
    assert not cuts_through([], found)


@pytest.mark.parametrize("separation", [2.0, 2.5, 6.0])
@pytest.mark.parametrize("seed", range(5))
def test_groups_are_no_cut_whether_the_latent_shows_or_hardly_knows_them(
    seed: int, separation: float
) -> None:
    rng = np.random.default_rng(seed)
    label = rng.random(SAMPLES) < 0.3
    found = node(beside(6.0 * label + rng.normal(size=SAMPLES), rng))
    latent = view(beside(separation * label + rng.normal(size=SAMPLES), rng), "latent")
    assert not cuts_through([latent], found)


def test_every_border_of_a_row_is_looked_at() -> None:
    rng = np.random.default_rng(0)
    position = rng.normal(size=SAMPLES)
    # one gap in truth, and the upper group cut in two
    label = position > 0.0
    spread = rng.normal(size=SAMPLES)
    row = np.where(label, 8.0 + 4.0 * np.sign(spread) + 0.3 * spread, 0.3 * spread)
    found = node(beside(row, rng), 3)
    latent = view(np.column_stack([6.0 * label + 0.5 * rng.normal(size=SAMPLES), spread]), "latent")
    assert cuts_through([latent], found)


def test_samples_that_lack_a_view_and_few_samples_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    position = rng.normal(size=SAMPLES)
    found = node(beside(np.sin(1.3 * position), rng))
    values = beside(position, rng)
    shown = np.arange(SAMPLES) < 6
    few = View.of(Representation(LATENT, "latent", values, shown))
    assert not cuts_through([few], found)
    half = np.arange(SAMPLES) % 2 == 0
    seen = View.of(Representation(LATENT, "latent", np.where(half[:, None], values, 0.0), half))
    assert cuts_through([seen], found)
