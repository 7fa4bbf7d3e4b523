"""Estimates of physical parameters: the network's posterior, polished by least squares.

Results then no longer depend on how well the networks were trained, as long as their estimate
lies in the right valley.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pima_physics.calibrate_starts import is_slow
from pima_physics.dataset import Data, Split
from pima_physics.decoders import ComponentPhysics, PhysicsDecoder
from pima_physics.decoders_law import Law
from pima_physics.inference import Posterior, sample_parameters
from pima_physics.model import Network
from pima_physics.refine import describe, refine_components
from pima_physics.refine_identifiability import alike
from pima_physics.results_parameters import Array, Estimates, weighted_mean
from pima_physics.results_parts import FAILED, likelihood_of
from pima_physics.results_refine import (
    Curves,
    curves,
    noise_variance,
    refine_samples,
    remaining,
    slices,
)

# Most samples that are polished; a slow law is run many times for each.
MOST, SLOW_MOST = 50_000, 2000
# Above this number of components their parameters are means over samples.
MOST_COMPONENTS = 512
# A common parameter whose error, in unconstrained units, is as wide as its bounds is not known.
LOOSE = 1.5


def estimate(
    network: Network, data: Data, parts: Split, posterior: Posterior
) -> dict[str, Estimates]:
    """Physical parameters of every modality that a law decodes."""
    found = {}
    for m, (name, decoder) in enumerate(zip(network.names, network.decoders, strict=True)):
        if isinstance(decoder, PhysicsDecoder):
            found[name] = _by_sample(network, m, data, parts, posterior)
        elif isinstance(decoder, ComponentPhysics):
            found[name] = _by_component(network, m, data, parts, posterior)
    return found


def _by_sample(
    network: Network, m: int, data: Data, parts: Split, posterior: Posterior
) -> Estimates:
    name, decoder = network.names[m], network.decoders[m]
    assert isinstance(decoder, PhysicsDecoder)
    amortised = sample_parameters(network, name, posterior)
    assert amortised is not None
    mean, std = amortised.mean.copy(), amortised.std.copy()
    modality = data.modalities[name]
    present = modality.present.cpu().numpy()
    refined, notes = np.zeros(data.size, dtype=bool), []
    left = None
    z = torch.as_tensor(posterior.mean).to(network.mixture.mean)
    with torch.no_grad():
        raw = decoder.raw_parameters(z).double()
    index = _chosen(decoder.law, present, parts)
    if len(index) and decoder.law.free:
        where = torch.as_tensor(index, device=raw.device)
        train = torch.as_tensor(np.isin(index, parts.train), device=raw.device)
        fitted = curves(decoder, modality.take(where), z[where])
        found = refine_samples(
            fitted,
            raw[where],
            train if bool(train.any()) else torch.ones_like(train),
            likelihood_of(network, name),
        )
        finite = torch.isfinite(found.value) & torch.isfinite(found.std)
        good = found.converged & finite.all(1)
        kept = good.cpu().numpy()
        mean[index[kept]] = found.value[good].cpu().numpy()
        std[index[kept]] = found.std[good].cpu().numpy()
        raw[where[good]] = found.raw[good]
        refined[index[kept]] = True
        notes += [*_alike(name, fitted, found.raw[good]), *_loose(name, decoder.law)]
        left = remaining(fitted.take(good), found.raw[good])
        if left is not None and left.found:
            notes.append(left.warning(name))
        if not kept.all():
            notes.append(
                f"{name}: the parameters of {int((~kept).sum())} of {len(kept)} samples could not "
                "be polished by least squares; the network's estimates are reported for them"
            )
    if len(index) < present.sum():
        notes.append(
            f"{name}: only {len(index)} of {int(present.sum())} samples were polished by least "
            "squares, to bound the time; the network's estimates are reported for the others"
        )
    # Not the parameters of the component's average curve: where samples of a component differ,
    # an average of curves follows the law with other parameters than the average ones.
    together = None if data.groups is None else data.groups[present]
    own = posterior.responsibility[present]
    component, error = weighted_mean(mean[present], own, together)
    return Estimates(
        decoder.law.free,
        mean,
        std,
        component,
        error,
        present,
        refined,
        tuple(notes),
        misfit=left,
        groups=data.groups,
        common=_common(decoder.law),
    )


def _common(law: Law) -> dict[str, tuple[float, float]]:
    """Parameters that are common to all samples, and their standard errors."""
    if not law.common:
        return {}
    raw, covariance = law.common_raw.double()[None], law.common_covariance.double()[None]
    found = describe(law.with_free(law.common), raw, covariance, torch.ones(1, dtype=torch.bool))
    each = zip(found.value[0].tolist(), found.std[0].tolist(), strict=True)
    return dict(zip(law.common, each, strict=True))


def _loose(name: str, law: Law) -> list[str]:
    """Common parameters that the data leave as open as they were."""
    if not law.common:
        return []
    wide = law.common_covariance.diagonal().sqrt() > LOOSE
    open_ones = [key for key, loose in zip(law.common, wide.tolist(), strict=True) if loose]
    return [
        f"{name}: the data do not tell '{key}', which is common to all samples: other parameters "
        "can make up for it; give its value, or fix one of the others"
        for key in open_ones
    ]


def _alike(name: str, data: Curves, raw: Tensor) -> list[str]:
    """Parameters that cannot be told apart, at the samples' median, on the grid of one."""
    if len(raw) == 0:
        return []
    grid = None if data.grid is None else {k: g[:1] for k, g in data.grid.items()}
    found = alike(data.law, raw.median(0).values, grid)
    return [f"{name}: the data hardly tell all parameters apart: {text}" for text in found]


