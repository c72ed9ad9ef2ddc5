"""What the banner says of each kind of incident, from the document alone; what comes first; and
that nothing healthy is an alarm."""

from dataclasses import replace
from typing import Any

import pytest

from qtctl.cli.views import alarms
from qtctl.cli.views.health_page import headline
from qtctl.cli.views.health_record import (
    Feed,
    Group,
    KillSwitch,
    KillSwitchKey,
    OtherGroup,
    Overall,
    Permits,
    Plans,
    Redis,
    Service,
    UnreadKey,
    Upstream,
)


def service(kind: str, name: str = "x", state: str = "ready", detail: str = "") -> Service:
    return Service(kind, name, state, detail, 1.0, 60.0, "1", "h", "127.0.0.1:1")


def feed(**changes: Any) -> Feed:
    plain = {"looked_at": 10, "good": 10, "missing": 0, "stale": 0, "low_conf": 0, "unreadable": 0}
    return Feed(**{**plain, "newest_age_s": 4.0, "problem": "", **changes})


GROUP = Group(
    lag=0, pending=0, stuck=0, consumers=1, behind=0, max_queue_age_s=10.0, served_within_limit=5000
)
REDIS = Redis("redis://h/0 q:", None, "redis", "7.2", "master", 9e5, may_evict=False)
PLANS = Plans(12.0, 12.0, 5, 1, 3600.0, cut=False, blocks={}, stream_name="q:plans")
HEALTHY = Overall(
    ok=True, where="redis://h/0 q:", at=1.0,
    services=[service("governor"), service("allocation")], redis=REDIS,
    kill_switch=KillSwitch("normal", "normal", []), plans=PLANS, group=GROUP,
    permits=Permits(0, None, 0), problems={},
    upstream=Upstream(whole=True, targets=feed(), scores=feed(), last_plan_age_s=3.0,
                      last_proposal_age_s=5.0),
)  # fmt: skip


def redis(**changes: Any) -> Overall:
    return replace(HEALTHY, redis=replace(REDIS, **changes))


def plans(**changes: Any) -> Overall:
    return replace(HEALTHY, plans=replace(PLANS, **changes))


def group(**changes: Any) -> Overall:
    return replace(HEALTHY, group=replace(GROUP, **changes))


def governors(*found: Service) -> Overall:
    return replace(HEALTHY, services=[*found, service("allocation")])


def upstream(**changes: Any) -> Overall:
    assert HEALTHY.upstream is not None
    return replace(HEALTHY, upstream=replace(HEALTHY.upstream, **changes))


def deleted(deleted_age_s: float, last_plan_age_s: float) -> Overall:
    found = upstream(last_plan_age_s=last_plan_age_s)
    return replace(found, plans=replace(PLANS, stream="deleted", deleted_age_s=deleted_age_s))


def halted(mode: str, *, since: float | None = None, symbol: str = "", key: str = "q:kill") -> Any:
    row = KillSwitchKey(key, "1", mode, symbol, "operator:alice@desk", "news", since)
    return replace(HEALTHY, kill_switch=KillSwitch(mode, "opens: q:kill='1' by alice", [row]))


def unread(key: str, value: str) -> Overall:
    return replace(HEALTHY, kill_switch=KillSwitch("normal", "normal", [], [UnreadKey(key, value)]))


