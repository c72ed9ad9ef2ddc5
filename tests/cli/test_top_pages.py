"""Each page of `top` by itself: at any size, with anything that Redis may hold, and without it."""

import re
from dataclasses import replace
from typing import Any

import pytest

from qtctl.cli.framework.context import Context
from qtctl.cli.live.drawing import ansi
from qtctl.cli.live.lines import summary
from qtctl.cli.live.page import Held, ListPage, Page
from qtctl.cli.live.pages import blocked, events, permits, plan, queue, symbols, why
from qtctl.cli.live.pages.help import KEYS, HelpPage
from qtctl.cli.live.poller import TopSnapshot
from qtctl.cli.live.selection import Prepared
from qtctl.cli.live.view import View
from qtctl.cli.views.health_record import Alarm, KillSwitch, Overall, Permits, Plans, Redis, Service
from qtctl.cli.views.streams import LISTED
from qtctl.wire.client.store import Store
from qtctl.wire.queries import permits as permits_of
from qtctl.wire.queries.queue import Queue
from tests.support.cli import NO_FILE

HOSTILE = "\x1b[2J[red]\u202eX\n"
SIZES = [(40, 10), (60, 15), (80, 24), (160, 48), (20, 3)]


def ctx(url: str = "redis://127.0.0.1:1") -> Context:
    return Context(redis_url=url, environ=NO_FILE)


def view(context: Context | None = None) -> View:
    def halt(symbol: str) -> Any:
        raise AssertionError(f"{symbol} would be halted")

    return View(context or ctx(), halt)


def seen(**changes: Any) -> TopSnapshot:
    """A look at nothing, but for the changes."""
    overall = Overall(
        ok=False, where=HOSTILE, at=1_700_000_000.0,
        services=[Service("governor", HOSTILE, "not_ready", HOSTILE, 1.0, 2.0, HOSTILE, "h", "m")],
        redis=Redis(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1.0, may_evict=True),
        kill_switch=KillSwitch("halted", HOSTILE, []),
        plans=Plans(0.0, 0.0, 0, 1, 60.0, cut=False, blocks={HOSTILE: 1}),
        group=None, permits=Permits(0, None, 0), problems={"group": HOSTILE},
        banner=[Alarm("group", HOSTILE, HOSTILE), Alarm("plans", HOSTILE, HOSTILE)],
    )  # fmt: skip
    plain: dict[str, Any] = {"overall": overall, "permits": [], "symbols": [], "at": 0.0}
    return TopSnapshot(**(plain | changes))


def drawn(
    page: Page, found: TopSnapshot, now: float = 1.0, size: tuple[int, int] = (80, 24)
) -> str:
    own = view()
    own._stack = [page]  # As Enter does, without a page below it.
    lines = [ansi(each, True) for each in own.frame(found, now, *size)]
    assert len(lines) == size[1]
    return "\n".join(lines)


def row(columns: Any, **more: Any) -> dict[str, Any]:
    names = [column.key for column in columns if isinstance(column.key, str)]
    return dict.fromkeys(names, HOSTILE) | more


def pages() -> list[Page]:
    """Every page with hostile rows."""
    made: list[Page] = [
        symbols.SymbolsPage(ctx()), blocked.BlockedPage(ctx()), events.EventsPage(ctx()),
        queue.QueuePage(ctx()), why.WhyPage(ctx(), HOSTILE), plan.PlanPage(ctx(), HOSTILE),
    ]  # fmt: skip
    record = {"verdict": HOSTILE, "reason": HOSTILE, "symbol": HOSTILE, "entry_id": HOSTILE}
    gate = {"gate": HOSTILE, "result": HOSTILE, "value": HOSTILE, "limit": HOSTILE}
    held: list[Any] = [
        Prepared([row(symbols.COLUMNS)], symbols.SHAPE),
        [row(blocked.COLUMNS, id="1-0", at="0")],
        [row(LISTED["events"].columns, id="1-0")],
        (Queue((), (), cut=True), [row(queue.COLUMNS, entry_id="1-0")]),
        None,
        (record, [gate], HOSTILE),
    ]
    for page, value in zip(made, held, strict=True):
        page.held = Held(value, 0.0) if value is not None else Held(problem=HOSTILE)
    return made


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
def test_what_comes_from_redis_steers_nothing(size: tuple[int, int], away: bool) -> None:
    permit = row(permits.COLUMNS, ttl_s=500.0)
    gone: dict[str, Any] = {"problem": HOSTILE, "away_since": 0.0} if away else {}
    found = seen(permits=[permit], **gone)
    for page in (*pages(), *view()._pages):
        out = drawn(page, found, size=size)
        assert "\x1b[2J" not in out
        assert "\u202e" not in out
        assert out.count("\n") == size[1] - 1
        if size == (160, 48):
            assert "[red]" in out, page.title
    assert "\x1b" not in summary(found, 1.0, True)


