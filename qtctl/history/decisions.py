"""A decision as a row, and back to the byte.

Numbers are stored as numbers: times and ages in ms, money in cents. What many decisions share (the
words of the governor, the publisher and the kill switch) is a profile of its own. A field whose
text no number gives back exactly stands as it was in `exact`, a JSON object; null there is a field
that the record lacked.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter

import msgspec

from qtctl.domain import numbers
from qtctl.domain.entry_ids import ms_of
from qtctl.domain.facts import facts_of
from qtctl.domain.gates import Facts
from qtctl.domain.reasons import Reason
from qtctl.history import texts
from qtctl.history.ids import SEQ_BITS, packed, unpacked
from qtctl.history.texts import Loose

OUTCOMES: dict[str, int] = {Reason.DUPLICATE_PLAN: 2, Reason.PLAN_CONFLICT: 3}
"""The column `outcome`: 0 blocked, 1 permitted, and these. An entry has one row for each."""


class Profile(msgspec.Struct, frozen=True):
    """What many decisions share: fields of the record, as text."""

    verdict: str
    reason: str
    kind: str
    action: str
    side: str
    source: str
    decision: str
    full_close: str
    withdrawn: str
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


class Decision(msgspec.Struct, frozen=True):
    """A decision read back. The fields are the columns; the properties and `record()` are what
    others should go by. Ages and times in ms, None where the record has none."""

    number: int
    entry: int | None
    outcome: int
    profile: Profile
    symbol: str
    plan_id: str
    qty_text: Loose
    price_text: Loose
    kill_score_text: Loose
    plan_at_text: Loose
    score_text: Loose
    confidence_text: Loose
    score_at_text: Loose
    score_read_at_text: Loose
    notional_cents: int | None
    factor_e4: int | None
    extra_cooldown_sec: int | None
    decided_after_ms: int | None
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
        """`permitted` or `blocked`; of a duplicate and a conflict the reason says which."""
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
    def notional_usd(self) -> float | None:
        return None if self.notional_cents is None else self.notional_cents / 100

    @property
    def factor(self) -> float | None:
        """What the cap was to be multiplied with."""
        return None if self.factor_e4 is None else self.factor_e4 / 10_000

    def record(self) -> dict[str, str]:
        """The fields of the entry, to the byte; their order is that of the columns."""
        decided = "" if self.decided_after_ms is None else texts.millis_text(self.decided_ms)
        found = {
            "entry_id": "" if self.entry is None else unpacked(self.entry),
            "symbol": self.symbol,
            "plan_id": self.plan_id,
            **msgspec.structs.asdict(self.profile),
            "decided_at": decided,
        }
        for attribute, field in LOOSE.items():
            found[field] = texts.loose_text(getattr(self, attribute))
        for attribute, (field, _, text) in SCALED.items():
            value = getattr(self, attribute)
            found[field] = "" if value is None else text(value)
        found |= _derived(found)
        for name, exact in self._exacts().items():
            if exact is None:
                found.pop(name, None)
            elif name != "id":
                found[name] = exact
        return found

    def facts(self) -> Facts:
        """What the gates judged it by."""
        return facts_of(self.record())

    def _exacts(self) -> dict[str, str | None]:
        return {} if self.exact is None else msgspec.json.decode(self.exact)

    def _exact(self, name: str) -> str | None:
        return self._exacts().get(name) if self.exact is not None else None


_NAMES = Decision.__struct_fields__
LOOSE = {name: name.removesuffix("_text") for name in _NAMES if name.endswith("_text")}
"""The columns that hold a field as it was read: the attribute and the field."""
SCALED: dict[str, tuple[str, Callable[[str], int | None], Callable[[int], str]]] = {
    "notional_cents": ("notional_usd", texts.cents, texts.cents_text),
    "factor_e4": ("eff_factor", texts.four, texts.four_text),
    "extra_cooldown_sec": ("extra_cooldown_sec", texts.integer, str),
    "queue_age_ms": ("queue_age_sec", texts.millis, texts.millis_text),
    "last_open_age_ms": ("last_open_age_sec", texts.millis, texts.millis_text),
    "last_close_age_ms": ("last_close_age_sec", texts.millis, texts.millis_text),
    "opens_5min": ("opens_5min", texts.integer, str),
    "opens_1h": ("opens_1h", texts.integer, str),
    "opens_total_5min": ("opens_total_5min", texts.integer, str),
}
"""The columns that hold a number for a field: the field, the number of a text, and back."""
_DERIVED = (
    "eff_score", "eff_confidence", "eff_age_sec", "downsize_factor", "plan_age_sec", "last_open_at",
)  # fmt: skip
_FIELDS = frozenset(
    ("entry_id", "symbol", "plan_id", "decided_at", *PROFILE, *LOOSE.values(), *_DERIVED)
) | {field for field, _, _ in SCALED.values()}
_LOOSE_FIELDS = tuple(LOOSE.values())
_BEFORE_DECIDED = 3
_SCALED_FIELDS = tuple((field, value) for field, value, _ in SCALED.values())
_profile = itemgetter(*PROFILE)


class Packed(msgspec.Struct, frozen=True):
    """A decision on its way into a day's file. values: the columns from qty_text on."""

    number: int | None
    entry: int | None
    outcome: int
    profile: tuple[str, ...]
    symbol: str
    plan_id: str
    values: list[Loose]


