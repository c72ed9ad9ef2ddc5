"""Targets and efficiency scores as read, and what a score counts as.

Source: docs/rules.md#reading-a-score.
"""

from collections.abc import Mapping

import msgspec

from qtctl.domain import numbers
from qtctl.domain.reasons import EffReason

TIME_FIELDS = ("ts", "timestamp")
"""Where a score's time may stand; two producers may share one hash."""
EFF_FIELDS = ("efficiency_score", "confidence", *TIME_FIELDS)
"""The fields of an efficiency hash that decide; a reader asks for no others."""
FLAG_FIELDS = ("stale_flags", "inputs_ok")
"""What a score's producer says against it; it decides nothing here."""
TARGET_FIELDS = ("target_usd", "timestamp", "ts")
"""The field of a target that decides, and its time, which only the history keeps."""
_INPUTS_OK = ("1", "true", "yes")
TARGET_OLD_SEC = 600.0
"""A target older than this is stale: P2.9 gives it 300 s to live."""
MAX_AHEAD_SEC = 60.0
"""A time further ahead of now than this is not trusted."""


class Unusable(msgspec.Struct, frozen=True):
    """What lies under a key can't be used; `problem` says why, for the log."""

    problem: str


class Efficiency(msgspec.Struct, frozen=True, gc=False):
    """A capital-efficiency score, judged. score and confidence are 0..1, None where unknown;
    age_sec is now − its time; `problem` says what is wrong where the reason is `redis_error`."""

    reason: EffReason
    score: float | None = None
    confidence: float | None = None
    stale: bool = False
    age_sec: float | None = None
    problem: str = ""

    @property
    def ok(self) -> bool:
        """True if it may be used."""
        return self.reason is EffReason.OK


MISSING = Efficiency(EffReason.MISSING)


class AsRead(msgspec.Struct, frozen=True, gc=False):
    """A score as it was read, for the history: its fields to the byte, and `now` of the reading,
    epoch seconds; the fields are empty where there was no hash or it could not be read. `at` is the
    one of its times that counts. `assess(read.fields, read.now, …)` gives its Efficiency again,
    unless all of them are empty."""

    score: str = ""
    confidence: str = ""
    at: str = ""
    now: float = 0.0


NOTHING_READ = AsRead()


def assess(
    raw: Mapping[str, str] | Unusable | None, now: float, max_age_sec: float, min_conf: float
) -> Efficiency:
    """What an efficiency hash counts as. raw: its fields (those of EFF_FIELDS suffice), None where
    there is no hash, Unusable where Redis refused. now: seconds since the epoch. Never raises."""
    at = None if raw is None or isinstance(raw, Unusable) else score_time(raw, now)
    return assess_by(raw, at, now, max_age_sec, min_conf)


def assess_by(
    raw: Mapping[str, str] | Unusable | None,
    at: float | None,
    now: float,
    max_age_sec: float,
    min_conf: float,
) -> Efficiency:
    """The same where its `score_time` is known: `at`, None where there is none."""
    if raw is None:
        return MISSING
    if isinstance(raw, Unusable):
        return Efficiency(EffReason.UNUSABLE, problem=raw.problem)
    score = numbers.ratio(raw.get("efficiency_score", ""))
    confidence = numbers.ratio(raw.get("confidence", ""))
    if score is None or confidence is None or at is None:
        return Efficiency(EffReason.UNUSABLE, problem=_eff_problem(raw, score, confidence))
    reason = counts_as(confidence, now - at, max_age_sec, min_conf)
    return Efficiency(reason, score, confidence, reason is EffReason.STALE, now - at)


def counts_as(confidence: float, age_sec: float, max_age_sec: float, min_conf: float) -> EffReason:
    """What a score counts as that has all that it needs."""
    if not is_fresh(age_sec, max_age_sec):
        return EffReason.STALE
    return EffReason.LOW_CONF if confidence < min_conf else EffReason.OK


def is_fresh(age_sec: float, max_age_sec: float) -> bool:
    """True for the age of a time that is neither too old nor too far ahead. Where one time of a
    score is fresh, the score is: the one that counts is trusted, and as new or newer."""
    return -MAX_AHEAD_SEC <= age_sec <= max_age_sec


def score_time(raw: Mapping[str, str], now: float) -> float | None:
    """The time of a score, epoch seconds: the newest of `ts` and `timestamp` that can be read and
    is not over 60 s ahead, else the newest that can be read; None where neither can. HSET keeps the
    field of a producer that is gone: an old `ts` must not make a fresh score stale."""
    one, other = (numbers.epoch(text) if (text := raw.get(name)) else None for name in TIME_FIELDS)
    return that_counts(one, other, now)


def that_counts(one: float | None, other: float | None, now: float) -> float | None:
    """Of the two times of a score the one that counts, see score_time."""
    if one is None or other is None:
        return other if one is None else one
    trusted = [at for at in (one, other) if at - now <= MAX_AHEAD_SEC]
    return max(trusted or (one, other))


def score_time_text(raw: Mapping[str, str], now: float) -> str:
    """The time that counts, as it was sent; the first that was sent where none can be read."""
    sent = [text for name in TIME_FIELDS if (text := raw.get(name))]
    at = score_time(raw, now)
    return next((text for text in sent if numbers.epoch(text) == at), "".join(sent[:1]))


def as_read(raw: Mapping[str, str] | Unusable | None, now: float) -> AsRead:
    """What the history keeps of an efficiency hash. now: as for `assess`. Never raises."""
    if raw is None or isinstance(raw, Unusable):
        return NOTHING_READ
    at = score_time_text(raw, now)
    return AsRead(raw.get("efficiency_score", ""), raw.get("confidence", ""), at, now)


def producer_flags(raw: Mapping[str, str]) -> str:
    """What a score's producer says against its inputs, cut: `stale_flags=P29_STALE, inputs_ok=0`;
    empty where it says nothing."""
    flags = {name: raw.get(name, "").strip() for name in FLAG_FIELDS}
    if flags["inputs_ok"].lower() in _INPUTS_OK:
        del flags["inputs_ok"]
    return ", ".join(f"{name}={value[:60]}" for name, value in flags.items() if value)


def _eff_problem(raw: Mapping[str, str], score: float | None, confidence: float | None) -> str:
    for field, value in (("efficiency_score", score), ("confidence", confidence)):
        if value is None:
            return _field_problem(raw, field, "a number from 0 to 1")
    sent = next((name for name in TIME_FIELDS if raw.get(name)), None)
    return "has neither ts nor timestamp" if sent is None else _field_problem(raw, sent, "a time")


def _field_problem(raw: Mapping[str, str], field: str, wanted: str) -> str:
    text = raw.get(field, "")
    if not text:
        return f"has no {field}"
    return f"{field} {text[:40]!r} is not {wanted}"


def target_usd(raw: Mapping[str, str] | Unusable) -> float | Unusable:
    """The base of a proposal in USD (≥ 0), or why there is none. Never raises."""
    if isinstance(raw, Unusable):
        return raw
    value = numbers.number(raw.get("target_usd", ""))
    if value is None:
        return Unusable(_field_problem(raw, "target_usd", "a number"))
    if value < 0:
        return Unusable(f"target_usd {raw['target_usd'][:40]!r} is negative")
    return value
