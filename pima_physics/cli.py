"""The command line ``pima-physics``: one function for each command, the work is elsewhere.

Heavy libraries are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from pima_physics.cli_causal import add_commands
from pima_physics.cli_common import debug, reported

app = typer.Typer(
    name="pima-physics",
    help="Causal features from multimodal measurements, with physics decoders.",
    epilog="First: pima-physics demo. With your own data: pima-physics init --from DATA.nc",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", show_default=False)]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help="Data file to use instead of the one named in it."),
]
DataFile = Annotated[Path, typer.Argument(metavar="DATA.nc", show_default=False)]
OutputFile = Annotated[Path, typer.Option("--output", metavar="OUT.nc", help="File to write.")]


def _named(group: str) -> Callable[[str], list[str]]:
    """Return what completes a name in the shell, read without loading what it names."""

    def complete(incomplete: str) -> list[str]:
        names = (entry.name for entry in entry_points(group=f"pima_physics.{group}"))
        return sorted(name for name in names if name.startswith(incomplete))

    return complete


def _print_version(wanted: bool) -> None:
    if wanted:
        from pima_physics import __version__

        typer.echo(f"pima-physics {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    show_traceback: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    debug.set(show_traceback)


@app.command(epilog="Example: pima-physics demo --output demo")
@reported
def demo(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")] = Path("demo"),
    epochs: Annotated[int | None, typer.Option(min=1, hidden=True)] = None,
) -> None:
    """Run the main job on an embedded data set (some minutes on two cores)."""
    from pima_physics.cli_fit import run_demo

    typer.echo(f"report: {run_demo(output, epochs=epochs)}")


@app.command(epilog="Example: pima-physics init --from tension.nc --output tension.yaml")
@reported
def init(
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA.nc]", help="Data file to look at.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DATA.nc", help="The same, by name.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="EXPERIMENT.yaml", help="File to write (default: named as the data)."),
    ] = None,
) -> None:
    """Look at a data file and write a commented experiment file for it."""
    from pima_physics.cli_init import run_init
    from pima_physics.errors import ConfigError

    if data is not None and source is not None and data != source:
        raise ConfigError("two data files are named", found=f"{data}, {source}", fix="keep one")
    written = run_init(data or source, output)
    typer.echo(f"wrote {written}\nnext: edit it, then pima-physics check {written}")


@app.command(epilog="Example: pima-physics check tension.yaml --data tension.nc")
@reported
def check(experiment: ExperimentFile, data: DataOption = None) -> None:
    """Dry run: check data, units, simulators and shapes; say what would be fitted."""
    from pima_physics.cli_plan import describe, make_plan
    from pima_physics.config import Experiment

    plan = make_plan(Experiment.load(experiment, data=data))
    typer.echo(describe(plan))
    typer.echo(f"\nAll is well; nothing was fitted. Next: pima-physics fit {experiment}")


@app.command(epilog="Example: pima-physics fit tension.yaml --output runs/tension --seed 1")
@reported
def fit(
    experiment: ExperimentFile,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run folder (default: runs/EXPERIMENT).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Replaces training.seed.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Replaces training.epochs.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or cuda:N; replaces training.device.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Fit again where a finished run is.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Fit an experiment: features, causal graph, physical parameters, report."""
    from pima_physics.cli_fit import CAVEAT, next_steps, run_fit
    from pima_physics.config import Experiment
    from pima_physics.runfolder import RunFolder

    plan = Experiment.load(experiment, data=data, seed=seed, epochs=epochs, device=device)
    folder = output if output is not None else Path("runs") / experiment.stem
    result = run_fit(plan, folder, resume=resume, overwrite=overwrite)
    if result is None:  # not the first of several processes
        return
    typer.echo(f"{result}\n\n{CAVEAT}\n\n{next_steps(RunFolder(folder))}")


