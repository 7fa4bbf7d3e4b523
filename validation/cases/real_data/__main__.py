"""Known factors of given data sets, seed after seed."""

from __future__ import annotations

import os
from dataclasses import replace

from pima_physics.validation.cases.real_data.study import study
from pima_physics.validation.cases.study import arguments, conduct


def main() -> None:
    """Parse the arguments and run."""
    parser = arguments("real_data", __doc__, seeds=3)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--data", default=os.environ.get("PIMA_SHARED_DATA", "../shared/data"))
    parser.add_argument(
        "--case", default="", help="sets that contain this text; only they are in the table"
    )
    options = parser.parse_args()
    if options.small:
        options.epochs, options.seeds = 10, 1
    chosen = study(options.epochs, options.data)
    wanted = {key: run for key, run in chosen.methods.items() if options.case in key[0]}
    chosen = replace(chosen, methods=wanted)
    print(conduct(chosen, options))


if __name__ == "__main__":
    main()
