"""Verbs about the package itself: methods, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from unlabeled.cli import show


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show the options of one method.")
    ] = None,
) -> None:
    """List the pretext tasks with their papers."""
    from unlabeled.methods import catalogue

    if name is None:
        rows = [
            (card.name, " ".join(card.modalities), card.summary, card.citation)
            for card in map(catalogue.describe, catalogue.names())
        ]
        width = max(len(row[0]) for row in rows)
        for method, kinds, summary, citation in rows:
            show.say(f"{method:<{width}}  {kinds:<5}  {summary}")
            show.say(f"{'':<{width}}         {citation}")
        first = rows[0][0]
        show.next_commands(
            [
                (f"unlabeled methods {first}", "its options, ranges and defaults"),
                (f"unlabeled pretrain DATA --method {first}", "choose it"),
                ("unlabeled inspect DATA", "let the data propose one"),
            ]
        )
        return
    card = catalogue.describe(name)
    show.say(f"{card.name}  ({', '.join(card.modalities)})\n\n{card.text}\n")
    show.table(
        ("option", "default", "allowed", "meaning"),
        [(f"method.{o.name}", o.default, o.range or o.type, o.description) for o in card.options],
    )
    example = next((o for o in card.options), None)
    setting = f" method.{example.name}={example.default}" if example else ""
    show.next_commands(
        [
            (f"unlabeled pretrain DATA --method {name}{setting}", "set an option"),
            (f"unlabeled pretrain DATA --method {name} --dry-run", "see what would be chosen"),
            ("unlabeled methods", "all methods"),
        ]
    )


def doctor() -> None:
    """Check versions, devices and disk."""
    from unlabeled.doctor import examine

    marks = {"good": "ok  ", "note": "note", "problem": "FAIL"}
    findings = examine()
    for finding in findings:
        show.say(f"{marks[finding.state]}  {finding.name:<22} {finding.found}")
        if finding.advice:
            show.say(f"      {'':<22} {finding.advice}")
    problems = sum(finding.state == "problem" for finding in findings)
    show.say()
    show.say("Everything that is needed is there." if not problems else f"{problems} to mend.")
    show.next_commands(
        [
            ("unlabeled demo", "the whole journey in a few minutes"),
            ("unlabeled inspect DATA", "look at your data"),
            ("unlabeled methods", "what can be learned without labels"),
        ]
    )
    if problems:
        raise typer.Exit(1)
