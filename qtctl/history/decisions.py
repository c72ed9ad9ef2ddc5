"""A decision as a row, and back to the byte.

Numbers are stored as numbers: times and ages in ms, money in cents. What many decisions share (the
words of the governor, the publisher and the kill switch) is a profile of its own. A field whose
text no number gives back exactly stands as it was in `exact`, a JSON object; null there is a field
that the record lacked.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from qtctl.domain import numbers
from qtctl.domain.facts import facts_of
from qtctl.domain.gates import Facts
from qtctl.history.ids import SEQ_BITS, unpacked

OUTCOMES = ("blocked", "permitted", "duplicate", "conflict")
"""The verdicts, by the number in the column `outcome`; any other word is the number after."""


class Profile(msgspec.Struct, frozen=True):
    """What many decisions share: fields of the record, as text."""

    verdict: str
    reason: str
    kind: str
    action: str
    side: str
    source: str
    eff_stale: str
    eff_action: str
    eff_reason: str
    deliveries: str
    attempts: str
    instance: str
    version: str
    limits: str
    permitted_before: str
    kill_key: str
    kill_value: str
    kill_level: str
    queued_before_server: str
    clock_jump: str


PROFILE = Profile.__struct_fields__
Loose = int | float | str | None
"""A text as read: the number that gives it back exactly where that takes less room."""


class Decision(msgspec.Struct, frozen=True):
    """A decision read back. The fields are the columns; the properties and `record()` are what
    others should go by. Ages and times in ms, None where the record has none."""

    number: int
    entry: int | None
    outcome: int
    profile: Profile
    symbol: str
    plan_id: str | None
    qty_text: Loose
    price_text: Loose
    kill_score_text: Loose
    score_text: Loose
    confidence_text: Loose
    score_at_text: Loose
    notional_cents: int | None
    factor_e4: int | None
    extra_cooldown_sec: int | None
    eff_age_ms: int | None
    decided_after_ms: int | None
    plan_age_ms: int | None
    queue_age_ms: int | None
    last_open_age_ms: int | None
    last_close_age_ms: int | None
    opens_5min: int | None
    opens_1h: int | None
    opens_total_5min: int | None
    exact: str | None

    @property
    def id(self) -> str:
        """The id of its entry in the stream of decisions."""
        return self._exact("id") or unpacked(self.number)

    @property
    def at_ms(self) -> int:
        """When it was written, epoch ms: the time of its id."""
        return self.number >> SEQ_BITS

    @property
    def entry_id(self) -> str:
        """The entry of the plan stream that was judged."""
        return self._exact("entry_id") or ("" if self.entry is None else unpacked(self.entry))

    @property
    def verdict(self) -> str:
        """`permitted`, `blocked`, `duplicate` or `conflict`."""
        return self.profile.verdict

    @property
    def reason(self) -> str:
        """`ok`, or the gate's word."""
        return self.profile.reason

    @property
    def kind(self) -> str:
        """`open` or `close`."""
        return self.profile.kind

    @property
    def decided_ms(self) -> int:
        """When it was taken by the server's clock, epoch ms."""
        return self.at_ms + (self.decided_after_ms or 0)

    @property
    def score(self) -> float | None:
        """The efficiency score as read, not rounded; None where it was no number."""
        return _number(self.score_text)

    @property
    def confidence(self) -> float | None:
        """Its confidence, likewise."""
        return _number(self.confidence_text)

    @property
    def qty(self) -> float | None:
        return _number(self.qty_text)

    @property
    def price(self) -> float | None:
        """USD."""
        return _number(self.price_text)

    @property
    def notional_usd(self) -> float | None:
        return None if self.notional_cents is None else self.notional_cents / 100

    @property
    def factor(self) -> float | None:
        """What the cap was to be multiplied with."""
        return None if self.factor_e4 is None else self.factor_e4 / 10_000

    def record(self) -> dict[str, str]:
        """The fields of the entry, to the byte; their order is that of the columns."""
        found = {"entry_id": "" if self.entry is None else unpacked(self.entry)}
        found["symbol"] = self.symbol
        found["plan_id"] = self.plan_id or ""
        found |= msgspec.structs.asdict(self.profile)
        for column in _COLUMNS:
            value = getattr(self, column.attribute)
            found[column.field] = "" if value is None else column.text(value)
        after = self.decided_after_ms
        found["decided_at"] = "" if after is None else numbers.millis((self.at_ms + after) / 1000)
        found |= _derived(found, None if after is None else self.at_ms + after)
        for name, text in self._exacts().items():
            if text is None:
                found.pop(name, None)
            elif name != "id":
                found[name] = text
        return found

    def facts(self) -> Facts:
        """What the gates judged it by."""
        return facts_of(self.record())

    def _exacts(self) -> dict[str, str | None]:
        return {} if self.exact is None else msgspec.json.decode(self.exact)

    def _exact(self, name: str) -> str | None:
        return self._exacts().get(name) if self.exact is not None else None


def _number(value: Loose) -> float | None:
    return numbers.number(value) if isinstance(value, str) else value


