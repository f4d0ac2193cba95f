"""What a source of parts or of groups of files has from the files themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unlabeled.data.folder import Files


@dataclass(frozen=True, eq=False)
class Derived:
    """A source whose samples are made of files.

    Args:
        files: the files.
    """

    files: Files

    @property
    def kind(self) -> str:
        """Return the kind of the files."""
        return self.files.kind

    @property
    def fingerprint(self) -> str:
        """Return that of the files."""
        return self.files.fingerprint

    @property
    def skipped(self) -> Mapping[str, int]:
        """Return what was left out and why."""
        return self.files.skipped
