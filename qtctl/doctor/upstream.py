"""What upstream writes: there, fresh, of the right type, with the fields that are read."""

from collections.abc import Mapping, Sequence

from qtctl.doctor.field_drift import by_problem, producer, renamed
from qtctl.doctor.findings import Findings, ok, some, unknown, warning, wrong
from qtctl.doctor.inspection import SYMBOLS_LOOKED_AT, Inspection
from qtctl.domain import numbers
from qtctl.domain.readings import (
    MAX_AHEAD_SEC,
    TARGET_OLD_SEC,
    Efficiency,
    assess,
    producer_flags,
    target_usd,
)
from qtctl.domain.readings import Unusable as UnusableReading
from qtctl.domain.reasons import EffReason
from qtctl.wire.queries import upstream
from qtctl.wire.queries.targets import Found, Symbol
from qtctl.wire.schema.keys import EFFICIENCY, TARGET, KeySpec

FLAGS_SHOWN = 5
_KNOWN = {
    TARGET: ("target_usd", "weight", "cluster_id", "regime", "drawdown_zone", "confidence",
             "timestamp", "mode"),
    EFFICIENCY: ("efficiency_score", "confidence", "ts", "timestamp", "mode", "version",
                 "stale_flags", "inputs_ok"),
}  # fmt: skip
_EFFECTS = {
    TARGET: ("targets", "such a symbol gets no proposal"),
    EFFICIENCY: (
        "scores",
        "such a score counts for nothing: the multiplier stays 1.0, no permit is downsized",
    ),
}
"""What is unusable, and what follows."""


def targets(inspection: Inspection) -> Findings:
    """Every symbol's live target."""
    store, found = inspection.store, inspection.targets
    misnamed = list(_misnamed(inspection, TARGET))
    yield from misnamed
    if not found:
        why = "without a target nothing is proposed: "
        why += _shadow(inspection, TARGET) or "P2.9 does not run, or writes elsewhere"
        if not inspection.sweep.complete:
            yield unknown(f"no target among {inspection.sweep.walked}")
        elif misnamed:
            yield wrong("no target has a symbol that can be used", why, misnamed[0].command)
        else:
            yield wrong(f"no key {store.keys.pattern(TARGET)}", why, inspection.show("redis"))
        return
    problems = list(_unusable(inspection, TARGET, [(it.symbol, it.target) for it in found]))
    yield from problems
    old = {it.symbol: age for it in found if (age := _target_age(inspection, it)) > TARGET_OLD_SEC}
    see = inspection.qtctl("target", "list")
    why = "proposals go on being made from them: P2.9"
    if old and len(old) == len(found):
        what = f"all {len(old):,} targets are older than 10 min"
        shadow = _shadow(inspection, TARGET)
        yield wrong(what, f"{why} has stopped" + (f". {shadow}" if shadow else ""), see)
    elif old:
        what = f"{len(old):,} of {len(found):,} targets are older than 10 min: {some(old)}"
        yield warning(what, f"{why} no longer writes these", see)
    for_ever = [it.symbol for it in found if it.target.ttl_sec is None and it.target.readable]
    if for_ever:
        what = f"{len(for_ever):,} of {len(found):,} targets have no lifetime: {some(for_ever)}"
        fix = inspection.redis_cli("expire", store.keys.at(TARGET, for_ever[0]), "300")
        yield warning(what, "they outlive their producer, and proposals never stop using them", fix)
    if not (misnamed or problems or old or for_ever):
        more = len(inspection.sweep.of_spec(TARGET)) - len(found)
        yield ok(f"{len(found):,} targets, fresh and readable"
                 + (f" ({more:,} more not looked at)" if more > 0 else ""))  # fmt: skip


def scores(inspection: Inspection) -> Findings:
    """Every symbol's efficiency score, as the governor reads it."""
    symbols = [it.symbol for it in inspection.targets]
    found = [
        (it.symbol, it.efficiency) for it in inspection.targets if it.efficiency.fields is not None
    ]
    misnamed = list(_misnamed(inspection, EFFICIENCY))
    yield from misnamed
    if not found and not inspection.sweep.of_spec(EFFICIENCY):
        why = "every multiplier is 1.0 and no permit is downsized: "
        why += _shadow(inspection, EFFICIENCY) or "P3.1 does not run, or writes elsewhere"
        level = wrong if symbols else warning
        yield level(f"no key {inspection.store.keys.pattern(EFFICIENCY)}", why,
                    inspection.show("redis"))  # fmt: skip
        return
    bad = list(_unusable(inspection, EFFICIENCY, found))
    yield from bad
    read = {symbol: _assessed(inspection, it) for symbol, it in found}
    flagged = {symbol: flags for symbol, it in found if (flags := producer_flags(it.readable))}
    by_reason = list(_scores_by_reason(inspection, symbols, read, flagged))
    yield from by_reason
    if not (misnamed or bad or by_reason):
        yield ok(f"{len(found):,} scores of {len(symbols):,} symbols, fresh and readable")


def _flagged(flagged: Mapping[str, str], of: int, low: Sequence[str], see: str) -> Findings:
    """What P3.1 says against its own scores: the cause of nearly every low_conf."""
    by_flags = by_problem(flagged.items())
    for flags, names in list(by_flags.items())[:FLAGS_SHOWN]:
        hit = len(set(names) & set(low))
        why = f"so P3.1 lowers their confidence: {hit:,} of them count as low_conf"
        if "P29_STALE" in flags:
            why += ". P29_STALE: it looks for ts in targets, where P2.9 writes timestamp"
        yield warning(f"{len(names):,} of {of:,} scores have {flags}: {some(names)}", why, see)
    more = len(by_flags) - FLAGS_SHOWN
    if more > 0:
        yield warning(f"{more:,} more kinds of flags in scores", "likewise", see)


