"""Networks whose graph is known: five bundled with pgmpy, and random ones."""

from __future__ import annotations

import numpy as np

from pima_physics.bayesnet import BayesNet
from pima_physics.structure_search import all_dags, matrices

BUNDLED = ("cancer", "earthquake", "survey", "asia", "sachs")


def bundled(name: str) -> BayesNet:
    """Load one of pgmpy's example networks (needs pgmpy)."""
    from pgmpy.utils import get_example_model  # type: ignore[import-not-found]

    model = get_example_model(name)
    nodes = tuple(str(node) for node in model.nodes())
    outcomes = tuple(int(model.get_cardinality(node)) for node in nodes)
    dag = np.zeros((len(nodes),) * 2, dtype=int)
    tables = []
    for child, node in enumerate(nodes):
        cpd = model.get_cpds(node)
        axes = [nodes.index(variable) for variable in cpd.variables]  # own axis first
        dag[[axis for axis in axes if axis != child], child] = 1
        shape = [outcomes[j] if j in axes else 1 for j in range(len(nodes))]
        tables.append(np.transpose(cpd.values, np.argsort(axes)).reshape(shape))
    return BayesNet(nodes, outcomes, dag, tuple(tables))


def random_network(size: int, generator: np.random.Generator) -> BayesNet:
    """Draw a uniform DAG with flat random tables and two or three outcomes per node."""
    dags = all_dags(size)
    dag = matrices(dags[generator.integers(len(dags))][None])[0]
    outcomes = tuple(int(count) for count in generator.integers(2, 4, size))
    tables = []
    for node in range(size):
        free = [outcomes[j] if dag[j, node] else 1 for j in range(size) if j != node]
        table = generator.dirichlet(np.ones(outcomes[node]), size=free)
        tables.append(np.moveaxis(table, -1, node))
    return BayesNet(tuple(f"n{i}" for i in range(size)), outcomes, dag, tuple(tables))
