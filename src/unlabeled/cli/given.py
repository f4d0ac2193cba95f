"""Options that were given and that nothing reads: they are refused, not passed over."""

from __future__ import annotations

from unlabeled.errors import UsageError


def refuse(what: str, **options: object) -> None:
    """Refuse options that say nothing about what was asked; those that are None were not given.

    Raises:
        UsageError: one was given.
    """
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise UsageError(
            f"{what}, so it has no use for {' and '.join(given)}; leave "
            f"{'it' if len(given) == 1 else 'them'} out."
        )
