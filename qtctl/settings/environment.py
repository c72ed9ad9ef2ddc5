"""Settings from variables: the new names, and the old ones that existing units use.

The same rules read the environment of a process and an EnvironmentFile, which is read as systemd
reads it (systemd.exec(5), EnvironmentFile=):

Lines of `NAME=value`. A line that begins with `#` or `;` is a comment, which a backslash at its end
continues; there are no comments after a value. Blanks around names and values are dropped. A value
may be quoted: single quotes take everything literally; in double quotes a backslash escapes
\" \\ ` $ and a line break; outside quotes a backslash escapes any one character, and before a line
break continues the line. A quoted piece and what follows it are joined. Names that are not valid
(`export X`) are skipped.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from qtctl.errors import ConfigError
from qtctl.settings.catalog import (
    FieldInfo,
    by_path,
    by_variable,
    checked,
    from_text,
    refuse,
    shown,
)
from qtctl.settings.secrets import PASSWORD
from qtctl.settings.sources import Claim, nearest, read_text, shown_name, unknown
from qtctl.settings.urls import with_parts

OURS = "QTCTL_"
CONFIG = "QTCTL_CONFIG"
"""Where the TOML file is."""
URL = "QTCTL_REDIS_URL"
CONTEXT = "QTCTL_CONTEXT"
"""Which context of the file is meant."""
NO_SETTINGS = (CONFIG, CONTEXT, PASSWORD)
"""Names that look like settings and are none; the password is never shown."""
REDIS_PARTS = ("REDIS_HOST", "REDIS_PORT", "REDIS_DB")
METRICS = {"METRICS_PORT": "metrics_port", "METRICS_ADDR": "metrics_addr"}
"""Old names that could mean either service."""
_OLD_FAMILIES = ("GOV_", "P31_")
_COMMENT = re.compile(r"(?:^|\s)\s*#.*", re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}")
_INTEGER = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BREAKS = "\n\r"
_BLANKS = " \t\n\r"
_ESCAPED_IN_QUOTES = '"\\`$'
_ESCAPE = re.compile(r"\\([\s\S]?)")
_LINE = re.compile(
    r"""[ \t\n\r]* (?:
        [#;] (?: \\[\s\S]? | [^\\\n\r] )*  # a comment
        | (?P<name> [^=\n\r]* ) =
        | [^=\n\r]+                         # a line without =, which is ignored
    )""",
    re.VERBOSE,
)
_PIECE = re.compile(
    r"""[ \t]*+ (?:
        ' (?P<single> [^']* ) '?
        | " (?P<double> (?: \\[\s\S]? | [^\\"] )* ) "?
        | (?P<plain> (?: [ \t]*+ (?: \\[\s\S]? | [^\\ \t\n\r] ) )+ )
    )""",
    re.VERBOSE,
)


class Variables:
    """The variables of a process or of a file; where: `environment` or `file …`. comments: the
    warning for each variable with a trailing comment."""

    def __init__(self, values: Mapping[str, str], where: str = "environment") -> None:
        self.values = values
        self.comments: dict[str, str] = {}
        self._where = where
        self._read: dict[str, str] = {}

    def text(self, name: str) -> str:
        """A value without a trailing comment (blank and `#`), which systemd would keep in it."""
        if name not in self._read:
            raw = self.values[name]
            self._read[name] = _COMMENT.sub("", raw).strip()
            if self._read[name] != raw.strip():
                self.comments[name] = (
                    f"{self.origin(name)}: ignored the trailing comment; "
                    f"using {shown_name(self._read[name])}"
                )
        return self._read[name]

    @property
    def warnings(self) -> list[str]:
        """One for each variable that was read and has a trailing comment."""
        return list(self.comments.values())

    def origin(self, *names: str) -> str:
        """Where a value comes from: `environment P31_MIN_CONF`."""
        return f"{self._where} {', '.join(names)}"

    def claim(self, field: FieldInfo, name: str) -> Claim:
        """The claim that a variable makes on a setting. Errors: ConfigError."""
        text, origin = self.text(name), self.origin(name)
        return Claim(field, checked(field, from_text(field, text), origin, text), origin)


def old_claims(variables: Variables, sections: Collection[str]) -> Iterator[Claim]:
    """Claims by old names on these sections, where the name is clear about its setting."""
    for name, about in by_variable().items():
        if name.startswith(OURS) or name in METRICS or name in REDIS_PARTS:
            continue
        if name in variables.values:
            yield from (variables.claim(f, name) for f in about if f.section in sections)


def new_claims(variables: Variables) -> Iterator[Claim]:
    """Claims by QTCTL_<SECTION>_<KEY> variables."""
    for name, about in by_variable().items():
        if name.startswith(OURS) and name in variables.values:
            yield from (variables.claim(field, name) for field in about)


def metrics_claims(variables: Variables, service: str) -> Iterator[Claim]:
    """Claims by METRICS_PORT and METRICS_ADDR, meant for this one service."""
    for name, key in METRICS.items():
        if name in variables.values:
            yield variables.claim(by_path()[f"{service}.{key}"], name)


def refuse_one_port_for_two(variables: Variables) -> None:
    """Errors: ConfigError where METRICS_PORT is set for `serve all`."""
    if "METRICS_PORT" in variables.values:
        raise ConfigError(
            f"METRICS_PORT = {shown(variables.text('METRICS_PORT'))} "
            f"({variables.origin('METRICS_PORT')}) would mean two ports in serve all: unset it, "
            "and set allocation.metrics_port and governor.metrics_port "
            "(QTCTL_ALLOCATION_METRICS_PORT, QTCTL_GOVERNOR_METRICS_PORT)"
        )


def redis_claims(variables: Variables, base: str) -> Iterator[Claim]:
    """REDIS_HOST, REDIS_PORT and REDIS_DB put into a URL, which has come from a weaker source.
    Errors: ConfigError, also where the URL has no such parts."""
    names = [name for name in REDIS_PARTS if name in variables.values]
    if not names:
        return
    field, origin = by_path()["redis.url"], variables.origin(*names)
    try:
        url = with_parts(
            base,
            host=_part(variables, field, "REDIS_HOST", _HOST, "a host name or address"),
            port=_integer(variables, field, "REDIS_PORT", 1, 65_535),
            db=_integer(variables, field, "REDIS_DB", 0, 999_999_999),
        )
    except ValueError:
        why = f"redis.url = {shown(base)} can't take {', '.join(names)} ({origin})"
        raise ConfigError(f"{why}: unset them, or set {URL}") from None
    yield Claim(field, checked(field, url, origin), origin)


def is_ours(name: str) -> bool:
    """True for a name that a setting has, or that looks as if one had it."""
    return name.startswith((OURS, *_OLD_FAMILIES)) or name in (*by_variable(), *REDIS_PARTS)


def unknown_ours(variables: Variables) -> None:
    """Errors: ConfigError for a QTCTL_ variable that is not a setting."""
    for name in sorted(variables.values):
        if name.startswith(OURS) and name not in (*NO_SETTINGS, *by_variable()):
            known = [known for known in by_variable() if known.startswith(OURS)]
            raise unknown("setting", name, variables.origin(shown_name(name)), known)


def unknown_old(variables: Variables) -> dict[str, str]:
    """A warning for each GOV_ or P31_ variable that is not a setting, by its name."""
    return {
        name: f"{variables.origin(shown_name(name))} is not a setting of qtctl and is ignored"
        + nearest(name, (known for known in by_variable() if not known.startswith(OURS)))
        for name in sorted(variables.values)
        if name.startswith(_OLD_FAMILIES) and name not in by_variable()
    }


def _part(
    variables: Variables, field: FieldInfo, name: str, allowed: "re.Pattern[str]", expected: str
) -> str | None:
    if name not in variables.values:
        return None
    text = variables.text(name)
    if allowed.fullmatch(text) is None:
        raise refuse(field, text, variables.origin(name), f"expected {expected}")
    return text


def _integer(
    variables: Variables, field: FieldInfo, name: str, least: int, most: int
) -> int | None:
    expected = f"a whole number, {least} to {most}; or set {URL}"
    text = _part(variables, field, name, _INTEGER, expected)
    if text is not None and not least <= int(text) <= most:
        raise refuse(field, text, variables.origin(name), f"expected {expected}")
    return None if text is None else int(text)


def read_envfile(path: Path) -> list[tuple[str, str]]:
    """All (name, value) of a file in its order, also with names that systemd refuses; a later
    line wins. Errors: ConfigError naming the file, and the line where it is not UTF-8."""
    try:
        return parse(read_text(path))
    except FileNotFoundError as problem:
        raise ConfigError(f"file {path} can't be read: {problem.strerror}") from problem


def valid(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The variables that systemd sets from these pairs: it skips names that are not valid."""
    return {name: value for name, value in pairs if _NAME.fullmatch(name)}


