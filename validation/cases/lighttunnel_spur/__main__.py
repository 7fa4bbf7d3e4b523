"""The hidden polariser, seed after seed."""

from __future__ import annotations

import os

from pima_physics.errors import DataError
from pima_physics.validation.cases.lighttunnel_spur.study import study
from pima_physics.validation.cases.study import arguments, conduct


def main() -> None:
    """Parse the arguments and run."""
    parser = arguments("lighttunnel_spur", __doc__, seeds=5)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--data", default=os.environ.get("PIMA_SHARED_DATA", "../shared/data"))
    options = parser.parse_args()
    if options.small:
        options.epochs, options.seeds = 10, 1
    try:
        chosen = study(options.epochs, options.data, options.output)
    except DataError as error:
        raise SystemExit(str(error)) from None
    print(conduct(chosen, options))


if __name__ == "__main__":
    main()
