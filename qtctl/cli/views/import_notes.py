"""The notes about EnvironmentFiles, in a few lines: many variables share one problem."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from qtctl.settings.import_env import PUT, Note

_WIDTH = 78
_HEADS = {
    "limit": "LIMITS DROPPED, no setting has these names",
    "password": "its password is skipped",
    "invalid": "skipped, not valid names",
    "unknown": "skipped, no settings",
    "ambiguous": "skipped, the file could belong to either service",
    "overridden": "set differently by two files",
    "comment": "comments behind values ignored, leaving",
}
"""In the order of what matters."""


def lines(notes: Sequence[Note]) -> Iterator[str]:
    """One paragraph for each kind of note, in lines that fit a terminal."""
    files = {note.file for note in notes if note.file}
    for kind, head in _HEADS.items():
        found = [_one(note, named=len(files) > 1) for note in notes if note.kind == kind]
        if found and kind == "password":
            whose = ", ".join(note.what for note in notes if note.kind == kind)
            yield f"{whose}: {head};"
            yield f"  {PUT}"
        elif found:
            text = f"{head}: {', '.join(found)}"
            yield from textwrap.wrap(
                text, _WIDTH, subsequent_indent="  ", break_long_words=False,
                break_on_hyphens=False,
            )  # fmt: skip


def _one(note: Note, *, named: bool) -> str:
    parts = [note.hint] if note.hint else []
    parts += [Path(note.file).name] if named and note.file else []
    return note.what + (f" ({'; '.join(parts)})" if parts else "")
