"""What is remembered of a decision is used only where deciding anew would give the same."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from qtctl.domain.allocation import AllocationRules, Proposal
from qtctl.services.allocation import AllocationLoop
from qtctl.services.pass_decisions import PassDecisions
from qtctl.services.remembered import Remembered
from qtctl.settings import Allocation
from qtctl.wire.allocation.passes import Chunk
from qtctl.wire.allocation.proposals import Packer
from qtctl.wire.allocation.symbols import Symbol
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import EFFICIENCY, PROPOSED, TARGET, Keys
from qtctl.wire.schema.pass_entry import Packing
from tests.support.processes import until

AT = 1_769_558_400.0
STALE_SEC, AHEAD_SEC = 600.0, 60.0
RULES = AllocationRules(stale_sec=STALE_SEC)
SYMBOLS = [Symbol(name, b"", b"") for name in ("A", "B")]
Read = tuple[Any, Any]
"""The replies about a target and its score."""
Pass = tuple[float, Sequence[Read]]
"""The clock, and what is read of each symbol."""

# Apart by as much as makes another of two times count, or the same one no longer.
SCORED = [AT, AT + 30, AT + 60, AT + 60.001, AT + 61, AT + 600, AT + 700]


def _beside(moment: float) -> list[float]:
    """The moment, and those next to it: by one ms as the server has it, and by the least."""
    to = (-math.inf, math.inf)
    return [moment, moment - 0.001, moment + 0.001, *(math.nextafter(moment, way) for way in to)]


CLOCKS = sorted(
    each
    for at in SCORED
    for boundary in (at - AHEAD_SEC, at, at + STALE_SEC)
    for each in _beside(boundary)
)
TIMES = [
    None, "", "soon",
    *(text for at in SCORED for text in (
        repr(at), str(round(at * 1000)), datetime.fromtimestamp(at, UTC).isoformat(),
    )),
]  # fmt: skip
times = st.sampled_from(TIMES)
good_scores = st.tuples(
    st.sampled_from(["0.61", "0.2"]), st.sampled_from(["0.9", "0.1"]), times, times
).map(list)
any_scores = st.one_of(
    good_scores,
    st.tuples(
        st.sampled_from([None, "", "1.5", "0.61"]), st.sampled_from([None, "sure", "0.9"]),
        times, times,
    ).map(list),
    st.builds(ResponseError, st.sampled_from(["WRONGTYPE Operation", "NOPERM this user"])),
    st.sampled_from([None, [None, None, None, None]]),
)  # fmt: skip
good_targets = st.tuples(
    st.sampled_from(["1000.5", "1000.50", "0"]), st.sampled_from([None, str(AT)]), st.none()
).map(list)
any_targets = st.one_of(
    good_targets,
    st.sampled_from([
        ["-5", None, None], ["many", None, None], ["", None, None], [None, str(AT), None],
        ["1.7e308", None, None], [None, None, None], None,
    ]),
    st.builds(ResponseError, st.just("WRONGTYPE Operation")),
)  # fmt: skip
reads = st.one_of(st.tuples(good_targets, good_scores), st.tuples(any_targets, any_scores))


@st.composite
def sequences(draw: st.DrawFn) -> list[Pass]:
    """Passes that read mostly the same, while the clock goes forth and back over the boundaries."""
    pool = draw(st.lists(reads, min_size=1, max_size=3))
    each = st.tuples(*[st.sampled_from(pool)] * len(SYMBOLS))
    clocks = st.one_of(st.sampled_from(CLOCKS), st.floats(AT - 700, AT + 2000))
    return draw(st.lists(st.tuples(clocks, each), min_size=2, max_size=8))


def _step(
    pass_: Pass, rules: AllocationRules, remembered: Remembered, packer: Packer
) -> tuple[Any, ...]:
    """All that a pass makes of what it read."""
    now, read = pass_
    # Each pass has objects of its own, as the parser makes them.
    targets, scores = ([each and _again(each) for each in side] for side in zip(*read, strict=True))
    packing = Packing()
    found = PassDecisions(rules, Keys(), {}, remembered, keep=True, packing=packing)
    made = found.decide(now, Chunk(SYMBOLS, targets, scores))
    written = packer.commands(made, int(now), 10_000)
    return (
        made, written, found.kept, found.reasons, found.gone, found.bad_scores, found.bad_targets,
        packing.symbols, packing.block(),
    )  # fmt: skip


def _again(reply: Any) -> Any:
    return list(reply) if isinstance(reply, list) else reply


def _same(passes: Sequence[Pass], rules: AllocationRules = RULES) -> None:
    """Passes that remember give what those give that know nothing."""
    remembered, packer = Remembered(rules), Packer(Keys(), 600)
    for place, each in enumerate(passes):
        anew = _step(each, rules, Remembered(rules), Packer(Keys(), 600))
        assert _step(each, rules, remembered, packer) == anew, place


@settings(max_examples=500)
@given(sequences(), st.sampled_from([0.0, 30.0, STALE_SEC, 600.001]))
def test_whatever_is_read_and_wherever_the_clock_steps(
    passes: list[Pass], stale_sec: float
) -> None:
    _same(passes, AllocationRules(stale_sec=stale_sec))


TARGET_READ = ["1000.5", str(AT), None]


def _decided(
    now: float, read: Read, remembered: Remembered, rules: AllocationRules = RULES
) -> Proposal:
    found = PassDecisions(rules, Keys(), {}, remembered, keep=False, packing=None)
    (made,) = found.decide(now, Chunk(SYMBOLS[:1], *([_again(reply)] for reply in read)))
    return made


def test_between_every_two_clocks_beside_every_boundary_of_both_times() -> None:
    for ts, timestamp in product([None, *SCORED], repeat=2):
        sent = [None if at is None else repr(at) for at in (ts, timestamp)]
        read = TARGET_READ, ["0.61", "0.9", *sent]
        clocks = {
            each
            for at in (ts, timestamp)
            if at is not None
            for boundary in (at - AHEAD_SEC, at, at + STALE_SEC)
            for each in _beside(boundary)
        }
        anew = {now: _decided(now, read, Remembered(RULES)) for now in clocks}
        for before, now in product(clocks, repeat=2):
            remembered = Remembered(RULES)
            _decided(before, read, remembered)
            assert _decided(now, read, remembered) == anew[now], (sent, before, now)


def test_after_any_change_of_what_was_read() -> None:
    """Of each text, while all the others stay."""
    old, none = str(AT - 700), [None, None, None, None]
    by_ts, by_timestamp = ["0.61", "0.9", str(AT), None], ["0.61", "0.9", None, str(AT)]
    changes: list[tuple[Read, Read]] = [
        *(
            ((TARGET_READ, by_ts), (target, by_ts))
            for target in (["1000.6", str(AT), None], ["-1", str(AT), None])
        ),
        *(
            ((TARGET_READ, by_ts), (TARGET_READ, score))
            for score in (
                ["0.62", "0.9", str(AT), None], ["0.61", "0.1", str(AT), None],
                ["0.61", "0.9", old, None], ["0.61", "0.9", None, None],
                ["0.61", "0.9", "soon", None], ["0.61", "0.9", "soon", str(AT)],
                none, None, ResponseError("WRONGTYPE Operation"),
            )
        ),
        ((TARGET_READ, by_timestamp), (TARGET_READ, ["0.61", "0.9", None, old])),
    ]  # fmt: skip
    for before, after in changes:
        one_and_back: list[Pass] = [(AT, [each] * len(SYMBOLS)) for each in (before, after, before)]
        _same(one_and_back)


def test_what_holds_is_not_made_again() -> None:
    remembered = Remembered(RULES)
    scored = ["0.61", "0.9", str(AT), None]
    first = _decided(AT, (TARGET_READ, scored), remembered)
    refreshed = ["1000.5", str(AT + 5), None]
    assert _decided(AT + STALE_SEC, (refreshed, scored), remembered) is first
    assert _decided(AT - AHEAD_SEC, (refreshed, scored), remembered) is first
    remembered.keep_only(0)
    assert _decided(AT, (TARGET_READ, scored), remembered) is first
    remembered.forget()
    assert _decided(AT, (TARGET_READ, scored), remembered) is not first


def test_symbols_that_are_gone_are_forgotten() -> None:
    remembered = Remembered(RULES)
    score: list[str | None] = ["0.61", "0.9", str(AT), None]
    made = _decided(AT, (TARGET_READ, score), remembered)
    for number in range(1_100):
        its = msgspec.structs.replace(made, symbol=f"S{number}")
        remembered.remember(AT, "1000.5", score, AT, its)
    remembered.keep_only(1_000)
    assert remembered.recall(AT, ["A"], ["1000.5"], [score]) == [made]
    remembered.keep_only(10)
    assert remembered.recall(AT, ["A"], ["1000.5"], [score]) == [None]


def test_a_loop_sees_an_unchanged_score_grow_stale_and_a_server_that_answers_anew(
    store: Store,
) -> None:
    store.run("HSET", store.keys.at(TARGET, "A"), "target_usd", "1000")
    eff = store.keys.at(EFFICIENCY, "A")
    fields = ("efficiency_score", "0.7", "confidence", "0.9", "ts")
    loop = AllocationLoop(store, Allocation(stale_sec=2))
    loop.open()

    def reason() -> bytes:
        loop.step()
        found = store.run("HMGET", store.keys.at(PROPOSED, "A"), "reason", "proposed_target")
        return b" ".join(found)

    def scored(ahead_sec: float = 0) -> bytes:
        store.run("HSET", eff, *fields, repr(store.now_ms() / 1000 + ahead_sec))
        return reason()

    until(lambda: scored() == b"ok 1200.00")
    until(lambda: reason() == b"stale_eff 1000.00")
    until(lambda: scored() == b"ok 1200.00")
    assert scored(ahead_sec=3600) == b"stale_eff 1000.00"
    store.run("DEL", eff)
    assert reason() == b"missing_eff 1000.00"
    store.run("SET", eff, "no hash")
    assert reason() == b"redis_error 1000.00"
    loop.open()
    assert not loop._remembered._decided
