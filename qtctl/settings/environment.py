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
from qtctl.settings.urls import mask_url, with_parts

OURS = "QTCTL_"
CONFIG = "QTCTL_CONFIG"
"""Where the TOML file is."""
URL = "QTCTL_REDIS_URL"
NO_SETTINGS = (CONFIG, PASSWORD)
"""Names that look like settings and are none: the file, and the password, which is never shown."""
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


class Variables:
    """The variables of a process or of a file; where: `environment` or `file …`.

    Collects one warning for each variable with a trailing comment.
    """

    def __init__(self, values: Mapping[str, str], where: str = "environment") -> None:
        self.values = values
        self.warnings: list[str] = []
        self._where = where
        self._read: dict[str, str] = {}

    def text(self, name: str) -> str:
        """A value without a trailing comment (blank and `#`), which systemd would keep in it."""
        if name not in self._read:
            raw = self.values[name]
            self._read[name] = _COMMENT.sub("", raw).strip()
            if self._read[name] != raw.strip():
                self.warnings.append(
                    f"{self.origin(name)}: ignored the trailing comment; "
                    f"using {shown_name(self._read[name])}"
                )
        return self._read[name]

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

    Errors: ConfigError, also where the URL has no such parts.
    """
    names = [name for name in REDIS_PARTS if name in variables.values]
    if not names:
        return
    field, origin = by_path()["redis.url"], variables.origin(*names)
    try:
        url = with_parts(
            base,
            host=_host(variables, field),
            port=_integer(variables, field, "REDIS_PORT", 1, 65_535),
            db=_integer(variables, field, "REDIS_DB", 0, 999_999_999),
        )
    except ValueError:
        raise ConfigError(
            f"redis.url = {shown(base)} can't take {', '.join(names)} ({origin}): "
            f"unset them, or set {URL}"
        ) from None
    yield Claim(field, checked(field, url, origin), origin)


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


def _host(variables: Variables, field: FieldInfo) -> str | None:
    if "REDIS_HOST" not in variables.values:
        return None
    text = variables.text("REDIS_HOST")
    if _HOST.fullmatch(text) is None:
        raise refuse(field, text, variables.origin("REDIS_HOST"), "expected a host name or address")
    return text


def _integer(
    variables: Variables, field: FieldInfo, name: str, least: int, most: int
) -> int | None:
    if name not in variables.values:
        return None
    text = variables.text(name)
    if _INTEGER.fullmatch(text) is None or not least <= int(text) <= most:
        raise refuse(
            field,
            mask_url(text),
            variables.origin(name),
            f"expected a whole number, {least} to {most}; or set {URL}",
        )
    return int(text)


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


def parse(text: str) -> list[tuple[str, str]]:
    """All (name, value) of the text of an EnvironmentFile."""
    # systemd stops at a NUL, as C does.
    return _Scanner(text.partition("\0")[0]).scan()


class _Scanner:
    """Goes through a text once; `at` is the next character to look at."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def scan(self) -> list[tuple[str, str]]:
        found = []
        while self._skip(_BLANKS):
            if self.text[self.at] in "#;":
                self._comment()
            elif (name := self._name()) is not None:
                found.append((name, self._value()))
        return found

    def _skip(self, chars: str) -> bool:
        """Past these characters; False at the end of the text."""
        while self.at < len(self.text) and self.text[self.at] in chars:
            self.at += 1
        return self.at < len(self.text)

    def _next(self) -> str:
        """The next character, taken; empty at the end."""
        char = self.text[self.at : self.at + 1]
        self.at += 1
        return char

    def _comment(self) -> None:
        while (char := self._next()) and char not in _BREAKS:
            if char == "\\":
                self._next()

    def _name(self) -> str | None:
        """A name, past its `=`; None for a line without one, which is ignored."""
        start = self.at
        while (char := self._next()) and char not in _BREAKS:
            if char == "=":
                return self.text[start : self.at - 1].rstrip(_BLANKS)
        return None

    def _value(self) -> str:
        pieces: list[str] = []
        while self._skip(" \t") and (char := self._next()) not in _BREAKS:
            if char == "'":
                pieces.append(self._single_quoted())
            elif char == '"':
                pieces.append(self._double_quoted())
            else:
                self.at -= 1
                pieces.append(self._unquoted())
                break
        return "".join(pieces)

    def _single_quoted(self) -> str:
        end = self.text.find("'", self.at)
        end = len(self.text) if end < 0 else end
        piece, self.at = self.text[self.at : end], end + 1
        return piece

    def _double_quoted(self) -> str:
        piece = ""
        while (char := self._next()) not in ("", '"'):
            if char != "\\":
                piece += char
                continue
            escaped = self._next()
            if escaped in _ESCAPED_IN_QUOTES:
                piece += escaped
            elif escaped != "\n":
                piece += char + escaped
        return piece

    def _unquoted(self) -> str:
        """Up to the end of the line: quotes have no meaning any more, trailing blanks go unless
        escaped."""
        piece, keep = "", 0
        while (char := self._next()) and char not in _BREAKS:
            if char == "\\":
                escaped = self._next()
                piece += "" if escaped in _BREAKS else escaped
                keep = len(piece)
            else:
                piece += char
        return piece[:keep] + piece[keep:].rstrip(_BLANKS)
