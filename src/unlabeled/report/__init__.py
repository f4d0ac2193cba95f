"""One page that says what a run did, whether it helped, and how to repeat it."""

from unlabeled.report.page import build
from unlabeled.report.runs_table import list_runs

__all__ = ["build", "list_runs"]
