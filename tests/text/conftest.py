"""Corpora that several tests read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.text.sources import prepared


@pytest.fixture(scope="session")
def wordpiece(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return rows, held-out rows, modality and statistics of a WordPiece corpus."""
    return prepared(tmp_path_factory.mktemp("wordpiece"), "wordpiece")


@pytest.fixture(scope="session")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the same of a byte-level BPE corpus."""
    return prepared(tmp_path_factory.mktemp("bpe"), "bpe")
