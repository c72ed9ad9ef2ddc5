"""What `qtctl why` asks: Redis, and a governor's own port where that is on this host."""

import shlex
from collections.abc import Mapping, Sequence

import msgspec

from qtctl.cli.framework.context import Context
from qtctl.cli.views import why_past
from qtctl.cli.views.health import readiness
from qtctl.cli.views.health_record import READY
from qtctl.cli.views.in_force import InForce
from qtctl.cli.views.past import Past
from qtctl.cli.views.permits import Lifetime
from qtctl.domain import numbers
from qtctl.domain.diagnosis import Alive, Diagnosis, Target
from qtctl.domain.downsize import DownsizeRules, Hint, hint
from qtctl.domain.gates import Limits
from qtctl.domain.names import ascii_upper
from qtctl.domain.plans import PlanRules
from qtctl.domain.readings import MISSING, Unusable, assess, target_usd
from qtctl.errors import WireError
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions, diagnosis, key_types, plan_ids, rates, targets, upstream
from qtctl.wire.queries.diagnosis import RecentPlans
from qtctl.wire.queries.plan_ids import PlanIds
from qtctl.wire.queries.targets import Found
from qtctl.wire.schema.keys import EFFICIENCY, TARGET, KeySpec
from qtctl.wire.schema.kill_names import KillNames
from qtctl.wire.schema.service import ServiceRecord

LATELY_SEC = 60.0
"""A plan that was judged since then shows that a governor is ready."""


class Answer(msgspec.Struct, frozen=True):
    """The facts, and what the score counts as for the governor, which no gate goes by.

    score: its fields as sent; score_shadow: where there is none, what P3.1 does instead.
    """

    facts: Diagnosis
    hint: Hint
    score: Mapping[str, str] = {}
    score_shadow: str = ""


def answer(
    ctx: Context, store: Store, symbol: str, since_sec: float, past: Past | None = None
) -> Answer | None:
    """All that the answer about a symbol rests on; None where nothing is known of it. past: where
    what Redis has forgotten is asked for; without it only Redis is."""
    now = store.now_ms() / 1000
    in_force = InForce(ctx, store)
    alive = in_force.running("governor")
    rules, _ = in_force.of("governor", PlanRules)
    limits, _ = in_force.of("governor", Limits)
    downsize, _ = in_force.of("governor", DownsizeRules)
    own, _ = in_force.of("governor", Lifetime)
    names, _ = in_force.of("governor", KillNames)
    # Without a governor nobody knows with what lifetime the last permits were issued.
    ttl_sec = own.permit_ttl_sec if alive else 0.0
    recent_plans = diagnosis.recent_plans(store, symbol, now - since_sec, now, rules, ttl_sec)
    from_history = 0
    if past is not None:
        recent_plans, from_history = why_past.with_past(past, recent_plans, symbol, now - since_sec)
    found = targets.symbols(store, list(dict.fromkeys((symbol, ascii_upper(symbol)))))
    known = found[0] if found else None
    ids = plan_ids.plan_ids(store, int(now * 1000))
    if known is None and not recent_plans.plans and ids is None:
        return None
    judged_by = None
    if recent_plans.decision is not None:
        digest = recent_plans.decision.get("limits", "")
        judged_by = (
            decisions.limits(store, digest) if past is None else past.limits([digest])[digest]
        )
    failed = diagnosis.failed_checks(recent_plans.decision, judged_by)
    passes_at, held_by = rates.passes_at(store, symbol, limits, now)
    not_ready, silent = _ports_say(store, alive, recent_plans, now)
    facts = Diagnosis(
        symbol=symbol,
        now=now,
        since_sec=since_sec,
        target=_target(store, None if known is None else known.target, now),
        kill=diagnosis.kill(store, names, symbol),
        governors=tuple(
            Alive(
                it.name,
                it.version,
                it.host,
                it.age_sec(now),
                it.is_late(now),
                silent.get(it.name, ""),
            )
            for it in alive
        ),
        not_ready=not_ready,
        group_there=recent_plans.group is not None,
        lag=None if recent_plans.group is None else recent_plans.group.lag,
        pending=0 if recent_plans.group is None else recent_plans.group.pending,
        plans=recent_plans.plans,
        looked_at=recent_plans.looked_at,
        from_history=from_history,
        looked_back_sec=None if recent_plans.back_to is None else now - recent_plans.back_to,
        nameless=recent_plans.nameless,
        record=recent_plans.decision or {},
        check=failed[0] if failed else None,
        failed=failed,
        passes_at=passes_at,
        held_by=held_by,
        wrong_types=_wrong_types(store, recent_plans),
        permits=recent_plans.permits,
        plan_ids="" if ids is None else f"{ids.what}: {ids.effect}",
        plan_ids_fix="" if ids is None else "; ".join(_steps(ids)),
    )
    score = None if known is None else known.efficiency.fields
    reading = (
        MISSING if known is None else assess(score, now, downsize.eff_ttl_sec, downsize.min_conf)
    )
    return Answer(
        facts,
        hint(reading, downsize),
        {} if known is None else known.efficiency.readable,
        _shadow(store, EFFICIENCY, now) if score is None else "",
    )


def _steps(ids: PlanIds) -> list[str]:
    steps = ids.way_out(lambda *words: shlex.join(("redis-cli", *words)))
    return [f"{place}. {step}" for place, step in enumerate(steps, 1)]


def _shadow(store: Store, spec: KeySpec, now: float) -> str:
    found = upstream.shadow(store, spec, now)
    return "" if found is None else found.sentence


def _target(store: Store, found: Found | None, now: float) -> Target:
    if found is None or found.fields is None:
        return Target(shadow=_shadow(store, TARGET, now))
    read = target_usd(found.fields)
    at = numbers.epoch(found.readable.get("timestamp", ""))
    return Target(
        usd=None if isinstance(read, Unusable) else read,
        problem=read.problem if isinstance(read, Unusable) else "",
        age_sec=None if at is None else now - at,
        ttl_sec=found.ttl_sec,
    )


def _wrong_types(store: Store, recent_plans: RecentPlans) -> tuple[str, ...]:
    if not any(plan.waits == "pending" for plan in recent_plans.plans):
        return ()
    return tuple(it.sentence for it in key_types.of_pending(store))


def _ports_say(
    store: Store, alive: Sequence[ServiceRecord], recent_plans: RecentPlans, now: float
) -> tuple[str, dict[str, str]]:
    """Why no governor issues permits, "" where one does or nothing shows it (a plan that was judged
    just now shows that one does); and those that do not answer, with why."""
    latest = recent_plans.plans[0] if recent_plans.plans else None
    states = {it.name: readiness(it) for it in alive}
    silent = {name: detail for name, (state, detail) in states.items() if state == "silent"}
    if not alive or (latest is not None and latest.verdict and now - latest.at < LATELY_SEC):
        return "", silent
    answers = [detail for state, detail in states.values() if state == "not_ready"]
    if any(state == READY for state, _ in states.values()):
        return "", silent
    if answers:
        return answers[0], silent
    return (_objection(store) if latest is not None and latest.waits else ""), silent


def _objection(store: Store) -> str:
    """What a governor would have against this server, where none can be asked."""
    try:
        server = store.server()
    except WireError:
        return ""
    if server.role not in ("master", ""):
        return f"the server is a {server.role}"
    if server.may_evict:
        return (
            f"Redis may evict decisions (maxmemory-policy {server.policy}), unless its [safety] "
            "allow_eviction lets it"
        )
    return ""
