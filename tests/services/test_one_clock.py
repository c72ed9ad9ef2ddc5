"""There is one clock, the Redis server's: that of a service's own host decides nothing."""

import json

import pytest

from qtctl import clock
from qtctl.wire.client.store import Store
from qtctl.wire.queries import services
from qtctl.wire.schema.keys import PROPOSED
from qtctl.wire.schema.records import pairs
from qtctl.wire.schema.service import MAX_CLOCK_OFF_SEC
from tests.services.helpers import (
    allocation,
    governor,
    messages,
    metric,
    score,
    send,
    serve_all,
    target,
)
from tests.support.plans import decision, fields, permit


@pytest.fixture(params=[-1_200.0, 1_200.0])
def host_clock_off(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """The wall clock of the services' host is 20 min off."""
    off: float = request.param
    true = clock.now
    monkeypatch.setattr(clock, "now", lambda: true() + off)
    return off


@pytest.mark.usefixtures("host_clock_off")
def test_a_wrong_host_clock_changes_no_factor(store: Store) -> None:
    score(store, "BTCUSDT", "0.2", age=30)
    gov = governor(store)
    gov.open()
    send(store, fields())
    serve_all(gov)
    assert json.loads(permit(store) or b"")["eff_factor"] == "0.4444"
    assert 30 <= float(decision(store)["eff_age_sec"]) < 90
    gov.close()


@pytest.mark.usefixtures("host_clock_off")
def test_a_wrong_host_clock_changes_no_multiplier(store: Store) -> None:
    target(store, "BTCUSDT")
    score(store, "BTCUSDT", "0.9", age=30)
    loop = allocation(store)
    loop.open()
    before = store.now_ms() // 1000
    loop.step()
    made = pairs(store.run("HGETALL", store.keys.at(PROPOSED, "BTCUSDT")))
    assert (made["reason"], made["multiplier"]) == ("ok", "1.4000")
    assert before <= int(made["ts_epoch"]) <= store.now_ms() // 1000
    loop.close()


def test_a_wrong_host_clock_is_logged_once_and_stands_in_the_record(
    store: Store, host_clock_off: float, caplog: pytest.LogCaptureFixture
) -> None:
    for service in (governor(store), allocation(store)):
        caplog.clear()
        service.open()
        for _ in range(2):
            service.step()
        assert len(messages(caplog, "clock of this host is off")) == 1
        (found,) = services.running(store, service.name)
        assert found.clock_ahead_sec == pytest.approx(host_clock_off, abs=60)
        assert abs(found.clock_ahead_sec) > MAX_CLOCK_OFF_SEC
        name = {"governor": "p32", "allocation": "p29_shadow"}[service.name]
        assert metric(service, f"{name}_host_clock_ahead_seconds") == pytest.approx(
            host_clock_off, abs=60
        )
        service.close()


@pytest.mark.usefixtures("host_clock_off")
def test_a_wrong_host_clock_makes_no_service_late(store: Store) -> None:
    both = governor(store), allocation(store)
    for service in both:
        service.open()
        service.step()
        now = store.now_ms() / 1000
        (found,) = services.running(store, service.name)
        assert abs(now - found.last_pass_at) < 30
        assert abs(now - found.started_at) < 30
        assert not found.is_late(now)
    for service in both:
        service.close()
