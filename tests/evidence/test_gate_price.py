"""The price of a gate: how long a blocked open would have had to wait."""

from pathlib import Path

import msgspec

from qtctl.evidence import report as reports
from qtctl.evidence import window as windows
from qtctl.evidence.gate_price import Price
from qtctl.history.rows import Batch, Entry
from tests.evidence.made import plan, written
from tests.history.samples import NOON


def prices(folder: Path, *decisions: Entry, since_sec: float | None = None) -> dict[str, Price]:
    history = written(folder, Batch(decisions=decisions))
    since = None if since_sec is None else NOON + int(since_sec * 1000)
    governor = reports.make(history, windows.choose(history, since, None)).governor
    return {each.reason: each for each in governor.prices}


def blocked(at: float, reason: str, **facts: str) -> Entry:
    calm = {"last_open_age_sec": "", "last_open_at": "", "opens_1h": "0", "opens_total_5min": "0"}
    return plan(at, verdict="blocked", reason=reason, **calm | facts)


def opened(at: float, symbol: str = "BTCUSDT") -> Entry:
    return plan(at, symbol=symbol, kind="open", verdict="permitted", reason="ok")


def counted(price: Price) -> tuple[int, int, int]:
    return price.waits, price.never, price.unknown


def test_a_cooldown_ends_by_the_age_of_its_mark(tmp_path: Path) -> None:
    found = prices(tmp_path, blocked(9, "symbol_cooldown", last_open_age_sec="20.000"))
    assert found == {"symbol_cooldown": Price("symbol_cooldown", 1, 0, 0, False, 40.0, 40.0)}


def test_the_longest_of_all_gates_that_failed_counts(tmp_path: Path) -> None:
    facts = {"last_open_age_sec": "20.000", "last_close_age_sec": "5.000"}
    found = prices(tmp_path, blocked(9, "symbol_cooldown", **facts))
    assert found["symbol_cooldown"].p50_sec == 55.0


def test_a_rate_ends_when_the_open_that_fills_it_is_old_enough(tmp_path: Path) -> None:
    facts = {"opens_5min": "2", "opens_1h": "2"}
    found = prices(tmp_path, opened(0), opened(70), blocked(200, "burst_limit_exceeded", **facts))
    assert found["burst_limit_exceeded"].p50_sec == 100.0


def test_permits_before_the_window_count_as_marks(tmp_path: Path) -> None:
    facts = {"opens_5min": "2", "opens_1h": "2"}
    decisions = (opened(0), opened(70), blocked(200, "burst_limit_exceeded", **facts))
    found = prices(tmp_path, *decisions, since_sec=100)
    assert counted(found["burst_limit_exceeded"]) == (1, 0, 0)


def test_a_mark_that_the_history_lacks_makes_the_wait_unknown(tmp_path: Path) -> None:
    facts = {"opens_5min": "0", "opens_1h": "3"}
    found = prices(tmp_path, opened(0), opened(70), blocked(900, "hourly_limit_exceeded", **facts))
    assert found["hourly_limit_exceeded"] == Price(
        "hourly_limit_exceeded", 0, 0, 1, False, None, None
    )


def test_what_the_plan_itself_caused_never_ends(tmp_path: Path) -> None:
    facts = {"last_open_age_sec": "20.000", "qty": "1", "price": "43250.5"}
    found = prices(
        tmp_path,
        blocked(1, "notional_per_trade_exceeded", qty="1", price="43250.5"),
        blocked(2, "notional_per_trade_exceeded", **facts),
        blocked(3, "kill_score_critical", kill_score="0.9"),
    )
    assert {reason: counted(each) for reason, each in found.items()} == {
        "notional_per_trade_exceeded": (0, 2, 0),
        "kill_score_critical": (0, 1, 0),
    }


def test_a_kill_switch_ends_at_most_with_the_next_plan_of_the_symbol(tmp_path: Path) -> None:
    stop = {"kill_key": "k", "kill_value": "1", "kill_level": "2"}
    found = prices(
        tmp_path,
        blocked(10, "kill_switch_active", **stop),
        blocked(20, "kill_switch_active", symbol="ETHUSDT", **stop),
        plan(40, symbol="XRPUSDT"),
        plan(70, symbol="btcusdt", kind="close"),
    )["kill_switch_active"]
    assert found == Price("kill_switch_active", 1, 0, 1, True, 60.0, 60.0)


def test_unknown_limits_make_the_wait_unknown(tmp_path: Path) -> None:
    decision = blocked(9, "symbol_cooldown", last_open_age_sec="20.000", limits="gone")
    assert counted(prices(tmp_path, decision)["symbol_cooldown"]) == (0, 0, 1)


def test_a_gate_that_is_off_costs_nothing(tmp_path: Path) -> None:
    """The rate of all symbols is off by default: it never holds a wait up."""
    facts = {"last_open_age_sec": "20.000", "opens_total_5min": "99"}
    found = prices(tmp_path, blocked(9, "symbol_cooldown", **facts))
    assert found["symbol_cooldown"].p50_sec == 40.0
    assert msgspec.to_builtins(found["symbol_cooldown"])["at_most"] is False
