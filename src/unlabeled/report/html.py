"""Pages from templates: escaped, allowed by hash, and written whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from unlabeled.errors import WriteError
from unlabeled.report.wording import number

_TEMPLATES = Path(__file__).parent / "templates"


def template(name: str) -> str:
    """Return a style sheet or script as it stands."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def hash_of(text: str) -> str:
    """Return what a content policy allows a style sheet or script by."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def render(name: str, **context: Any) -> str:
    """Fill a template; everything is escaped but `markupsafe.Markup`."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment.get_template(name).render(**context)


def write(path: Path, text: str) -> Path:
    """Write a page, whole or not at all.

    Raises:
        WriteError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One line ending everywhere: the hashes are of the bytes in the page.
        draft.write_text(text, encoding="utf-8", errors="replace", newline="\n")
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise WriteError(f"{path} cannot be written: {error.strerror}.") from None
    return path
