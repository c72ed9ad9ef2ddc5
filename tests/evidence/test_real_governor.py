"""A replay in sequence is what the real governor decides: the same plans under several settings
on a real server, and each replayed under each other's. Every limit on an age is 60 s or more, and
no plan is that old: nothing lies within 2 s of a limit."""

import os
import random
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from qtctl.evidence import parity
from qtctl.evidence.cases import Cases
from qtctl.evidence.rules import RulesBook
from qtctl.evidence.scenario import Scenario
from qtctl.evidence.window import choose
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Document, Entry
from qtctl.history.store import Store as HistoryStore
from qtctl.settings.model import Governor
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import KILL, LIMITS
from qtctl.wire.schema.records import pairs, text
from tests.services.helpers import governor, score, send, serve_all

SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "xrpusdt")
CLOSES = ("FULL_CLOSE_PROPOSED", "PARTIAL_75", "CLOSE")
QUIET: dict[str, Any] = {"symbol_cooldown_sec": 0.0, "reopen_cooldown_sec": 0.0,
                         "max_exec_per_5min": 0, "max_exec_per_hour": 0}  # fmt: skip
SETTINGS: tuple[dict[str, Any], ...] = (
    {"max_exec_per_5min": 3},
    {"max_exec_per_hour": 6, "max_notional_per_trade_usd": 120.0, "min_factor": 0.7},
    {"symbol_cooldown_sec": 60.0, "reopen_cooldown_sec": 60.0, "downsize_threshold": 0.8},
    {"reopen_cooldown_sec": 3600.0, "kill_score_critical": 0.4},
    {
        "max_opens_per_5min_total": 9,
        "max_notional_per_trade_usd": 0.0,
        "kill_score_critical": 0.0,
        "min_conf": 0.95,
    },
)
"""Each turns other gates on; QUIET is what a governor of the tests has else."""
KILLS = {45: "reduce_only", 55: "", 90: "1", 97: "off"}
"""What stands under the kill key from the plan of that number on."""
EVERY_GATE = {
    "ok", "duplicate_plan", "plan_conflict", "kill_switch_active", "kill_score_critical",
    "notional_per_trade_exceeded", "symbol_cooldown", "reopen_cooldown", "burst_limit_exceeded",
    "hourly_limit_exceeded", "total_limit_exceeded",
}  # fmt: skip
SEEDS = range(6) if os.environ.get("TESTS_LONG") == "1" else range(1)


def traffic(seed: int) -> list[dict[str, str]]:
    """Plans, some sent again, some with another symbol or kind, some not to be executed."""
    chance = random.Random(seed)
    found: list[dict[str, str]] = []
    for number in range(120):
        if found and chance.random() < 0.25:
            again = dict(chance.choice(found))
            if chance.random() < 0.3:
                again["symbol"] = chance.choice(SYMBOLS)
            if chance.random() < 0.15:
                again["decision"] = "HOLD"
            found.append(again)
            continue
        plan = {
            "plan_id": f"p{number}", "symbol": chance.choice(SYMBOLS), "decision": "EXECUTE",
            "action": "OPEN", "qty": f"{chance.uniform(0.1, 2):.4f}", "price": "100",
            "kill_score": f"{chance.random() * 0.9:.3f}",
        }  # fmt: skip
        if chance.random() < 0.2:
            plan |= {"action": chance.choice(CLOSES), "price": ""}
        found.append(plan)
    return found


def decided(
    store: Store, folder: Path, sent: list[dict[str, str]], own: dict[str, Any]
) -> tuple[History, dict[str, int]]:
    """What a governor with these settings makes of the plans, as a history; and their place by
    the id of the entry."""
    store.run("FLUSHALL")
    for place, symbol in enumerate(SYMBOLS):
        score(store, symbol, 0.2 + 0.2 * place)
    service = governor(store, **own)
    service.open()
    places = {}
    for place, plan in enumerate(sent):
        if place in KILLS:
            serve_all(service)
            store.run("SET", store.keys.prefix + KILL.template, KILLS[place])
        places[send(store, plan)] = place
        if place % 7 == 0:
            serve_all(service)
    serve_all(service)
    service.close()
    entries = [
        Entry(text(entry_id), pairs(raw))
        for entry_id, raw in store.run("XRANGE", store.keys.decisions, "-", "+")
    ]
    (digest,) = {each.fields["limits"] for each in entries}
    raw = store.run("GET", store.keys.at(LIMITS, digest))
    with HistoryStore(folder) as history:
        history.write(Batch(decisions=entries, documents=[Document("limits", digest, raw)]))
    return History(folder), places


@pytest.mark.parametrize("seed", SEEDS)
def test_in_sequence_is_what_the_governor_decides(store: Store, tmp_path: Path, seed: int) -> None:
    sent = traffic(seed)
    runs = [
        decided(store, tmp_path / str(number), sent, own) for number, own in enumerate(SETTINGS)
    ]
    for history, _ in runs:
        window = choose(history, None, None)
        found = parity.check(history, window.since_ms, window.until_ms)
        assert found.holds
        assert (found.unproven, found.uncounted) == ({}, 0)
    reasons = set()
    for first, then in permutations(range(len(SETTINGS)), 2):
        expected = {
            runs[then][1][each.entry_id]: (each.verdict, each.reason, each.factor)
            for each in runs[then][0].decisions()
            if each.profile.decision == "EXECUTE"
        }
        assert replayed(*runs[first], SETTINGS[first], SETTINGS[then]) == expected
        reasons |= {reason for _, reason, _ in expected.values()}
    assert reasons == EVERY_GATE


def replayed(
    history: History, places: dict[str, int], own: dict[str, Any], other: dict[str, Any]
) -> dict[int, tuple[str, str, float]]:
    """What a replay under the other settings makes of each plan, by its place."""
    wanted = Governor(**(QUIET | other))
    changes = {f"governor.{name}": getattr(wanted, name) for name in {*QUIET, *own, *other}}
    scenario, found = Scenario(changes, in_sequence=True), {}
    window = choose(history, None, None)
    for case in Cases(history, RulesBook(history), window.since_ms, window.until_ms).window():
        made = scenario.take(case)
        if case.executes:
            factor = scenario.factor(case)
            found[places[case.decision.entry_id]] = (made.verdict, made.reason, factor)
    return found
