"""Pages from templates: escaped, allowed by hash, and written whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from unlabeled.errors import WriteError
from unlabeled.report.wording import number

_TEMPLATES = Path(__file__).parent / "templates"


def filled(name: str, styles: Sequence[str], script: str | None = None, **context: Any) -> str:
    """Fill the template of a page; its styles and script are allowed by their hash alone.

    Args:
        name: of the template.
        styles: names of style sheets, joined in this order.
        script: name of the script; None: no script can run.
        context: what the template asks for; all is escaped but `markupsafe.Markup`.
    """
    style, run = "".join(map(_template, styles)), _template(script) if script else ""
    allowed = [
        "default-src 'none'", "img-src data:", "media-src data:", f"style-src '{_hash(style)}'",
        *([f"script-src '{_hash(run)}'"] if run else []), "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    return _render(
        name, style=Markup(style), script=Markup(run), policy=Markup("; ".join(allowed)), **context
    )


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _render(name: str, **context: Any) -> str:
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
