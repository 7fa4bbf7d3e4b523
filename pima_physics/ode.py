"""A physical law as an initial value problem, with units."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pima_physics import engines
from pima_physics.declarations import Values, check_keys
from pima_physics.errors import InputError
from pima_physics.law import Simulator


class ODE(Simulator):
    r"""A law as an initial value problem, $\dot y = f(t, y; p)$, $y(t_0) = y_0(p)$.

    A subclass declares ``time`` (its unit), ``state`` (name -> unit) and parameters, and
    writes :meth:`initial` and :meth:`rhs`. The outputs are the states, unless the subclass
    declares ``outputs`` and computes the others in :meth:`observables`.

    Attributes
    ----------
    start : float or None
        Time at which the initial state holds; None: the first time of each sample's grid.
    method : str
        "auto" or a key of :data:`pima_physics.engines.METHODS`.
    linear : bool
        The right-hand side is $A(p)\,y + b(p)$: solved exactly by the matrix exponential.
    rtol, atol : float
        Bounds of the error of a step, relative to the state and to its ``magnitude``.
    magnitude : mapping of float
        Size of a state that matters, in its unit. Default: the largest value reached so far.
    max_steps : int
        Steps that any one sample may take in total.
    compiled : bool
        Compile the step with torch.compile (20 s once per batch size; then twice as fast).
    """

    time: ClassVar[str] = "s"
    state: ClassVar[Mapping[str, str]] = {}
    start: ClassVar[float | None] = 0.0
    method: str = "auto"
    linear: ClassVar[bool] = False
    rtol: float = 1e-6
    atol: float = 1e-8
    magnitude: ClassVar[Mapping[str, float]] = {}
    max_steps: int = 20_000
    compiled: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        cls.coordinates = {"time": cls.time}
        if "outputs" not in vars(cls) and "state" in vars(cls):
            cls.outputs = dict(cls.state)
        super().__init_subclass__(**options)

    @abstractmethod
    def initial(self, p: Any) -> Mapping[str, Any]:
        """Return every state at the start: numbers, or tensors of shape (B, 1)."""

    @abstractmethod
    def rhs(self, t: Any, y: Any, p: Any) -> Mapping[str, Any]:
        """Return the rate of change of every state, in state unit per time unit.

        ``t``, ``y.<state>`` and ``p.<parameter>`` have shape (B, 1), constants are floats.
        The engine calls it with any number of rows, so it must treat every row alike.
        """

    def observables(self, t: Any, y: Any, p: Any) -> Mapping[str, Tensor]:
        """Return the outputs that are not states; ``y.<state>`` has shape (B, T)."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out compiled kernels: they belong to this process and to these parameters."""
        return {k: v for k, v in vars(self).items() if k != "_kernels"}

    @final
    def evaluate(self, x: Any, p: Any) -> Mapping[str, Tensor]:
        """Solve, and add the observables."""
        states = solve(self, x.time, p)
        y = Values(**dict(zip(self.state, states.unbind(-1), strict=True)))
        everything = {**vars(y), **self.observables(x.time, y, p)}
        return {name: everything[name] for name in self.outputs if name in everything}


def solve(law: ODE, time: Tensor, p: Values) -> Tensor:
    """Solve an :class:`ODE` with the engine that it asks for; states of shape (B, T, n)."""
    given = [v for v in vars(p).values() if isinstance(v, Tensor)]
    batch = max([len(time), *(v.shape[-2] for v in given)])
    packed = torch.cat([_rows(v, batch) for v in given] or [time.new_empty(batch, 0)], 1)
    initial = _stack(law, "initial", law.initial(p), packed.new_empty(batch, len(law.state)))
    times, order = _prepare_times(law, time.expand(batch, -1))
    method = law.method
    if method == "auto":
        method = engines.choose(len(law.state), linear=law.linear)
    options: dict[str, Any] = {}
    if law.magnitude:
        check_keys(f"magnitude of {law}", law.magnitude, law.state)
        sizes = initial.new_tensor([law.magnitude[k] for k in law.state])
        options["scale"] = sizes.expand_as(initial)
    run = engines.engine(method)
    constants = tuple(v for v in vars(p).values() if not isinstance(v, Tensor))
    if law.compiled and method == "dopri5":
        rhs, options["compiled"] = _compiled(law, constants)
    else:
        rhs = row_function(law, constants)
    states = run(
        rhs,
        initial,
        times,
        packed,
        rtol=law.rtol,
        atol=law.atol,
        max_steps=law.max_steps,
        describe=lambda sample: law.describe(p, sample),
        **options,
    )
    return states.gather(1, order[..., None].expand(-1, -1, states.shape[-1]))


