"""The grade of a study in words; nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlabeled.transfer.public import is_public

WORDS = {
    "helped": "Helped",
    "no_clear_difference": "No clear difference",
    "did_not_help": "Did not help",
}
NOT_COMPARED = "Not compared"


def compared(results: Mapping[str, Any]) -> bool:
    """Say whether anything without pre-training stood beside it; public weights do not count.

    Without a rival the grade is that of no clear difference, for want of any.
    """
    found = results.get("differences")
    return isinstance(found, Mapping) and any(not is_public(rival) for rival in found)


def word_of(results: Mapping[str, Any]) -> str:
    """Return the grade as a person says it.

    >>> word_of({"grade": "no_clear_difference", "differences": {}})
    'Not compared'
    """
    if not compared(results):
        return NOT_COMPARED
    return WORDS.get(str(results.get("grade")), "Evaluated")