def test_the_help_fits_80x24() -> None:
    out = drawn(HelpPage(ctx()), seen())
    assert "below" not in out
    for key, _ in KEYS:
        assert key in out


def test_every_key_of_the_help_does_something() -> None:
    """What it promises is what `pressed` knows."""
    promised = " ".join(key for key, _ in KEYS)
    for key in ("s", "S", "/", "x", "h", "c", "p", "?", "q", "j", "k"):
        assert re.search(rf"(^|\s){re.escape(key)}(\s|$)", promised), key
    own = view()
    for key in ("p", "?", "c", "h", "2", "\t", "back tab"):
        before = (own.paused, own.page, own._prompt)
        assert own.pressed(key)
        assert (own.paused, own.page, own._prompt) != before, key
        own.pressed("escape")
    assert not own.pressed("q")


def test_a_command_takes_a_name_that_looks_like_an_option_for_a_name() -> None:
    own = view()
    own.pressed("2")
    page = own.page
    page.held = Held([{"symbol": "-X$(id)", "reason": "ok"}], 0.0)
    own.frame(seen(), 1.0, 80, 24)
    own.pressed("c")
    shown = " ".join(line.plain for line in own.frame(seen(), 1.0, 80, 24))
    assert re.search(r"qtctl --redis-url \S+ why -- '-X\$\(id\)'", re.sub(r"\s+", " ", shown))


def test_a_permit_runs_out_also_while_nobody_answers() -> None:
    permit = {"plan_id": "p1", "symbol": "S", "ttl_s": 3.0, "eff_action": "NONE",
              "eff_factor": "1", "computed_notional": 1.0}  # fmt: skip
    found = seen(permits=[permit], problem="gone", away_since=0.0)
    page = permits.PermitsPage(ctx())
    assert "p1" in drawn(page, found, 2.0)
    assert re.search(r"p1.* 1 s ", drawn(page, found, 2.0))
    assert "p1" not in drawn(page, found, 3.5)


def test_what_is_old_is_dim_and_its_age_is_shown() -> None:
    page = symbols.SymbolsPage(ctx())
    page.held = Held([{"symbol": "S", "reason": "ok"}], 100.0)
    fresh = drawn(page, seen(at=101.0), 101.0)
    assert "read" not in fresh
    assert "\x1b[2m" not in fresh.replace("\x1b[2m  1 of 1", "")
    for found, now in (
        (seen(at=101.0, problem="gone", away_since=101.0), 130.0),
        (seen(at=130.0), 130.0),  # The whole is read, this page is not.
    ):
        old = drawn(page, found, now)
        assert "read 30 s ago" in old
        assert re.search(r"\x1b\[[0-9;]*\b2[;m][^\n]*S ", old), "the rows are dim"
    page.held = Held(page.held.value, 100.0, 0.1, "WRONGTYPE")
    assert "read 1 s ago: WRONGTYPE" in drawn(page, seen(at=101.0), 101.0)


def test_a_page_that_can_not_be_read_says_why(store: Store) -> None:
    page = queue.QueuePage(ctx())
    assert "reading …" in drawn(page, seen())
    page.held = Held(problem="quantum:stream:apply.plan is not a stream")
    assert "is not a stream" in drawn(page, seen())


def test_behind_a_url_that_names_several_the_one_that_answers_is_seen() -> None:
    for primary, lines in (("10.0.0.2:6379", 1), (None, 0)):
        server = Redis("url", primary, "valkey", "9.1.0", "master", 60.0, may_evict=False)
        found = seen(overall=replace(seen().overall, redis=server))
        out = drawn(view()._pages[0], found).splitlines()
        assert sum("at 10.0.0.2:6379 valkey 9.1.0, up 60 s" in line for line in out) == lines