def loose(text: str) -> Loose:
    """A text as it is stored where it is to be read back as it was."""
    if len(text) > 8:
        if text.isdecimal() and text.isascii() and text[0] != "0" and len(text) < 19:
            return int(text)
        try:
            value = float(text)
        except ValueError:
            return text
        if repr(value) == text:
            return value
    return text


def _loose_text(value: Loose) -> str:
    return value if isinstance(value, str) else repr(value)


def _scaled(places: int) -> tuple[Callable[[str], int | None], Callable[[int], str]]:
    """A decimal with so many places as an integer, and back."""
    one = 10**places

    def value(text: str) -> int | None:
        head, _, tail = text.partition(".")
        if len(tail) != places or len(head) > 12:
            return None
        try:
            return int(head + tail)
        except ValueError:
            return None

    def back(value: int) -> str:
        whole, rest = divmod(abs(value), one)
        return f"{'-' if value < 0 else ''}{whole}.{rest:0{places}d}"

    return value, back


def _integer(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 16 else None


_millis, _millis_text = _scaled(3)
_cents, _cents_text = _scaled(2)
_four, _four_text = _scaled(4)


class _Column(msgspec.Struct, frozen=True):
    """A column that holds one field. value: of a text, None where no value gives it back."""

    attribute: str
    field: str
    value: Callable[[str], Loose]
    text: Callable[[Any], str]


def _ms(name: str) -> _Column:
    return _Column(f"{name}_ms", f"{name}_sec", _millis, _millis_text)


_COLUMNS = (
    *(
        _Column(f"{name}_text", name, loose, _loose_text)
        for name in ("qty", "price", "kill_score", "score", "confidence", "score_at")
    ),
    _Column("notional_cents", "notional_usd", _cents, _cents_text),
    _Column("factor_e4", "eff_factor", _four, _four_text),
    _Column("extra_cooldown_sec", "extra_cooldown_sec", _integer, str),
    _ms("eff_age"),
    _ms("plan_age"),
    _ms("queue_age"),
    _ms("last_open_age"),
    _ms("last_close_age"),
    *(
        _Column(name, name, _integer, str)
        for name in ("opens_5min", "opens_1h", "opens_total_5min")
    ),
)
_PLACES = {column.attribute: place for place, column in enumerate(_COLUMNS)}
_STORED = tuple(name for name in Decision.__struct_fields__[6:-1])
_ORDER = tuple(_PLACES[name] for name in _STORED if name != "decided_after_ms")
"""Where the value of each stored column, but one, stands among _COLUMNS."""
_DECIDED = _STORED.index("decided_after_ms")
_FIELDS = (
    {"entry_id", "symbol", "plan_id", "decided_at", *PROFILE, *(c.field for c in _COLUMNS)}
    | {"eff_score", "eff_confidence", "downsize_factor", "last_open_at"}
)  # fmt: skip


class Packed(msgspec.Struct, frozen=True):
    """A decision on its way into a day's file. values: the columns from qty_text on."""

    outcome: int
    profile: tuple[str, ...]
    symbol: str
    plan_id: str
    values: tuple[Loose, ...]
    exact: dict[str, str | None]


def pack(record: Mapping[str, str], at_ms: int) -> Packed:
    """The row of a decision, apart from its ids. at_ms: the time of its id."""
    get = record.get
    exact: dict[str, str | None] = {}
    found: list[Loose] = []
    for column in _COLUMNS:
        text = get(column.field)
        value = column.value(text) if text else None
        if text and (value is None or column.text(value) != text):
            exact[column.field], value = text, None
        found.append(value)
    decided = _millis(get("decided_at", ""))
    after = None if decided is None else decided - at_ms
    values = [found[place] for place in _ORDER]
    values.insert(_DECIDED, after)
    if after is None and get("decided_at"):
        exact["decided_at"] = get("decided_at")
    for name, derived in _derived(record, decided).items():
        if record.get(name, derived) != derived:
            exact[name] = record[name]
    if len(record) != len(_FIELDS) or not _FIELDS.issuperset(record):
        exact |= {name: None for name in _FIELDS if name not in record}
        exact |= {name: text for name, text in record.items() if name not in _FIELDS}
    verdict = get("verdict", "")
    outcome = OUTCOMES.index(verdict) if verdict in OUTCOMES else len(OUTCOMES)
    profile = tuple([get(name, "") for name in PROFILE])
    return Packed(outcome, profile, get("symbol", ""), get("plan_id", ""), tuple(values), exact)


def _derived(record: Mapping[str, str], decided_ms: int | None) -> dict[str, str]:
    """The fields that follow from others, unless the record says otherwise."""
    score = numbers.ratio(record.get("score", ""))
    confidence = numbers.ratio(record.get("confidence", ""))
    age = _millis(record.get("last_open_age_sec", ""))
    opened = "" if age is None or decided_ms is None else str((decided_ms - age) // 1000)
    return {
        "eff_score": "" if score is None else numbers.four(score),
        "eff_confidence": "" if confidence is None else numbers.confidence(confidence),
        "downsize_factor": record.get("eff_factor", ""),
        "last_open_at": opened,
    }
