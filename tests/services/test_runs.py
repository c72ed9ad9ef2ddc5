"""What is left of a service after its record is gone: when it started, stopped, and as what."""

import json
from typing import Any

import pytest

from qtctl.services.server_watch import Change, ServerWatch
from qtctl.wire.client.server import Server
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import RUNS_TTL_SEC
from qtctl.wire.schema.records import pairs
from tests.services.helpers import allocation, governor


def notes(store: Store) -> list[dict[str, str]]:
    return [pairs(raw) for _, raw in store.run("XRANGE", store.keys.runs, "-", "+")]


def events(store: Store) -> list[str]:
    return [pairs(raw)["event"] for _, raw in store.run("XRANGE", store.keys.events, "-", "+")]


@pytest.mark.parametrize("make", [governor, allocation])
def test_a_service_notes_its_start_with_its_settings_and_its_stop(store: Store, make: Any) -> None:
    service = make(store)
    service.open()
    service.step()
    service.step()
    (note,) = notes(store)
    assert (note["event"], note["service"]) == ("started", service.name)
    assert json.loads(note["settings"])["min_conf"] == 0.65
    assert note["version"]
    service.close()
    assert [each["event"] for each in notes(store)] == ["started", "stopped"]
    assert 0 < store.run("TTL", store.keys.runs) <= RUNS_TTL_SEC


def test_a_connection_that_breaks_is_no_stop(store: Store) -> None:
    service = governor(store)
    service.open()
    service.step()
    service._store.close()  # as after an error that closed it
    service.close()
    service.open()
    service.step()
    assert [each["event"] for each in notes(store)] == ["started"]
    service.close()


def test_a_service_that_may_not_note_it_works_all_the_same(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.run("SET", store.keys.runs, "x")
    service = governor(store)
    service.open()
    service.step()
    service.step()
    service.close()
    said = [each for each in caplog.messages if "could not record" in each]
    assert len(said) == 2  # the start and the stop


def test_why_no_permits_are_given_is_an_event(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qtctl.services.look.LOOK_SEC", 0.0)
    service = governor(store)
    service.open()
    store.run("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    for policy in ("allkeys-lru", "noeviction"):
        store.run("CONFIG", "SET", "maxmemory-policy", policy)
        service.step()
        service.step()
    service.close()
    assert events(store) == ["permits_stopped", "permits_resumed"]


def server(run_id: str, started_ms: int, promoted: bool = False) -> Server:
    return Server("redis", "7", run_id, "r", promoted, "master", 10_000, started_ms, 0, "")


@pytest.mark.parametrize(
    ("now", "change"),
    [
        (server("a", 1), None),
        (server("b", 11_000), Change("restarted", "a", "b")),
        (server("b", 5), Change("another_server", "a", "b")),
        (server("b", 5, promoted=True), Change("promoted", "a", "b")),
    ],
)
def test_another_server_is_seen(now: Server, change: Change | None) -> None:
    watch = ServerWatch(allow_eviction=False)
    assert watch.note(server("a", 1), lambda: "0-0") is None
    assert watch.note(now, lambda: "0-0") == change
