"""A change of a file as a unified diff, safe to show: no password, no terminal control."""

import difflib
import re
from collections.abc import Collection, Sequence

from qtctl.deploy.host import State
from qtctl.settings.urls import MASK, mask_url
from qtctl.text import escape

_CONTEXT = 3
_SECRET = re.compile(
    r"""(?ix)
    ( [\w.-]* (?: passw(?:or)?d | passphrase | secret | token | credential | auth
                | api_?key | private_?key | access_?key
                | pass | (?<![a-z]) pw ) [\w.-]* )
    ( ["']? \s* [=:] \s* )
    (?= \S )
    """
)
_HARMLESS = re.compile(r"(?i)(?:_file|_dir|_path)$")
_LOAD = re.compile(r"[#\s]*LoadCredential(?:Encrypted)?=")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"']*")


def unified(path: str, before: State, after: State, known: Collection[str] = ()) -> list[str]:
    """The lines of a diff, old `-` and new `+`; empty where the text is the same."""
    old, new = _text(before), _text(after)
    shown_old, shown_new = masked(old, known), masked(new, known)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    lines: list[str] = []
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        (_, a1, _, b1, _), (_, _, a2, _, b2) = group[0], group[-1]
        lines.append(f"@@ -{_range(a1, a2)} +{_range(b1, b2)} @@")
        for tag, a1, a2, b1, b2 in group:
            if tag == "equal":
                lines += [f" {line}" for line in shown_old[a1:a2]]
                continue
            lines += [f"-{line}" for line in shown_old[a1:a2]]
            lines += [f"+{line}" for line in shown_new[b1:b2]]
    names = ("/dev/null" if state.kind == "absent" else path for state in (before, after))
    return [*map(" ".join, zip(("---", "+++"), names, strict=True)), *lines] if lines else []


def masked(lines: Sequence[str], known: Collection[str] = ()) -> list[str]:
    """Lines with masked values of whatever is named like a password, and masked passwords in URLs.

    A value in quotes, or with a backslash at the end of its line, continues: so does the mask.
    `known` lines, which are public, are not masked.
    """
    shown: list[str] = []
    until = ""
    for line in lines:
        if until:
            shown.append(MASK)
            until = _still_open(line, until)
            continue
        secrets = [found for found in _SECRET.finditer(line) if not _HARMLESS.search(found[1])]
        if line in known:
            shown.append(escape(line))
        elif secrets and not _LOAD.match(line):  # that names a credential, and where its file is
            end = secrets[0].end()
            shown.append(escape(line[:end]) + MASK)
            until = _opened(line[end:])
        else:
            shown.append(escape(_URL.sub(lambda url: mask_url(url[0]), line)))
    return shown


def _opened(value: str) -> str:
    """What ends a value that continues on the next line: a quote or the line itself; or nothing."""
    quote = value[:1] if value[:1] in "\"'" else ""
    if quote and quote * 3 == value[:3]:
        return quote if value.count(quote * 3) < 2 else ""
    if quote and value.count(quote) < 2:
        return quote
    return "\\" if value.endswith("\\") else ""


def _still_open(line: str, until: str) -> str:
    if until == "\\":
        return until if line.endswith("\\") else ""
    return "" if until in line else until


def _text(state: State) -> list[str]:
    if state.kind == "link":
        return [f"link to {state.target}"]
    text = state.content.decode("utf-8", "backslashreplace")
    lines = text.split("\n")
    if lines[-1] == "":
        return lines[:-1]
    return [*lines[:-1], f"{lines[-1]} (no line break at the end)"]


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return f"{start + 1}"
    return f"{start + 1 if length else start},{length}"
