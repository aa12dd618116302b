"""Exceptions that say the way out.

Every error a user can cause derives from `EokerasError`, so that a command line can
print it as one plain line and a script can catch it apart from programming errors.
Each is also the built-in error it resembles (`ValueError`, `FileExistsError`, ...).
"""

import math
from collections.abc import Iterable
from numbers import Real
from pathlib import Path


class EokerasError(Exception):
    """Base of all errors that input, arguments or files can cause."""


class InvalidArgumentError(EokerasError, ValueError):
    """An argument breaks a rule: names the argument, the rule and what was received."""


class InvalidSourceError(EokerasError, ValueError):
    """A ben-ge tree as a whole cannot be used: names the file and the rule."""


class InvalidPatchError(EokerasError, ValueError):
    """One patch breaks a rule; other patches of the tree may be sound.

    Args:
        patch_id: the Sentinel-2 name of the patch.
        path: the offending file (raster, csv or json).
        reason: the rule and what was found instead.
    """

    def __init__(self, patch_id: str, path: str | Path, reason: str):
        super().__init__(f"Patch {patch_id}: {reason} File: {path}")
        self.patch_id = patch_id
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self):  # the default would call __init__ with the message alone
        return type(self), (self.patch_id, self.path, self.reason)


class RecordsError(EokerasError, ValueError):
    """A directory holds no whole set of records, or records lack what was asked for."""


class TargetExistsError(EokerasError, FileExistsError):
    """Output would replace something that exists."""


class UnwritableError(EokerasError, OSError):
    """Output cannot be written: no permission, no space, or no directory."""


class WorkerError(EokerasError, RuntimeError):
    """A worker process died before its work was done."""


class TrainingDivergedError(EokerasError, ArithmeticError):
    """The loss became NaN or infinite; the weights of that epoch are not kept."""


def check_choice(argument: str, value, choices: Iterable) -> None:
    """Raises `InvalidArgumentError` listing the valid `choices` unless `value` is one."""
    choices = list(choices)
    if value not in choices:
        raise InvalidArgumentError(f"`{argument}` must be one of {choices}. Received: {argument}={value!r}.")


def check_choices(argument: str, values: Iterable, choices: Iterable) -> None:
    """Raises `InvalidArgumentError` naming every one of `values` that is no choice."""
    choices = list(choices)
    if isinstance(values, str):
        raise InvalidArgumentError(f"`{argument}` must be a sequence of names, not one string. Received: {values!r}.")
    unknown = [value for value in values if value not in choices]
    if unknown:
        raise InvalidArgumentError(f"`{argument}` may hold {choices}. Received: {', '.join(map(repr, unknown))}.")


def check_number(argument: str, value, *, above: float | None = None, at_least: float = -math.inf) -> float:
    """`value` as a float; raises `InvalidArgumentError` unless it is a finite number in range, of Python or NumPy."""
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < at_least or (above is not None and value <= above):
        rule = f"above {above}" if above is not None else f"of {at_least} or more"
        raise InvalidArgumentError(f"`{argument}` must be a finite number {rule}. Received: {argument}={value!r}.")
    return float(value)
