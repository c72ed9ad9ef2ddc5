"""Small histories by hand, and short ones of the synthetic market."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from qtctl.domain.allocation import AllocationRules
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.domain.passes import Columns, Pass
from qtctl.domain.plans import PlanRules
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Document, Entry, PassEntry
from qtctl.history.store import Store
from qtctl.settings.model import Settings
from qtctl.simulate.history_maker import HistoryMaker, Wanted, window
from qtctl.wire.schema.decision import limits_json
from tests.history.samples import NOON, decision_at

INTERVAL = 10_000
RULES = msgspec.structs.asdict(AllocationRules()) | {"interval_sec": 10.0}
DOCUMENTS = [
    Document("rules", "r1", msgspec.json.encode(RULES)),
    Document("limits", "abcd", limits_json(Limits(), PlanRules(), DownsizeRules())),
]
END_MS = 1_769_558_400_000
Row = tuple[str, float, float]
"""Symbol, target and multiplier; see `row`."""


def a_pass(number: int, *rows: Row | tuple[str, ...], at: int | None = None) -> PassEntry:
    """The pass that is due then; at: in which interval instead. A row of texts is one of columns
    (symbol, target_usd, reason, multiplier, score)."""
    ts_ms = NOON + (number if at is None else at) * INTERVAL
    lines = [_texts(row) for row in rows]
    symbol, target, reason, mult, score = (list(column) for column in zip(*lines, strict=True))
    n, fresh = len(rows), str(ts_ms // 1000 - 5)
    empty = ["" if not text else fresh for text in score]
    columns = Columns(
        symbol, target, [fresh] * n, score, ["0.8"] * n, empty, [""] * n, reason, mult
    )
    return PassEntry(f"{ts_ms}-0", Pass(number + 1, ts_ms, "loop", "0.1", "r1", n, columns))


def _texts(row: Row | tuple[str, ...]) -> tuple[str, ...]:
    if len(row) == 5:
        return row
    symbol, usd, mult = row
    return symbol, f"{usd}", "ok", f"{mult:.4f}", f"{float(mult) - 0.5:.4f}"


def passes(*columns: Sequence[Row]) -> list[PassEntry]:
    """One after another."""
    return [a_pass(number, *rows) for number, rows in enumerate(columns)]


def plan(at: float, **changes: str) -> Entry:
    """A decision so many seconds after noon."""
    at_ms = NOON + round(at * 1000)
    return decision_at(at_ms, **{"decided_at": f"{at_ms / 1000:.3f}"} | changes)


def written(folder: Path, *batches: Batch, sealed_ms: int = 0) -> History:
    """A history of these, with the documents that they mention; days that end by sealed_ms are
    sealed."""
    with Store(folder) as store:
        for batch in batches:
            store.write(msgspec.structs.replace(batch, documents=[*batch.documents, *DOCUMENTS]))
        store.seal(sealed_ms, sealed_ms)
    return History(folder)


def simulated(
    folder: Path, *faults: str, hours: float = 4, symbols: int = 12, seed: int = 3,
    per_minute: float = 4, settings: Settings | None = None,
) -> History:  # fmt: skip
    """A short history of the synthetic market."""
    start_ms, end_ms = window(END_MS, hours)
    wanted = Wanted(
        seed=seed, symbols=symbols, start_ms=start_ms, end_ms=end_ms, per_minute=per_minute,
        faults=frozenset(faults),
    )  # fmt: skip
    HistoryMaker(wanted, settings or Settings()).write(folder)
    return History(folder)
