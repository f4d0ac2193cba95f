"""What a person is told when something cannot be done.

Every error that a user can cause is an `UnlabeledError`: one sentence that says what was given,
what is allowed, and what to do. The command line prints the sentence and exits with `exit_code`;
anything else is a bug and keeps its traceback.

    UnlabeledError
    |-- UsageError           2   wrong path, option, value or name
    |-- ConfigError         64   a configuration that cannot be run
    |-- DataError           65   the data cannot be used (too many bad items, changed, too small)
    |-- TrainingError       70   loss not finite, collapse
    |-- WorkerError         71   data workers keep dying
    |-- WriteError          74   the run folder cannot be written
    `-- BusyError           75   another process holds the run folder
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnlabeledError(Exception):
    """Base of all errors that a user can cause; `str(error)` is the sentence to print."""

    exit_code = 2


class UsageError(UnlabeledError):
    """A wrong path, option, value or name on the command line or in a call."""


class ConfigError(UnlabeledError):
    """A configuration that is well-formed but cannot be run."""

    exit_code = 64


class DataError(UnlabeledError):
    """Data that cannot be used."""

    exit_code = 65


class TrainingError(UnlabeledError):
    """A run stopped before an update because its numbers went wrong."""

    exit_code = 70


class WorkerError(UnlabeledError):
    """Data workers died more often than a run restarts them."""

    exit_code = 71


class WriteError(UnlabeledError):
    """The run folder cannot be written."""

    exit_code = 74


class BusyError(UnlabeledError):
    """Another process holds the run folder."""

    exit_code = 75


class MissingExtraError(UnlabeledError):
    """An optional dependency is not installed."""


def nearest(given: str, allowed: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the closest allowed word, or an empty string.

    >>> nearest("simclrr", ["simclr", "mae"])
    " Did you mean 'simclr'?"
    >>> nearest("zzz", ["simclr", "mae"])
    ''
    """
    found = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return f" Did you mean '{found[0]}'?" if found else ""
