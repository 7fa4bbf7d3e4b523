"""Views of the samples in which categorical features may show as groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from pima_physics.calibrate import Calibration
from pima_physics.dataset import Data, ModalityData
from pima_physics.decoders import PhysicsDecoder
from pima_physics.model import Network
from pima_physics.representations_regrid import on_one_grid
from pima_physics.representations_shared import shared_latent, side_by_side

Array = NDArray[np.float64]

# Name of the view in which every sample has values.
LATENT = "latent"
# Kind of the view that joins the latent and fitted parameters.
COMBINED = "combined"
# Name of the view that joins the latent and components: the finest, with bends.
ALL = "latent with components"
# Components of all modalities, of samples that have them all: principal ones, and side by side.
JOINT, STACKED = "joint components", "stacked components"
MAX_AXES = 8
# Views are joined for samples that have all, where these are more than this share.
MOST = 0.5
# With fewer samples per axis than this, random directions look grouped.
SAMPLES_PER_AXIS = 12


@dataclass(frozen=True)
class Representation:
    """Coordinates of every sample in one view.

    Attributes
    ----------
    name : str
    kind : str
        "latent", "components", "parameters" or "combined": views of one kind share artefacts.
    values : array, shape (sample, axis)
        Zero where the sample is not ``present``; of the latent, a guess.
    present : bool array, shape (sample,)
        Samples that have this view.
    """

    name: str
    kind: str
    values: Array
    present: NDArray[np.bool_]

    @property
    def straight(self) -> bool:
        """Whether it shows continuous features without bends, which look like groups."""
        return self.kind in ("latent", "parameters", COMBINED)

    @property
    def derived(self) -> bool:
        """Whether it is made of other views, and shows hardly a group that they do not."""
        return self.kind == COMBINED or (self.kind == "latent" and self.name != LATENT)


@torch.no_grad()
def latent_of(network: Network, data: Data) -> Array:
    """Posterior means, shape (sample, axis)."""
    network.eval()
    return _numpy(network.posterior(data).mean)


def with_latent(views: Sequence[Representation], latents: Sequence[Array]) -> list[Representation]:
    """The views with what several latents have in common in the place of one of them."""
    return [
        replace(v, values=shared_latent(latents, v.present)) if v.name == LATENT else v
        for v in views
    ]


@torch.no_grad()
def representations(
    network: Network, data: Data, fits: Mapping[str, Calibration]
) -> list[Representation]:
    """All views of the samples: latent, principal components, physical parameters.

    Parameters
    ----------
    fits : mapping of Calibration
        Laws fitted to single samples; they are not smoothed by any network.
    """
    network.eval()
    axes = int(np.clip(data.size // SAMPLES_PER_AXIS, 1, MAX_AXES))
    present = network.present(data).cpu().numpy()
    q = network.posterior(data)
    everyone = np.ones(data.size, dtype=bool)
    views = [Representation(LATENT, "latent", _numpy(q.mean), everyone)]
    parameters = []
    for m, (name, decoder) in enumerate(zip(network.names, network.decoders, strict=True)):
        if isinstance(decoder, PhysicsDecoder):
            raw = _numpy(decoder.raw_parameters(q.mean))
            parameters.append(Representation(f"parameters of {name}", "latent", raw, present[m]))
            if name in fits and len(decoder.law.free):
                fitted = fits[name].fitted.cpu().numpy()
                raw = np.where(fitted[:, None], _numpy(fits[name].raw), 0.0)
                parameters.append(Representation(f"fits of {name}", "parameters", raw, fitted))
    flat = {name: _flatten(data, name, present[m]) for m, name in enumerate(network.names)}
    for m, name in enumerate(network.names):
        values = principal_components(flat[name], present[m], axes)
        views.append(Representation(f"components of {name}", "components", values, present[m]))
    if len(network.names) > 1:
        complete: NDArray[np.bool_] = np.asarray(present.all(0), dtype=bool)
        if complete.mean() > MOST:
            joint = np.concatenate(list(flat.values()), axis=1)
            values = principal_components(joint, complete, axes)
            views.append(Representation(JOINT, "components", values, complete))
            parts = [v.values for v in views if v.name.startswith("components of")]
            stacked = np.where(complete[:, None], np.concatenate(parts, axis=1), 0.0)
            views.append(Representation(STACKED, "components", stacked, complete))
    most = with_most(present)
    return [_among(most, view) for view in views + parameters]


def combined(views: Sequence[Representation]) -> list[Representation]:
    """Views side by side: the latent with all fitted parameters, and with components.

    Together they tell groups apart better than each: what disturbs a feature in one shows in the
    other. Without views to join, or where few samples have all, there is none.
    """
    straight = [v for v in views if v.straight and not v.derived]
    fits = len({v.kind for v in straight}) > 1
    latent = [v for v in views if v.name in (LATENT, STACKED)]
    joined = [
        _side_by_side("latent with fits", COMBINED, straight) if fits else None,
        _side_by_side(ALL, "components", latent) if len(latent) > 1 else None,
    ]
    return [v for v in joined if v is not None]


def _side_by_side(name: str, kind: str, parts: Sequence[Representation]) -> Representation | None:
    """Whitened views, of the samples that have all; None where these are few."""
    present = np.all([v.present for v in parts], axis=0)
    if present.mean() <= MOST:
        return None
    white = side_by_side([v.values for v in parts], present)
    values = np.where(present[:, None], white, 0.0)
    return Representation(name, kind, values, present)


def with_most(present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Samples that lack the fewest modalities, more than half of all samples; shape (sample,).

    ``present`` has the shape (modality, sample). Groups are sought among these samples.

    What a sample does not show, its posterior mean has between the groups, where it fills gaps.
    """
    count: NDArray[np.int64] = present.sum(0)
    return count >= np.quantile(count, 1.0 - MOST, method="lower")


