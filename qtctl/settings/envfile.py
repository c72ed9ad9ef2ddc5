"""EnvironmentFiles, read as systemd reads them.

Lines of `NAME=value`. A line that begins with `#` or `;` is a comment (and goes on behind a
backslash at its end); behind a value nothing is. Blanks around names and values go. A value may be
in quotes: in single ones all stands for itself; in double ones a backslash escapes \" \\ ` $ and a
line break; outside a backslash escapes any one character, and with a line break continues the
line. A quoted piece and what follows it are joined. Names that are no names (`export X`) are left
out. Source: systemd.exec(5), EnvironmentFile=.
"""

import re
from pathlib import Path

from qtctl.errors import ConfigError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BREAKS = "\n\r"
_BLANKS = " \t\n\r"
_ESCAPED_IN_QUOTES = '"\\`$'


def read_envfile(path: Path) -> dict[str, str]:
    """The variables that systemd would set from a file, in its order; a later line wins.

    Errors: ConfigError naming the file, and the line where it is not UTF-8.
    """
    return {name: value for name, value in assignments(path) if is_name(name)}


def assignments(path: Path) -> list[tuple[str, str]]:
    """All (name, value) of a file, also with names that systemd refuses. Errors: ConfigError."""
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"file {path} can't be read: {problem.strerror}") from problem
    try:
        return parse(raw.decode("utf-8"))
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        raise ConfigError(f"file {path} is not UTF-8 (at line {line})") from problem


def is_name(name: str) -> bool:
    """Whether systemd takes it as the name of a variable."""
    return _NAME.fullmatch(name) is not None


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
        """A name, past its `=`; None for a line without one, which counts for nothing."""
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
