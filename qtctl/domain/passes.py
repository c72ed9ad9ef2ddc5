"""A pass of the allocation loop as a value: what it decided on, and what it made of it.

Every text is what Redis held, neither rounded nor parsed, so that a pass can be decided again.
Source: docs/rules.md#reading-a-score.
"""

from collections.abc import Sequence

import msgspec

from qtctl.domain import numbers
from qtctl.domain.names import MAX_CHARS
from qtctl.domain.readings import Unusable
from qtctl.domain.reasons import EffReason
from qtctl.domain.stored import stored


class Columns(msgspec.Struct, frozen=True):
    """One row per symbol, as lists of equal length. A symbol stands in them once.

    target_usd, target_at: of the target hash; the second is its own time (`timestamp`, else `ts`,
    empty where it has neither). score (`efficiency_score`), confidence, score_ts (`ts`),
    score_timestamp (`timestamp`): of the efficiency hash, empty where there was none or the field
    was absent; both times, since the newer one counts. reason: the EffReason of the proposal, empty
    where none was made. multiplier: as the proposal carries it (`1.0312`), empty likewise.
    """

    symbol: list[str]
    target_usd: list[str]
    target_at: list[str]
    score: list[str]
    confidence: list[str]
    score_ts: list[str]
    score_timestamp: list[str]
    reason: list[str]
    multiplier: list[str]

    def __len__(self) -> int:
        return len(self.symbol)

    def efficiency(self, row: int) -> dict[str, str] | Unusable | None:
        """The efficiency hash of a row, for `domain.readings.assess`: None where there was none,
        Unusable where nothing of it could be read."""
        raw = {
            "efficiency_score": self.score[row],
            "confidence": self.confidence[row],
            "ts": self.score_ts[row],
            "timestamp": self.score_timestamp[row],
        }
        if any(raw.values()):
            return raw
        refused = self.reason[row] == EffReason.UNUSABLE
        return Unusable("nothing could be read") if refused else None


COLUMNS = Columns.__struct_fields__
"""Their names, in the order in which they are stored."""


class Pass(msgspec.Struct, frozen=True):
    """One pass. number: since the start of its loop, from 1; ts_ms: the server's clock that it
    decided by, epoch ms; rules: digest of the rules in force; symbols: how many it has."""

    number: int
    ts_ms: int
    instance: str
    version: str
    rules: str
    symbols: int
    columns: Columns


def columns_problem(columns: Columns) -> str | None:
    """Why these can't be the columns of a pass, or None."""
    lists = [getattr(columns, name) for name in COLUMNS]
    if any(len(each) != len(columns) for each in lists):
        return "its columns differ in length"
    if len(set(columns.symbol)) != len(columns):
        return "it has a symbol twice"
    return None


def kept(column: Sequence[str]) -> Sequence[str]:
    """A column as it is kept: a text of over 64 characters is shorter, and still counts as the same
    number, or as none."""
    if max(map(len, column), default=0) <= MAX_CHARS:
        return column
    return [text if len(text) <= MAX_CHARS else kept_number(text) for text in column]


def kept_number(text: str) -> str:
    """A number or a time as read, for the history: where it is over 64 characters the same number
    with fewer, or a digest."""
    if len(text) <= MAX_CHARS:
        return stored(text)
    value = numbers.number(text)
    return stored(text) if value is None else repr(value)
