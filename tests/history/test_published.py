"""What the atomic step really publishes goes into the history as numbers, and comes back whole."""

from pathlib import Path

import msgspec

from qtctl.domain.readings import AsRead, Efficiency
from qtctl.domain.reasons import EffReason
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Entry
from qtctl.history.store import Store as HistoryStore
from qtctl.wire.client.store import Store
from qtctl.wire.governor.commit import ServerMarks, commit
from qtctl.wire.schema.records import pairs, text
from tests.support import plans


def test_every_kind_of_decision_comes_back(store: Store, tmp_path: Path) -> None:
    now = store.now_ms() / 1000
    score = AsRead("0.44996000000000001", "0.70", f"{now - 12.25:.6f}", now)
    efficiency = Efficiency(EffReason.OK, 0.44996, 0.7, False, score.now - float(score.at))
    opened = plans.fields(qty="0.001", price="43250.5", side="BUY", source="x", timestamp=now)
    for entry in (
        opened,
        opened,
        plans.fields(symbol="ETHUSDT"),
        plans.fields(plan_id="c1", action="FULL_CLOSE_PROPOSED", side="CLOSE", qty="0.0"),
        plans.fields(plan_id="p2", kill_score="0.95", price="1e-5", qty="3"),
    ):
        queued = plans.queue(store, entry)
        request = msgspec.structs.replace(
            plans.case(plans.read(entry), queued, efficiency), score=score
        )
        list(commit(store, [request], plans.settings(store), ServerMarks(decisions_maxlen=100)))
    published = [
        Entry(text(raw[0]), pairs(raw[1]))
        for raw in store.run("XRANGE", store.keys.decisions, "-", "+")
    ]
    assert len(published) == 5
    with HistoryStore(tmp_path) as history:
        history.write(Batch(cursors={"s": published[-1].id}, decisions=published))
    found = list(History(tmp_path).decisions())
    assert [(each.id, each.record()) for each in found] == [(e.id, e.fields) for e in published]
    assert [each.outcome for each in found] == [1, 2, 3, 1, 0]
    assert {each.exact for each in found} == {None}, "each field as a number, or from others"
