"""Adam, with the lists of its tensors made once: for small networks they take as long as it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Adam(torch.optim.Adam):
    """torch's fused Adam; :meth:`advance` is its step with less ado, to the same bits."""

    def __init__(self, parameters: Iterable[Tensor], *, lr: float, fused: bool) -> None:
        super().__init__(parameters, lr=lr, fused=fused)
        self._lists: tuple[list[Tensor], ...] | None = None
        self._count = torch.zeros(0)
        self._rate: Tensor | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        # After a copy and after load_state_dict the tensors are others.
        super().__setstate__(state)
        self._lists, self._rate = None, None

    def set_rate(self, rate: float) -> None:
        """Set the learning rate, also for recorded steps."""
        for group in self.param_groups:
            group["lr"] = rate
        if self._rate is not None:
            self._rate.fill_(rate)

    def use_rate_in_memory(self) -> None:
        """Read the learning rate from memory from now on, as a recorded step has to."""
        if self._rate is None:
            (group,) = self.param_groups
            device = group["params"][0].device
            self._rate = torch.tensor(float(group["lr"]), dtype=torch.float32, device=device)

    @torch.no_grad()
    def advance(self, gradients: list[Tensor]) -> None:
        """Step along the gradients of all parameters that have one."""
        (group,) = self.param_groups
        if len(gradients) < len(group["params"]) or not group["fused"] or not self._gathered():
            self.step()
            return
        assert self._lists is not None
        parameters, first, second, steps = self._lists
        self._count.add_(1.0)
        torch._fused_adam_(  # pyright: ignore[reportPrivateImportUsage]
            parameters,
            gradients,
            first,
            second,
            [],
            steps,
            amsgrad=False,
            lr=group["lr"] if self._rate is None else self._rate,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )

    def _gathered(self) -> bool:
        """Make the lists where every parameter has its state, all counts in one tensor."""
        if self._lists is not None:
            return True
        parameters = self.param_groups[0]["params"]
        states = [self.state[p] for p in parameters if p in self.state]
        if len(states) < len(parameters):
            return False
        self._count = torch.stack([state["step"] for state in states])
        steps = list(self._count.unbind())
        for state, step in zip(states, steps, strict=True):
            state["step"] = step
        moments = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        self._lists = (parameters, *moments, steps)
        return True