CASES = (
    (redis(wrong_database="db 7 is empty; the services here use db 0"), "wrong_database",
     "wrong database? db 7 is empty; the services here use db 0", "config show redis"),
    (redis(emptied="3 s ago Redis came back EMPTY", lost=True), "redis_emptied",
     "3 s ago Redis came back EMPTY", "doctor"),
    (redis(restarted=True, up_s=5.0), "redis_restarted", "Redis RESTARTED 5 s ago", "doctor"),
    (redis(role="slave"), "redis_unfit", "this Redis is a slave, no primary", "doctor"),
    (redis(may_evict=True), "redis_unfit", "MAY EVICT DECISIONS", "doctor"),
    (plans(stream="wrong_type", stream_type="string"), "plan_stream",
     "q:plans is no stream but a string: no plan is judged", "doctor"),
    (deleted(deleted_age_s=4.0, last_plan_age_s=4.5), "plan_stream",
     "q:plans was DELETED: plans were judged until 4 s ago", "doctor"),
    (deleted(deleted_age_s=40.0, last_plan_age_s=0.4),
     "plan_stream", "q:plans was DELETED: what was in it 40 s ago is gone; plans come again",
     "doctor"),
    (plans(stream="missing"), "plan_stream", "q:plans does not exist", "doctor"),
    (halted("halted"), "halted", "HALTED opens: q:kill='1' by alice", "doctor"),
    (halted("halted", since=1.0), "halted", "HALTED", "resume --reason '…'"),
    (halted("reduce_only", since=1.0), "opens_halted", "HALTED", "resume --reason '…'"),
    (halted("halted", since=1.0, symbol="BTC"), "opens_halted", "HALTED",
     "resume BTC --reason '…'"),
    (halted("reduce_only", since=1.0, key="q:governor:clock_jump"), "opens_halted", "HALTED",
     "resume --clock --reason '…'"),
    (unread("q:panic", "1"), "unread_switch",
     "q:panic='1' stops NOTHING: no governor reads that name", "doctor"),
    (governors(service("governor", "", "missing")), "governor",
     "no governor is running: no plan is judged", "doctor"),
    (governors(service("governor", "", "missing", "not among the keys looked at")), "governor",
     "no record of a governor: not among the keys looked at", "doctor"),
    (governors(service("governor", "g1", "silent", "nobody listens at h:1")), "governor",
     "governor g1 gives NO ANSWER, nobody listens at h:1, last pass 1 s ago", "doctor"),
    (governors(service("governor", "g1", "late", "no pass for 9 min")), "governor",
     "governor g1 is LATE, no pass for 9 min", "doctor"),
    (governors(service("governor", "g1", "not_ready", "may evict")), "governor",
     "governor g1 is NOT READY, may evict", "doctor"),
    (governors(service("governor"), service("governor", "g2", "late", "no pass for 9 min")),
     "governor", "governor g2 is LATE, no pass for 9 min (1 of 2 work)", "doctor"),
    (group(lag=50_000, behind=50_000, first_waits_s=27.0), "behind",
     "50,000 plans BEHIND, the first has waited 27 s: over 10 s they go stale", "doctor"),
    (group(lag=5001, behind=5001, first_waits_s=0.5), "behind",
     "5,001 plans BEHIND: more than are judged before they go stale (10 s)", "doctor"),
    (group(lag=None, behind=None, first_waits_s=11.0), "behind", "over 1,000 plans BEHIND",
     "doctor"),
    (group(pending=30, stuck=30, pending_s=99.0), "pending", "30 plans STUCK", "doctor"),
    (group(pending=1, pending_s=15.0), "pending", "1 plan PENDING for up to 15 s", "doctor"),
    (plans(closes_refused={"stale_plan": 2, "kill_switch_active": 1}, close_refused_age_s=5.0,
           close_refused_symbol="ETHUSDT"), "closes_refused",
     "3 CLOSES REFUSED in 10 min (2 stale_plan, 1 kill_switch_active), the last 5 s ago",
     "why ETHUSDT"),
    (plans(recent=3, recent_stale=3), "all_stale", "EVERY PLAN GOES STALE: 3 of 3 in 5 min",
     "doctor"),
    (upstream(targets=feed(looked_at=0, good=0, newest_age_s=None)), "targets", "NO TARGETS",
     "doctor"),
    (upstream(targets=feed(good=0, missing=10)), "targets",
     "NO TARGETS: none for any of 10 symbols", "doctor"),
    (upstream(targets=feed(good=0, stale=8, missing=2, newest_age_s=3000.0)), "targets",
     "TARGETS SILENT: 8 of 10 stale, the newest 50 min old", "doctor"),
    (upstream(targets=feed(good=9, unreadable=1, problem="WRONGTYPE Operation …")), "targets",
     "1 of 10 targets UNREADABLE: no hash (wrong type)", "doctor"),
    (upstream(scores=feed(good=4, missing=5, low_conf=1)), "scores",
     "scores LOW: 4 of 10 count (5 missing, 1 low_conf)", "doctor"),
    (replace(HEALTHY, group=None), "group_gone", "the governors' group is GONE", "group recover"),
    (replace(HEALTHY, services=[service("governor"), service("allocation", "", "missing")]),
     "allocation", "no allocation is running: nothing is proposed", "doctor"),
    (upstream(targets=feed(good=1, missing=9)), "targets", "targets LOW: 1 of 10 count", "doctor"),
    (replace(HEALTHY, other_groups=[OtherGroup("apply", 7, 86400.0 * 15)]), "other_group",
     "7 plans stuck in the group apply for up to 15.0 d", "group list"),
    (replace(HEALTHY, problems={"events": "no permission"}), "unreadable",
     "events could not be read: no permission", "doctor"),
    (replace(HEALTHY, problems={"plan_ids": "are in s"}), "plan_ids", "wrong plan ids: are in s",
     "doctor"),
)  # fmt: skip


