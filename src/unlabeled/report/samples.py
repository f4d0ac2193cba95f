"""Draws RUN/samples: what a run saw and what it learned, from its model and its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from unlabeled.errors import UnlabeledError
from unlabeled.kinds import part
from unlabeled.report import folder
from unlabeled.report.pieces import missing

if TYPE_CHECKING:
    from unlabeled.runs import Run

Drawers = dict[str, Callable[[], None]]


def draw_samples(
    run: Run, keys: Sequence[str] | None = None, step: int | None = None
) -> dict[str, str]:
    """Draw parts of RUN/samples; a part that fails does not stop the others.

    Args:
        run: an opened run.
        keys: parts to draw; those that are absent or of another step, by default.
        step: how far the run is; what its journal says, by default.

    Returns:
        For each part that could not be drawn, a sentence with the reason.
    """
    kind, method = run.config.data.kind, str(run.config.method["name"])
    step = folder.read(run.folder).steps if step is None else step
    keys = list(keys) if keys is not None else missing(run.folder, kind, method, step)
    problems: dict[str, str] = {}
    if not keys:
        return problems
    try:
        (run.folder / "samples").mkdir(exist_ok=True)
        drawers = _drawers(run, kind, step)
    except Exception as error:
        return dict.fromkeys(keys, _sentence(error))
    for key in keys:
        if key not in drawers:
            problems[key] = f"Not drawn: {method} has no such picture."
            continue
        try:
            drawers[key]()
        except Exception as error:
            # A report is worth more than any one of its pictures; the reason takes its place.
            problems[key] = _sentence(error)
    return problems


def _drawers(run: Run, kind: str, step: int) -> Drawers:
    drawers: Drawers = part(kind, "samples")(run, step).drawers()
    return drawers


def _sentence(error: Exception) -> str:
    if isinstance(error, UnlabeledError):
        return f"Not drawn. {error}"
    return f"Not drawn: {type(error).__name__}: {str(error) or 'no reason was given'}"
