"""A plan as sent: whether it can be read, and whether it opens or closes.

Source: docs/rules.md#open-or-close.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec

from qtctl.domain import names, numbers
from qtctl.domain.reasons import SKIPPED_DECISIONS, Kind

EXECUTE = "EXECUTE"
MAX_FIELD_CHARS = 65_536
"""An open with a longer field is unreadable: it could not be kept."""
GIVEN_TWICE = "\udcff given twice"
"""The value of a field that an entry has twice with different values: two readers could see two
plans. Nothing can be read from it."""
_NEEDED = ("plan_id", "symbol", "decision", "reduceOnly", "qty", "action", "side")
"""What a close is read by; an open is read by all."""
_NOT_FULL = ("REDUCE", "UPDATE_SL")
"""Closing actions that leave the position open, beside every PARTIAL…."""
_REDUCE_ONLY = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


OPEN_ACTIONS = ("OPEN_PROPOSED", "ENTRY_PROPOSED", "OPEN", "ENTRY")
CLOSE_ACTIONS = (
    "FULL_CLOSE_PROPOSED", "FULL_CLOSE", "PARTIAL_CLOSE_PROPOSED", "PARTIAL_CLOSE",
    "PARTIAL_75_PROPOSED", "PARTIAL_75", "PARTIAL_50_PROPOSED", "PARTIAL_50",
    "PARTIAL_25_PROPOSED", "PARTIAL_25", "MANUAL_CLOSE", "RECONCILE_CLOSE", "CLOSE", "EXIT",
    "REDUCE", "STOP_LOSS_HIT", "TAKE_PROFIT_HIT", "UPDATE_SL",
)  # fmt: skip

SIDES = ("BUY", "SELL", "LONG", "SHORT", "CLOSE")
"""Sides that publishers send. Only CLOSE means anything to the governor: a close."""


class PlanRules(msgspec.Struct, frozen=True):
    """Which actions open, which close (in any case), and which fields an open must have."""

    open_actions: frozenset[str] = frozenset(OPEN_ACTIONS)
    close_actions: frozenset[str] = frozenset(CLOSE_ACTIONS)
    require: frozenset[str] = frozenset()


class Plan(msgspec.Struct, frozen=True):
    """A readable plan. price is `price`, or where that is absent or 0 `entry_price`, in USD; at is
    its own timestamp in seconds; None is absent (for a close also: not a number). close_qty: the
    part of qty that a close closes, where it says so. full_close: it closes all of the position,
    as far as it says."""

    plan_id: str
    symbol: str
    decision: str
    kind: Kind
    action: str = ""
    side: str = ""
    source: str = ""
    qty: float | None = None
    price: float | None = None
    kill_score: float | None = None
    at: float | None = None
    close_qty: float | None = None
    full_close: bool = False

    @property
    def permit_qty(self) -> float:
        """What a permit is for: of a close that part which it names, else all of qty."""
        return self.close_qty or self.qty or 0.0

    @property
    def execute(self) -> bool:
        """True for a plan that is meant to be carried out."""
        return self.decision == EXECUTE

    @property
    def decision_known(self) -> bool:
        """True for EXECUTE and its siblings; anything else is a word that nobody acts on."""
        return self.execute or self.decision in SKIPPED_DECISIONS


class Unreadable(msgspec.Struct, frozen=True):
    """A plan that can't be read: what is wrong, and its kind where that is certain.
    kind_if_executed: of the permit it seems to ask for, None where its decision asks for none."""

    problem: str
    kind: Kind | None = None
    kind_if_executed: Kind | None = None


class _BadField(Exception):  # noqa: N818 - control flow inside this module
    pass


def notional(qty: float | None, price: float | None) -> float | None:
    """|qty × price| in USD; None where one is unknown. A qty of 0 means: not known yet."""
    return None if not qty or price is None else abs(qty * price)


def read(fields: Mapping[str, str], rules: PlanRules) -> Plan | Unreadable:
    """The plan that an entry holds, or why it can't be read. Never raises. fields: name to value,
    decoded with `surrogateescape`; empty is absent."""
    kind: Kind | None = None
    try:
        if GIVEN_TWICE in fields.values():
            for name in _NEEDED:
                _once(fields, name)
        plan_id = _name(fields, "plan_id", names.plan_id_problem)
        symbol = _name(fields, "symbol", names.symbol_problem)
        decision = fields.get("decision", "")
        if decision != EXECUTE and not _text(fields, "decision"):
            raise _BadField("decision is missing")
        reduce_only = _reduce_only(fields)
        qty = _number(fields, "qty")
        kind = kind_of(fields.get("action", ""), fields.get("side", ""), reduce_only, rules)
        if kind is Kind.OPEN:
            _check_open(fields, rules)
        lenient = kind is Kind.CLOSE
        close_qty = _number(fields, "close_qty", lenient=True) if lenient else None
        close_qty = close_qty if close_qty and close_qty > 0 else None
        # A price of 0 is as good as none: it must not hide the other one from the notional gate.
        price = _number(fields, "price", lenient) or _number(fields, "entry_price", lenient)
        return Plan(
            plan_id,
            symbol,
            decision,
            kind,
            action=fields.get("action", ""),
            side=fields.get("side", ""),
            source=fields.get("source", ""),
            qty=qty,
            price=price or None,
            kill_score=_number(
                fields, "kill_score", lenient, numbers.ratio, "a number from 0 to 1"
            ),
            at=_number(fields, "timestamp", lenient, numbers.epoch, "a time"),
            close_qty=close_qty,
            full_close=kind is Kind.CLOSE and _closes_all(fields, qty, close_qty),
        )
    except _BadField as bad:
        return unreadable(str(bad), fields, rules, kind)


def kind_of(action: str, side: str, reduce_only: bool | None, rules: PlanRules) -> Kind:
    """Open or close. reduceOnly decides where it is there; only an opening action outweighs it."""
    action = _upper(action)
    if reduce_only is None:
        closes = action in _all_upper(rules.close_actions) or _upper(side) == "CLOSE"
    else:
        closes = reduce_only and action not in _all_upper(rules.open_actions)
    return Kind.CLOSE if closes else Kind.OPEN


def _upper(word: str) -> str:
    """ASCII only: another script's letters are not another case of ours."""
    return word.upper() if word.isascii() else word


