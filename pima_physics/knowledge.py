"""Background knowledge about a graph: who may, must and must not be a parent of whom.

Knowledge is given with node names and used as boolean matrices over (parent, child):

    precedes[i, j]   i comes before j in every admissible order (tiers, order, required edges)
    allowed[i, j]    the edge i -> j may be present
    required[i, j]   the edge i -> j must be present

Every rule is about pairs of nodes, so that Meek's four rules stay complete under it (Meek 1995).
Contradictions are errors at construction: a `Knowledge` that exists can be satisfied.

Reference: C. Meek, "Causal inference and causal explanation with background knowledge", UAI 1995.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pima_physics.errors import InputError, Problems, closest

Edge = tuple[str, str]

# What acting on a node does to the node's own table; see `Knowledge`.
PERFECT, STOCHASTIC, SOFT = KINDS = ("perfect", "stochastic", "soft")


@dataclass(frozen=True)
class Knowledge:
    """What is known about the graph before looking at the data.

    Parameters
    ----------
    nodes : sequence of str
        Names of all nodes; their order is the order of the matrices.
    tiers : sequence of sequences of str
        Earlier tiers first (say, in time): a node of a later tier is no parent of a node of an
        earlier one. Nodes of the same tier, and nodes in no tier, are not constrained.
    forbidden, required : sequence of (parent, child)
        Edges that must be absent, or present.
    order : sequence of str, optional
        Causal order of the nodes named: a later one is no parent of an earlier one.
    roots : sequence of str
        Nodes without parents.
    interventions : {"perfect", "stochastic", "soft"}
        What acting on a node does. "perfect": it is set, its table is cut. "stochastic": it no
        longer listens to its parents; its outcomes follow one distribution, which is learned.
        "soft": it keeps its parents under another table, which is learned.

    Raises
    ------
    InputError
        Unknown names, malformed edges or contradictions; every offender is named at once.

    Examples
    --------
    >>> known = Knowledge(("load", "grain", "yield"), tiers=(("load", "grain"), ("yield",)))
    >>> bool(known.allowed[2, 0])
    False
    """

    nodes: tuple[str, ...]
    tiers: tuple[tuple[str, ...], ...] = ()
    forbidden: tuple[Edge, ...] = ()
    required: tuple[Edge, ...] = ()
    order: tuple[str, ...] | None = None
    roots: tuple[str, ...] = ()
    interventions: str = PERFECT

    def __post_init__(self) -> None:
        # A frozen record of tuples: lists from YAML are taken over by value.
        def keep(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        keep("nodes", tuple(self.nodes))
        keep("tiers", tuple(_names(tier, "tiers", "a list of lists") for tier in self.tiers))
        keep("forbidden", tuple(_edge(edge, "forbidden") for edge in self.forbidden))
        keep("required", tuple(_edge(edge, "required") for edge in self.required))
        keep("order", None if self.order is None else _names(self.order, "order", "a list"))
        keep("roots", _names(self.roots, "roots", "a list"))
        if self.interventions not in KINDS:
            raise InputError(
                "Unknown kind of interventions.",
                found=repr(self.interventions),
                expected=", ".join(KINDS),
            )
        _check_names(self)
        _check_contradictions(self)

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def required_matrix(self) -> np.ndarray:
        """Edges that must be present, bool (parent, child)."""
        return _frozen(_matrix(self, self.required))

    @cached_property
    def precedes(self) -> np.ndarray:
        """Transitive closure of tiers, order and required edges, bool (earlier, later)."""
        return _frozen(_closure(_matrix(self, (edge for edge, _ in _precedences(self)))))

    @cached_property
    def allowed(self) -> np.ndarray:
        """Edges that may be present, bool (parent, child); the diagonal is False."""
        allowed = ~np.eye(len(self), dtype=bool) & ~_matrix(self, self.forbidden)
        allowed &= ~self.precedes.T
        allowed[:, [self.nodes.index(name) for name in self.roots]] = False
        return _frozen(allowed)

    def violations(self, dag: np.ndarray) -> list[str]:
        """Return one sentence for every edge of ``dag`` (parent, child) that breaks a rule."""
        present = np.asarray(dag).astype(bool)
        if present.shape != self.allowed.shape:
            raise InputError(
                "The graph does not fit the knowledge.",
                found=f"shape {present.shape}",
                expected=f"{self.allowed.shape}, nodes {', '.join(self.nodes)}",
            )
        excess = [f"{self._arrow(i, j)} is not allowed" for i, j in _pairs(present & ~self.allowed)]
        absent = self.required_matrix & ~present
        return excess + [f"{self._arrow(i, j)} is required but absent" for i, j in _pairs(absent)]

    def permits(self, dag: np.ndarray) -> bool:
        """True where ``dag`` (parent, child) breaks no rule."""
        return not self.violations(dag)

    def _arrow(self, parent: int, child: int) -> str:
        return f"{self.nodes[parent]} -> {self.nodes[child]}"


def find_cycle(edges: np.ndarray) -> list[int] | None:
    """Return the nodes of one directed cycle in order, or None for an acyclic graph."""
    edges = np.asarray(edges).astype(bool)
    alive = np.ones(len(edges), dtype=bool)
    # Nodes with no living parent are on no cycle; what is left has a parent at every step back.
    while True:
        sources = alive & ~edges[alive].any(axis=0)
        if not sources.any():
            break
        alive &= ~sources
    if not alive.any():
        return None
    path = [int(np.flatnonzero(alive)[0])]
    while True:
        parent = int(np.flatnonzero(edges[:, path[-1]] & alive)[0])
        if parent in path:
            return path[path.index(parent) :][::-1]
        path.append(parent)


def _precedences(known: Knowledge) -> Iterator[tuple[Edge, str]]:
    """Yield every (earlier, later) pair with the rule that it comes from."""
    for edge in known.required:
        yield edge, "required"
    for i, tier in enumerate(known.tiers):
        for later in known.tiers[i + 1 :]:
            for pair in ((a, b) for a in tier for b in later):
                yield pair, "tiers"
    order = known.order or ()
    for i, name in enumerate(order):
        for later_name in order[i + 1 :]:
            yield (name, later_name), "order"


def _check_names(known: Knowledge) -> None:
    problems = Problems()
    used = {
        "tiers": [name for tier in known.tiers for name in tier],
        "forbidden": [name for edge in known.forbidden for name in edge],
        "required": [name for edge in known.required for name in edge],
        "order": list(known.order or ()),
        "roots": list(known.roots),
    }
    for where, names in used.items():
        for name in dict.fromkeys(n for n in names if n not in known.nodes):
            near = closest(name, known.nodes)
            problems.add(
                InputError(
                    f"Unknown node {name!r} in {where}.",
                    expected=f"one of {', '.join(known.nodes)}",
                    fix=f"did you mean {near!r}?" if near else None,
                )
            )
    once = {"nodes": list(known.nodes), "tiers": used["tiers"], "order": used["order"]}
    for where, names in once.items():
        for name in dict.fromkeys(n for n in names if names.count(n) > 1):
            problems.add(InputError(f"Node {name!r} is named twice in {where}."))
    for where in ("forbidden", "required"):
        for parent, child in getattr(known, where):
            if parent == child:
                problems.add(InputError(f"{parent} -> {child} in {where} joins a node to itself."))
    problems.raise_if_any()


def _check_contradictions(known: Knowledge) -> None:
    problems = Problems()

    def clash(edge: Edge, rule: str) -> None:
        problems.add(
            InputError(f"Edge {edge[0]} -> {edge[1]} is required but {rule}.", fix="drop one rule")
        )

    pairs = list(_precedences(known))
    earlier = {rule: {edge for edge, r in pairs if r == rule} for rule in ("tiers", "order")}
    for edge in dict.fromkeys(known.required):
        parent, child = edge
        if edge in known.forbidden:
            clash(edge, "forbidden")
        if child in known.roots:
            clash(edge, f"{child} is declared a root")
        if (child, parent) in earlier["tiers"]:
            clash(edge, f"the tiers put {child} before {parent}")
        if (child, parent) in earlier["order"]:
            clash(edge, f"the order puts {child} before {parent}")
    problems.raise_if_any()
    _check_cycles(known)


def _check_cycles(known: Knowledge) -> None:
    """Raise where required edges, tiers and order together close a cycle, naming each step."""
    rules: dict[Edge, str] = {}
    for edge, rule in _precedences(known):
        rules.setdefault(edge, rule)
    cycle = find_cycle(_matrix(known, rules))
    if cycle is None:
        return
    names = [known.nodes[i] for i in cycle]
    steps = list(zip(names, names[1:] + names[:1], strict=True))
    told = ", ".join(f"{a} -> {b} ({rules[a, b]})" for a, b in steps)
    required_only = all(rules[step] == "required" for step in steps)
    raise InputError(
        "The required edges form a cycle." if required_only else "The rules contradict each other.",
        found=told,
        expected="a graph without directed cycles",
        fix="drop one of these rules",
    )


def _names(value: object, where: str, expected: str) -> tuple[str, ...]:
    # A bare string would otherwise be read as a list of its letters.
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InputError(f"Malformed {where}.", found=repr(value), expected=f"{expected} of names")
    return tuple(str(name) for name in value)


def _edge(value: object, where: str) -> Edge:
    pair = _names(value, where, "a list of [parent, child] pairs")
    if len(pair) != 2:
        raise InputError(
            f"Malformed edge in {where}.", found=repr(value), expected="a pair [parent, child]"
        )
    return pair[0], pair[1]


def _matrix(known: Knowledge, edges: Iterator[Edge] | Sequence[Edge] | dict) -> np.ndarray:
    index = {name: i for i, name in enumerate(known.nodes)}
    matrix = np.zeros((len(known.nodes),) * 2, dtype=bool)
    for parent, child in edges:
        matrix[index[parent], index[child]] = True
    return matrix


def _closure(edges: np.ndarray) -> np.ndarray:
    reach = edges.copy()
    for k in range(len(reach)):  # Warshall's algorithm
        reach |= reach[:, k, None] & reach[None, k, :]
    return reach


def _pairs(matrix: np.ndarray) -> list[tuple[int, int]]:
    return [(int(i), int(j)) for i, j in np.argwhere(matrix)]


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
