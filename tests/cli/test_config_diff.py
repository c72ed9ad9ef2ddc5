"""`qtctl config diff`: this shell beside the services that run, by their own records."""

import json

import pytest

from qtctl.wire.client.store import Store
from tests.support.cli import Cli, hosting

SAME = ("--set", "governor.name=test")
"""What the hosted governor was started with."""


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def test_the_same_settings_are_0_and_no_rows(cli: Cli, redis_url: str) -> None:
    with hosting(redis_url):
        said = cli.ok("config", "diff", "governor", *SAME)
        assert said.out == ""
        assert "governor test: the same settings as here." in said.err
        assert cli.ok("config", "diff", "governor", "-o", "json", *SAME).json == []
        assert cli.ok("config", "diff", "governor", "-o", "ndjson", *SAME).out == ""


def test_a_service_that_does_not_run_is_told_beside_one_that_does(cli: Cli, redis_url: str) -> None:
    with hosting(redis_url):
        assert "No allocation is running on unix:" in cli.ok("config", "diff", *SAME).err


def test_what_differs_is_1_with_both_values_and_the_origin_here(cli: Cli, redis_url: str) -> None:
    with hosting(redis_url, "governor", "governor.permit_ttl_sec=30"):
        said = cli("config", "diff", *SAME, "-o", "json", environ={"P31_MIN_CONF": "0.9"})
        assert said.code == 1
        rows = {row.pop("key"): row for row in said.json}
        where = {"service": "governor", "instance": "test"}
        assert rows == {
            "governor.permit_ttl_sec": {"here": 60, "there": 30, "origin": "default", **where},
            "governor.min_conf": {
                "here": 0.9,
                "there": 0.65,
                "origin": "environment P31_MIN_CONF",
                **where,
            },
        }
        assert "governor test: 2 settings differ." in said.err
        table = cli("config", "diff", *SAME)
        _, row = table.out.splitlines()
        assert row.split() == ["governor.permit_ttl_sec", "60", "30", "test", "default"]


def test_no_service_is_1_and_says_so(cli: Cli) -> None:
    said = cli("config", "diff", "-o", "json")
    assert (said.code, said.json) == (1, [])
    assert "No allocation is running on" in said.err
    assert "No governor is running on" in said.err


def test_a_service_that_is_none_is_a_usage_error(cli: Cli) -> None:
    assert cli("config", "diff", "gouvernor").code == 2


def test_the_old_port_name_counts_for_the_service_that_is_named(cli: Cli, redis_url: str) -> None:
    with hosting(redis_url, "governor", "governor.metrics_port=9000"):
        port = {"METRICS_PORT": "9000"}
        cli.ok("config", "diff", "governor", *SAME, environ=port)
        assert cli("config", "diff", *SAME, environ=port).code == 1


def test_a_record_of_another_version_or_of_nobody_is_data(cli: Cli, store: Store) -> None:
    settings = {"min_conf": "\x1b[31m0.65", "brand_new": True, "batch": True}
    for name, text in (("old", json.dumps(settings)), ("bad", "[1]")):
        record = {"version": "0.0.1\x1b[2J", "settings": text}
        flat = [part for pair in record.items() for part in pair]
        store.run("HSET", store.keys.service("governor", name), *flat)
    said = cli("config", "diff", "governor")
    assert said.code == 1
    assert "\x1b" not in said.out + said.err
    assert "governor old" in said.err
    assert "(it is qtctl 0.0.1\\x1b[2J)" in said.err
    rows = {
        (row["instance"], row["key"]): row
        for row in cli("config", "diff", "governor", "-o", "json").json
    }
    new = rows["old", "governor.brand_new"]
    assert (new["here"], new["there"], new["origin"]) == (None, True, None)
    assert rows["old", "governor.batch"]["there"] is True
    assert rows["bad", "governor.min_conf"]["there"] is None
