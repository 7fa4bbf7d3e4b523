"""Results trees made by hand after the contract of results.nc: full, partial and hostile."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr

HOSTILE = "<script>alert('x')</script>"
PLAIN = {"units": "dimensionless"}


def _outcomes(rng: np.random.Generator, samples: int, counts: Sequence[int]) -> np.ndarray:
    """Outcomes of nodes in a chain: each copies its predecessor (modulo) with probability 0.7."""
    columns = [rng.integers(0, counts[0], samples)]
    for size in counts[1:]:
        copied = rng.random(samples) < 0.7
        columns.append(np.where(copied, columns[-1] % size, rng.integers(0, size, samples)))
    return np.stack(columns, axis=1)


def _node_coordinate(nodes: Sequence[str], counts: Sequence[int]) -> xr.DataArray:
    return xr.DataArray(list(nodes), dims="node", attrs={"outcomes": list(counts)})


def _posterior(
    rng: np.random.Generator, nodes: Sequence[str], counts: Sequence[int], outcomes: np.ndarray
) -> xr.Dataset:
    samples, width = len(outcomes), max(counts)
    probability = np.full((samples, len(nodes), width), np.nan)
    for node, size in enumerate(counts):
        probability[:, node, :size] = 0.02 / max(size - 1, 1)
        np.put_along_axis(probability[:, node], outcomes[:, [node]], 0.98, axis=1)
    split = rng.choice([0, 1, 2], samples, p=[0.8, 0.1, 0.1])
    return xr.Dataset(
        {
            "z_mean": (("sample", "latent"), rng.normal(size=(samples, 3)), PLAIN),
            "node_outcome": (("sample", "node"), outcomes, PLAIN),
            "node_probability": (("sample", "node", "outcome"), probability, PLAIN),
            "split": ("sample", split, PLAIN | {"flag_meanings": "train validation test"}),
        },
        coords={
            "node": _node_coordinate(nodes, counts),
            "sample": np.arange(samples),
            "outcome": np.arange(width),
        },
    )


def graph(
    nodes: Sequence[str], cpdag: np.ndarray, probability: np.ndarray, adjacency: np.ndarray
) -> xr.Dataset:
    """The /graph group from explicit matrices."""
    dims = ("parent", "child")
    found = xr.Dataset(
        {
            "cpdag": (dims, cpdag.astype(int), PLAIN),
            "adjacency": (dims, adjacency.astype(int), PLAIN),
            "edge_probability": (dims, probability, PLAIN),
            "edge_strength": (dims, 0.9 * adjacency, PLAIN),
        },
        coords={"parent": list(nodes), "child": list(nodes)},
    )
    if "/" not in "".join(nodes):  # xarray admits no slash in the name of a variable
        first, second = nodes[:2]
        found[f"table_{first}"] = (first, np.array([0.55, 0.45]), PLAIN)
        found[f"table_{second}"] = ((first, second), np.array([[0.8, 0.2], [0.25, 0.75]]), PLAIN)
    return found


def _default_graph(nodes: Sequence[str]) -> xr.Dataset:
    """First pair undirected and sure, last node a directed child of the first."""
    n = len(nodes)
    cpdag, probability, adjacency = (np.zeros((n, n)) for _ in range(3))
    cpdag[0, 1] = cpdag[1, 0] = adjacency[0, 1] = 1
    probability[0, 1], probability[1, 0] = 0.52, 0.46
    if n > 2:
        cpdag[0, 2] = adjacency[0, 2] = 1
        probability[0, 2], probability[2, 0] = 0.81, 0.04
        probability[1, 2], probability[2, 1] = 0.08, 0.05
    return graph(nodes, cpdag, probability, adjacency)


def fields(outcomes: np.ndarray, rng: np.random.Generator) -> dict[str, xr.DataArray]:
    """Observed data: image (y, x), colour (y, x, channel), stress (strain), hardness ()."""
    first, second = outcomes[:, 0], outcomes[:, 1]
    samples = len(outcomes)
    y, x = np.mgrid[0:20, 0:20] / 19 - 0.5
    radius = np.hypot(y, x)
    ring = np.exp(-(((radius - 0.2 - 0.15 * first[:, None, None]) / 0.07) ** 2))
    image = ring + 0.08 * rng.normal(size=(samples, 20, 20))
    hue = np.stack([0.9 - 0.6 * second, 0.2 + 0.1 * first, 0.2 + 0.6 * second], -1)
    colour = np.clip(ring[..., None] * hue[:, None, None], 0, 1)
    strain = np.linspace(0, 0.08, 40)
    stress = (180 + 90 * second)[:, None] * (1 - np.exp(-strain / 0.01)) + 900 * strain
    stress = stress + 6 * rng.normal(size=stress.shape)
    along = {
        "strain": ("strain", strain, {"units": "dimensionless", "long_name": "strain"}),
        "y": ("y", np.arange(20) * 0.05, {"units": "mm"}),
        "x": ("x", np.arange(20) * 0.05, {"units": "mm"}),
    }
    sample = ("sample", np.arange(samples))
    space = {"sample": sample, "y": along["y"], "x": along["x"]}
    return {
        "image": xr.DataArray(
            image,
            dims=("sample", "y", "x"),
            coords=space,
            attrs={"units": "dimensionless", "long_name": "grey level"},
        ),
        "colour": xr.DataArray(
            colour, dims=("sample", "y", "x", "channel"), coords=space, attrs=dict(PLAIN)
        ),
        "curve": xr.DataArray(
            stress,
            dims=("sample", "strain"),
            coords={"sample": sample, "strain": along["strain"]},
            attrs={"units": "MPa", "long_name": "stress"},
        ),
        "hardness": xr.DataArray(
            100 + 20.0 * second + 3 * rng.normal(size=samples),
            dims="sample",
            coords={"sample": sample},
            attrs={"units": "GPa"},
        ),
    }


def features(
    observed: xr.DataArray, outcomes: np.ndarray, nodes: Sequence[str], counts: Sequence[int]
) -> xr.Dataset:
    """/features/<modality>: mean, std, count of the observed data by node outcome."""
    width, rest = max(counts), observed.dims[1:]
    shape = (len(nodes), width, *observed.shape[1:])
    mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
    count = np.zeros((len(nodes), width), dtype=int)
    for node in range(len(nodes)):
        for outcome in range(counts[node]):
            chosen = observed.values[outcomes[:, node] == outcome]
            count[node, outcome] = len(chosen)
            if len(chosen):
                mean[node, outcome], std[node, outcome] = chosen.mean(0), chosen.std(0)
    dims = ("node", "outcome", *rest)
    coords = {name: c for name, c in observed.coords.items() if name != "sample"}
    return xr.Dataset(
        {
            "mean": (dims, mean, observed.attrs),
            "std": (dims, std, observed.attrs),
            "count": (("node", "outcome"), count, PLAIN),
        },
        coords={**coords, "node": _node_coordinate(nodes, counts), "outcome": np.arange(width)},
    )


def reproduction(
    observed: xr.DataArray, rng: np.random.Generator, noise: float, stated: float | None = None
) -> xr.Dataset:
    """/reconstruction/<modality>: errors of size ``noise`` where the model states ``stated``."""
    mean = observed - noise * rng.normal(size=observed.shape)
    std = xr.full_like(observed, noise if stated is None else stated)
    parts = {"mean": mean, "std": std, "observed": observed}
    return xr.Dataset({name: part.assign_attrs(observed.attrs) for name, part in parts.items()})


def _parameters(outcomes: np.ndarray, rng: np.random.Generator) -> xr.Dataset:
    samples, second = len(outcomes), outcomes[:, 1]
    modulus = 70 + 0.8 * rng.normal(size=samples)
    strength = 180 + 90 * second + 8 * rng.normal(size=samples)
    found: dict[str, tuple] = {}
    for name, values, error, unit, bounds in (
        ("youngs_modulus", modulus, 1.2, "GPa", [10.0, 100.0]),
        ("yield_stress", strength, 4.0, "MPa", [20.0, 600.0]),
    ):
        attrs = {"units": unit, "parameter_bounds": bounds}
        pair = [values[second == k].mean() if (second == k).any() else np.nan for k in (0, 1)]
        means = np.array([*pair, *pair])
        found[name] = ("sample", values, attrs)
        found[f"{name}_std"] = ("sample", np.full(samples, error), attrs)
        found[f"{name}_by_component"] = ("component", means, attrs)
        found[f"{name}_by_component_std"] = ("component", np.full(4, error / 4), attrs)
    return xr.Dataset(found, coords={"sample": np.arange(samples), "component": np.arange(4)})


def _components(nodes: Sequence[str]) -> xr.Dataset:
    outcome = np.zeros((4, len(nodes)), dtype=int)
    outcome[:, :2] = [[0, 0], [0, 1], [1, 0], [1, 1]]
    return xr.Dataset(
        {
            "outcome": (("component", "node"), outcome, PLAIN),
            "weight": ("component", np.array([0.44, 0.11, 0.12, 0.33]), PLAIN),
        },
        coords={"component": np.arange(4), "node": list(nodes)},
    )


def _discovery(nodes: Sequence[str]) -> xr.Dataset:
    n = len(nodes)
    return xr.Dataset(
        {
            "representation": (
                "node",
                (["warm-up latent", "principal components", "image"] * n)[:n],
            ),
            "separation": ("node", np.resize([5.2, 4.1, 1.4], n), PLAIN),
            "evidence": ("node", np.resize([0.62, 0.48, 0.01], n), PLAIN),
            "stability": ("node", np.resize([1.0, 0.97, 0.55], n), PLAIN),
            "supported": ("node", np.resize([1, 1, 0], n), PLAIN),
            "direction_latent": (("node", "latent"), np.ones((n, 3)), PLAIN),
        },
        coords={"node": list(nodes)},
    )


def _history() -> xr.Dataset:
    epoch = np.arange(80)
    rise = 400 * (1 - np.exp(-epoch / 12))
    terms = {
        "elbo": rise - 60,
        "validation_elbo": rise - 75,
        "reconstruction_image": rise * 0.7,
        "reconstruction_curve": rise * 0.3 + 30,
        "prior": -20 - rise * 0.02,
        "entropy": 12 - epoch * 0.05,
    }
    found: dict[str, tuple] = {name: ("epoch", v, PLAIN) for name, v in terms.items()}
    found["phase"] = ("epoch", np.where(epoch < 20, "warm-up", "joint"))
    return xr.Dataset(found, coords={"epoch": epoch})


def attributes() -> dict[str, str | int | float]:
    """Root attributes of the contract."""
    return {
        "title": "Lattices and their stress curves",
        "package_version": "0.1.0",
        "created": "2026-01-01T12:00:00+00:00",
        "seed": 3,
        "data_file": "lattices.nc",
        "data_checksum": "sha256:0123456789abcdef",
        "device": "cpu",
        "wall_time_seconds": 93.4,
        "dtype": "float32",
        "torch_version": "2.13.0",
        "warnings": json.dumps(["6 % of the samples sit within 1 % of a bound of yield_stress"]),
    }


def make_tree(
    *,
    samples: int = 160,
    nodes: Sequence[str] = ("lattice", "process", "finish"),
    counts: Sequence[int] = (2, 2, 3),
    modalities: Sequence[str] = ("image", "curve"),
    seed: int = 0,
    without: Sequence[str] = (),
) -> xr.DataTree:
    """A results tree after the contract; ``without`` names groups to leave out."""
    rng = np.random.default_rng(seed)
    outcomes = _outcomes(rng, samples, counts)
    data = fields(outcomes, rng)
    groups: dict[str, xr.Dataset] = {
        "posterior": _posterior(rng, nodes, counts, outcomes),
        "graph": _default_graph(nodes),
        "components": _components(nodes),
        "discovery": _discovery(nodes),
        "history": _history(),
        "metrics": xr.Dataset(
            {
                "r2_train_image": ((), 0.91, PLAIN),
                "r2_test_image": ((), 0.89, PLAIN),
                "r2_train_curve": ((), 0.992, PLAIN),
                "r2_test_curve": ((), 0.987, PLAIN),
                "r2_test_curve_given_image": ((), 0.62, PLAIN),
                "elbo_validation": ((), 325.1, PLAIN),
            }
        ),
    }
    for name in modalities:
        noise = 0.08 if name in ("image", "colour") else 6.0
        groups[f"features/{name}"] = features(data[name], outcomes, nodes, counts)
        groups[f"reconstruction/{name}"] = reproduction(data[name], rng, noise)
    if "curve" in modalities:
        groups["parameters/curve"] = _parameters(outcomes, rng)
    kept = {path: group for path, group in groups.items() if path.split("/")[0] not in without}
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes()), **kept})
    return tree


def hostile_tree() -> xr.DataTree:
    """Every string that a user controls tries to be markup, maths or very long."""
    names = (HOSTILE, '$x_{$ & "quoted" <b>', "n" * 300)
    tree = make_tree(samples=40, nodes=names, counts=(2, 2, 2))
    for path in ("features/curve", "reconstruction/curve", "parameters/curve"):
        group = tree[path].to_dataset()
        for name in group.data_vars:
            group[name].attrs |= {"units": f"MPa{HOSTILE}", "long_name": f"stress {HOSTILE}"}
        tree[path] = xr.DataTree(group)
    tree.attrs |= {
        "title": f"</title>{HOSTILE}",
        "data_file": f"\"'{HOSTILE}\x00.nc",
        "warnings": json.dumps([HOSTILE, "x" * 500]),
    }
    return tree
