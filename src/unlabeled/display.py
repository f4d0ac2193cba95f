"""What a person sees while a run goes on: one line, or a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from unlabeled.config import RunConfig

_LOG_SECONDS = 10.0


class Display:
    """A live line on a terminal; plain lines every ten seconds elsewhere."""

    def __init__(self, config: RunConfig, quiet: bool) -> None:
        """Draw nothing yet."""
        self.steps, self.batch, self.quiet = config.loop.steps, config.loop.batch, quiet
        self.last: dict[str, Any] = {}
        self.look: dict[str, Any] = {}
        self.rate = 0.0
        self.told = self.drawn = 0.0
        self.said: set[str] = set()
        terminal = sys.stderr.isatty() and not quiet
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False) if terminal else None

    def __enter__(self) -> Display:
        """Start the live line on a terminal."""
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on screen."""
        if not self.quiet and self.last:
            self._draw(last=True)
        if self.live is not None:
            self.live.stop()

    def step(self, line: dict[str, Any]) -> None:
        """Note a finished step."""
        now = float(line["samples_per_second"])
        # The first step pays for warming up, so it would spoil the average.
        self.rate = now if line["step"] < 3 or not self.rate else 0.95 * self.rate + 0.05 * now
        self.last = line
        if not self.quiet:
            self._draw()

    def health(self, line: dict[str, Any]) -> None:
        """Note a health check, and say new alarms at once."""
        self.look = line
        for alarm in line["alarms"]:
            if alarm not in self.said and not self.quiet:
                self.console.print(f"[bold]warning[/bold] step {line['step']}: {alarm}")
            self.said.add(alarm)

    def words(self) -> list[tuple[str, str]]:
        """Return (heading, value) pairs of the line."""
        line, look = self.last, self.look
        left = (self.steps - line["step"]) * self.batch / max(self.rate, 1e-9)
        return [
            ("step", f"{line['step']}/{self.steps}"),
            ("loss", f"{line['loss']:.4f}"),
            ("spread", f"{look['spread']:.2f}" if look else "-"),
            ("eff. rank", f"{look['effective_rank']:.0f}" if look else "-"),
            *([("kept", f"{look['kept']:.0%}")] if "kept" in look else []),
            ("samples/s", f"{self.rate:.0f}"),
            ("data wait", f"{line['data_wait']:.0%}"),
            ("left", f"{int(left // 60)}:{int(left % 60):02d}"),
        ]

    def _draw(self, last: bool = False) -> None:
        now = time.monotonic()
        if self.live is not None:
            if last or now - self.drawn > 0.25:
                self.drawn = now
                self.live.update(self._table(), refresh=True)
        elif last or now - self.told > _LOG_SECONDS:
            self.told = now
            print("  ".join(f"{k} {v}" for k, v in self.words()), file=sys.stderr, flush=True)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading, _ in self.words():
            table.add_column(heading, justify="right")
        table.add_row(*(value for _, value in self.words()))
        return table
