"""The circles set: coloured circles and a damped oscillation that share three features."""

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
from pima_physics.simulators.damped_oscillator import DampedOscillator
from pima_physics.truth import Truth

NODES = ("hue", "radius", "shift")
BACKGROUND = 0.12
PIXEL_NOISE = 0.03
SIGNAL_NOISE = 0.05
DURATION = 2.0
_MEANINGS = {"hue": ("red", "blue"), "radius": ("small", "large"), "shift": ("left", "right")}


@dataclass(frozen=True)
class CircleFactors:
    """Continuous quantities of every sample, each of shape (N,), in the units of `render`.

    Attributes
    ----------
    hue, radius, shift : ndarray
        Degree on the colour wheel; fraction of the image width (both others).
    brightness, height : ndarray
        Largest colour value; vertical offset as a fraction of the image width.
    frequency, damping_ratio, amplitude : ndarray
        Hz, dimensionless, mm.
    """

    hue: np.ndarray
    radius: np.ndarray
    shift: np.ndarray
    brightness: np.ndarray
    height: np.ndarray
    frequency: np.ndarray
    damping_ratio: np.ndarray
    amplitude: np.ndarray


def circles(
    samples: int = 3000,
    *,
    graph: str | Sequence[tuple[str, str]] = "fork",
    seed: int = 0,
    separation: float = 5.0,
    nuisance: float = 1.0,
    weights: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    outcomes: Sequence[int] = (2, 2, 2),
    image_size: int = 28,
    points: int = 64,
    missing: float = 0.0,
    intervened: float = 0.0,
    do: Mapping[str, int] | None = None,
) -> tuple[xr.Dataset, Truth]:
    r"""Images of a circle with a damped oscillation; three discrete features in a DAG.

    Each node's outcome is a centre on a line u (first outcome 0, last outcome 1) around which the
    sample's own value is Gaussian, neighbouring centres ``separation`` sigma apart:

    ======  =============================================  ========================================
    node    in the image                                   in the signal
    ======  =============================================  ========================================
    hue     colour angle 340 - 80 u degree (red .. blue)   nothing: seen by the image only
    radius  0.17 + 0.11 u of the image width               frequency f = 2 Hz * 2^(-u)  (2 .. 1 Hz)
    shift   -0.12 + 0.24 u of the width, to the right      damping ratio zeta = 0.05 * 4^u, at most
                                                           0.9  (0.05 .. 0.2)
    ======  =============================================  ========================================

    .. math:: x(t) = a e^{-\zeta \omega t} \Big( \cos \omega_d t
        + \tfrac{\zeta \omega}{\omega_d} \sin \omega_d t \Big) + 0.05\,\text{mm}\;\epsilon,
        \qquad \omega = 2 \pi f, \quad \omega_d = \omega \sqrt{1 - \zeta^2}

    is the free oscillation released from rest at a, over 0..2 s. Continuous nuisances, times
    ``nuisance``: brightness 0.85 (sigma 0.05), vertical offset 0 (sigma 0.04 of the width) and
    amplitude a = 1 mm (sigma 0.15 of its logarithm). Pixel noise has sigma 0.03.

    Parameters
    ----------
    samples : int
        Number of samples N.
    graph : str or list of (parent, child)
        "fork" hue -> radius, hue -> shift; "chain" hue -> radius -> shift; "collider"
        hue -> shift <- radius; "full" hue -> radius, both -> shift; "empty"; or own edges by name.
        Tables: `sampling.conditional_table` (0.8/0.2 with one parent, 0.9/0.5/0.1 with two).
    seed : int
        The same seed and options give the same data.
    separation : float
        Distance of neighbouring outcome centres in sigma.
    nuisance : float
        Factor on all continuous nuisances; 0 switches them off.
    weights : sequence or {node: sequence}, optional
        Probabilities of the outcomes of root nodes, e.g. (0.9, 0.1); default uniform.
    outcomes : sequence of int
        Number of outcomes of hue, radius, shift; the outer centres stay where they are.
    image_size, points : int
        Pixels per side; instants of the signal.
    missing : float
        Fraction of samples that lack one whole modality (NaN), never both.
    intervened : float
        Fraction of samples with one node, drawn uniformly, set to an outcome drawn uniformly; adds
        ``intervened_on`` (position in hue, radius, shift; -1 none) and ``intervened_value``.
    do : {node: outcome}, optional
        Nodes set from outside in every sample: data of the mutilated graph.

    Returns
    -------
    dataset : xr.Dataset
        image (sample, y, x, channel) 0..1 dimensionless; signal (sample, time) mm; time s.
    truth : Truth
        labels hue, radius, shift; graph; parameters frequency (Hz), damping_ratio, amplitude (mm);
        nuisance: the continuous values behind the labels (hue_angle degree, radius_fraction,
        shift_fraction) and brightness, height_fraction.

    Raises
    ------
    DataError
        For an unknown graph or node, a cycle, wrong weights or an option out of range.
    """
    check_options(
        samples=samples,
        separation=separation,
        nuisance=nuisance,
        missing=missing,
        intervened=intervened,
        image_size=image_size,
        points=points,
        outcomes=outcomes,
        nodes=NODES,
    )
    generator = np.random.default_rng(seed)
    matrix = adjacency(graph, NODES)
    draw = draw_outcomes(
        samples, NODES, outcomes, matrix, generator, weights=weights, intervened=intervened, do=do
    )
    positions = np.stack(
        [
            spread(draw.outcomes[:, node], outcomes[node], separation, generator)
            for node in range(len(NODES))
        ],
        axis=1,
    )
    factors = circle_factors(positions, nuisance, generator)
    dataset = observe(factors, generator, image_size=image_size, points=points, missing=missing)
    labels = {
        node: category(draw.outcomes[:, i], _meanings(node, outcomes[i]), f"{node} of the circle")
        for i, node in enumerate(NODES)
    }
    if intervened > 0:
        dataset = dataset.assign(intervention_variables(draw, NODES))
    return dataset, circle_truth(factors, labels=labels, graph=graph_array(matrix, NODES))