def _misnamed(inspection: Inspection, spec: KeySpec) -> Findings:
    """Keys that are there and belong to no symbol."""
    kind, effect = _EFFECTS[spec]
    for problem, keys in by_problem(inspection.sweep.misnamed[spec.template].items()).items():
        shown = some(map(repr, keys))
        what = f"{len(keys):,} of the keys of {kind}: the symbol {problem} ({shown})"
        why = f"{effect}: a symbol is 1 to 64 characters without whitespace, ':' and globs (write "
        why += "BTCUSDT, not BTC/USDT:USDT)"
        yield wrong(what, why, inspection.redis_cli("hgetall", keys[0]))


def _shadow(inspection: Inspection, spec: KeySpec) -> str:
    found = upstream.shadow(inspection.store, spec, inspection.now)
    return "" if found is None else found.sentence


def _scores_by_reason(
    inspection: Inspection,
    symbols: Sequence[str],
    read: Mapping[str, Efficiency],
    flagged: Mapping[str, str],
) -> Findings:
    see = inspection.qtctl("eff", "list")
    missing = [symbol for symbol in symbols if symbol not in read]
    if missing:
        yield warning(f"{len(missing):,} of {len(symbols):,} symbols have no score: "
                      f"{some(missing)}", "their multiplier stays 1.0", see)  # fmt: skip
    ages = {symbol: it.age_sec or 0.0 for symbol, it in read.items()}
    stale = [name for name, it in read.items() if it.reason is EffReason.STALE and ages[name] > 0]
    if stale:
        level = wrong if len(stale) == len(read) else warning
        why = "they count for nothing: P3.1 has stopped, or falls behind"
        if level is wrong and (shadow := _shadow(inspection, EFFICIENCY)):
            why += f". {shadow}"
        yield level(f"{len(stale):,} of {len(read):,} scores are stale: {some(stale)}", why, see)
    ahead = {symbol: -age for symbol, age in ages.items() if age < -2}
    if ahead:
        most = max(ahead.values())
        level = wrong if most > MAX_AHEAD_SEC else warning
        why = "over 60 s ahead they count as stale; the clock of P3.1's host is off. There:"
        yield level(f"{len(ahead):,} scores are from the future, by up to {most:,.0f} s: "
                    f"{some(ahead)}", why, "sudo timedatectl set-ntp true")  # fmt: skip
    low = [symbol for symbol, it in read.items() if it.reason is EffReason.LOW_CONF]
    yield from _flagged(flagged, len(read), low, see)
    if low and len(low) == len(read) and not flagged:
        min_conf = inspection.settings_of("governor")[0].get("min_conf")
        why = "none has any effect: the producer's confidence and this limit do not fit together"
        yield warning(f"all {len(low):,} scores are less confident than {min_conf}", why, see)


def _unusable(
    inspection: Inspection, spec: KeySpec, found: Sequence[tuple[str, Found]]
) -> Findings:
    """Hashes that can't be read, by what is wrong with them."""
    kind, effect = _EFFECTS[spec]
    problems = [(symbol, _problem(inspection, spec, it)) for symbol, it in found]
    for problem, symbols in by_problem(each for each in problems if each[1]).items():
        keys, why = [inspection.store.keys.at(spec, symbol) for symbol in symbols], effect
        command = inspection.redis_cli("hgetall", keys[0])
        if problem.startswith("is no hash"):
            # HSET on another type always fails: only when the key is gone can it be written.
            command = inspection.redis_cli("del", *keys[:10])
            why += "; its producer can't write it either, until the key is gone"
        what = f"{len(symbols):,} of {len(found):,} {kind}: {problem} ({some(keys)})"
        yield wrong(what, why, command)
    if len(inspection.sweep.of_spec(spec)) > SYMBOLS_LOOKED_AT:
        yield unknown(f"only {SYMBOLS_LOOKED_AT:,} of them were looked at")


def _problem(inspection: Inspection, spec: KeySpec, it: Found) -> str:
    """What keeps a hash from being used, and who wrote it; "" for nothing."""
    fields = it.fields
    if fields is None:
        return ""
    if isinstance(fields, UnusableReading):
        wrong_type = "WRONGTYPE" in fields.problem
        return "is no hash (wrong type)" if wrong_type else fields.problem
    if spec is TARGET:
        read = target_usd(fields)
        problem = read.problem if isinstance(read, UnusableReading) else ""
    else:
        problem = _assessed(inspection, it).problem
    if not problem:
        return ""
    who = producer(spec.writer, fields)
    _, _, missing = problem.partition("has no ")
    if problem == "has neither ts nor timestamp":
        missing = "timestamp"
    became = renamed(fields, missing, _KNOWN[spec])
    if became:
        return f"{problem} but {became!r}: {who} has renamed it"
    return f"{problem}, written by {who}"


def _assessed(inspection: Inspection, it: Found) -> Efficiency:
    rules = inspection.settings_of("governor")[0]
    fields = it.fields
    return assess(fields, inspection.now, float(rules["eff_ttl_sec"]), float(rules["min_conf"]))


def _target_age(inspection: Inspection, it: Symbol) -> float:
    at = numbers.epoch(it.target.readable.get("timestamp", ""))
    return 0.0 if at is None else inspection.now - at
