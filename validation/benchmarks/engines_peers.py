"""diffrax beside our engines: Dopri5 on a batch by vmap, compiled by XLA.

It is not installed with this package: ``pip install --target FOLDER diffrax jax jaxlib``, and
``--peer FOLDER``. Its adjoint is the default one (recursive checkpoints).
"""

# The peer is not installed where types are checked.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pima_physics.validation.benchmarks.systems import System
from pima_physics.validation.software import importable

MOST_STEPS = 4096


def prepare(folder: Path | None) -> bool:
    """Whether diffrax can be imported, from a folder where one is given; one thread for XLA."""
    # Two words of XLA for one thread per operation, and one for all operations.
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ.setdefault("XLA_FLAGS", flags)
    return importable(folder, "diffrax")


def oscillator(t: Any, y: Any, p: Any) -> Any:
    """Damped oscillator with p = (angular frequency, damping ratio), for one sample."""
    import jax.numpy as jnp

    return jnp.stack([y[1], -p[0] * p[0] * y[0] - 2.0 * p[1] * p[0] * y[1]])


def lotka_volterra(t: Any, y: Any, p: Any) -> Any:
    """Prey and predator with four rates, for one sample."""
    import jax.numpy as jnp

    return jnp.stack([(p[0] - p[1] * y[1]) * y[0], (p[3] * y[0] - p[2]) * y[1]])


RIGHT_SIDES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "damped oscillator": oscillator,
    "Lotka-Volterra": lotka_volterra,
}


def diffrax(
    system: System, *, rtol: float, atol: float
) -> Callable[[System], tuple[float, Tensor]]:
    """What runs forward and backward once: processor seconds, and the states (batch, time, n)."""
    import diffrax as dfx
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    term = dfx.ODETerm(RIGHT_SIDES[system.name])
    control = dfx.PIDController(rtol=rtol, atol=atol)
    times, initial, parameters = (
        jnp.asarray(part.numpy()) for part in (system.times, system.initial, system.parameters)
    )

    def one(p: Any, y0: Any) -> Any:
        found = dfx.diffeqsolve(
            term, dfx.Dopri5(), times[0], times[-1], None, y0, args=p, saveat=dfx.SaveAt(ts=times),
            stepsize_controller=control, max_steps=MOST_STEPS,
        )  # fmt: skip
        return found.ys

    def loss(p: Any) -> Any:
        states = jax.vmap(one)(p, initial)
        return (states**2).sum(), states

    both = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def once(_: System) -> tuple[float, Tensor]:
        began = time.process_time()
        (_, states), gradient = both(parameters)
        jax.block_until_ready(gradient)
        seconds = time.process_time() - began
        return seconds, torch.from_numpy(np.array(states))

    return once