def _meanings(node: str, size: int) -> tuple[str, ...]:
    first, last = _MEANINGS[node]
    between = ("middle",) if size == 3 else tuple(f"middle_{i}" for i in range(1, size - 1))
    return (first, *between, last)


def circle_factors(
    positions: np.ndarray, nuisance: float, generator: np.random.Generator
) -> CircleFactors:
    """Return the physical quantities at positions u (N, 3) of hue, radius, shift, see `circles`."""
    hue, radius, shift = positions.T
    noise = nuisance * generator.normal(size=(3, len(positions)))
    return CircleFactors(
        hue=340.0 - 80.0 * hue,
        # a radius below one pixel would vanish: only reached at separations below 2
        radius=np.maximum(0.17 + 0.11 * radius, 0.04),
        shift=-0.12 + 0.24 * shift,
        brightness=np.clip(0.85 + 0.05 * noise[0], BACKGROUND, 1.0),
        height=0.04 * noise[1],
        frequency=2.0 * 2.0**-radius,
        damping_ratio=np.minimum(0.05 * 4.0**shift, 0.9),
        amplitude=np.exp(0.15 * noise[2]),
    )


def observe(
    factors: CircleFactors,
    generator: np.random.Generator,
    *,
    image_size: int,
    points: int,
    missing: float,
) -> xr.Dataset:
    """Return what is measured: image and signal with noise, some of them missing."""
    image = render(factors, image_size)
    image = np.clip(image + PIXEL_NOISE * generator.normal(size=image.shape), 0.0, 1.0)
    time = np.linspace(0.0, DURATION, points)
    signal = run_law(
        DampedOscillator(),
        coordinate=("time", time, "s"),
        parameters={
            "frequency": (factors.frequency, "Hz"),
            "damping_ratio": (factors.damping_ratio, "dimensionless"),
            "amplitude": (factors.amplitude, "mm"),
        },
        output="displacement",
        unit="mm",
    )
    signal = signal + SIGNAL_NOISE * generator.normal(size=signal.shape)
    seen = drop_modalities({"image": image, "signal": signal}, missing, generator)
    pixels = np.arange(image_size)
    return xr.Dataset(
        {
            "image": variable(
                ("sample", "y", "x", "channel"), seen["image"], "dimensionless", "RGB image, 0..1"
            ),
            "signal": variable(
                ("sample", "time"), seen["signal"], "mm", "displacement of a damped oscillator"
            ),
        },
        coords={
            "sample": sample_numbers(len(image)),
            "y": variable("y", pixels, "dimensionless", "pixel row"),
            "x": variable("x", pixels, "dimensionless", "pixel column"),
            "channel": ("channel", ["red", "green", "blue"]),
            "time": variable("time", time, "s", "time since release"),
        },
        attrs={"title": "Circles with a damped oscillation (generated)", "Conventions": "CF-1.8"},
    )


def render(factors: CircleFactors, size: int) -> np.ndarray:
    """Return noiseless images (N, size, size, 3): an anti-aliased disc on a dark background."""
    pixels = (np.arange(size) + 0.5) / size - 0.5
    dx = pixels - factors.shift[:, None]
    dy = pixels - factors.height[:, None]
    distance = np.sqrt(dx[:, None, :] ** 2 + dy[:, :, None] ** 2)
    # a pixel's coverage falls linearly over one pixel width across the rim
    coverage = np.clip(size * (factors.radius[:, None, None] - distance) + 0.5, 0.0, 1.0)
    colour = factors.brightness[:, None] * colour_of(factors.hue)
    difference = (colour - BACKGROUND)[:, None, None, :]
    return BACKGROUND + coverage[..., None] * difference


def colour_of(hue: np.ndarray) -> np.ndarray:
    """Return RGB (N, 3) of full saturation at an angle in degree (0 red, 120 green, 240 blue)."""
    sector = (hue[:, None] + np.array([0.0, 240.0, 120.0])) % 360.0 / 60.0
    return np.clip(np.abs(sector - 3.0) - 1.0, 0.0, 1.0)


def circle_truth(
    factors: CircleFactors, *, labels: Mapping[str, xr.Variable], graph: xr.DataArray
) -> Truth:
    """Return the known answer with units."""
    sample = {"sample": sample_numbers(len(factors.hue))}

    def column(values: np.ndarray, unit: str, meaning: str) -> xr.Variable:
        return variable("sample", values, unit, meaning)

    parameters = {
        "frequency": column(factors.frequency, "Hz", "undamped natural frequency"),
        "damping_ratio": column(factors.damping_ratio, "dimensionless", "fraction of critical"),
        "amplitude": column(factors.amplitude, "mm", "initial displacement"),
    }
    nuisance = {
        "hue_angle": column(factors.hue, "degree", "colour angle"),
        "radius_fraction": column(factors.radius, "dimensionless", "radius / image width"),
        "shift_fraction": column(
            factors.shift, "dimensionless", "shift to the right / image width"
        ),
        "brightness": column(factors.brightness, "dimensionless", "largest colour value"),
        "height_fraction": column(factors.height, "dimensionless", "downward offset / image width"),
    }
    return Truth(
        labels=xr.Dataset(dict(labels), coords=sample),
        graph=graph,
        parameters=xr.Dataset(parameters, coords=sample),
        nuisance=xr.Dataset(nuisance, coords=sample),
    )
