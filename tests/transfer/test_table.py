"""The console's table of a study: one line a reading, or two where it is narrow."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from unlabeled.transfer.table import table

COUNTS = (1, 5, 10, 50, 100, 500)
RESULTS = {
    "task": "single",
    "summary": [
        {"reading": name, "labels_per_class": count, "mean": 0.5, "low": 0.4, "high": 0.6}
        for name in ("probe", "joined")
        for count in COUNTS
    ],
}


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (120, 1)])
def test_half_widths_stand_beside_all_means_or_below_all(width: int, lines: int) -> None:
    console = Console(width=width, file=io.StringIO(), no_color=True)
    console.print(table(RESULTS, console.width))
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue().splitlines()
    assert len(said) == 1 + 2 * lines
    assert said[1].count(".500") == len(COUNTS)
    assert said[lines].count("±.100") == len(COUNTS)
    assert said[1 + lines].startswith("joined with plain features  ")
