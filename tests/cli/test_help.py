"""Help costs nothing: no command imports torch to explain itself."""

from __future__ import annotations

import pytest

from unlabeled.cli import start

VERBS = [verb.__name__ for verb in start.VERBS]
PATIENCE = 10.0
"""Seconds; a quiet machine needs a fifth of one, a test machine may be busy."""


def test_verbs_are_those_of_the_journey():
    journey = "demo inspect pretrain resume evaluate compare finetune predict embed generate"
    journey += " map search suggest report export"
    assert " ".join(VERBS) == f"{journey} runs methods doctor"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_command_in_process(verb, capsys):
    assert start.main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: unlabeled {verb}")
    assert len(shown.splitlines()) > 4


def test_help_imports_nothing_heavy(ask):
    every = [ask("--help"), *(ask(verb, "--help") for verb in ("pretrain", "evaluate", "export"))]
    for answer in every:
        assert answer.code == 0
        assert answer.heavy == []
        assert answer.err == ""
        assert answer.seconds < PATIENCE
    assert all(verb in every[0].out for verb in VERBS)


def test_importing_all_verbs_imports_nothing_heavy(ask):
    """The other commands are defined in the same modules, so one process speaks for all."""
    answer = ask("--version")
    assert answer.out.startswith("unlabeled 0.")
    assert answer.heavy == []


def test_no_command_shows_help(capsys):
    assert start.main([]) == 0
    assert "Start with: unlabeled demo" in capsys.readouterr().out


def test_python_m_is_the_same_command(ask):
    import subprocess
    import sys

    from tests.cli.conftest import SOURCE

    done = subprocess.run(
        [sys.executable, "-m", "unlabeled", "--version"],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ask("--version").out
