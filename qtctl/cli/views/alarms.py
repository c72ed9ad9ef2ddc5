"""What makes `status` exit 1, the worst first: the banner that it and `top` begin with.

Pure: from the document of `status` to lines that name the cause. Each rule stands for one kind of
incident, in the order in which an operator must know of it: what makes everything else on the
screen meaningless, what costs money now, what has no effect yet.
"""

from collections.abc import Callable, Iterator
from functools import partial

from qtctl.cli.output import format
from qtctl.cli.views.health_record import Alarm, Feed, KillSwitchKey, Overall, Service
from qtctl.cli.views.why_commands import resume, shell_word
from qtctl.wire.schema.keys import CLOCK_JUMP

Found = Iterator[tuple[str, str]]
"""What is wrong, and the command to run next, without `qtctl`."""
RESTARTED_SEC = 600.0
"""A restart of Redis is reported for so long."""
STALE_AT_LEAST = 3
"""Verdicts that must all be `stale_plan` before every plan counts as going stale."""
DOCTOR = "doctor"


def alarms(found: Overall, own: str = "qtctl") -> list[Alarm]:
    """All that is wrong, the worst first. own: `qtctl` with the options of this call."""
    listed = [
        Alarm(kind, text, f"{own} {command}")
        for kind, rule in RULES.items()
        for text, command in rule(found)
    ]
    # In the wrong database everything else is missing, which says nothing.
    return listed[:1] if found.redis.wrong_database else listed


# Redis, and the stream of plans ------------------------------------------------------------------


def _wrong_database(found: Overall) -> Found:
    if found.redis.wrong_database:
        yield f"wrong database? {found.redis.wrong_database}", "config show redis"


def _plan_stream(found: Overall) -> Found:
    plans = found.plans
    if plans.stream == "wrong_type":
        yield (
            f"{plans.stream_name} is no stream but a {plans.stream_type}: no plan is judged",
            DOCTOR,
        )
    elif plans.stream == "deleted":
        ago = format.span(plans.deleted_age_s)
        until = f"plans were judged until {ago} ago"
        if _come_again(found):
            until = f"what was in it {ago} ago is gone; plans come again"
        yield f"{plans.stream_name} was DELETED: {until}", DOCTOR
    elif plans.stream == "missing":
        yield f"{plans.stream_name} does not exist: no plan has come", DOCTOR


def _come_again(found: Overall) -> bool:
    """Whether a plan stream that was deleted has had plans since."""
    last_s = found.upstream.last_plan_age_s if found.upstream else None
    deleted_s = found.plans.deleted_age_s
    return last_s is not None and deleted_s is not None and last_s < deleted_s


def _emptied(found: Overall) -> Found:
    if found.redis.lost and not found.redis.acknowledged:
        yield str(found.redis.emptied), DOCTOR


def _unfit(found: Overall) -> Found:
    redis = found.redis
    if redis.role not in (None, "master"):
        yield f"this Redis is a {redis.role}, no primary: nothing is permitted here", DOCTOR
    if redis.may_evict:
        yield "Redis MAY EVICT DECISIONS: nothing is permitted until it can't", DOCTOR


def _restarted(found: Overall) -> Found:
    up_s = found.redis.up_s
    if found.redis.restarted and up_s is not None and up_s < RESTARTED_SEC and not found.redis.lost:
        yield f"Redis RESTARTED {format.span(up_s)} ago: opens queued before are refused", DOCTOR


def _plan_ids(found: Overall) -> Found:
    if "plan_ids" in found.problems:
        yield f"wrong plan ids: {found.problems['plan_ids']}", DOCTOR


# What is stopped on purpose ----------------------------------------------------------------------


def _halted(found: Overall, *, everything: bool) -> Found:
    keys = found.kill_switch.keys
    if keys and everything == any(it.mode == "halted" and not it.symbol for it in keys):
        yield f"HALTED {found.kill_switch.told}", _end_of_halt(keys)


def _end_of_halt(keys: list[KillSwitchKey]) -> str:
    """How to end it where that is ours to do: a halt of qtctl, or a jump of the clock."""
    if any(it.since is None for it in keys):
        return DOCTOR
    first = keys[0]
    return resume(first.symbol, clock=first.key.endswith(CLOCK_JUMP.template))


def _unread(found: Overall) -> Found:
    for it in found.kill_switch.unread:
        yield f"{it.key}='{it.value}' stops NOTHING: no governor reads that name", DOCTOR


# Plans -------------------------------------------------------------------------------------------


def _service(found: Overall, *, service: str, effect: str) -> Found:
    rows = [it for it in found.services if it.service == service]
    bad = [it for it in rows if not it.well]
    alone = len(bad) == len(rows)
    for it in bad:
        if it.state == "missing" and it.detail:
            # It may well run.
            article = "an" if service == "allocation" else "a"
            yield f"no record of {article} {service}: {it.detail}", DOCTOR
            continue
        others = "" if alone else f" ({len(rows) - len(bad)} of {len(rows)} work)"
        yield f"{_what_ails(it)}{f': {effect}' if alone else others}", DOCTOR


def _what_ails(it: Service) -> str:
    name = f"{it.service} {it.name}".strip()
    if it.state == "missing":
        return f"no {it.service} is running"
    if it.state == "late":
        return f"{name} is LATE, {it.detail}"
    if it.state == "silent":
        age_s = it.last_pass_age_s
        passed = "" if age_s is None else f", last pass {format.span(age_s)} ago"
        return f"{name} gives NO ANSWER, {it.detail}{passed}"
    return f"{name} is NOT READY, {it.detail}"


