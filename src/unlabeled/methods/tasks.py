"""What a method is asked for, checked without importing it; and what `combine` is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlabeled.config import check_section
from unlabeled.errors import UsageError, nearest
from unlabeled.methods.catalogue import describe, model


def check(name: str, options: Mapping[str, Any]) -> None:
    """Check names, types and ranges of a method's options without importing it.

    Raises:
        UsageError: with the sentence to print.
    """
    check_section("method", options, model(name))
    if name == "combine":
        _check_combined(options)


def parts(name: str, options: Mapping[str, Any]) -> list[str]:
    """Return the methods that a method is made of: itself alone, or the tasks of `combine`."""
    return list(options.get("tasks", _default("tasks"))) if name == "combine" else [name]


def lead(name: str, options: Mapping[str, Any]) -> str:
    """Return the part that asks most of an encoder, or the first if all ask alike."""
    found = parts(name, options)
    asking = [part for part in found if describe(part).needs != "feature"]
    return (asking or found)[0]


def _default(option: str) -> Any:
    return next(card.default for card in describe("combine").options if card.name == option)


def _check_combined(options: Mapping[str, Any]) -> None:
    """Check what `combine` is asked for: tasks, weights, and the options of each task.

    Raises:
        UsageError: with the sentence to print.
    """
    tasks = parts("combine", options)
    if not tasks or len(set(tasks)) < len(tasks) or "combine" in tasks:
        raise UsageError(
            f"method.tasks={tasks} is not possible: name one or more methods, each once, and not "
            'combine itself, such as method.tasks=\'["simclr", "mae"]\'.'
        )
    weights = list(options.get("weights", ()))
    if weights and (len(weights) != len(tasks) or min(weights) < 0 or max(weights) == 0):
        raise UsageError(
            f"method.weights={weights} does not fit method.tasks={tasks}: give one weight >= 0 "
            "for each task, not all 0, or leave weights out."
        )
    common = set(describe("combine").modalities)
    for task in tasks:  # `describe` answers unknown names
        common &= set(describe(task).modalities)
    if not common:
        raise UsageError(f"method.tasks={tasks}: there is no kind of data that all of them fit.")
    given = options.get("options", {})
    for task in given:
        if task not in tasks:
            raise UsageError(
                f"method.options.{task} is for no task of method.tasks={tasks}."
                f"{nearest(task, tasks)} Name the task, or leave its options out."
            )
        check_section(f"method.options.{task}", given[task], model(task))