def pack(entry_id: str, record: Mapping[str, str]) -> Packed:
    """The row of an entry of `stream:governor.decisions`."""
    exact: dict[str, str | None] = {}
    if not _FIELDS.issuperset(record):
        exact |= {name: text for name, text in record.items() if name not in _FIELDS}
    if len(record) - len(exact) != len(_FIELDS):
        absent = {name: None for name in _FIELDS if name not in record}
        exact |= absent
        record = {**record, **dict.fromkeys(absent, "")}
    values: list[Loose] = [texts.loose(record[field]) or None for field in _LOOSE_FIELDS]
    for field, number in _SCALED_FIELDS:
        if text := record[field]:
            value = number(text)
            if value is None:
                exact[field] = text
            values.append(value)
        else:
            values.append(None)
    decided = texts.millis(record["decided_at"])
    if decided is None and record["decided_at"]:
        exact["decided_at"] = record["decided_at"]
    after = None if decided is None else decided - ms_of(entry_id)
    values.insert(len(_LOOSE_FIELDS) + _BEFORE_DECIDED, after)
    for name, derived in _derived(record).items():
        if record[name] != derived and name not in exact:
            exact[name] = record[name]
    own, judged = packed(entry_id), packed(record["entry_id"])
    if own is None:
        exact["id"] = entry_id
    if judged is None and record["entry_id"]:
        exact["entry_id"] = record["entry_id"]
    values.append(msgspec.json.encode(exact).decode() if exact else None)
    outcome = OUTCOMES.get(record["reason"], int(record["verdict"] == "permitted"))
    return Packed(
        own, judged, outcome, _profile(record), record["symbol"], record["plan_id"], values
    )


def _derived(record: Mapping[str, str]) -> dict[str, str]:
    """The fields that follow from others, unless the record says otherwise."""
    score, confidence = numbers.ratio(record["score"]), numbers.ratio(record["confidence"])
    scored, read = numbers.epoch(record["score_at"]), numbers.number(record["score_read_at"])
    decided = texts.millis(record["decided_at"])
    planned, opened = numbers.number(record["plan_at"]), texts.millis(record["last_open_age_sec"])
    return {
        "eff_score": "" if score is None else numbers.four(score),
        "eff_confidence": "" if confidence is None else numbers.confidence(confidence),
        "eff_age_sec": "" if scored is None or read is None else numbers.millis(read - scored),
        "downsize_factor": record["eff_factor"],
        "plan_age_sec": ""
        if planned is None or decided is None or abs(planned) > _FAR_SEC
        else texts.millis_text(decided - round(planned * 1000)),
        "last_open_at": ""
        if opened is None or decided is None
        else str((decided - opened) // 1000),
    }


_FAR_SEC = 1e12
