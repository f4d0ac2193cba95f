"""Signals that ask a run to stop: they set a flag, and the loop saves and leaves."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from unlabeled.errors import UnlabeledError
from unlabeled.types import Batch

_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 75}


class InterruptedRunError(UnlabeledError):
    """A signal stopped the run after its finished step was saved."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        """Keep the code that the scheduler expects: 130, 143, or 75 (put me back)."""
        super().__init__(sentence)
        self.exit_code = exit_code


class Stop:
    """Context in which SIGINT, SIGTERM and SIGUSR1 only set a flag.

    A second interrupt leaves at once; the last checkpoint is whole in any case.
    """

    def __init__(self) -> None:
        """Install nothing yet."""
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Return whether a signal came."""
        return self.number is not None

    def __enter__(self) -> Stop:
        """Install the handlers (only possible in the main thread)."""
        try:
            self._before = {n: signal.signal(n, self._note) for n in _CODES}
        except ValueError:
            self._before = {}
        return self

    def __exit__(self, *_: object) -> None:
        """Put the old handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number

    def guard(self, batches: Iterator[Batch]) -> Iterator[Batch | None]:
        """Yield batches; None when workers died because the run was asked to stop."""
        while True:
            try:
                yield next(batches)
            except StopIteration:
                return
            except Exception:
                if not self.asked:
                    raise
                yield None

    def interrupted(self, folder: Path, step: int) -> InterruptedRunError:
        """Return what to raise once the finished step is saved."""
        number = self.number if self.number is not None else signal.SIGTERM
        name = signal.Signals(number).name
        return InterruptedRunError(
            f"{name}: saved step {step}. Continue with `unlabeled resume {folder}`.",
            _CODES.get(signal.Signals(number), 143),
        )
