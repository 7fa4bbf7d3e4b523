"""The commands that ask a finished run what would be: ``counterfactual``, ``effect`` and others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pima_physics.cli_common import reported

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
DataFile = Annotated[Path, typer.Argument(metavar="DATA.nc", show_default=False)]
OutputFile = Annotated[Path, typer.Option("--output", metavar="OUT.nc", help="File to write.")]
Seed = Annotated[int, typer.Option(min=0)]
Do = Annotated[
    list[str], typer.Option(metavar="NODE=OUTCOME", help="Node to set; may be repeated.")
]


@reported
def counterfactual(
    run: Run,
    data: DataFile,
    do: Do,
    output: OutputFile,
    draws: Annotated[int, typer.Option(min=2, help="Draws for mean and spread.")] = 64,
    seed: Seed = 0,
) -> None:
    """What would have been observed of these samples, had nodes been set otherwise."""
    from pima_physics.cli_query import run_counterfactual

    run_counterfactual(run, data, do, draws, seed, output)
    typer.echo(f"wrote {output}")


@reported
def effect(
    run: Run,
    node: Annotated[str, typer.Argument(metavar="NODE", show_default=False)],
    quantity: Annotated[
        str,
        typer.Argument(
            metavar="QUANTITY", show_default=False, help="Physical parameter, variable or modality."
        ),
    ],
    reference: Annotated[
        int, typer.Option(min=0, help="Outcome that the differences refer to.")
    ] = 0,
    output: Annotated[
        Path | None, typer.Option(metavar="OUT.nc", help="File to write as well.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Average causal effect of a node on a parameter or observable, with its interval."""
    from pima_physics.cli_query import run_effect

    typer.echo(run_effect(run, node, quantity, reference, seed, output))
    if output is not None:
        typer.echo(f"wrote {output}")


@reported
def sample(
    run: Run,
    output: OutputFile,
    samples: Annotated[int, typer.Option(min=1, help="Number of samples to draw.")] = 1000,
    seed: Seed = 0,
) -> None:
    """Draw samples from the model as it is, in data units."""
    from pima_physics.cli_query import run_sample

    run_sample(run, samples, seed, output)
    typer.echo(f"wrote {output}")


@reported
def explain(
    run: Run,
    output: OutputFile,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA.nc]", help="New samples; default: those of the fit."),
    ] = None,
) -> None:
    """Most probable joint outcome of every sample, with its probability."""
    from pima_physics.cli_query import run_explain

    run_explain(run, data, output)
    typer.echo(f"wrote {output}")


EXAMPLES = {
    counterfactual: "counterfactual runs/tension new.nc --do temperature=2 --output hot.nc",
    effect: "effect runs/tension temperature yield_stress",
    sample: "sample runs/tension --samples 500 --output drawn.nc",
    explain: "explain runs/tension new.nc --output outcomes.nc",
}


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this file."""
    for function, example in EXAMPLES.items():
        app.command(epilog=f"Example: pima-physics {example}")(function)
