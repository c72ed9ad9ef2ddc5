"""What the recorder sees of the server and of the services, as rows when it changes."""

from collections.abc import Iterable, Sequence

import msgspec

from qtctl.history.rows import Document, ServerRow, ServiceRow
from qtctl.wire.client.server import Server
from qtctl.wire.schema.service import ServiceRecord


class ServerSeen:
    """The server at the last look."""

    def __init__(self) -> None:
        self._last: Server | None = None

    def note(self, server: Server, *, anew: bool) -> list[ServerRow]:
        """A row where another server answers, or the same one restarted; anew: also where all is as
        it was."""
        last, self._last = self._last, server
        if last is None or anew:
            return [_server_row(server, "seen", "")]
        if server.run_id == last.run_id:
            if server.replication_id != last.replication_id:
                return [_server_row(server, "promoted", "its replication id changed")]
            return []
        if server.started_ms > last.now_ms:
            return [_server_row(server, "restarted", f"was {last.run_id}")]
        return [_server_row(server, "replaced", f"was {last.run_id}: another server answers")]


def _server_row(server: Server, what: str, detail: str) -> ServerRow:
    return ServerRow(
        server.now_ms, what, server.run_id, server.role, f"{server.name} {server.version}",
        server.started_ms, detail,
    )  # fmt: skip


class ServicesSeen:
    """The running services at the last look, by kind and name."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], ServiceRecord] = {}

    def note(
        self, records: Sequence[ServiceRecord], now_ms: int, *, anew: bool
    ) -> tuple[list[ServiceRow], list[Document]]:
        """Rows for what started, changed or ended, and the settings that they name. anew: all
        that run have a row."""
        rows: list[ServiceRow] = []
        found = {(record.service, record.name): record for record in records}
        for place, record in found.items():
            last = self._last.get(place)
            if last is None or anew:
                fresh = last is None and now_ms - record.started_at * 1000 < FRESH_MS
                rows.append(_service_row(record, "started" if fresh else "seen", now_ms))
            elif record.started_at != last.started_at or record.pid != last.pid:
                rows.append(_service_row(record, "started", now_ms))
            elif (record.version, record.digest) != (last.version, last.digest):
                rows.append(_service_row(record, "changed", now_ms))
        rows += [
            _service_row(last, "ended", now_ms)
            for place, last in self._last.items()
            if place not in found
        ]
        self._last = found
        named = [found[row.service, row.name] for row in rows if row.what != "ended"]
        return rows, _settings_of(named)


FRESH_MS = 60_000
"""A service that is first seen so soon after its start counts as started."""


def _settings_of(records: Iterable[ServiceRecord]) -> list[Document]:
    return [
        Document("settings", record.digest, msgspec.json.encode(record.settings))
        for record in records
        if record.digest
    ]


def _service_row(record: ServiceRecord, what: str, now_ms: int) -> ServiceRow:
    return ServiceRow(
        now_ms, what, record.service, record.name, record.version, record.host,
        int(record.pid) if record.pid.isdecimal() else 0, record.started_at * 1000, record.digest,
    )  # fmt: skip
