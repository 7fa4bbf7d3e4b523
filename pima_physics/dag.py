"""The DAG prior p(c) over joint outcomes of the categorical nodes, differentiable in its edges."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pima_physics.errors import ConfigError
from pima_physics.knowledge import PERFECT, STOCHASTIC, Knowledge

MAX_COMPONENTS = 65536


@dataclass(frozen=True, init=False)
class DAG:
    """Nodes, their outcomes and what is known about their graph.

    Parameters
    ----------
    tiers : sequence of sequences of str
        Nodes of a later tier cannot cause nodes of an earlier one.
    forbidden, required : sequence of (parent, child)
    order : sequence of str, optional
        Causal order of all nodes.
    roots : sequence of str
        Nodes without parents.
    interventions : {"perfect", "stochastic", "soft"}
        What acting on a node does to its table; see :class:`pima_physics.knowledge.Knowledge`.
    **nodes : int
        Name of a node = number of its outcomes, at least 2.
    """

    nodes: tuple[str, ...]
    outcomes: tuple[int, ...]
    knowledge: Knowledge

    def __init__(
        self,
        *,
        tiers: Sequence[Sequence[str]] = (),
        forbidden: Sequence[tuple[str, str]] = (),
        required: Sequence[tuple[str, str]] = (),
        order: Sequence[str] | None = None,
        roots: Sequence[str] = (),
        interventions: str = PERFECT,
        **nodes: int,
    ) -> None:
        knowledge = Knowledge(
            nodes=tuple(nodes),
            tiers=tuple(tuple(t) for t in tiers),
            forbidden=tuple((a, b) for a, b in forbidden),
            required=tuple((a, b) for a, b in required),
            order=None if order is None else tuple(order),
            roots=tuple(roots),
            interventions=interventions,
        )
        self._set(nodes, knowledge)

    @classmethod
    def from_knowledge(cls, nodes: Mapping[str, int], knowledge: Knowledge) -> DAG:
        """A DAG whose background knowledge is already a record."""
        dag = cls.__new__(cls)
        dag._set(nodes, knowledge)
        return dag

    def _set(self, nodes: Mapping[str, int], knowledge: Knowledge) -> None:
        if not nodes:
            raise ConfigError("the DAG has no nodes", fix="give at least one, e.g. DAG(phase=2)")
        for name, count in nodes.items():
            if int(count) != count or count < 2:
                raise ConfigError(
                    f"node '{name}' has an impossible number of outcomes",
                    found=count,
                    expected="an integer >= 2",
                )
        components = int(np.prod([int(c) for c in nodes.values()], dtype=float))
        if components > MAX_COMPONENTS:
            raise ConfigError(
                "too many joint outcomes",
                found=f"{components} components",
                expected=f"at most {MAX_COMPONENTS}",
                fix="use fewer nodes or fewer outcomes",
            )
        object.__setattr__(self, "nodes", tuple(nodes))
        object.__setattr__(self, "outcomes", tuple(int(c) for c in nodes.values()))
        object.__setattr__(self, "knowledge", knowledge)

    @property
    def components(self) -> int:
        """Number K of joint outcomes."""
        return int(np.prod(self.outcomes))

    def joint_outcomes(self) -> np.ndarray:
        """Outcome of every node in every component, int array (component, node), C order."""
        return np.array(list(itertools.product(*(range(c) for c in self.outcomes))), dtype=int)

    def marginals(self, responsibility: Tensor) -> list[Tensor]:
        """Outcome probabilities of every node from (batch, component) probabilities."""
        joint = responsibility.reshape(-1, *self.outcomes)
        axes = range(1, joint.dim())
        return [
            joint.sum([a for a in axes if a != node + 1]) if joint.dim() > 2 else joint
            for node in range(len(self.nodes))
        ]

    def product(self, marginals: Sequence[Tensor]) -> Tensor:
        """Joint probabilities (batch, component) of independent node probabilities."""
        joint = marginals[0]
        for other in marginals[1:]:
            joint = (joint[:, :, None] * other[:, None, :]).flatten(1)
        return joint


class DAGPrior(nn.Module):
    r"""Tables and edge strengths of the DAG.

    .. math:: A_{ij} = \mathrm{relu}\,\tanh\!\big(B_{ij}(\xi_j - \xi_i) / \tau\big), \qquad
              p(c) = \prod_l p(n_l \mid n_{pa(l)})

    ===========  ==========================================================
    :math:`\xi`    node scores; an edge points from a lower to a higher score
    :math:`B`      symmetric non-negative metric
    :math:`\tau`   temperature, annealed towards 0/1 edges
    :math:`A`      edge strengths in [0, 1), acyclic by construction
    ===========  ==========================================================

    Node l has a logit for every outcome of all other nodes. An edge of strength a interpolates
    between the mean over the parent's axis (a = 0) and the full dependence (a = 1).
    Forbidden edges are masked; a required edge has strength 1, and its scores are ordered by
    construction, so that no parameter value can break background knowledge.
    """

    def __init__(self, dag: DAG) -> None:
        super().__init__()
        self.dag = dag
        size = len(dag.nodes)
        self.scores = nn.Parameter(torch.linspace(-0.5, 0.5, size) if size > 1 else torch.zeros(1))
        self.metric = nn.Parameter(torch.ones(size, size))
        self.logits = nn.ParameterList([torch.zeros(dag.outcomes) for _ in dag.nodes])
        changed = [] if dag.knowledge.interventions == PERFECT else dag.nodes
        self.changed = nn.ParameterList([torch.zeros(dag.outcomes) for _ in changed])
        self.temperature: Tensor
        self.allowed: Tensor
        self.required: Tensor
        self.log_weight: Tensor
        self.register_buffer("temperature", torch.tensor(1.0))
        self.register_buffer(
            "log_weight", torch.full((dag.components,), -float(np.log(dag.components)))
        )
        self.register_buffer("allowed", torch.as_tensor(dag.knowledge.allowed.copy()).float())
        self.register_buffer(
            "required", torch.as_tensor(dag.knowledge.required_matrix.copy()).float()
        )

    def ordered_scores(self) -> Tensor:
        """Node scores with every required parent at least 1 below its child."""
        scores = list(self.scores.unbind())
        for child in _topological(self.required.cpu().numpy() > 0):
            for parent in range(len(scores)):
                if self.required[parent, child] > 0:
                    scores[child] = torch.maximum(scores[child], scores[parent] + 1.0)
        return torch.stack(scores)

    def edge_strength(self) -> Tensor:
        """Strengths A (parent, child)."""
        scores = self.ordered_scores()
        metric = softplus(0.5 * (self.metric + self.metric.T))
        gap = scores[None, :] - scores[:, None]
        strength = torch.relu(torch.tanh(metric * gap / self.temperature))
        off_diagonal = 1.0 - torch.eye(len(scores), device=gap.device, dtype=gap.dtype)
        strength = strength * self.allowed * off_diagonal
        return strength + self.required * (1.0 - strength)

    def log_tables(self) -> list[Tensor]:
        """log p(n_l | other nodes) per node, each with one axis per node."""
        return self._normalised(self.logits, self.edge_strength())

    def changed_log_tables(self) -> list[Tensor]:
        """log p(n_l | other nodes) of nodes acted on; 0 for perfect interventions."""
        kind = self.dag.knowledge.interventions
        if kind == PERFECT:
            return [torch.zeros_like(logits) for logits in self.logits]
        strength = self.edge_strength()
        return self._normalised(
            self.changed, torch.zeros_like(strength) if kind == STOCHASTIC else strength
        )

    def _normalised(self, parameters: nn.ParameterList, strength: Tensor) -> list[Tensor]:
        tables = []
        for node, logits in enumerate(parameters):
            table = logits
            for parent in range(len(self.dag.nodes)):
                if parent != node:
                    a = strength[parent, node]
                    table = (1.0 - a) * table.mean(parent, keepdim=True) + a * table
            tables.append(torch.log_softmax(table, dim=node))
        return tables

    def log_joint(self) -> Tensor:
        """log p(c), shape (component,)."""
        return self._sum(self.log_tables())

    @torch.no_grad()
    def refresh(self) -> None:
        """Store log p(c) in ``log_weight``: tables change once per block update, not per step."""
        self.log_weight.copy_(self.log_joint())

    def log_joint_do(self, intervened: Tensor) -> Tensor:
        r"""log p(c | do), one row per pattern of intervened nodes.

        .. math:: p(c \mid do(T)) = \prod_{l \notin T} p(n_l \mid n_{pa(l)})
                  \prod_{l \in T} p'_l(n_l \mid n_{pa(l)})

        The factor p' of a node acted on is 1 for perfect interventions, where its value enters
        through the sample's label; a learned table without parents for stochastic ones, and with
        the same parents for soft ones.

        Parameters
        ----------
        intervened : Tensor of bool, shape (pattern, node)
        """
        pairs = list(zip(self.log_tables(), self.changed_log_tables(), strict=True))
        return torch.stack(
            [
                self._sum([pair[acted] for pair, acted in zip(pairs, row, strict=True)])
                for row in intervened.tolist()
            ]
        )

    def _sum(self, tables: Sequence[Tensor]) -> Tensor:
        total = torch.zeros_like(self.logits[0])
        for table in tables:
            total = total + table
        return total.flatten()

    @torch.no_grad()
    def set_graph(
        self,
        graph: np.ndarray,
        tables: Sequence[np.ndarray],
        changed: Sequence[np.ndarray] | None = None,
    ) -> None:
        """Start from a known DAG (parent, child) and its conditional tables.

        Each table has one axis per node, of size 1 for nodes that are no parents. ``changed``
        are those of nodes acted on, by default the same.
        """
        rank = np.empty(len(graph))
        rank[_topological(graph > 0)] = np.arange(len(graph), dtype=float)
        self.scores.copy_(torch.as_tensor(rank - rank.mean()))
        # softplus(3) = 3.05: tanh(3) is within 1 % of a full edge; softplus(-3) = 0.05 is none.
        present = torch.as_tensor((graph + graph.T) > 0)
        self.metric.copy_(torch.where(present, 3.0, -3.0))
        new = tables if changed is None else changed
        for parameters, given in ((self.logits, tables), (self.changed, new)):
            for logits, table in zip(parameters, given, strict=False):
                logp = torch.as_tensor(np.log(np.clip(table, 1e-6, None)))
                logits.copy_(logp.expand(self.dag.outcomes))
        self.refresh()


def _topological(graph: np.ndarray) -> list[int]:
    """Topological order of an acyclic boolean (parent, child) matrix."""
    left = list(range(len(graph)))
    order: list[int] = []
    while left:
        free = next(n for n in left if not graph[left, n].any())
        order.append(free)
        left.remove(free)
    return order
