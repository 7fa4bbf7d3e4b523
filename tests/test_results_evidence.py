"""What discovery says of the samples kept apart, and of a single node in all modalities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import pima_physics as pima
from pima_physics import single
from pima_physics.dataset import prepare
from pima_physics.evidence import Finding
from pima_physics.prototypes import Block, nearest
from pima_physics.representations import Representation, principal_components
from pima_physics.results_evidence import _as_sure_as_right
from pima_physics.single import groups_around_prototypes
from pima_physics.single_choice import find_single
from pima_physics.single_settled import around_prototypes, pooled
from pima_physics.validation.metrics import match_nodes


def test_samples_kept_apart_go_to_the_nearest_prototype_whatever_they_lack() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 90)
    values = rng.normal(size=(90, 6)) + 4.0 * np.eye(3)[true].repeat(2, axis=1)
    mask = (rng.random((90, 6)) < 0.8).astype(float)
    mask[:, 0] = mask[:, 2] = mask[:, 4] = 1.0  # each prototype shows in two features
    blocks = [Block(values * mask, mask), Block(rng.normal(size=(90, 4)), np.ones((90, 4)))]
    label = np.where(np.arange(90) < 60, true, -1)
    # Two of three groups differ by 4 in at least two features: 99 % right at five sigma.
    assert (nearest(blocks, label, 3) == true)[60:].mean() > 0.9
    shown = np.where(np.arange(90) < 60, (true + 1) % 3, -1)
    moved = nearest(blocks, shown, 3)
    np.testing.assert_array_equal(moved, (nearest(blocks, label, 3) + 1) % 3)


def test_overconfident_responsibilities_are_tempered_and_others_left() -> None:
    label = np.array([0] * 50 + [1] * 50)
    right = np.eye(2)[label] * 0.8 + 0.1
    sure = np.eye(2)[label] * (1 - 2e-12) + 1e-12
    sure[:10] = sure[:10, ::-1]  # one in ten is surely wrong
    tempered = _as_sure_as_right(sure, label)
    np.testing.assert_array_equal(tempered.argmax(1), sure.argmax(1))
    np.testing.assert_allclose(tempered.max(1), 0.9, atol=0.01)  # as sure as it is right
    # Nine of ten are right where 90 % were said, and none is made surer than it was.
    np.testing.assert_allclose(_as_sure_as_right(right, label), right, atol=1e-3)
    np.testing.assert_allclose(tempered.sum(1), 1.0)


def test_a_feature_without_support_says_why() -> None:
    found = Finding("latent", np.eye(2)[[0, 1] * 50], 5.0, 0.2, 0.03, 0.05, 0.99, True, 0.1)
    assert found.doubt == ""
    doubt = {
        "chance": replace(found, supported=False, evidence=0.02),
        "redrawn": replace(found, supported=False, stability=0.5),
        "principal components": replace(found, supported=False, confirmed=False),
        "beside the other": replace(found, supported=False, conditional=0.01),
        "another's groups": replace(found, supported=False),
    }
    for words, one in doubt.items():
        assert words in one.doubt
    assert replace(doubt["chance"], stability=0.5).doubt.count(";") == 1


def test_groups_seen_in_one_modality_are_read_from_all() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 1000)
    first, second = (
        rng.normal(size=(1000, 3)) + 3.0 * true[:, None] * axis for axis in np.eye(3)[:2]
    )
    present = np.ones(1000, dtype=bool)
    views = [
        Representation(f"components of {name}", "components", values, present)
        for name, values in (("first", first), ("second", second))
    ]
    logit = 3.0 * (first[:, 0] - 1.5)
    seen = np.stack([1.0 / (1.0 + np.exp(logit)), 1.0 / (1.0 + np.exp(-logit))], axis=1)
    alone = (seen.argmax(1) == true).mean()
    both = pooled(seen, views, seed=0)
    # At three sigma one modality tells 93 % of the samples, both together 98 %.
    assert alone < 0.945
    assert (both.argmax(1) == true).mean() > 0.965
    np.testing.assert_allclose(both.sum(1), 1.0)
    # A second modality that knows nothing changes little.
    noise = [
        views[0],
        Representation("components of noise", "components", rng.normal(size=(1000, 3)), present),
    ]
    assert (pooled(seen, noise, seed=0).argmax(1) == seen.argmax(1)).mean() > 0.98
    np.testing.assert_array_equal(pooled(seen, views[:1], seed=0), seen)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_three_groups_of_one_modality_that_are_long_side_by_side(seed: int) -> None:
    """Animals of three species: all vary most in size, two differ across it."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, 400)
    size = rng.normal(size=(400, 1))
    x = 0.45 * rng.normal(size=(400, 4)) + size * [1.0, 1.0, 0.9, 0.9]
    x += np.array([[0, 0, 0, 0], [1.2, -1.2, 0, 0], [0, 0, 5.0, 5.0]])[true]
    x = (x - x.mean(0)) / x.std(0)
    present = np.ones(400, dtype=bool)
    views = [
        Representation("latent", "latent", x, present),
        Representation(
            "components of x", "components", principal_components(x, present, 4), present
        ),
    ]
    given = ("sample", "measure"), x.astype(np.float32), {"units": "dimensionless"}
    data = prepare(xr.Dataset({"x": given}), [pima.Neural("x").request("x")])
    found = find_single(views, data, 3, seed=seed)
    assert match_nodes(true, found.probability.argmax(1)).worst > 0.93


