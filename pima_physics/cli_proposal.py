"""``nodes: auto``: the nodes that the data show, found before the fit and kept in its folder."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from pima_physics.atomic import write_text
from pima_physics.cli_plan import Plan
from pima_physics.cli_progress import display
from pima_physics.config import Experiment
from pima_physics.errors import DataError
from pima_physics.proposal import Proposal, Tried
from pima_physics.results_provenance import checksum
from pima_physics.runfolder import RunFolder
from pima_physics.training_proposal import propose_nodes


def proposed(plan: Plan, run: RunFolder) -> tuple[Experiment, Proposal]:
    """The experiment with the nodes that its data show.

    Raises
    ------
    DataError
        Where they show none.
    """
    key = _key(plan)
    proposal = _kept(run, key)
    if proposal is None:
        log = logging.getLogger("pima_physics")
        log.info("nodes: auto: looking for features, as in the warm-up of the fit")
        with display() as progress:
            proposal = propose_nodes(
                plan.experiment.modalities,
                plan.dataset,
                latent_dim=plan.experiment.file.latent.dim,
                progress=progress,
                **plan.experiment.fit_options(propose_nodes, partial=True),
            )
        for line in str(proposal).splitlines():
            log.info("%s", line)
        write_text(run.proposal, json.dumps({"key": key, **_as_mapping(proposal)}, indent=1))
    if not proposal.outcomes:
        tried = "; ".join(str(proposal).splitlines()[1:])
        raise DataError(
            "nodes: auto found no feature",
            found=f"{proposal.reason}; tried: {' '.join(tried.split())}",
            expected="groups of samples, in what the modalities have in common",
            fix="state nodes if you know that there are some, or train for more epochs",
        )
    return plan.experiment.with_nodes(proposal.nodes), proposal


def _key(plan: Plan) -> str:
    """What the proposal depends on."""
    resolved = plan.experiment.resolved() | {"graph": None}
    text = json.dumps([resolved, checksum(plan.dataset, plan.prepared.data)], default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_mapping(proposal: Proposal) -> dict[str, Any]:
    return {
        "outcomes": list(proposal.outcomes),
        "reason": proposal.reason,
        "tried": [
            {"outcomes": t.outcomes, "evidence": t.evidence, "supported": t.supported}
            for t in proposal.curve
        ],
    }


def _kept(run: RunFolder, key: str) -> Proposal | None:
    """An earlier proposal for the same experiment and data."""
    try:
        found = json.loads(run.proposal.read_text("utf-8"))
        if found["key"] != key:
            return None
        curve = tuple(
            Tried(
                tuple(int(c) for c in t["outcomes"]),
                tuple(float(e) for e in t["evidence"]),
                int(t["supported"]),
            )
            for t in found["tried"]
        )
        return Proposal(tuple(int(c) for c in found["outcomes"]), curve, str(found["reason"]))
    except (OSError, ValueError, KeyError, TypeError):  # none, or damaged: looked for again
        return None
