"""Parts of the recipe of discovery one by one, seed after seed."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial

from pima_physics.validation.cases.ablation.study import study, successes
from pima_physics.validation.cases.study import arguments, conduct


def main() -> None:
    """Parse the arguments and run."""
    parser = arguments("ablation", __doc__)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--cases", default="", help="sets that contain this text")
    print(report(parser.parse_args()))


def report(options: argparse.Namespace) -> str:
    """Run what is missing; write and return the table with the successes."""
    if options.small:
        options.samples, options.epochs, options.seeds = 400, 12, min(options.seeds, 1)
    chosen = study(options.samples, options.epochs)
    own = {key: run for key, run in chosen.methods.items() if options.cases in key[0]}
    chosen = replace(chosen, methods=own)
    return conduct(chosen, options, closing=partial(successes, chosen))


if __name__ == "__main__":
    main()
