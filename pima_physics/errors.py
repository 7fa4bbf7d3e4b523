"""Errors that a user can act on: what went wrong, what was found, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PimaError(Exception):
    """Base of every error raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1


class InputError(PimaError, ValueError):
    """The input cannot be used as given.

    Parameters
    ----------
    what : str
        What went wrong, naming the variable, key or file.
    found, expected, fix : str, optional
        What was found, what would have been right, and the likely remedy.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        found: object = None,
        expected: object = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.found, self.expected, self.fix = what, found, expected, fix
        parts = [("found", found), ("expected", expected), ("fix", fix)]
        lines = [f"  {name + ':':<10}{text}" for name, text in parts if text is not None]
        super().__init__("\n".join([what, *lines]))


class UnitError(InputError):
    """A unit is missing, unknown or incompatible."""


class ConfigError(InputError):
    """The experiment file or an argument is wrong."""


class DataError(InputError):
    """The data cannot be used as given."""


class SolveError(PimaError):
    """A simulator failed for particular parameters."""


class TimeLimitError(PimaError):
    """Code of the user's has not come back in time."""


class TrainingError(PimaError):
    """Training could not go on."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: numpy raises MemoryError, torch a RuntimeError of many wordings."""
    said = str(error).lower()
    wordings = ("allocate memory", "not enough memory", "out of memory", "bad_alloc")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError) and any(words in said for words in wordings)
    )


class Problems:
    """Collects input errors so that a user sees every offender at once."""

    def __init__(self) -> None:
        self._errors: list[InputError] = []

    def add(self, error: InputError) -> None:
        """Keep an error for later."""
        self._errors.append(error)

    def __len__(self) -> int:
        return len(self._errors)

    def raise_if_any(self) -> None:
        """Raise the one error found, or one error that lists them all."""
        if not self._errors:
            return
        if len(self._errors) == 1:
            raise self._errors[0]
        kinds = {type(error) for error in self._errors}
        kind = kinds.pop() if len(kinds) == 1 else InputError
        listed = "\n".join(f"{i}. {error}" for i, error in enumerate(self._errors, 1))
        raise kind(f"{len(self._errors)} problems:\n{listed}")


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most similar to ``name``, or None where none is near."""
    matches = difflib.get_close_matches(name, [str(c) for c in candidates], n=1, cutoff=0.5)
    return matches[0] if matches else None
