"""What each part of the recipe is worth, on the sets of the study of discovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from pima_physics.validation.cases.ablation.ways import (
    Warm,
    axis_for_each_node,
    mixture_on_the_latent,
    one,
    seen_in,
    warm_up,
)
from pima_physics.validation.cases.discovery.study import HARDER, cases
from pima_physics.validation.cases.discovery.summary import GOOD, succeeded
from pima_physics.validation.cases.head_to_head.baselines import clusters_then_search, exact
from pima_physics.validation.cases.scoring import score
from pima_physics.validation.cases.study import Method, Run, Scores, Study

RECIPE = "full recipe"
WAYS: Mapping[str, Callable[[Warm], dict[str, float]]] = {
    RECIPE: one,
    "latent alone": lambda warm: one(warm, seen_in("latent"), trained="not"),
    "parameters alone": lambda warm: one(warm, seen_in("parameters"), trained="not"),
    "principal components alone": lambda warm: one(warm, seen_in("components"), trained="not"),
    "mixture on the latent": lambda warm: one(warm, mixture_on_the_latent, trained="freely"),
    "an axis for each node": lambda warm: one(warm, axis_for_each_node, trained="freely"),
}
STRUCTURES: Mapping[str, str] = {"edgeless prior": "edgeless", "joint without nodes": "joint"}
BASELINE = "components, mixture, exact graph"

COLUMNS = {
    "found_worst": "worst node, discovery",
    "found_ari": "joint ARI, discovery",
    "found_shd": "CPDAG SHD, discovery",
    "worst": "worst node, trained",
    "ari": "joint ARI, trained",
    "shd": "CPDAG SHD, trained A",
    "shd_exact": "CPDAG SHD, exact score",
    "elbo_before": "validation ELBO, discovery",
    "elbo": "validation ELBO, trained",
}
ABOUT = (
    "{samples} samples, {epochs} epochs, physics decoder of the signal or curve; sets, seeds and "
    "scores as in the study of discovery. All ways of a set and seed go on from one and the same "
    "warm-up (edgeless and joint: with the same weights at first). Full recipe: search in all "
    "views, held targets, release. Latent (with physical parameters decoded from it), fitted "
    "physical parameters, principal components alone: the same search in these views only, not "
    "trained further. Mixture on the latent, as in the paper: a Gaussian for each joint outcome "
    "with free means, best of five starts, then the plain bound. An axis for each node: the axes "
    "of the latent whose two groups are clearest, then the plain bound. Edgeless: the recipe with "
    "every edge forbidden. Joint without nodes: one node with all joint outcomes; its clusters, "
    "and those of the baseline, are named by the truth, in their favour. Baseline: mixture of "
    "full covariances on eight principal components, exact score of the graph, all samples."
)


def study(samples: int, epochs: int) -> Study:
    """Every way on every set that is not one of the harder ones."""
    easy = {label: made for label, made in cases().items() if not _is_harder(label)}
    effort = f"{samples} samples, {epochs} epochs"

    @lru_cache(maxsize=1)
    def warmed(label: str, seed: int, structure: str = "learned") -> Warm:
        name, make = easy[label]
        return warm_up(name, *make(samples, seed), seed=seed, epochs=epochs, structure=structure)

    def way(label: str, run: Callable[[Warm], Scores]) -> Method:
        return lambda seed: run(warmed(label, seed))

    def structure(label: str, kind: str) -> Method:
        return lambda seed: one(warmed(label, seed, kind))

    def baseline(label: str) -> Method:
        def run(seed: int) -> dict[str, float]:
            data, truth = easy[label][1](samples, seed)
            return score(clusters_then_search(exact)(data, truth, seed), truth)

        return run

    methods: dict[tuple[str, str], Method] = {}
    for label in easy:
        case = f"{label}: {effort}"
        methods |= {(case, name): way(label, run) for name, run in WAYS.items()}
        methods |= {(case, name): structure(label, kind) for name, kind in STRUCTURES.items()}
        methods[case, BASELINE] = baseline(label)
    return Study(
        name="ablation",
        title="What each part of the recipe is worth",
        about=ABOUT.format(samples=samples, epochs=epochs),
        methods=methods,
        columns=COLUMNS,
    )


def _is_harder(label: str) -> bool:
    return any(label.endswith(name) for name in HARDER)


def successes(study: Study, runs: Sequence[Run]) -> str:
    """In how many runs every node and the graph are right, for each way, as Markdown."""
    names = [*WAYS, *STRUCTURES, BASELINE]
    sets = list(dict.fromkeys(case for case, _ in study.methods))
    lines = [
        "## Successes",
        "",
        "Every node at least 0.95 and SHD 0, of the runs made: after the discovery, and trained "
        "(trained A). The baseline's stand with the trained ones. Without nodes or edges there is "
        "no graph to be right: of those the nodes alone are counted.",
        "",
        f"| set | when | {' | '.join(names)} |",
        f"|---|---|{'---:|' * len(names)}",
    ]
    for case in sets:
        own = {n: [r for r in runs if (r.case, r.method) == (case, n)] for n in names}
        for when, prefix in (("discovery", "found_"), ("trained", "")):
            cells = [_count(own[n], prefix, graph=n not in STRUCTURES) for n in names]
            lines.append(f"| {case.split(':')[0]} | {when} | {' | '.join(cells)} |")
    gained = [
        r.scores["elbo"] - r.scores["elbo_before"]
        for r in runs
        if r.method == RECIPE and "elbo" in r.scores
    ]
    better = sum(g > 0 for g in gained)
    lines += ["", f"Joint training raised the validation ELBO in {better} of {len(gained)} runs."]
    return "\n".join(lines) + "\n"


def _count(runs: Sequence[Run], prefix: str, *, graph: bool) -> str:
    scored = [r for r in runs if r.error or f"{prefix}worst" in r.scores]
    if not scored:
        return "-"
    worst, shd = f"{prefix}worst", f"{prefix}shd"
    if graph:
        good = sum(succeeded(r, worst=worst, shd=shd) for r in scored)
    else:
        good = sum(r.scores.get(worst, 0.0) >= GOOD for r in scored)
    return f"{good} of {len(scored)}"
