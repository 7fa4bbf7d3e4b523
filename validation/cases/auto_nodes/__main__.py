"""``nodes: auto`` against what is known, seed after seed."""

from __future__ import annotations

import argparse
import os
from functools import partial

from pima_physics.validation.cases.auto_nodes.study import study
from pima_physics.validation.cases.auto_nodes.summary import proposals
from pima_physics.validation.cases.study import arguments, conduct


def main() -> None:
    """Parse the arguments and run."""
    parser = arguments("auto_nodes", __doc__)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--data", default=os.environ.get("PIMA_SHARED_DATA", "../shared/data"))
    print(report(parser.parse_args()))


def report(options: argparse.Namespace) -> str:
    """Run what is missing; write and return the table with what was proposed."""
    if options.small:
        options.samples, options.epochs, options.seeds = 1000, 20, min(options.seeds, 1)
    chosen = study(options.samples, options.epochs, options.data)
    return conduct(chosen, options, closing=partial(proposals, chosen))


if __name__ == "__main__":
    main()
