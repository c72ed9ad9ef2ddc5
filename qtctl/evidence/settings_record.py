"""Which settings the services had over a window, and what changed: from what the recorder saw."""

from typing import Any

import msgspec

from qtctl.history.reader import History
from qtctl.history.rows import DocumentKind, ServiceRow


class SettingsAtStart(msgspec.Struct, frozen=True):
    """A service with the settings that it had when the window began, or when it was first seen in
    it. settings: their digest."""

    since_ms: int
    service: str
    name: str
    version: str
    settings: str


class Setting(msgspec.Struct, frozen=True):
    """A setting that changed; None where it was not there."""

    setting: str
    before: Any
    after: Any


class ServiceChange(msgspec.Struct, frozen=True):
    """A service that came up with another version or other settings. settings: digests; changed:
    None where the history lacks one of them."""

    at_ms: int
    service: str
    name: str
    version_before: str
    version: str
    settings_before: str
    settings: str
    changed: list[Setting] | None


class SettingsRecord(msgspec.Struct, frozen=True):
    """The whole. settings, rules (of passes) and limits (of decisions): by their digest, those that
    the days of the window mention."""

    in_force: list[SettingsAtStart]
    changes: list[ServiceChange]
    settings: dict[str, Any]
    rules: dict[str, Any]
    limits: dict[str, Any]


def of(history: History, since_ms: int, until_ms: int) -> SettingsRecord:
    """The record of a window."""
    last: dict[tuple[str, str], ServiceRow] = {}
    in_force: dict[tuple[str, str], SettingsAtStart] = {}
    changes = []
    for row in history.services(None, until_ms):
        if row.what == "ended":
            continue
        who = (row.service, row.name)
        before = last.get(who)
        last[who] = row
        if row.at_ms < since_ms or who not in in_force:
            in_force[who] = SettingsAtStart(row.at_ms, *who, row.version, row.settings)
        elif before and (before.version, before.settings) != (row.version, row.settings):
            changes.append(_change(history, before, row))
    documents = history.documents(since_ms, until_ms)

    def known(kind: DocumentKind) -> dict[str, Any]:
        return {
            digest: _json(body) for (of_kind, digest), body in documents.items() if of_kind == kind
        }

    return SettingsRecord(
        list(in_force.values()), changes, known("settings"), known("rules"), known("limits")
    )


def _change(history: History, before: ServiceRow, row: ServiceRow) -> ServiceChange:
    return ServiceChange(
        row.at_ms, row.service, row.name, before.version, row.version, before.settings,
        row.settings,
        _changed(history.settings(before.settings), history.settings(row.settings)),
    )  # fmt: skip


def _changed(old: dict[str, Any] | None, new: dict[str, Any] | None) -> list[Setting] | None:
    if old is None or new is None:
        return None
    return [
        Setting(name, old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _json(body: bytes) -> Any:
    """None where it can't be read."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
