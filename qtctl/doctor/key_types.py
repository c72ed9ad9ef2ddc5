"""The governor's own keys hold what they should: Redis refuses to write any other."""

from qtctl.doctor.findings import Findings, ok, wrong
from qtctl.doctor.inspection import Inspection
from qtctl.wire.queries import key_types
from qtctl.wire.schema.keys import GROUP, HALT_RECORDS, PROPOSED

SYMBOLS = 500
"""Symbols whose keys are looked at."""


def types(inspection: Inspection) -> Findings:
    """The keys that every plan needs, those of the known symbols, and those of pending plans."""
    store = inspection.store
    found = key_types.wrong(store, [it.symbol for it in inspection.targets[:SYMBOLS]])
    if any(group.name == GROUP and group.pending for group in inspection.groups):
        known = {it.key for it in found}
        found += [it for it in key_types.of_pending(store) if it.key not in known]
    for it in found:
        yield wrong(it.sentence, _effect(inspection, it.key),
                    inspection.redis_cli("rename", it.key, f"{it.key}.wrong-type"))  # fmt: skip
    if not found:
        yield ok("the governor's keys have the types that they should")


def _effect(inspection: Inspection, key: str) -> str:
    keys = inspection.store.keys
    if key.startswith(keys.at(PROPOSED, "")):
        return "no proposal of this symbol can be written"
    if key == keys.at(HALT_RECORDS, ""):
        return "a halt can't keep who set it"
    return "Redis refuses the verdict: plans that need this key stay pending, closes too"
