"""The checker's own rules: when a refusal that the soak saw counts as explained."""

from typing import Any, cast

import pytest

from tests.soak.diary import Diary, Step
from tests.soak.history import Entry, Era, EraFindings
from tests.soak.producer import NUMBER, Producer
from tests.soak.waits import Waits

OPEN, CLOSE = "OPEN_PROPOSED", "FULL_CLOSE_PROPOSED"


class Sent:
    """What the checker asks of a producer: when each number was acknowledged."""

    def __init__(self) -> None:
        self.sent = {1: 1.0, 2: 1.1}


def breaches(actions: list[str], kind: str) -> set[str]:
    """Of one plan_id that was sent so often, whose one verdict is that it was quarantined. kind: of
    the decision that is kept."""
    plans = [
        Entry(f"{number}-0", {"plan_id": "p", "decision": "EXECUTE", "action": action,
                              NUMBER: str(number)})
        for number, action in enumerate(actions, 1)
    ]  # fmt: skip
    fields = {"plan_id": "p", "event": "blocked", "reason": "failover_quarantine"}
    record = {"kind": kind, "reason": "failover_quarantine", "entry_id": plans[-1].id}
    era = Era(plans, [Entry("9-0", fields)], [], {"p": record}, set(), [], set())
    found = EraFindings(0, era, {(0, "9-0"): 1.2}, [])
    return set(Waits([found], cast(Producer, Sent()), Diary(), 1.2).breaches())


@pytest.mark.parametrize(
    ("actions", "kind", "expected"),
    [
        ([CLOSE], "close", {"close refused without a reason", "close quarantined"}),
        # No open was sent, so the verdict is the close's, whatever the record says.
        ([CLOSE, CLOSE], "open", {"close refused without a reason"}),
        # The open overtook the close, which is not decided yet.
        ([CLOSE, OPEN], "open", set()),
        # The record names its own kind: nothing explains that.
        ([CLOSE, OPEN], "close", {"close quarantined"}),
        ([OPEN], "open", {"open refused without a reason"}),
    ],
)
def test_a_close_is_never_quarantined(actions: list[str], kind: str, expected: Any) -> None:
    assert breaches(actions, kind) == expected


@pytest.mark.parametrize(
    ("at", "done", "explained"),
    [(1.0, 1.01, True), (1.15, 1.9, True), (0.6, 0.7, True), (0.2, 0.3, False), (1.3, 1.4, False)],
)
def test_a_close_is_stale_only_where_the_clock_went_ahead_while_it_waited(
    at: float, done: float, explained: bool
) -> None:
    """It was sent at 1.0 and refused at 1.2; a step may be noted long after it was made."""
    plan = Entry("1-0", {"plan_id": "p", "decision": "EXECUTE", "action": CLOSE, NUMBER: "1"})
    fields = {"plan_id": "p", "event": "blocked", "reason": "stale_plan"}
    era = Era([plan], [Entry("9-0", fields)], [], {}, set(), [], set())
    diary = Diary()
    diary.steps.append(Step(at, 7200.0, done))
    found = EraFindings(0, era, {(0, "9-0"): 1.2}, [])
    breaches = Waits([found], cast(Producer, Sent()), diary, 1.2).breaches()
    assert set(breaches) == (set() if explained else {"close refused without a reason"})


@pytest.mark.parametrize(("event_ms", "lost"), [(3_601_000, ["new"]), (3_600_500, ["new", "old"])])
def test_only_a_backlog_that_an_event_speaks_of_is_not_lost(event_ms: int, lost: list[str]) -> None:
    """The server's clock went ahead by hours before there was a group."""
    plans = [
        Entry(id_, {"plan_id": name, "decision": "EXECUTE", "action": CLOSE})
        for id_, name in (("1000-0", "old"), ("1001-0", "new"))
    ]
    skipped = Entry(f"{event_ms}-0", {"plan_id": "", "event": "backlog_skipped"})
    era = Era(plans, [skipped], [], {}, set(), [], set())
    assert sorted(EraFindings(0, era, {}, []).lost()) == lost
    silent = Era(plans, [], [], {}, set(), [], set())
    assert sorted(EraFindings(0, silent, {}, []).lost()) == ["new", "old"]