def test_what_is_healthy_is_no_alarm() -> None:
    assert alarms.alarms(HEALTHY) == []


@pytest.mark.parametrize(
    "found",
    [
        redis(restarted=True, up_s=601.0),
        redis(emptied="3 s ago g1 started and found no trace", lost=False),
        group(lag=3, behind=3, first_waits_s=0.2),
        group(pending=500, pending_s=0.1),
        group(lag=None, behind=0),
        plans(recent=10, recent_stale=9),
        plans(recent=2, recent_stale=2),
        upstream(scores=feed(good=5, missing=5)),
        upstream(whole=False, targets=feed(looked_at=0, good=0), scores=feed(looked_at=0)),
        replace(HEALTHY, upstream=None),
    ],
)
def test_what_passes_by_itself_is_none_either(found: Overall) -> None:
    assert alarms.alarms(found) == []


@pytest.mark.parametrize(("found", "kind", "text", "command"), CASES)
def test_each_incident_is_named(found: Overall, kind: str, text: str, command: str) -> None:
    (alarm,) = alarms.alarms(found, "qtctl --config f")
    assert alarm.alarm == kind
    assert text in alarm.text
    assert "\n" not in alarm.text
    assert alarm.command == f"qtctl --config f {command}"


def test_every_kind_of_alarm_has_its_case() -> None:
    assert {kind for _, kind, _, _ in CASES} == set(alarms.RULES)


def test_the_group_is_gone_only_where_a_governor_should_have_made_it() -> None:
    gone = replace(HEALTHY, group=None)
    nobody = replace(gone, services=[service("governor", "", "missing"), service("allocation")])
    assert [it.alarm for it in alarms.alarms(nobody)] == ["governor"]


def test_the_worst_comes_first_and_the_rest_is_counted_in_one_line() -> None:
    found = replace(
        plans(closes_refused={"stale_plan": 1}, close_refused_age_s=1.0, stream="deleted"),
        services=[service("governor", "", "missing"), service("allocation", "", "missing")],
    )
    listed = alarms.alarms(found)
    kinds = [it.alarm for it in listed]
    assert kinds == ["plan_stream", "governor", "closes_refused", "allocation"]
    assert headline(listed).endswith("(and 3 more: qtctl status)")


def test_in_the_wrong_database_nothing_else_is_said() -> None:
    found = replace(redis(wrong_database="db 7 is empty"), group=None, services=[])
    assert [it.alarm for it in alarms.alarms(found)] == ["wrong_database"]
