"""What all commands share: errors to exit codes, plain tables, choices written on one line."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from pima_physics.errors import ConfigError, PimaError, out_of_memory

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

debug: ContextVar[bool] = ContextVar("debug", default=False)
"""Whether tracebacks are shown (``--debug``)."""

_Command = TypeVar("_Command", bound=Callable[..., None])


class CrashError(Exception):
    """An error that nobody foresaw; its traceback was written to ``log``."""

    def __init__(self, cause: BaseException, log: Path) -> None:
        super().__init__(str(cause))
        self.cause, self.log = cause, log


def reported(command: _Command) -> _Command:
    """Make a command that turns every exception into a message on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        code = _run(lambda: command(*args, **kwargs))
        if code:
            sys.exit(code)

    return run  # type: ignore[return-value]


def _run(command: Callable[[], None]) -> int:
    try:
        command()
    except PimaError as error:
        _say_error(str(error))
        return error.exit_code
    except KeyboardInterrupt as error:
        said, code = str(error), getattr(error, "exit_code", INTERRUPTED)
        cause = "Ctrl-C" if code == INTERRUPTED else "SIGTERM"
        say(f"Stopped by {cause}." + (f" {said}" if said else ""))
        return code
    except BrokenPipeError:
        # The reader (head, say) has gone: nothing is left to be told.
        sys.stdout = None  # type: ignore[assignment]
        return 1
    except CrashError as crash:
        if out_of_memory(crash.cause):
            _say_error(_memory(crash.cause))
            return 1
        _say_error(f"{_crash(crash.cause)}\n  the traceback is at the end of {crash.log}")
        return 1
    except (Exception, SystemExit) as error:
        if out_of_memory(error):
            _say_error(_memory(error))
            return 1
        _say_error(
            f"{_crash(error)}\n"
            "  fix:      run it again as pima-physics --debug ... to see where; it may be a bug"
        )
        return 1
    return 0


def _memory(error: BaseException) -> str:
    return (
        "not enough memory; results of earlier runs are as they were\n"
        f"  found:    {_first_line(error)[:200]}\n"
        "  fix:      fewer samples or points, nodes or outcomes, a smaller batch_size, or a larger "
        "machine (of a cluster's job: its memory limit)"
    )


def _crash(error: BaseException) -> str:
    """Say whether an error comes from code of the user (a simulator), and from which line."""
    said = f"{type(error).__name__}: {_first_line(error)}"
    installed = (*sysconfig.get_paths().values(), str(Path(__file__).parents[1]))
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename.endswith(".py") and not f.filename.startswith(installed)]
    if own:
        return f"{own[-1].filename}, line {own[-1].lineno} raised {said}"
    return f"unexpected {said}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0]


def _say_error(text: str) -> None:
    if debug.get():
        traceback.print_exc(file=sys.stderr)
    say(f"error: {text}")


def say(text: str) -> None:
    """Print to stderr: what is not the result of a command."""
    print(text, file=sys.stderr, flush=True)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return aligned columns as text, with a rule under the header.

    Columns in which every cell is a number are aligned to the right.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [
        max(len(title), *(len(row[i]) for row in cells)) if cells else len(title)
        for i, title in enumerate(header)
    ]
    right = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = (
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        )
        return "  ".join(parts).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(header), rule, *map(line, cells)])


def _is_number(text: str) -> bool:
    try:
        float(text.rstrip("%").strip())
    except ValueError:
        return text in ("", "-")
    return True


def parse_outcomes(choices: Sequence[str], option: str = "--do") -> dict[str, int]:
    """Read ``NODE=OUTCOME`` choices.

    Raises
    ------
    ConfigError
        Where a choice has another form, its outcome is no whole number, or a node comes twice.
    """
    chosen: dict[str, int] = {}
    for choice in choices:
        node, equals, outcome = (part.strip() for part in choice.partition("="))
        if not (node and equals and outcome.isascii() and outcome.isdigit()):
            raise ConfigError(
                f"{option} {choice} cannot be read",
                expected=f"{option} NODE=OUTCOME with an outcome 0, 1, 2, ...",
                fix=f"for example {option} {node or 'NODE'}=1",
            )
        if node in chosen:
            raise ConfigError(
                f"{option} names node '{node}' twice",
                found=f"outcomes {chosen[node]} and {outcome}",
                expected="one outcome for each node",
            )
        chosen[node] = int(outcome)
    if not chosen:
        raise ConfigError(f"nothing to set: give at least one {option} NODE=OUTCOME")
    return chosen


def check_output(output: Path, *inputs: Path, suffix: str = ".nc") -> None:
    """Raise where ``output`` has another suffix, is a folder, or would replace an input.

    Raises
    ------
    ConfigError
        With the reason and a better name.
    """
    if output.suffix != suffix:
        raise ConfigError(
            f"--output {output} has another kind of name",
            expected=f"a file that ends in {suffix}",
            fix=f"--output {output.with_suffix(suffix)}" if output.name else None,
        )
    if output.is_dir():
        raise ConfigError(f"--output {output} is a folder", expected=f"a file {suffix}")
    place = next(folder for folder in output.absolute().parents if os.path.lexists(folder))
    if not place.is_dir():
        raise ConfigError(
            f"--output {output} cannot be written",
            found=f"a file at {place}",
            expected="a folder, or a free name",
        )
    for source in inputs:
        inside = source.is_dir() and output.resolve().is_relative_to(source.resolve())
        same = output.exists() and source.exists() and output.samefile(source)
        if same or (inside and output.exists()):
            raise ConfigError(
                f"--output {output} would replace an input",
                expected="a new file",
                fix=f"--output {output.with_name(output.stem + '_new' + suffix)}",
            )


def first_line(text: str | None) -> str:
    """Return the first line of a docstring, without its closing full stop."""
    return (text or "").strip().partition("\n")[0].rstrip(".").replace("`", "")
