"""Checks on what was read back: a proposal, a permit, the metrics, a service's health."""

from collections.abc import Mapping
from typing import Any

from qtctl import probe
from qtctl.probe import Page
from qtctl.proof import pages
from qtctl.proof.environment import Environment, unit_state
from qtctl.proof.fixtures import Subject
from qtctl.proof.pages import Series, total
from qtctl.proof.results import Check, equal
from qtctl.proof.scenarios import SERVICE_OF, Scenario
from qtctl.wire.client.store import Store
from qtctl.wire.queries.decisions import by_id
from qtctl.wire.queries.permits import one
from qtctl.wire.schema.keys import PERMIT, PROPOSED
from qtctl.wire.schema.records import pairs
from qtctl.wire.schema.service import ServiceRecord

BY_REDIS = ("redis_unreachable", "redis_error", "exception", "write", "commit", "not_ready")
"""Kinds of errors that no foreign symbol can cause."""
LAST_SUCCESS = {
    "step1": "p29_shadow_last_success_timestamp_seconds",
    "step2": "p32_last_success_timestamp_seconds",
}
ERRORS = {"step1": "p29_shadow_errors_total", "step2": "p32_errors_total"}
_GRANTED = {"granted": "true", "decision": "EXECUTE", "consumed": "false"}
Samples = Mapping[Series, float]
"""The metrics of a service; empty where it did not run."""


def scrape(environment: Environment, step: str) -> Samples:
    """The metrics now, empty where they can't be read."""
    page = _get(environment.service(step), "/metrics")
    return pages.samples(page.body) if page.status == 200 else {}


def proposal(store: Store, subject: Subject, entry: Mapping[str, str] | None) -> list[Check] | None:
    """The checks on a proposal, None while there is none."""
    key = store.keys.at(PROPOSED, subject.symbol)
    shown = pairs(store.run("HGETALL", key))
    if not shown or entry is None:
        return None
    ttl = int(store.run("TTL", key))
    same = dict(entry) == shown
    return [
        *_expected(key, subject, shown),
        Check(f"{store.keys.proposed_stream} has the same", "the same ten fields",
              "the same" if same else f"{dict(entry)}", same),
        Check(f"{key} lifetime", "1 to 600 s", f"{ttl} s", 0 < ttl <= 600),
    ]  # fmt: skip


def permit(store: Store, subject: Subject) -> tuple[list[Check], str] | None:
    """The checks on a permit and a note, None while there is neither permit nor decision. While
    trading is halted there is no permit; the hint is in the decision and is checked there."""
    key = store.keys.at(PERMIT, subject.plan_id)
    # The decision first: once it exists, so does the permit, unless somebody took it. The other way
    # round a permit that arrives in between would be missed.
    decision = by_id(store, [subject.plan_id]).get(subject.plan_id)
    held = one(store, subject.plan_id)
    if held is not None and held.fields is not None:
        ttl = held.ttl_sec
        lives = "no lifetime" if ttl is None else f"{ttl:.1f} s"
        return [
            *_equal(key, _GRANTED, held.fields),
            *_expected(key, subject, held.fields),
            Check(f"{key} lifetime", "up to 60 s", lives, ttl is not None and 0 < ttl <= 60),
        ], ""
    if decision is None:
        return None
    where = f"the decision on {subject.plan_id}"
    if decision.get("reason") == "kill_switch_active":
        halted = f"trading is halted ({decision.get('kill_key')}={decision.get('kill_value')})"
        return _expected(
            where, subject, decision
        ), f"{halted}: no permit; the hint is in the decision"
    seen = f"{decision.get('verdict')}, {decision.get('reason')}"
    return [equal(where, "permitted, ok", seen), *_expected(where, subject, decision)], ""


