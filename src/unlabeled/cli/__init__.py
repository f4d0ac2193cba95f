"""The command line: one module a group of verbs; what is heavy is imported inside a verb."""

from __future__ import annotations

from unlabeled.cli.start import app, main

__all__ = ["app", "main"]
