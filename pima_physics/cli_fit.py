"""The commands ``fit`` and ``demo``: check everything, fit, then replace the files of the run."""

from __future__ import annotations

import contextlib
import logging
import platform
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pima_physics import checkpoint, distributed, training
from pima_physics.atomic import write_text
from pima_physics.cli_common import CrashError, say
from pima_physics.cli_plan import Plan, code_text, make_plan
from pima_physics.cli_progress import display
from pima_physics.cli_proposal import proposed
from pima_physics.cli_resume import (
    already_finished,
    can_resume,
    hint_on_interrupt,
    refuse_to_replace,
)
from pima_physics.config import Experiment
from pima_physics.config_yaml import dump_mapping
from pima_physics.distributed import from_first
from pima_physics.errors import PimaError
from pima_physics.runfolder import RunFolder

CAVEAT = (
    "What the data cannot tell: edges are known up to the Markov-equivalence class only, and the\n"
    "names and numbers of outcomes are arbitrary; background knowledge, labels or interventions\n"
    "can settle more. Compare with known factors by pima-physics validate before you rely on it."
)


def run_fit(
    experiment: Experiment, folder: Path, *, resume: bool = False, overwrite: bool = False
) -> Any:
    """Fit an experiment into a run folder and return the result.

    Nothing is created before data, units, simulators and options are checked; results of an
    earlier run stay until the new ones are complete.

    Raises
    ------
    InputError
        Where the experiment cannot be run, the folder is in use, or holds another experiment.
    """
    plan = make_plan(experiment)
    options = experiment.fit_options(training.fit)
    run = RunFolder(folder)
    run.check_usable()
    proposal = None
    if experiment.automatic:
        with run.locked(), _logged(run):
            experiment, proposal = from_first(lambda: proposed(plan, run))
        plan = make_plan(experiment)
    if not overwrite:
        before = already_finished(plan, run)
        if before is not None:
            return before
    if not overwrite and not (resume and can_resume(run)):
        refuse_to_replace(plan, run)
    if distributed.rank() > 0:  # of several processes, only the first one writes
        training.fit(
            plan.model, plan.dataset, prepared=plan.prepared, run=run, resume=resume, **options
        )
        return None
    started = time.monotonic()
    with run.locked(), _logged(run), _collected_warnings() as caught:
        _log_start(plan, run)
        with hint_on_interrupt(run, experiment):
            with display() as progress:
                result = training.fit(
                    plan.model,
                    plan.dataset,
                    progress=progress,
                    prepared=plan.prepared,
                    run=run,
                    resume=resume,
                    **options,
                )
            if proposal is not None:
                result = result.with_group("proposal", proposal.to_dataset())
            _save(result, run, experiment)
        checkpoint.clear(run)
        logging.getLogger("pima_physics").info("finished in %.0f s", time.monotonic() - started)
    for text in caught:
        say(f"warning: {text}")
    return result


def run_demo(folder: Path, *, epochs: int | None = None) -> Path:
    """Write the embedded data set and its experiment, fit it, print what was found.

    Returns
    -------
    Path
        The report.
    """
    from importlib import import_module

    datasets = import_module("pima_physics.datasets")
    RunFolder(folder).check_usable()
    data, _ = datasets.write("lattices", folder / "data.nc", seed=0)
    mapping = datasets.experiment("lattices") | {"data": data.name}
    path = folder / "experiment.yaml"
    write_text(path, dump_mapping(mapping))
    say(f"wrote {data} and {path}; fitting (some minutes on two cores)")
    run = RunFolder(folder / "run")
    result = run_fit(Experiment.load(path, epochs=epochs), run.path, overwrite=True)
    print(result)
    print(f"\n{CAVEAT}\n\n{next_steps(run)}")
    print(
        f"  factors that made the data: pima-physics validate {run.path} --labels "
        f"{folder / 'data_truth.nc'}:process,lattice,strength"
    )
    return run.report


def next_steps(run: RunFolder) -> str:
    """Return where the results are and what can be done with them."""
    return (
        f"results:  {run.results}\n"
        f"report:   {run.report}\n"
        "next:\n"
        f"  predict one modality from another: pima-physics predict {run.path} DATA.nc "
        "--given MODALITY --output OUT.nc\n"
        f"  set a node:                        pima-physics intervene {run.path} "
        "--do NODE=OUTCOME --output OUT.nc"
    )


def _save(result: Any, run: RunFolder, experiment: Experiment) -> None:
    resolved = experiment.resolved() | {"provenance": provenance(experiment)}
    with run.staged() as stage:
        result.save(stage.path, resolved)
        result.report(stage.report, resolved)
        write_text(stage.experiment, dump_mapping(resolved))  # as Experiment.load reads it


def provenance(experiment: Experiment) -> dict[str, str]:
    """Return which versions on which machine ran the experiment, and when."""
    names = ("pima_physics", "torch", "xarray", "numpy", "pint")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiment_file": str(experiment.path.absolute()) if experiment.path else "none",
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: version(name) for name in names},
    }


def _log_start(plan: Plan, run: RunFolder) -> None:
    log = logging.getLogger("pima_physics")
    log.info("fit into %s: %s", run.path.absolute(), plan.experiment.data)
    for line in code_text(plan.model.modalities).splitlines():
        log.info("%s", line)
    for key, value in provenance(plan.experiment).items():
        log.debug("%s: %s", key, value)


@contextlib.contextmanager
def _logged(run: RunFolder) -> Iterator[None]:
    """Append to the run's log; unexpected errors leave their traceback there.

    Lines of progress also go to stderr where that is no terminal (a bar is drawn there).
    """
    log = logging.getLogger("pima_physics")
    level, form = log.level, logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    file = logging.FileHandler(run.log, encoding="utf-8")
    screen = logging.StreamHandler(sys.stderr)
    screen.setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    file.setFormatter(form)
    log.setLevel(logging.DEBUG)
    for handler in (file, screen):
        log.addHandler(handler)
    try:
        yield
    except PimaError as error:
        _to_file(file, f"failed: {error}")
        raise
    except KeyboardInterrupt as error:
        _to_file(file, f"stopped. {error}")
        raise
    except (Exception, SystemExit) as error:  # a simulator may call exit()
        _to_file(file, traceback.format_exc())
        raise CrashError(error, run.log) from error
    finally:
        log.setLevel(level)
        for handler in (file, screen):
            log.removeHandler(handler)
        file.close()


def _to_file(file: logging.FileHandler, text: str) -> None:
    """Write to the log file only: the user sees the error anyway, once."""
    file.handle(logging.LogRecord("pima_physics", logging.ERROR, "", 0, text, None, None))


@contextlib.contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Collect warnings, each once; those meant for users are shown when all is done."""
    texts: list[str] = []
    log = logging.getLogger("pima_physics")

    def keep(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        text = str(message)
        log.debug("%s: %s (%s:%d)", category.__name__, text, filename, lineno)
        for_users = not issubclass(category, DeprecationWarning | FutureWarning | ImportWarning)
        if for_users and text not in texts:
            texts.append(text)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = keep
        yield texts
