"""Settings that are good alone and impossible together."""

import pytest

from qtctl.errors import ConfigError
from qtctl.settings import load


def told(
    *sets: str, environ: dict[str, str] | None = None, service: str | None = None
) -> str | None:
    """The error, or None where there is none."""
    try:
        load(config=None, environ=environ or {}, sets=sets, service=service)
    except ConfigError as error:
        return str(error)
    return None


def test_min_over_max_names_both_with_value_and_origin() -> None:
    assert told("allocation.max_mult=0.75", environ={"P31_MIN_MULT": "0.8"}) == (
        "allocation.min_mult = 0.8 (environment P31_MIN_MULT) is over "
        "allocation.max_mult = 0.75 (--set)"
    )


def test_min_equal_to_max_is_fine() -> None:
    assert told("allocation.min_mult=1", "allocation.max_mult=1") is None


def test_an_action_that_opens_and_closes_is_named() -> None:
    text = told("governor.open_actions=OPEN,CLOSE,UPDATE_SL")
    assert text is not None
    assert text.startswith("an action can't open and close: CLOSE, UPDATE_SL is in ")
    assert "governor.open_actions = ['OPEN', 'CLOSE', 'UPDATE_SL'] (--set)" in text


def test_an_action_that_opens_and_closes_is_named_in_any_case() -> None:
    text = told("governor.open_actions=close")
    assert text is not None
    assert text.startswith("an action can't open and close: CLOSE is in ")


def test_a_kill_key_with_the_prefix_would_never_be_found() -> None:
    text = told("governor.kill_keys=quantum:kill")
    assert text is not None
    assert text.startswith("governor.kill_keys = ['quantum:kill'] (--set): quantum:kill begins")


@pytest.mark.parametrize("prefix", ["governor:", "global:", "k"])
def test_a_prefix_that_a_usual_kill_key_begins_with_is_fine(prefix: str) -> None:
    assert told(f"redis.prefix={prefix}") is None


def test_one_stream_for_two_purposes_is_refused() -> None:
    text = told(environ={"STREAM_EVENTS": "quantum:stream:apply.plan"})
    assert text == (
        "governor.stream_events = 'quantum:stream:apply.plan' (environment STREAM_EVENTS) "
        "is the same stream as governor.stream_plans = 'quantum:stream:apply.plan' (default)"
    )


def test_equal_ports_are_refused_in_serve_all_only() -> None:
    sets = ("allocation.metrics_port=9000", "governor.metrics_port=9000")
    assert told(*sets, service="all") == (
        "serve all needs two ports: allocation.metrics_port = 9000 (--set) is also "
        "governor.metrics_port = 9000 (--set)"
    )
    assert told(*sets) is None
    assert told(*sets, service="governor") is None


def test_two_free_ports_are_two_ports() -> None:
    sets = ("allocation.metrics_port=0", "governor.metrics_port=0")
    assert told(*sets, service="all") is None


CLUSTER = "redis.url=redis+cluster://a:6379,b:6379"


def test_a_cluster_needs_a_hash_tag_in_the_prefix() -> None:
    text = told(CLUSTER)
    assert text is not None
    assert text.startswith("redis.prefix = 'quantum:' (default) has no hash tag")
    assert told(CLUSTER, "redis.prefix={quantum}:") is None


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("{quantum}:plans", True),
        ("x{quantum}y", True),
        ("quantum:plans", False),
        ("{other}:plans", False),
        ("{}{quantum}:plans", False),
    ],
)
def test_on_a_cluster_every_stream_carries_the_tag_of_the_prefix(name: str, fits: bool) -> None:
    text = told(CLUSTER, "redis.prefix={quantum}:", f"governor.stream_plans={name}")
    if fits:
        assert text is None
    else:
        assert text == (
            f"governor.stream_plans = '{name}' (--set) must carry the hash tag {{quantum}} of "
            "redis.prefix = '{quantum}:' (--set) on a cluster"
        )
    assert told("redis.prefix={quantum}:", f"governor.stream_plans={name}") is None
