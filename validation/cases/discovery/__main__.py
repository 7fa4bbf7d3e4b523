"""Discovery on sets with known features and on controls without, seed after seed."""

from __future__ import annotations

import argparse
from functools import partial

from pima_physics.validation.cases.discovery.study import study
from pima_physics.validation.cases.discovery.summary import successes
from pima_physics.validation.cases.study import arguments, conduct


def main() -> None:
    """Parse the arguments and run."""
    parser = arguments("discovery", __doc__)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--neural", action="store_true", help="networks instead of the laws")
    print(report(parser.parse_args()))


def report(options: argparse.Namespace) -> str:
    """Run what is missing; write and return the table with the successes."""
    if options.small:
        options.samples, options.epochs, options.seeds = 400, 12, min(options.seeds, 1)
    chosen = study(options.samples, options.epochs, neural=options.neural)
    return conduct(chosen, options, closing=partial(successes, chosen))


if __name__ == "__main__":
    main()