def _chosen(law: Law, present: Array, parts: Split) -> Array:
    """Samples to polish: all that have the modality, test samples first where that is too many."""
    most = SLOW_MOST if is_slow(law) else MOST
    order = np.concatenate([parts.test, parts.validation, parts.train]).astype(int)
    order = order[present[order]]
    return np.sort(order[:most])


def _components(
    network: Network, m: int, data: Data, parts: Split, posterior: Posterior, sample_values: Array
) -> tuple[Array, Array, tuple[str, ...]]:
    """Shared parameters of every component from training and validation samples."""
    name, decoder = network.names[m], network.decoders[m]
    assert isinstance(decoder, ComponentPhysics)
    modality = data.modalities[name]
    index = np.sort(np.concatenate([parts.train, parts.validation]).astype(int))
    index = index[modality.present.cpu().numpy()[index]]
    weight = posterior.responsibility[index]
    together = None if data.groups is None else data.groups[index]
    means = weighted_mean(sample_values[index], weight, together)
    if modality.grid is not None or weight.shape[1] > MOST_COMPONENTS or not decoder.law.free:
        return *means, ()
    raw = decoder.raw.detach().double()
    where = torch.as_tensor(index, device=raw.device)
    fitted = curves(decoder, modality.take(where), torch.as_tensor(posterior.mean[index]))
    responsibility = torch.as_tensor(weight, device=raw.device)
    noise = noise_variance(likelihood_of(network, name))
    try:
        found = refine_components(
            fitted.law, fitted.values, fitted.weight, responsibility, raw, noise_variance=noise
        )
    except FAILED as error:
        text = f"{name}: parameters by component are means over samples ({error})".splitlines()[0]
        return *means, (text,)
    good = found.converged[:, None] & torch.isfinite(found.value)
    value, std = found.value.cpu().numpy(), found.std.cpu().numpy()
    kept = good.cpu().numpy()
    return np.where(kept, value, means[0]), np.where(kept, std, means[1]), ()


def _by_component(
    network: Network, m: int, data: Data, parts: Split, posterior: Posterior
) -> Estimates:
    """Parameters per component; a sample's are the mean over its responsibilities."""
    decoder, name = network.decoders[m], network.names[m]
    assert isinstance(decoder, ComponentPhysics)
    law, raw = decoder.law, decoder.raw.detach().double()
    with torch.no_grad():
        start = torch.stack([law.parameters_of(raw)[p] for p in law.free], dim=1).cpu().numpy()
    mean = posterior.responsibility @ start
    component, error, notes = _components(network, m, data, parts, posterior, mean)
    # Components without samples keep the trained value in the samples' means, where they
    # hardly count.
    value = np.where(np.isfinite(component), component, start)
    spread = np.nan_to_num(error)
    mean = posterior.responsibility @ value
    second = posterior.responsibility @ (value**2 + spread**2)
    std = np.sqrt(np.maximum(second - mean**2, 0.0))
    present = data.modalities[name].present.cpu().numpy()
    refined = np.full(data.size, not notes)
    return Estimates(law.free, mean, std, component, error, present, refined, notes, shared=True)


def discrepancy_share(network: Network, data: Data, posterior: Posterior) -> dict[str, float]:
    """Variance of the discrepancy network's output over that of the data, where there is one."""
    shares = {}
    z = torch.as_tensor(posterior.mean).to(network.mixture.mean)
    for name, decoder in zip(network.names, network.decoders, strict=True):
        if not isinstance(decoder, PhysicsDecoder) or decoder.correction is None:
            continue
        modality, extra, total = data.modalities[name], 0.0, 0.0
        count = modality.mask.sum(0).clamp(min=1)
        centre = (modality.values * modality.mask).sum(0) / count
        with torch.no_grad():
            for where in slices(data.size, max(1, centre.numel())):
                part = modality.take(where)
                added = decoder.discrepancy(z[where])
                assert added is not None
                extra += float((added.square() * part.mask).sum())
                total += float(((part.values - centre).square() * part.mask).sum())
        shares[name] = extra / max(total, 1e-300)
    return shares
