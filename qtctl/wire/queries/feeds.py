"""Targets and scores as upstream writes them, looked at in a sample: of how many symbols they are
there, fresh and readable.

In a large keyspace nothing is scanned for: the symbols are those of the last proposals. At most
SAMPLE of them are looked at.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from qtctl.domain import numbers
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.entry_ids import time_of
from qtctl.domain.readings import TARGET_OLD_SEC, Efficiency, Unusable, assess, target_usd
from qtctl.domain.reasons import EffReason
from qtctl.wire.client.store import Store
from qtctl.wire.queries.targets import Found, hashes
from qtctl.wire.schema.keys import EFFICIENCY, TARGET
from qtctl.wire.schema.records import pairs

SAMPLE = 200
"""Symbols that are looked at."""


class Feed(msgspec.Struct, frozen=True):
    """What was found of looked_at symbols: good ones, and the others by what is wrong. newest_sec:
    an age, None where no time can be read; problem: of the first that can't be read."""

    looked_at: int = 0
    good: int = 0
    missing: int = 0
    stale: int = 0
    low_conf: int = 0
    unreadable: int = 0
    newest_sec: float | None = None
    problem: str = ""


class Feeds(msgspec.Struct, frozen=True):
    """proposed_at: when the last proposal was made (epoch seconds), None for none; whole: every
    symbol there is was looked at."""

    targets: Feed
    scores: Feed
    proposed_at: float | None = None
    whole: bool = False


def feeds(store: Store, now: float, symbols: Sequence[str] | None, rules: DownsizeRules) -> Feeds:
    """A look at both. symbols: all there are, None where that is not known: those of the last
    proposals then. Errors: RedisUnreachable, WireError (no permission, a wrong type)."""
    proposed, at = _proposed(store)
    names = proposed if symbols is None else symbols
    looked_at = names[:SAMPLE]
    targets, scores = (hashes(store, spec, looked_at) for spec in (TARGET, EFFICIENCY))
    judged = [assess(it.fields, now, rules.eff_ttl_sec, rules.min_conf) for it in scores]
    whole = symbols is not None and len(names) <= SAMPLE
    return Feeds(_targets(targets, now), _scores(judged), proposed_at=at, whole=whole)


def _proposed(store: Store) -> tuple[list[str], float | None]:
    """The symbols of the last proposals, the latest first, and when the last one was made."""
    reply = store.reply(("XREVRANGE", store.keys.proposed_stream, "+", "-", "COUNT", 2 * SAMPLE))
    names = (pairs(fields).get("symbol", "") for _, fields in reply)
    return [*dict.fromkeys(filter(None, names))], time_of(reply[0][0]) if reply else None


def _targets(found: Sequence[Found], now: float) -> Feed:
    ages, missing, stale, problems = [], 0, 0, []
    for each in found:
        if each.fields is None:
            missing += 1
            continue
        read = target_usd(each.fields)
        if isinstance(read, Unusable):
            problems.append(read.problem)
            continue
        at = numbers.epoch(each.readable.get("timestamp", ""))
        if at is not None:
            ages.append(max(0.0, now - at))
            stale += ages[-1] > TARGET_OLD_SEC
    return _feed(len(found), ages, problems, missing=missing, stale=stale)


def _scores(found: Sequence[Efficiency]) -> Feed:
    by = Counter(it.reason for it in found)
    ages = [max(0.0, it.age_sec) for it in found if it.age_sec is not None]
    problems = [it.problem for it in found if it.reason is EffReason.UNUSABLE]
    missing, stale, low_conf = by[EffReason.MISSING], by[EffReason.STALE], by[EffReason.LOW_CONF]
    return _feed(len(found), ages, problems, missing=missing, stale=stale, low_conf=low_conf)


def _feed(
    looked_at: int, ages: Sequence[float], problems: Sequence[str], *, missing: int, stale: int,
    low_conf: int = 0,
) -> Feed:  # fmt: skip
    good = looked_at - missing - stale - low_conf - len(problems)
    newest, problem = min(ages, default=None), problems[0] if problems else ""
    return Feed(looked_at, good, missing, stale, low_conf, len(problems), newest, problem)