@app.command(
    epilog="Example: pima-physics predict runs/tension new.nc --given trace --output curves.nc"
)
@reported
def predict(
    run: Run,
    data: DataFile,
    given: Annotated[str, typer.Option(metavar="MOD[,MOD]", help="Modalities to predict from.")],
    output: OutputFile,
) -> None:
    """Predict every modality from the given ones: mean and std, noise included."""
    from pima_physics.cli_query import run_predict

    run_predict(run, data, given, output)
    typer.echo(f"wrote {output}")


@app.command(
    epilog="Example: pima-physics intervene runs/tension --do temperature=2 --output hot.nc"
)
@reported
def intervene(
    run: Run,
    do: Annotated[
        list[str], typer.Option(metavar="NODE=OUTCOME", help="Node to set; may be repeated.")
    ],
    output: OutputFile,
    samples: Annotated[int, typer.Option(min=1, help="Number of samples to draw.")] = 1000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draw samples with nodes set by intervention, in data units."""
    from pima_physics.cli_query import run_intervene

    run_intervene(run, do, samples, seed, output)
    typer.echo(f"wrote {output}")


add_commands(app)


@app.command(
    epilog="Example: pima-physics validate runs/tension --labels tension.nc:temperature_level"
)
@reported
def validate(
    run: Run,
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE.nc:VAR[,VAR]", help="Known factors; may be repeated."),
    ] = None,
    mechanisms: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Known mechanisms; exit code 1 if one is missed."),
    ] = None,
) -> None:
    """Compare with known factors and mechanisms; write validation.json and print a table."""
    from pima_physics.cli_validate import run_validate

    text, passed = run_validate(run, labels or [], mechanisms)
    typer.echo(f"{text}\n\nwrote {run / 'validation.json'}")
    if not passed:
        raise typer.Exit(1)


@app.command(epilog="Example: pima-physics report runs/tension")
@reported
def report(run: Run) -> None:
    """Write report.html: one self-contained page."""
    from pima_physics.cli_query import run_report

    typer.echo(f"wrote {run_report(run)}")


@app.command(epilog="Example: pima-physics simulators voce --check")
@reported
def simulators(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A name, or package.module:Object.",
            autocompletion=_named("simulators"),
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check its dimensions, gradients and batching.")
    ] = False,
    time_limit: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="S", help="Seconds that one run may take in the check."),
    ] = None,
) -> None:
    """List the simulators, or describe one."""
    from pima_physics import cli_catalogue as catalogue
    from pima_physics.errors import ConfigError, PimaError

    if name is None and (check or time_limit):
        raise ConfigError("--check needs a NAME", fix="pima-physics simulators NAME --check")
    if name is None:
        typer.echo(catalogue.list_simulators())
    elif not check:
        typer.echo(catalogue.describe_simulator(name))
    else:
        text, passed = catalogue.check_simulator(name, time_limit)
        typer.echo(text)
        if not passed:
            raise PimaError(f"simulator {name} failed its checks")


@app.command(epilog="Example: pima-physics datasets lattices --output lattices.nc")
@reported
def datasets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", show_default=False, autocompletion=_named("datasets")),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE.nc", help="Write it here, its truth to FILE_truth.nc."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of a generated set.")] = None,
) -> None:
    """List the data sets, describe one, or write one to a file."""
    from pima_physics import cli_catalogue as catalogue
    from pima_physics.errors import ConfigError

    if name is None and output is not None:
        raise ConfigError("--output needs the NAME of a data set")
    if name is None:
        typer.echo(catalogue.list_datasets())
    elif output is None:
        typer.echo(catalogue.describe_dataset(name))
    else:
        data, truth = catalogue.write_dataset(name, output, seed)
        typer.echo(f"wrote {data}\nwrote {truth} (known factors; not for fitting)")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; ``--debug`` may stand anywhere."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if "--debug" in given:
        given = ["--debug", *(word for word in given if word != "--debug")]
    app(args=given, prog_name="pima-physics")


if __name__ == "__main__":
    main()