def _among(samples: NDArray[np.bool_], view: Representation) -> Representation:
    """A view of these samples only; the latent of others stays, to guess from."""
    present = view.present & samples
    values = view.values if view.name == LATENT else np.where(present[:, None], view.values, 0.0)
    return replace(view, values=values, present=present)


def _numpy(tensor: torch.Tensor) -> Array:
    return tensor.double().cpu().numpy()


def _flatten(data: Data, name: str, present: NDArray[np.bool_]) -> Array:
    """Values of a modality, each feature over the root of its deviation, gaps at its mean.

    Noise is of one size in all features, so that full standardisation makes features that hardly
    vary (the rim of an image) all noise; none would leave small features unseen. Between the two
    lies Pareto scaling.

    References
    ----------
    R. A. van den Berg et al., "Centering, scaling, and transformations: improving the biological
    information content of metabolomics data", BMC Genomics 7:142, 2006.
    """
    modality = data.modalities[name]
    values = _numpy(modality.values).reshape(data.size, -1)
    mask = modality.mask.cpu().numpy().reshape(data.size, -1) & present[:, None]
    values, mask = on_one_grid(modality, values, mask)
    count = mask.sum(0).clip(min=1)
    mean = (values * mask).sum(0) / count
    centred = (values - mean) * mask
    std = np.sqrt((centred**2).sum(0) / count)
    # Features without spread of their own (a background pixel) are left at zero.
    spread = std > 1e-3 * std.max(initial=0.0)
    scaled = centred * np.where(spread, 1.0 / np.sqrt(np.maximum(std, 1e-300)), 0.0)
    return without_known(scaled, modality, present)


def without_known(values: Array, modality: ModalityData, present: NDArray[np.bool_]) -> Array:
    """Values (sample, feature) less their linear regression on known parameters of the law.

    Groups of a dose that was given are no discovery.
    """
    if modality.known is None:
        return values
    known = _numpy(modality.known)
    away = np.where(present[:, None], known - known[present].mean(0), 0.0)
    design = np.concatenate([present[:, None], away], axis=1)
    return values - away @ np.linalg.lstsq(design, values, rcond=None)[0][1:]


def principal_components(values: Array, present: NDArray[np.bool_], axes: int) -> Array:
    """First principal components of the present samples, shape (sample, axis)."""
    part = values[present]
    axes = min(axes, part.shape[1], max(len(part) - 1, 1))
    scores = np.zeros((len(values), axes))
    if len(part) > 1:
        # Randomised SVD is exact to rounding for so few leading components and linear in samples.
        from sklearn.utils.extmath import randomized_svd

        u, s, _ = randomized_svd(part - part.mean(0), axes, n_iter=4, random_state=0)  # pyright: ignore[reportArgumentType]
        scores[present] = u * s
    return scores
