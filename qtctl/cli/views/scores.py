"""Capital-efficiency scores as they lie in Redis, and what each loop takes them for."""

from collections.abc import Iterator, Sequence
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.output import Filter, Listed, reason_style
from qtctl.cli.output.columns import age, text, ttl
from qtctl.cli.views.in_force import InForce
from qtctl.domain.allocation import AllocationRules
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.readings import assess, producer_flags, score_time_text
from qtctl.domain.reasons import EffReason
from qtctl.wire.client.store import Store
from qtctl.wire.queries import targets
from qtctl.wire.queries.targets import Found

AS_SENT = ("mode", "version", "stale_flags", "inputs_ok")
"""Fields of a score that nothing is made of."""
LISTED = Listed(
    (
        text("symbol", "symbol"),
        text("score", "efficiency_score", right=True),
        text("confidence", "confidence", right=True),
        age("age", "age_s"),
        text("counts as", "counts_as", style=reason_style),
        text("governor", "governor_counts_as", drop=1, style=reason_style),
        text("problem", "problem", drop=2, fold=True),
        ttl("expires in", "ttl_s", drop=3),
        text("its producer says", producer_flags, drop=4, named="producer_flags"),
    ),
    fields=("ts", *AS_SENT),
    at="ts",
    filters={"reason": Filter("counts_as", tuple(EffReason))},
)


def rows(ctx: Context, store: Store, wanted: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row a score, by symbol, read as far as the caller goes on."""
    now = store.now_ms() / 1000
    in_force = InForce(ctx, store)
    rules, _ = in_force.of("allocation", AllocationRules)
    downsize, _ = in_force.of("governor", DownsizeRules)
    for symbol, found in targets.scores(store, wanted):
        yield _row(symbol, found, now, rules, downsize)


def _row(
    symbol: str, found: Found, now: float, rules: AllocationRules, downsize: DownsizeRules
) -> dict[str, Any]:
    """The JSON of a score: wire fields, what it counts as for each loop, and why not."""
    seen = assess(found.fields, now, rules.stale_sec, rules.min_conf)
    governor = assess(found.fields, now, downsize.eff_ttl_sec, downsize.min_conf)
    fields = found.readable
    return {
        "symbol": symbol,
        "efficiency_score": fields.get("efficiency_score", ""),
        "confidence": fields.get("confidence", ""),
        "ts": score_time_text(fields, now),
        **{name: fields.get(name, "") for name in AS_SENT},
        "age_s": None if seen.age_sec is None else round(seen.age_sec, 3),
        "counts_as": seen.reason.value,
        "governor_counts_as": governor.reason.value,
        "problem": seen.problem,
        "ttl_s": -1 if found.ttl_sec is None else round(found.ttl_sec, 3),
    }