def _behind(found: Overall) -> Found:
    group = found.group
    if group is None or not group.max_queue_age_s:
        return
    waits, limit = group.first_waits_s or 0.0, format.span(group.max_queue_age_s)
    # What Redis does not know is more than is counted.
    behind = group.behind if group.lag is None else group.lag
    many = "over 1,000" if behind is None else f"{behind:,}"
    if waits > group.max_queue_age_s:
        what = f"{many} plans BEHIND, the first has waited {format.span(waits)}"
        yield f"{what}: over {limit} they go stale", DOCTOR
    elif behind is not None and behind > group.served_within_limit:
        yield f"{many} plans BEHIND: more than are judged before they go stale ({limit})", DOCTOR


def _pending(found: Overall) -> Found:
    group = found.group
    if group is None or not group.pending:
        return
    oldest = group.pending_s or 0.0
    if group.stuck:
        yield (
            f"{_plans(group.stuck)} STUCK in the group: taken up, and no verdict for over 1 min",
            DOCTOR,
        )
    elif group.max_queue_age_s and oldest > group.max_queue_age_s:
        what = f"{_plans(group.pending)} PENDING for up to {format.span(oldest)}"
        yield f"{what}: taken up, and no verdict", DOCTOR


def _plans(count: int) -> str:
    return format.count(count, "plan")


def _closes_refused(found: Overall) -> Found:
    plans = found.plans
    count = sum(plans.closes_refused.values())
    if not count:
        return
    more = "or more " if plans.closes_refused_at_least else ""
    why = ", ".join(
        reason if len(plans.closes_refused) == 1 else f"{times:,} {reason}"
        for reason, times in plans.closes_refused.items()
    )
    last = f"the last {format.span(plans.close_refused_age_s)} ago"
    command = f"why {shell_word(plans.close_refused_symbol)}"
    yield f"{count:,} {more}CLOSE{'S' * (count > 1)} REFUSED in 10 min ({why}), {last}", command


def _all_stale(found: Overall) -> Found:
    plans = found.plans
    if plans.recent == plans.recent_stale >= STALE_AT_LEAST:
        yield f"EVERY PLAN GOES STALE: {plans.recent:,} of {plans.recent:,} in 5 min", DOCTOR


def _group_gone(found: Overall) -> Found:
    plans, working = found.plans, any(it.service == "governor" and it.well for it in found.services)
    if found.group is None and plans.stream == "ok" and working and "group" not in found.problems:
        yield "the governors' group is GONE from the plan stream", "group recover"


# Upstream ----------------------------------------------------------------------------------------


def _targets(found: Overall) -> Found:
    upstream = found.upstream
    feed = None if upstream is None else upstream.targets
    if upstream is None or feed is None:
        return
    if not feed.looked_at:
        if upstream.whole:
            yield "NO TARGETS: P2.9 writes none, nothing is proposed", DOCTOR
        return
    for what in _feed(feed, "targets"):
        yield what, DOCTOR


def _scores(found: Overall) -> Found:
    feed = None if found.upstream is None else found.upstream.scores
    for what in _feed(feed, "scores") if feed is not None and feed.looked_at else ():
        yield what, DOCTOR


def _feed(feed: Feed, name: str) -> Iterator[str]:
    """Silent, missing, or low: under a half of them count; one that can't be read is a fault."""
    of = f"of {feed.looked_at:,}"
    age_s = feed.newest_age_s
    newest = "" if age_s is None else f", the newest {format.span(age_s)} old"
    if feed.missing == feed.looked_at:
        yield f"NO {name.upper()}: none for any of {feed.looked_at:,} symbols"
    elif feed.stale and feed.stale + feed.missing == feed.looked_at:
        yield f"{name.upper()} SILENT: {feed.stale:,} {of} stale{newest}"
    elif feed.unreadable:
        yield f"{feed.unreadable:,} {of} {name} UNREADABLE: {_problem(feed)}"
    elif 2 * feed.good < feed.looked_at:
        yield f"{name} LOW: {feed.good:,} {of} count ({wrong_in(feed)})"


def _problem(feed: Feed) -> str:
    return "no hash (wrong type)" if feed.problem.startswith("WRONGTYPE") else feed.problem


def wrong_in(feed: Feed) -> str:
    """`2 missing, 1 stale`; "" for nothing."""
    kinds = ("missing", "stale", "low_conf", "unreadable")
    return ", ".join(f"{count:,} {kind}" for kind in kinds if (count := getattr(feed, kind)))


def _other_groups(found: Overall) -> Found:
    for it in found.other_groups:
        where = f"stuck in the group {it.group} for up to {format.span(it.stuck_s)}"
        yield f"{_plans(it.stuck)} {where}: another system's", "group list"


def _unreadable(found: Overall) -> Found:
    for part, problem in found.problems.items():
        known = part == "plan_ids" or (part == "plans" and found.plans.stream == "wrong_type")
        if not known:
            yield f"{part} could not be read: {problem}", DOCTOR


RULES: dict[str, Callable[[Overall], Found]] = {
    "wrong_database": _wrong_database,
    "plan_stream": _plan_stream,
    "redis_emptied": _emptied,
    "redis_unfit": _unfit,
    "halted": partial(_halted, everything=True),
    "governor": partial(_service, service="governor", effect="no plan is judged"),
    "plan_ids": _plan_ids,
    "group_gone": _group_gone,
    "pending": _pending,
    "behind": _behind,
    "closes_refused": _closes_refused,
    "all_stale": _all_stale,
    "opens_halted": partial(_halted, everything=False),
    "unread_switch": _unread,
    "redis_restarted": _restarted,
    "allocation": partial(_service, service="allocation", effect="nothing is proposed"),
    "targets": _targets,
    "scores": _scores,
    "other_group": _other_groups,
    "unreadable": _unreadable,
}
"""The kinds of alarms, the worst first."""