def metrics(environment: Environment, before: Samples, applied: Mapping[str, str]) -> list[Check]:
    """The checks that the applied factors, by symbol, show in the metrics."""
    service = environment.service("step2")
    address = service.metrics if service else ""
    page = _get(service, "/metrics")
    where = f"http://{address}/metrics"
    checks = [_answers(where, page)]
    if page.status != 200:
        return checks
    found = pages.samples(page.body)
    counter = "p32_eff_apply_total"
    typed = f"# TYPE {counter} counter" in page.body
    seen = "registered" if typed else "not there"
    now, then = (total(samples, counter) or 0.0 for samples in (found, before))
    least = f"grown by {len(applied)} or more"
    checks += [
        Check(f"{where} {counter}", "registered as a counter", seen, typed),
        Check(f"{where} {counter}", least, f"by {now - then:g}", now - then >= len(applied)),
    ]
    for symbol, wanted in applied.items():
        factor = total(found, "p32_eff_factor", symbol=symbol)
        shown = "(not there)" if factor is None else f"{factor:.4f}"
        checks.append(equal(f"{where} p32_eff_factor{{{symbol}}}", wanted, shown))
    return checks


def health(environment: Environment, step: str, before: Samples) -> list[Check]:
    """Ready, alive, with a fresh last pass, and no errors meanwhile."""
    now = environment.store.now_ms() / 1000
    name, service = SERVICE_OF[step], environment.service(step)
    if service is None:
        seen = environment.trouble(step) or "no record of it"
        return [Check(f"the {name} runs", "a record of it in Redis", seen, False)]
    checks = [
        _answers(f"http://{service.metrics}{path}", _get(service, path))
        for path in ("/readyz", "/livez")
    ]
    page = _get(service, "/metrics")
    where = f"http://{service.metrics}/metrics"
    if page.status != 200:
        return [*checks, _answers(where, page)]
    found = pages.samples(page.body)
    checks.append(_fresh(where, step, service, total(found, LAST_SUCCESS[step]), now))
    checks += _no_new_errors(where, step, found, before, live=environment.live)
    unit = unit_state(name) if environment.live else None
    if unit is not None:
        checks.append(Check("systemctl is-active", "active", unit, unit.endswith(": active")))
    return checks


def _expected(where: str, subject: Subject, fields: Mapping[str, Any]) -> list[Check]:
    return _equal(where, subject.scenario.expected, fields)


def _equal(where: str, wanted: Mapping[str, str], fields: Mapping[str, Any]) -> list[Check]:
    return [
        equal(f"{where} {name}", value, _text(fields.get(name))) for name, value in wanted.items()
    ]


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _get(service: ServiceRecord | None, path: str) -> Page:
    return probe.get(service.host, service.metrics, path) if service else probe.get("", "", path)


def _answers(where: str, page: Page) -> Check:
    seen = f"{page.status} {page.body}".strip() if page.status != 200 else "200"
    return Check(f"GET {where}", "200", " ".join(seen.split())[:300], page.status == 200)


def _fresh(where: str, step: str, service: ServiceRecord, last: float | None, now: float) -> Check:
    limit, age = service.late_after_sec, max(0.0, now - (last or 0.0))
    late = age > limit
    seen = f"{'late: ' if late else ''}{age:.1f} s ago" if last else "never"
    return Check(f"{where} {LAST_SUCCESS[step]}", f"not over {limit:g} s ago", seen, not late)


def _no_new_errors(
    where: str, step: str, found: Mapping[Series, float], before: Samples, *, live: bool
) -> list[Check]:
    """In a sandbox no error at all; live none that only Redis or the proof could have caused."""
    name = ERRORS[step]
    grown = {
        dict(labels).get("kind", ""): value - before.get((metric, labels), 0.0)
        for (metric, labels), value in found.items()
        if metric == name
    }
    counted = {k: v for k, v in grown.items() if v > 0 and (not live or k in BY_REDIS)}
    seen = ", ".join(f"{kind} +{value:g}" for kind, value in sorted(counted.items())) or "none"
    return [Check(f"{where} {name}", "none meanwhile", seen, not counted)]


def explained(scenario: Scenario, settings: Mapping[str, tuple[Any, str]]) -> list[Check]:
    """The settings that a failure may follow from: those that differ from the values it assumes.
    settings: section.key to its value in force and where that comes from."""
    in_force = {name: settings[name] for name in scenario.rests_on if name in settings}
    return [
        Check(f"setting {name}", f"{assumed:g} (assumed)", f"{value:g} ({origin})", False)
        for name, (value, origin) in in_force.items()
        if value != (assumed := scenario.rests_on[name])
    ]
