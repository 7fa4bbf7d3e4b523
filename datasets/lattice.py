"""The lattices set: printed strut lattices, photographed and pulled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from pima_physics.datasets.assembly import (
    category,
    graph_array,
    intervention_variables,
    run_law,
    sample_numbers,
    variable,
)
from pima_physics.datasets.sampling import (
    adjacency,
    check_options,
    draw_outcomes,
    drop_modalities,
    spread,
)
from pima_physics.simulators.elastic_plastic import ElasticPlastic
from pima_physics.truth import Truth

NODES = ("process", "lattice", "strength")
GRAPH = (("process", "strength"), ("lattice", "strength"))
BACKGROUND = 0.1
PIXEL_NOISE = 0.04
STRESS_NOISE = 3.0
LARGEST_STRAIN = 0.05
CELLS = 2.5
STRUT_ANGLES = {"square": (0.0, 90.0), "triangular": (0.0, 60.0, 120.0)}
"""Directions of the strut families in degree; lines of every family meet in the same points."""

_MEANINGS = {
    "process": ("as_built", "polished"),
    "lattice": tuple(STRUT_ANGLES),
    "strength": ("low", "high"),
}


@dataclass(frozen=True)
class LatticeFactors:
    """Quantities of every sample, each of shape (N,).

    Attributes
    ----------
    triangular : ndarray of bool
        Strut pattern.
    brightness, thickness : ndarray
        Grey level of the struts; strut width in unit cells.
    offset_x, offset_y, angle : ndarray
        Position of the pattern in unit cells; rotation in degree.
    youngs_modulus, yield_stress, hardening_modulus : ndarray
        GPa, MPa, MPa.
    """

    triangular: np.ndarray
    brightness: np.ndarray
    thickness: np.ndarray
    offset_x: np.ndarray
    offset_y: np.ndarray
    angle: np.ndarray
    youngs_modulus: np.ndarray
    yield_stress: np.ndarray
    hardening_modulus: np.ndarray


def lattices(
    samples: int = 3000,
    *,
    seed: int = 0,
    separation: float = 5.0,
    nuisance: float = 1.0,
    weights: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    image_size: int = 28,
    points: int = 64,
    missing: float = 0.0,
    intervened: float = 0.0,
    do: Mapping[str, int] | None = None,
) -> tuple[xr.Dataset, Truth]:
    r"""Images of strut lattices with stress-strain curves; process -> strength <- lattice.

    Each node's outcome is a centre on a line u (first outcome 0, second 1) around which the
    sample's own value is Gaussian, the centres ``separation`` sigma apart:

    ========  ================================  ==============================================
    node      in the image                      in the curve
    ========  ================================  ==============================================
    process   grey level of the struts          hardening modulus H = 1000 MPa * 3^u
              0.5 + 0.3 u  (as_built,           (1000 .. 3000 MPa)
              polished)
    lattice   struts at 0, 90 degree (square)   Young's modulus E = 20 GPa * 2^u * (t / t0)^0.3
              or 0, 60, 120 (triangular); the   (20 .. 40 GPa)
              outcome itself, not u
    strength  nothing: seen by the curve only   yield stress 200 MPa * 1.5^u  (200 .. 300 MPa)
    ========  ================================  ==============================================

    The curve is `ElasticPlastic` (bilinear) over engineering strain 0..0.05 plus noise of
    3 MPa. Continuous nuisances, times ``nuisance``: strut width t around t0 = 0.22 unit cells
    (sigma 0.2 of its logarithm; it widens the struts and, mildly, stiffens the curve), translation
    (sigma 0.06 unit cells in x and y) and rotation (sigma 2 degree) of the pattern. Pixel noise has
    sigma 0.04; 2.5 unit cells span the image.

    Parameters
    ----------
    samples : int
        Number of samples N.
    seed : int
        The same seed and options give the same data.
    separation : float
        Distance of the outcome centres in sigma.
    nuisance : float
        Factor on all continuous nuisances; 0 switches them off.
    weights : sequence or {node: sequence}, optional
        Probabilities of the outcomes of the roots process and lattice; default uniform.
        p(strength = high) is 0.1, 0.5, 0.5, 0.9, see `sampling.conditional_table`.
    image_size, points : int
        Pixels per side; strains of the curve.
    missing : float
        Fraction of samples that lack one whole modality (NaN), never both.
    intervened : float
        Fraction of samples with one node, drawn uniformly, set to an outcome drawn uniformly; adds
        ``intervened_on`` (position in process, lattice, strength; -1 none) and
        ``intervened_value``.
    do : {node: outcome}, optional
        Nodes set from outside in every sample: data of the mutilated graph.

    Returns
    -------
    dataset : xr.Dataset
        image (sample, y, x) 0..1 dimensionless; stress (sample, strain) MPa.
    truth : Truth
        labels process, lattice, strength; graph; parameters youngs_modulus (GPa), yield_stress
        (MPa), hardening_modulus (MPa); nuisance thickness, brightness, offset_x, offset_y, angle.

    Raises
    ------
    DataError
        For wrong weights or an option out of range.
    """
    check_options(
        samples=samples,
        separation=separation,
        nuisance=nuisance,
        missing=missing,
        intervened=intervened,
        image_size=image_size,
        points=points,
    )
    generator = np.random.default_rng(seed)
    matrix = adjacency(GRAPH, NODES)
    draw = draw_outcomes(
        samples, NODES, (2, 2, 2), matrix, generator, weights=weights, intervened=intervened, do=do
    )
    positions = spread(draw.outcomes, 2, separation, generator)
    factors = _factors(draw.outcomes, positions, nuisance, generator)
    dataset = _observe(factors, generator, image_size=image_size, points=points, missing=missing)
    if intervened > 0:
        dataset = dataset.assign(intervention_variables(draw, NODES))
    return dataset, _truth(factors, draw.outcomes, matrix)


def _factors(
    outcomes: np.ndarray, positions: np.ndarray, nuisance: float, generator: np.random.Generator
) -> LatticeFactors:
    """Return the physical quantities at positions u (N, 3) of process, lattice, strength."""
    process, lattice, strength = positions.T
    noise = nuisance * generator.normal(size=(4, len(positions)))
    swelling = np.exp(0.2 * noise[0])
    return LatticeFactors(
        triangular=outcomes[:, 1] == 1,
        brightness=np.clip(0.5 + 0.3 * process, BACKGROUND, 1.0),
        thickness=0.22 * swelling,
        offset_x=0.06 * noise[1],
        offset_y=0.06 * noise[2],
        angle=2.0 * noise[3],
        youngs_modulus=20.0 * 2.0**lattice * swelling**0.3,
        yield_stress=200.0 * 1.5**strength,
        hardening_modulus=1000.0 * 3.0**process,
    )


def _observe(
    factors: LatticeFactors,
    generator: np.random.Generator,
    *,
    image_size: int,
    points: int,
    missing: float,
) -> xr.Dataset:
    """Return what is measured: image and curve with noise, some of them missing."""
    image = render(factors, image_size)
    image = np.clip(image + PIXEL_NOISE * generator.normal(size=image.shape), 0.0, 1.0)
    strain = np.linspace(0.0, LARGEST_STRAIN, points)
    stress = run_law(
        ElasticPlastic(),
        coordinate=("strain", strain, "dimensionless"),
        parameters={
            "youngs_modulus": (factors.youngs_modulus, "GPa"),
            "yield_stress": (factors.yield_stress, "MPa"),
            "hardening_modulus": (factors.hardening_modulus, "MPa"),
        },
        output="stress",
        unit="MPa",
    )
    stress = stress + STRESS_NOISE * generator.normal(size=stress.shape)
    seen = drop_modalities({"image": image, "stress": stress}, missing, generator)
    pixels = np.arange(image_size)
    return xr.Dataset(
        {
            "image": variable(
                ("sample", "y", "x"), seen["image"], "dimensionless", "grey image of the lattice"
            ),
            "stress": variable(
                ("sample", "strain"), seen["stress"], "MPa", "engineering stress in tension"
            ),
        },
        coords={
            "sample": sample_numbers(len(image)),
            "y": variable("y", pixels, "dimensionless", "pixel row"),
            "x": variable("x", pixels, "dimensionless", "pixel column"),
            "strain": variable("strain", strain, "dimensionless", "engineering strain"),
        },
        attrs={"title": "Strut lattices with tension tests (generated)", "Conventions": "CF-1.8"},
    )


def render(factors: LatticeFactors, size: int) -> np.ndarray:
    """Return noiseless images (N, size, size): anti-aliased bright struts on a dark background."""
    pixels = CELLS * ((np.arange(size) + 0.5) / size - 0.5)
    covered = np.empty((len(factors.angle), size, size))
    for name, is_kind in (("square", ~factors.triangular), ("triangular", factors.triangular)):
        kind = np.flatnonzero(is_kind)
        x = pixels[None, None, :] - factors.offset_x[kind, None, None]
        y = pixels[None, :, None] - factors.offset_y[kind, None, None]
        half_width = 0.5 * factors.thickness[kind, None, None]
        # families of lines of a triangular lattice of unit side lie sqrt(3)/2 apart
        pitch = 1.0 if name == "square" else np.sqrt(0.75)
        total = np.zeros((len(kind), size, size))
        for direction in STRUT_ANGLES[name]:
            angle = np.deg2rad(direction + factors.angle[kind, None, None])
            across = (y * np.cos(angle) - x * np.sin(angle)) / pitch
            distance = pitch * np.abs(across - np.round(across))
            # coverage falls linearly over one pixel width across the edge of a strut
            edge = np.clip((half_width - distance) * size / CELLS + 0.5, 0.0, 1.0)
            total = np.maximum(total, edge)
        covered[kind] = total
    return BACKGROUND + covered * (factors.brightness[:, None, None] - BACKGROUND)


def _truth(factors: LatticeFactors, outcomes: np.ndarray, matrix: np.ndarray) -> Truth:
    """Return the known answer with units."""
    sample = {"sample": sample_numbers(len(outcomes))}

    def column(values: np.ndarray, unit: str, meaning: str) -> xr.Variable:
        return variable("sample", values, unit, meaning)

    labels = {
        node: category(outcomes[:, i], _MEANINGS[node], f"{node} of the sample")
        for i, node in enumerate(NODES)
    }
    parameters = {
        "youngs_modulus": column(factors.youngs_modulus, "GPa", "slope of the elastic part"),
        "yield_stress": column(factors.yield_stress, "MPa", "stress at the first plastic strain"),
        "hardening_modulus": column(factors.hardening_modulus, "MPa", "hardening modulus"),
    }
    nuisance = {
        "brightness": column(factors.brightness, "dimensionless", "grey level of the struts"),
        "thickness": column(factors.thickness, "dimensionless", "strut width in unit cells"),
        "offset_x": column(factors.offset_x, "dimensionless", "translation in unit cells"),
        "offset_y": column(factors.offset_y, "dimensionless", "translation in unit cells"),
        "angle": column(factors.angle, "degree", "rotation of the pattern"),
    }
    return Truth(
        labels=xr.Dataset(labels, coords=sample),
        graph=graph_array(matrix, NODES),
        parameters=xr.Dataset(parameters, coords=sample),
        nuisance=xr.Dataset(nuisance, coords=sample),
    )
