"""One symbol in several spellings: one halt, one score, one set of rates."""

import pytest

from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import LAST_CLOSE, LEDGER
from tests.services.helpers import governor, score, send, serve_all
from tests.support.plans import decision, events, fields, permit


@pytest.mark.parametrize("halted", ["BTCUSDT", "btcusdt"])
def test_another_spelling_passes_no_halt(store: Store, halted: str) -> None:
    store.run("HSET", store.keys.halted_symbols, halted, "1")
    gov = governor(store)
    gov.open()
    send(store, fields(symbol="btcusdt"))
    serve_all(gov)
    assert decision(store)["reason"] == "kill_switch_active"
    gov.close()


def test_another_spelling_has_no_rates_of_its_own(store: Store) -> None:
    gov = governor(store, symbol_cooldown_sec=60.0, reopen_cooldown_sec=60.0)
    gov.open()
    for number, symbol in enumerate(("BtcUsdt", "BTCUSDT", "btcusdt")):
        send(store, fields(plan_id=f"p{number}", symbol=symbol))
    send(store, fields(plan_id="close", symbol="ethusdt", action="FULL_CLOSE_PROPOSED"))
    send(store, fields(plan_id="open", symbol="ETHUSDT"))
    serve_all(gov)
    assert [decision(store, f"p{n}")["reason"] for n in range(3)] == [
        "ok", "symbol_cooldown", "symbol_cooldown",
    ]  # fmt: skip
    assert decision(store, "open")["reason"] == "reopen_cooldown"
    for spec, symbol in ((LEDGER, "BTCUSDT"), (LAST_CLOSE, "ETHUSDT")):
        assert store.run("EXISTS", store.keys.prefix + spec.head + symbol) == 1
    # What was sent is shown as sent.
    assert decision(store, "p0")["symbol"] == "BtcUsdt"
    assert {event["symbol"] for event in events(store)} >= {"BtcUsdt", "btcusdt", "ethusdt"}
    gov.close()


def test_only_ascii_letters_are_raised(store: Store) -> None:
    gov = governor(store, symbol_cooldown_sec=60.0)
    gov.open()
    for number, symbol in enumerate(("straße", "STRASSE", "STRAßE")):
        send(store, fields(plan_id=f"p{number}", symbol=symbol))
    serve_all(gov)
    assert [decision(store, f"p{n}")["reason"] for n in range(3)] == ["ok", "ok", "symbol_cooldown"]
    gov.close()


def test_a_conflict_is_one_by_the_symbol_as_sent(store: Store) -> None:
    gov = governor(store)
    gov.open()
    send(store, fields())
    send(store, fields(symbol="btcusdt"))
    serve_all(gov)
    assert events(store)[-2]["reason"] == "plan_conflict"
    assert permit(store) is None, "it was withdrawn"
    gov.close()


@pytest.mark.parametrize(
    ("scores", "factor"),
    [({"BTCUSDT": 0.36}, "0.8000"), ({"BTCUSDT": 0.36, "btcusdt": 0.9}, "1.0000")],
)  # fmt: skip
def test_the_score_is_that_of_the_spelling_sent_or_else_in_upper_case(
    store: Store, scores: dict[str, float], factor: str
) -> None:
    for symbol, value in scores.items():
        score(store, symbol, value)
    gov = governor(store)
    gov.open()
    send(store, fields(symbol="btcusdt"))
    serve_all(gov)
    assert decision(store)["eff_factor"] == factor
    gov.close()