def test_the_filter_is_typed_and_taken_away() -> None:
    own = view()
    own.pressed("2")
    page = own.page
    assert isinstance(page, ListPage)
    page.held = Held([{"symbol": name, "reason": "ok"} for name in ("BTC", "btx", "q")], 0.0)
    for key in ("/", "b", "t", "x", "\x7f", "\r"):
        assert own.pressed(key)
    assert page.selection.wanted == "bt"
    assert own.pressed("escape")
    assert page.selection.wanted == ""
    assert own.pressed("/")
    assert own.pressed("q"), "a letter of the filter"
    assert page.selection.wanted == "q"
    assert own.pressed("escape")
    assert page.selection.wanted == ""
    assert not own.pressed("q")


def test_a_close_that_was_blocked_stands_out_without_colour(store: Store) -> None:
    decision = ("verdict", "blocked", "reason", "kill_switch_active", "kind", "close")
    store.run("HSET", "quantum:governor:decision:c1", *decision)
    store.run("XADD", store.keys.events, "*", "event", "blocked", "plan_id", "c1",
              "symbol", "BTCUSDT", "reason", "kill_switch_active")  # fmt: skip
    page = blocked.BlockedPage(ctx())
    (found,) = page.read(store)
    assert found["kind"] == "CLOSE"
    assert page.selection.shape.is_problem(found)


def test_the_tail_reads_only_what_is_new_and_keeps_what_was(store: Store) -> None:
    page = events.EventsPage(ctx())
    assert page.read(store) == []
    for place in range(3):
        store.run("XADD", store.keys.events, "*", "event", "permitted", "plan_id", f"p{place}")
        assert [found["plan_id"] for found in page.read(store)] == [
            f"p{at}" for at in range(place, -1, -1)
        ]
    store.run("DEL", store.keys.events)
    later = f"{store.now_ms() + 5}-0"
    store.run("XADD", store.keys.events, later, "event", "blocked", "plan_id", "anew")
    assert page.read(store)[0]["plan_id"] == "anew"


def test_the_queue_shows_what_waits_and_what_is_held(store: Store) -> None:
    plans = store.keys.plans
    store.run("XGROUP", "CREATE", plans, "governor", "0", "MKSTREAM")
    for place in range(3):
        store.run("XADD", plans, "*", "plan_id", f"p{place}", "symbol", "S", "decision", "EXECUTE")
    store.run("XREADGROUP", "GROUP", "governor", "dead", "COUNT", 1, "STREAMS", plans, ">")
    held, rows = queue.QueuePage(ctx()).read(store)
    assert [(it["plan_id"], it["state"], it["consumer"]) for it in rows] == [
        ("p0", "held", "dead"), ("p1", "waiting", ""), ("p2", "waiting", ""),
    ]  # fmt: skip
    assert not held.cut
    # Trimmed while it was pending: it is listed all the same.
    store.run("XTRIM", plans, "MAXLEN", "=", 2)
    _, rows = queue.QueuePage(ctx()).read(store)
    assert [it["plan_id"] for it in rows] == ["", "p1", "p2"]


def test_of_many_permits_only_the_newest_are_read(store: Store) -> None:
    for place in range(30):
        store.run("ZADD", store.keys.permits, place, f"p{place:02}")
        store.run("SET", f"quantum:permit:p{place:02}", "{}", "EX", 30 + place)
    found = permits_of.newest(store, 10)
    assert [it.plan_id for it in found.permits] == [f"p{place}" for place in range(20, 30)]
    assert found.cut
    store.run("DEL", "quantum:permit:p25")
    assert len(permits_of.newest(store, 10).permits) == 9
    assert permits_of.newest(store, 29).cut
    assert not permits_of.newest(store, 30).cut


def test_the_incident_stands_once_where_the_screen_has_room_for_it() -> None:
    def incident(text: str, size: tuple[int, int]) -> int:
        alarms = [Alarm("group", text, "doctor"), Alarm("plans", "more", "status")]
        found = seen(overall=replace(seen().overall, banner=alarms))
        return drawn(view()._pages[0], found, size=size).count("INCIDENT")

    assert incident("short", (80, 24)) == 1
    assert incident("long " * 30, (80, 24)) == 2
    assert incident("long " * 25, (160, 48)) == 1


def test_the_latest_events_take_the_room_that_is_left() -> None:
    events_ = [
        {"at": at, "event": "blocked", "reason": "r", "plan_id": f"p{at}"} for at in range(50)
    ]
    for size, shown in (((80, 24), False), ((80, 60), True), ((160, 48), True)):
        out = drawn(view()._pages[0], seen(events=events_), size=size)
        assert ("the latest events" in out) is shown, size
        assert "below" not in out or not shown, "it never makes the page scroll"
