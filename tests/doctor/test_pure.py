"""What needs no server: versions, hints, renamed fields, and the calls of redis-cli."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl import probe
from qtctl.doctor import server
from qtctl.doctor.command_lines import is_usual, words_of
from qtctl.doctor.field_drift import renamed
from qtctl.doctor.inspection import Inspection
from qtctl.doctor.permits import contradiction
from qtctl.domain.downsize import DownsizeRules, hint
from qtctl.domain.readings import assess
from qtctl.settings import Settings, load
from qtctl.wire.schema.records import HINT
from tests.support.cli import NO_FILE

RULES = DownsizeRules()
NOW = 1_769_558_400.0


def written(score: float, confidence: float, age: float) -> dict[str, Any]:
    """The hint of a permit as the governor writes it."""
    raw = {"efficiency_score": repr(score), "confidence": repr(confidence), "ts": repr(NOW - age)}
    made = hint(assess(raw, NOW, RULES.eff_ttl_sec, RULES.min_conf), RULES)
    return {field.name: field.text(made) for field in HINT}


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-100, 1000))
def test_what_the_governor_writes_is_no_contradiction(
    score: float, confidence: float, age: float
) -> None:
    assert contradiction(written(score, confidence, age), RULES) == ""


@pytest.mark.parametrize("score", [0.44994, 0.449951, 0.45, 0.45004, 0.1124999, 0.1125, 0.0, 1.0])
def test_a_score_on_the_edge_is_no_contradiction(score: float) -> None:
    assert contradiction(written(score, 0.65, 0.0), RULES) == ""


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("eff_action", "NONE", "eff_action 'NONE' where the formula gives DOWNSIZE"),
        ("eff_factor", "0.9", "downsize_factor is not eff_factor"),
        ("eff_reason", "great", "eff_reason 'great'"),
        ("eff_reason", "stale_eff", "eff_stale '0'"),
        ("eff_confidence", "0.1", "eff_confidence 0.1"),
        ("eff_score", "", "without a score"),
        ("extra_cooldown_sec", "5", "extra_cooldown_sec 5 where the formula gives 96"),
        ("extra_cooldown_sec", "soon", "extra_cooldown_sec nan"),
    ],
)
def test_a_hint_that_no_formula_gives_is_told(field: str, value: str, said: str) -> None:
    assert said in contradiction(written(0.2, 0.9, 0.0) | {field: value}, RULES)


def test_a_factor_that_the_score_does_not_give_is_told() -> None:
    fields = written(0.2, 0.9, 0.0) | {"eff_factor": "0.9000", "downsize_factor": "0.9000"}
    assert contradiction(fields, RULES) == "eff_factor 0.9 where the formula gives 0.4444"


@pytest.mark.parametrize(
    ("fields", "missing", "became"),
    [
        ({"target_usdt": "5"}, "target_usd", "target_usdt"),
        ({"targetUsd": "5", "mode": "live"}, "target_usd", "targetUsd"),
        ({"score": "0.5", "regime": "x"}, "efficiency_score", "score"),
        ({"mode": "live"}, "target_usd", None),
        ({"target_usdt": ""}, "target_usd", None),
    ],
)
def test_a_renamed_field(fields: dict[str, str], missing: str, became: str | None) -> None:
    assert renamed(fields, missing, ("mode",)) == became


@pytest.mark.parametrize(
    ("info", "check", "level"),
    [
        ({"redis_version": "6.0.16"}, server.version, "wrong"),
        ({"redis_version": "6.2.1"}, server.version, "warning"),
        ({"redis_version": "7.0.15"}, server.version, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, server.version, "ok"),
        ({"redis_version": "odd"}, server.version, "unknown"),
        ({}, server.eviction, "unknown"),
        ({"role": "slave", "master_host": "db1", "master_port": "6379"}, server.role, "wrong"),
        ({"role": "master", "loading": "1"}, server.role, "wrong"),
        ({"aof_enabled": "1", "aof_last_write_status": "err"}, server.persistence, "wrong"),
        ({"aof_enabled": "0", "rdb_saves": "3"}, server.persistence, "warning"),
        ({"aof_enabled": "0", "rdb_saves": "0"}, server.persistence, "wrong"),
        ({}, server.persistence, "unknown"),
        ({"used_memory": "97", "maxmemory": "100"}, server.memory, "wrong"),
        ({"used_memory": "85", "total_system_memory": "100"}, server.memory, "warning"),
        ({}, server.memory, "unknown"),
    ],
)
def test_what_a_server_says_of_itself(
    info: dict[str, str], check: Callable[[Inspection], Any], level: str
) -> None:
    inspection = Inspection(None, Settings())
    inspection.info = info
    (finding,) = check(inspection)
    assert finding.level == level


@pytest.mark.parametrize(
    ("url", "sets", "line"),
    [
        ("redis://127.0.0.1:6379/0", (), "redis-cli ping"),
        ("redis://db1/2", (), "redis-cli -h db1 -n 2 ping"),
        ("redis://db1:7000/0?db=3", (), "redis-cli -h db1 -p 7000 -n 3 ping"),
        ("redis://ops:hush@db1/0", (), "redis-cli -h db1 --user ops --askpass ping"),
        ("redis://:hush@db1/0", (), "redis-cli -h db1 --askpass ping"),
        ("unix:///run/redis.sock?db=1", (), "redis-cli -s /run/redis.sock -n 1 ping"),
        ("redis://[::1]:7000/0", (), "redis-cli -h ::1 -p 7000 ping"),
        ("rediss://db1/0", ("redis.tls_ca_file=/ca.pem",),
         "redis-cli --tls -h db1 --cacert /ca.pem ping"),
        ("redis://db1/0", ("redis.username=viewer", "redis.password_file=/run/pw"),
         'REDISCLI_AUTH="$(cat /run/pw)" redis-cli -h db1 --user viewer ping'),
    ],
)  # fmt: skip
def test_redis_cli_is_called_for_the_same_server_without_a_password(
    url: str, sets: tuple[str, ...], line: str
) -> None:
    loaded = load(config=None, environ=NO_FILE, redis_url=url, sets=sets)
    words = words_of(loaded, url, url, None, sets)
    assert words.redis("ping") == line
    assert "hush" not in words.redis("ping") + words.qtctl("doctor")


def test_a_password_in_the_environment_stays_there() -> None:
    loaded = load(config=None, environ={**NO_FILE, "QTCTL_REDIS_PASSWORD": "hush"})
    url = loaded.settings.redis.url
    line = words_of(loaded, url, None, None, ()).redis("ping")
    assert line == 'REDISCLI_AUTH="$QTCTL_REDIS_PASSWORD" redis-cli ping'


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("0.0.0.0", True), ("localhost", True), ("192.0.2.1", False),
     ("example.org", False), ("", False)],
)  # fmt: skip
def test_only_addresses_of_this_host_are_here(host: str, here: bool) -> None:
    assert probe.is_here(host) is here


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:8044", ("127.0.0.1", 8044)),
        ("[::1]:8044", ("::1", 8044)),
        ("127.0.0.1:0", None),
        ("", None),
        ("evil@host:1 x", None),
        ("host:99999", None),
    ],
)
def test_where_a_service_listens(text: str, place: tuple[str, int] | None) -> None:
    assert probe.address(text) == place


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", True),
        ("redis://127.0.0.1:6379/2", True),
        ("unix:///run/redis.sock", True),
        ("redis://127.0.0.1:7391/0", False),
        ("rediss://[::1]:6380", False),
        ("redis://10.0.0.1:6379/0", False),
        ("redis+sentinel://127.0.0.1:26379,10.0.0.2:26379/quantum/0", True),
    ],
)
def test_a_unit_is_offered_only_for_a_server_that_it_may_be(url: str, expected: bool) -> None:
    assert is_usual(url) == expected