@lru_cache(maxsize=8)
def _all_upper(words: frozenset[str]) -> frozenset[str]:
    return frozenset(_upper(word) for word in words)


def unreadable(
    problem: str, fields: Mapping[str, str], rules: PlanRules, kind: Kind | None = None
) -> Unreadable:
    """A plan that is not judged, for what is wrong with it; kind: where that is certain."""
    if fields.get("decision", EXECUTE) not in ("", EXECUTE):
        return Unreadable(problem, kind)
    reduce_only = _REDUCE_ONLY.get(fields.get("reduceOnly", "").lower())
    by_parts = kind_of(fields.get("action", ""), fields.get("side", ""), reduce_only, rules)
    return Unreadable(problem, kind, by_parts)


def _check_open(fields: Mapping[str, str], rules: PlanRules) -> None:
    """What only an open must satisfy: risk reduction is never trapped by what it does not need."""
    whole = "".join((*fields, *fields.values()))
    # The common case: nothing of what follows.
    plain = whole.isascii() and len(whole) <= MAX_FIELD_CHARS
    for name, value in () if plain else fields.items():
        _once(fields, name)
        if len(value) > MAX_FIELD_CHARS:
            raise _BadField(f"{name[:40]} is longer than {MAX_FIELD_CHARS} characters")
        if _undecodable(value) or _undecodable(name):
            raise _BadField(f"{name[:40]} is not UTF-8")
    # Present and unreadable is worse than absent: also where the other price would do.
    if "entry_price" in fields:
        _number(fields, "entry_price")
    for name in sorted(rules.require) if rules.require else ():
        given = (
            _number(fields, "price") or _number(fields, "entry_price")
            if name == "price"
            else fields.get(name)
        )
        if not given:
            raise _BadField(f"{name} is missing and required")


def _once(fields: Mapping[str, str], name: str) -> None:
    if fields.get(name) == GIVEN_TWICE:
        raise _BadField(f"{name[:40]} is there twice, with different values")


def _undecodable(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text)


def _text(fields: Mapping[str, str], name: str) -> str:
    text = fields.get(name, "")
    if not text.isascii() and _undecodable(text):
        long = len(text) > MAX_FIELD_CHARS  # And perhaps only a part of it was read.
        why = f"longer than {MAX_FIELD_CHARS} characters" if long else "not UTF-8"
        raise _BadField(f"{name} is {why}")
    return text


def _name(fields: Mapping[str, str], name: str, problem_of: Callable[[str], str | None]) -> str:
    text = fields.get(name, "")
    problem = problem_of(text)
    if problem is None:
        return text
    # What can't be decoded is no name either, but that is not what is wrong with it.
    raise _BadField(f"{name} {problem}" if _text(fields, name) else f"{name} is missing")


def _reduce_only(fields: Mapping[str, str]) -> bool | None:
    text = fields.get("reduceOnly", "")
    if not text:
        return None
    flag = _REDUCE_ONLY.get(text.lower())
    if flag is None:
        raise _BadField(f"reduceOnly {text[:40]!r} is neither true nor false")
    return flag


def _number(
    fields: Mapping[str, str],
    name: str,
    lenient: bool = False,
    read: Callable[[str], float | None] = numbers.number,
    wanted: str = "a number",
) -> float | None:
    text = fields.get(name, "")
    value = read(text) if text else None
    if text and value is None and not lenient:
        raise _BadField(f"{name} {text[:40]!r} is not {wanted}")
    return value


def _closes_all(fields: Mapping[str, str], qty: float | None, close_qty: float | None) -> bool:
    """True for a close unless its action or its close_qty says that a part stays open."""
    action = _upper(fields.get("action", "")).removesuffix("_PROPOSED")
    if action.startswith("PARTIAL") or action in _NOT_FULL:
        return False
    return not (close_qty and qty and close_qty < abs(qty))