class Assignment(NamedTuple):
    """A name and its value in the text of an EnvironmentFile; start, end: where the value stands,
    with its quotes and escapes."""

    name: str
    value: str
    start: int
    end: int


def parse(text: str) -> list[tuple[str, str]]:
    """All (name, value) of the text of an EnvironmentFile."""
    return [(each.name, each.value) for each in assignments(text)]


def assignments(text: str) -> Iterator[Assignment]:
    """The same with their places."""
    # systemd stops at a NUL, as C does.
    text, at = text.partition("\0")[0], 0
    while (line := _LINE.match(text, at)) is not None:
        at = line.end()
        if line["name"] is not None:
            start = at
            value, at = _value(text, at)
            yield Assignment(line["name"].rstrip(_BLANKS), value, start, at)


def _value(text: str, at: int) -> tuple[str, int]:
    """The value that begins here, and where it ends."""
    value, kind = "", None
    while kind != "plain" and (piece := _PIECE.match(text, at)) is not None:
        at, kind = piece.end(), piece.lastgroup
        if kind == "single":
            value += piece["single"]
        elif kind == "double":
            value += _ESCAPE.sub(_in_double_quotes, piece["double"])
        else:
            value += _ESCAPE.sub(_outside_quotes, piece["plain"])
    return value, at


def _in_double_quotes(escape: re.Match[str]) -> str:
    return escape[1] if escape[1] in _ESCAPED_IN_QUOTES else escape[0] if escape[1] != "\n" else ""


def _outside_quotes(escape: re.Match[str]) -> str:
    return escape[1] if escape[1] not in _BREAKS else ""
