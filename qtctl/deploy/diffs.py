"""A change of a file as a unified diff, safe to show: no password, no terminal control."""

import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

from qtctl.deploy.host import State
from qtctl.settings.environment import assignments
from qtctl.settings.urls import MASK, mask_url
from qtctl.text import escape

_CONTEXT = 3
_WORDS = r"""
    [\w.-]* (?: passw(?:or)?d | passphrase | secret | token | credential | auth | bearer | cookie
               | api_?key | private_?key | access_?key | pass | (?<![a-z]) pw
               | (?<![a-z]) key (?! [\w.-] ) ) [\w.-]*
"""
_SECRET = re.compile(rf"( {_WORDS} ) ( [\"']? \s* [=:] \s* ) (?= \S )", re.VERBOSE | re.IGNORECASE)
_SECRET_NAME = re.compile(_WORDS, re.VERBOSE | re.IGNORECASE)
_HARMLESS = re.compile(r"(?i)(?:_file|_dir|_path)$")
_LOAD = re.compile(r"[#\s]*LoadCredential(?:Encrypted)?=")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"']*")
_URL_NAME = re.compile(r"(?i)(?:url|uri|dsn)$")
_LOGIN = re.compile(r":.*@|://", re.DOTALL)
_OPENS = re.compile("\"\"\"|'''|[\\[{]")
_LOGIN_IN_LINE = re.compile(r"(://[^\s:@/\"']*:).*@")
_URL_IN_LINE = re.compile(r"(?i)((?:url|uri|dsn)[\"']?\s*[=:]\s*)([^\s:]+:[^\s]*@.*)")
_MOST_LINES = 50
"""A value of TOML that has more lines than that is masked as far as its lines tell."""


def unified(path: str, before: State, after: State, known: Collection[str] = ()) -> list[str]:
    """The lines of a diff, old `-` and new `+`; empty where the text is the same."""
    old, new = _text(before), _text(after)
    is_toml = path.endswith(".toml")
    shown_old, shown_new = (masked(lines, known, is_toml=is_toml) for lines in (old, new))
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


def masked(
    lines: Sequence[str], known: Collection[str] = (), *, is_toml: bool = False
) -> list[str]:
    """Lines with masked values of whatever is named like a password, and masked logins in URLs.

    What counts is the value as its reader takes it, quotes, escapes and continuations resolved:
    where the login in it can't be masked alone, the whole value is. What is no assignment (a
    comment, another kind of file) is masked by what its lines look like. `known` lines, which are
    public, are not masked.
    """
    covered: dict[int, str] = {}
    for first, last, shown in (_of_toml if is_toml else _of_variables)(lines):
        if first == last and lines[first] in known:
            continue
        covered[first] = shown
        covered |= dict.fromkeys(range(first + 1, last + 1), MASK)
    return [covered.get(at, line) for at, line in enumerate(_by_looks(lines, known))]


def _of_variables(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """The values to mask in an EnvironmentFile or a unit: their first and last line, and the first
    line as it is shown."""
    text = "\n".join(lines)
    for found in assignments(text):
        raw = text[found.start : found.end]
        blanks = len(raw) - len(raw.lstrip(" \t"))
        start = text.rfind("\n", 0, found.start) + 1
        head, value = text[start : found.start + blanks], raw[blanks:]
        if _LOAD.match(head):  # that names a credential, and where its file is
            continue
        shown = _shown(found.name, found.value, value, _variable)
        if shown is not None:
            first = text.count("\n", 0, found.start)
            yield first, first + raw.count("\n"), escape(head) + shown


def _variable(raw: str) -> object:
    return next((each.value for each in assignments(f"X={raw}")), None)


def _of_toml(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """The values to mask in a TOML file, likewise."""
    at = 0
    while at < len(lines):
        last = at
        head, equals, raw = lines[at].partition("=")
        table = _table(raw) if equals and not head.lstrip().startswith("#") else None
        if table is None and equals and _OPENS.search(raw):
            for end in range(at + 1, min(at + _MOST_LINES, len(lines))):
                table = _table("\n".join([raw, *lines[at + 1 : end + 1]]))
                if table is not None:
                    last = end
                    break
        if table is not None:
            whole = "\n".join([raw, *lines[at + 1 : last + 1]])
            blanks = whole[: len(whole) - len(whole.lstrip(" \t"))]
            name = head.strip().strip("\"'")
            for inner, value in _leaves(name, table["x"]):
                shown = _shown(inner, value, whole[len(blanks) :], None)
                if shown is not None:
                    yield at, last, f"{escape(head)}={blanks}{shown}"
                    break
        elif equals and not head.lstrip().startswith("#"):
            shown = _shown(head.strip(), raw.strip(), raw.lstrip(), None)
            if shown is not None:
                yield at, at, f"{escape(head)}= {shown}"
        at = last + 1


def _table(raw: str) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        return tomllib.loads(f"x ={raw}")
    return None


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for inner, each in value.items():
            yield from _leaves(inner, each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(name, each)
    else:
        yield name, str(value)


def _shown(name: str, value: str, raw: str, read: Callable[[str], object] | None) -> str | None:
    """How a value is shown if it must be masked, else None. `read` gives the value of a text that
    stands for it."""
    if not value:
        return None
    if _SECRET_NAME.search(name) and not _HARMLESS.search(name):
        return MASK
    if not (_URL_NAME.search(name) or _LOGIN.search(value)):
        return None
    wanted = mask_url(value)
    if wanted == value:
        return None
    for shown in (_URL.sub(lambda url: mask_url(url[0]), raw), mask_url(raw)):
        if "\n" not in raw and (read or _toml_value)(shown) == wanted:
            return escape(shown)
    return MASK


def _toml_value(raw: str) -> object:
    table = _table(raw)
    return None if table is None else table["x"]


def _by_looks(lines: Sequence[str], known: Collection[str]) -> list[str]:
    """Masked by what a line looks like. A value in quotes, or with a backslash at the end of its
    line, continues: so does the mask."""
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
            shown.append(escape(_logins_masked(line)))
    return shown


def _logins_masked(line: str) -> str:
    """Rather too much than too little: a password may have any character in it."""
    if "://" not in line:
        return _URL_IN_LINE.sub(lambda found: found[1] + mask_url(found[2]), line)
    line = _LOGIN_IN_LINE.sub(rf"\g<1>{MASK}@", line)
    return _URL.sub(lambda url: mask_url(url[0]), line)


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