def row_function(law: ODE, constants: tuple[float, ...], *, remember: bool = True) -> engines.Rhs:
    """Return ``law.rhs`` as a function of matrices, one row per sample.

    With ``remember``, values made of the same parameter rows are used again: half of the cost
    of a small step. Compiled code must not keep tensors, and does not need to.
    """
    sizes = {k: v.size for k, v in law.simplices.items()} | dict.fromkeys(law.parameters, 1)
    varying = {name: sizes[name] for name in law._declared if name in sizes}
    fixed = dict(zip(law.constants, constants, strict=True))
    state = tuple(law.state)
    known: list[Any] = [None, None]  # the last parameter rows, and the values made of them

    def unpack(rows: Tensor) -> Values:
        parts = dict(zip(varying, rows.split(tuple(varying.values()), dim=1), strict=True))
        for name in law.simplices:
            parts[name] = parts[name].T[..., None]
        return Values(**fixed, **parts)

    def rhs(t: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        if not remember:
            values = unpack(rows)
        else:
            if known[0] is not rows:
                known[:] = rows, unpack(rows)
            values = known[1]
        columns = Values(**dict(zip(state, y.split(1, dim=1), strict=True)))
        return _stack(law, "rhs", law.rhs(t, columns, values), y)

    return rhs


def _compiled(law: ODE, constants: tuple[float, ...]) -> tuple[engines.Rhs, Any]:
    """Return the right-hand side and its kernels, kept on the law from call to call."""
    from pima_physics.engines.dopri5_engine import Compiled

    kept = vars(law).setdefault("_kernels", {})
    if constants not in kept:
        kept[constants] = (row_function(law, constants, remember=False), Compiled())
    return kept[constants]


def _rows(value: Tensor, batch: int) -> Tensor:
    """Write a parameter (B, 1) or a simplex (size, B, 1) as columns of one matrix."""
    rows = value[..., 0].T if value.ndim == 3 else value
    return rows.expand(batch, -1)


def _stack(law: ODE, what: str, values: Mapping[str, Any], like: Tensor) -> Tensor:
    """Put named columns side by side, in the order of the state."""
    if values.keys() != law.state.keys():
        check_keys(f"{what} of {law}", values, law.state)
    columns = [torch.as_tensor(values[k], dtype=like.dtype, device=like.device) for k in law.state]
    for name, column in zip(law.state, columns, strict=True):
        if column.numel() > 1 and column.shape != (len(like), 1):
            raise InputError(
                f"{law}: {what} of '{name}' has a wrong shape",
                found=tuple(column.shape),
                expected=f"({len(like)}, 1), a number, or a sum of such",
            )
    return torch.cat([column.expand(len(like), 1) for column in columns], 1)


def _prepare_times(law: ODE, time: Tensor) -> tuple[Tensor, Tensor]:
    """Sort the times of every sample after the start; return them and where each one went."""
    start = time.amin(1, keepdim=True) if law.start is None else time.new_full((len(time), 1), 0.0)
    if law.start is not None:
        start = start + law.start
        if bool((time < start).any()):
            raise InputError(
                f"{law}: times before the start",
                found=f"{time.min().item():.6g} {law.time}",
                expected=f"at least {law.start:.6g} {law.time}, where the initial state holds",
                fix="set start on the class (None: the first time of each sample)",
            )
    ordered, order = time.sort(dim=1)
    return torch.cat([start, ordered], 1), order.argsort(dim=1) + 1