def test_prototypes_settle_where_groups_are_wide_in_one_direction() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 600)
    # Both modalities vary together, along a direction that tells nothing of the groups.
    common = 2.0 * rng.normal(size=600)
    centres = np.array([[0.0, 0.0], [3.0, -3.0], [-3.0, 3.0]])[true]
    everyone = np.ones(600, dtype=bool)
    views = [
        Representation(
            f"components of m{i}",
            "components",
            np.stack([common + centres[:, i], rng.normal(size=600)], axis=1)
            + 0.6 * rng.normal(size=(600, 2)),
            everyone,
        )
        for i in (0, 1)
    ]
    found = around_prototypes(views, 3, seed=0)
    assert found is not None
    first = groups_around_prototypes(
        [Block(v.values, np.ones_like(v.values)) for v in views], ["m0", "m1"], 3, seed=0
    )
    assert first is not None
    scores = [
        float(match_nodes(true, f.probability.argmax(1)).accuracy[0])
        for f in (first, found.finding)
    ]
    # Prototypes cut along the common direction; the discriminant learns that it says nothing.
    assert scores[1] > scores[0] + 0.1  # 0.65 before, 0.80 after


def test_what_is_featureless_is_not_supported() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(400, 2))
    views = [
        Representation(
            f"components of m{i}",
            "components",
            hidden @ rng.normal(size=(2, 3)) + 0.3 * rng.normal(size=(400, 3)),
            np.ones(400, dtype=bool),
        )
        for i in (0, 1)
    ]
    found = around_prototypes(views, 2, seed=0)
    assert found is not None and not found.finding.supported


def test_featureless_sets_vary_together_as_the_samples_do(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=(2000, 1))
    blocks = [Block(common + 0.1 * rng.normal(size=(2000, 1)), np.ones((2000, 1))) for _ in "ab"]
    seen: list[np.ndarray] = []
    of = single.Scatter.of

    def noted(values: np.ndarray, *, means: int = 0) -> single.Scatter:
        seen.append(values)
        return of(values, means=means)

    monkeypatch.setattr(single.Scatter, "of", staticmethod(noted))
    assert groups_around_prototypes(blocks, ["a", "b"], 2, seed=0) is not None
    (values,) = seen
    assert len(values) < 2000  # a part of the samples, the same of both modalities
    assert np.corrcoef(values.T)[0, 1] > 0.95
