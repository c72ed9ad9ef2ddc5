"""A replay in sequence is what the real governor decides: the same plans, twice, on a real server
under two settings. All ages are under 2 s and no limit is near them."""

import random
from pathlib import Path
from typing import Any

import pytest

from qtctl.evidence import parity, replay
from qtctl.evidence.cases import Cases
from qtctl.evidence.rules import RulesBook
from qtctl.evidence.scenario import Scenario
from qtctl.evidence.window import choose
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Document, Entry
from qtctl.history.store import Store as HistoryStore
from qtctl.settings.model import Governor
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import LIMITS
from qtctl.wire.schema.records import pairs, text
from tests.services.helpers import governor, score, send, serve_all

SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "xrpusdt")
CLOSES = ("FULL_CLOSE_PROPOSED", "PARTIAL_75", "CLOSE")
SETTINGS: tuple[dict[str, Any], ...] = (
    {"max_exec_per_5min": 3, "max_exec_per_hour": 0, "reopen_cooldown_sec": 0.0},
    {"max_exec_per_5min": 8, "max_exec_per_hour": 6, "max_notional_per_trade_usd": 120.0},
    {"symbol_cooldown_sec": 60.0, "reopen_cooldown_sec": 60.0, "downsize_threshold": 0.8},
    {"max_opens_per_5min_total": 9, "reopen_cooldown_sec": 3600.0, "kill_score_critical": 0.4},
)


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


@pytest.mark.parametrize(("first", "then"), [(0, 1), (1, 2), (2, 3), (3, 0)])
def test_in_sequence_is_what_the_governor_decides(
    store: Store, tmp_path: Path, first: int, then: int
) -> None:
    sent = traffic(seed=first)
    one, places = decided(store, tmp_path / "one", sent, SETTINGS[first])
    other, others = decided(store, tmp_path / "other", sent, SETTINGS[then])
    window = choose(one, None, None)
    found = parity.check(one, window.since_ms, window.until_ms)
    assert found.holds
    assert (found.unproven, found.uncounted) == ({}, 0)
    quiet = {"symbol_cooldown_sec": 0.0, "reopen_cooldown_sec": 0.0, "max_exec_per_5min": 0,
             "max_exec_per_hour": 0}  # fmt: skip
    names = {*quiet, *SETTINGS[first], *SETTINGS[then]}
    wanted = Governor(**(quiet | SETTINGS[then]))
    changes = {f"governor.{name}": getattr(wanted, name) for name in names}
    scenario = Scenario(changes, in_sequence=True)
    replayed = {}
    for case in Cases(one, RulesBook(one), window.since_ms, window.until_ms).window():
        made = scenario.take(case)
        if case.executes:
            replayed[places[case.decision.entry_id]] = (
                made.verdict, made.reason, scenario.factor(case),
            )  # fmt: skip
    expected = {
        others[each.entry_id]: (each.verdict, each.reason, each.factor)
        for each in other.decisions()
        if each.profile.decision == "EXECUTE"
    }
    assert replayed == expected
    assert len({reason for _, reason, _ in expected.values()}) >= 4
    turned = replay.run(one, window, changes).in_sequence
    assert turned is not None
    assert turned.let_through.count + turned.held.count > 5
