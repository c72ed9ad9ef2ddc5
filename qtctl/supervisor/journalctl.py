"""Reads what the services logged back from systemd's journal, as journalctl gives it."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from qtctl.errors import NotFoundError
from qtctl.supervisor import journal, log_lines

PROGRAM = "journalctl"
WHERE_ELSE = (
    "'qtctl serve' logs to its stderr, which is kept by whoever started it (docker logs, kubectl "
    "logs, a file)"
)
_PRIORITIES = {
    "0": "critical", "1": "critical", "2": "critical", "3": "error", "4": "warning", "7": "debug"
}  # fmt: skip


class Logged(msgspec.Struct, frozen=True):
    """One line of a log. at: epoch seconds; source: `governor`, `decisions`, …, `systemd` for what
    systemd says of the unit; fields: all that the line knew, empty for lines of other programs."""

    at: float
    unit: str
    level: str
    source: str
    message: str
    fields: dict[str, str]


class Asked(msgspec.Struct, frozen=True):
    """What is wanted: of which units; since and until in epoch seconds; the last so many, None for
    all; follow: go on with what comes; matches: fields that an entry must have, as `NAME=value`;
    newest_first: the other way round."""

    units: Sequence[str]
    since: float | None = None
    until: float | None = None
    most: int | None = None
    follow: bool = False
    matches: Sequence[str] = ()
    newest_first: bool = False


def read(asked: Asked, path: str | None = None) -> Iterator[Logged]:
    """The lines, the oldest first unless asked otherwise. path: where programs are looked for, like
    $PATH. Errors: NotFoundError where there is no journal, or this user may not read
    it."""
    program = shutil.which(PROGRAM, path=path)
    if program is None:
        raise NotFoundError(f"no journal here ({PROGRAM} is not installed): {WHERE_ELSE}")
    with subprocess.Popen(
        [program, *_arguments(asked)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Ctrl-C is for this process, which then ends the other.
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        found = False
        try:
            for line in child.stdout:
                with contextlib.suppress(ValueError):  # not an entry
                    yield logged(json.loads(line))
                    found = True
            problem = " ".join(child.stderr.read().decode("utf-8", "backslashreplace").split())
            if not found and problem:
                raise NotFoundError(f"no journal to read here ({PROGRAM}: {problem}): {WHERE_ELSE}")
        finally:
            child.kill()


def logged(entry: Mapping[str, Any]) -> Logged:
    """One line from an entry of the journal, in whichever format it was logged."""
    at = int(entry.get("__REALTIME_TIMESTAMP", 0)) / 1e6
    unit = _text(entry, "_SYSTEMD_UNIT")
    level = _PRIORITIES.get(_text(entry, "PRIORITY"), "info")
    message = _text(entry, "MESSAGE")
    if journal.SOURCE in entry:
        fields = {
            name.removeprefix(journal.PREFIX).lower(): _text(entry, name)
            for name in sorted(entry)
            if name.startswith(journal.PREFIX)
        }
        source, own = _text(entry, journal.SOURCE), _text(entry, journal.MESSAGE)
        return Logged(at, unit, level, source, own, fields)
    parsed = log_lines.parse(message)
    if parsed is not None:
        return Logged(at, unit, parsed.level, parsed.source, parsed.message, parsed.fields)
    return Logged(at, unit, level, _text(entry, "SYSLOG_IDENTIFIER"), message, {})


def _arguments(asked: Asked) -> list[str]:
    out = ["--output=json", "--all", "--no-pager"]
    out += [f"--unit={unit}" for unit in asked.units]
    if asked.since is not None:
        out.append(f"--since=@{asked.since:.3f}")
    if asked.until is not None:
        out.append(f"--until=@{asked.until:.3f}")
    if asked.most is not None:
        out.append(f"--lines={asked.most}")
    elif asked.follow:
        out.append("--no-tail")
    out += ["--follow"] if asked.follow else []
    return [*out, *(["--reverse"] if asked.newest_first else []), *asked.matches]


def _text(entry: Mapping[str, Any], name: str) -> str:
    """A field's text; the journal has bytes where that is not UTF-8, a list where it came twice."""
    value = entry.get(name)
    if isinstance(value, list):
        if all(isinstance(each, int) for each in value):
            return bytes(value).decode("utf-8", "backslashreplace")
        value = value[-1]
    return "" if value is None else str(value)
