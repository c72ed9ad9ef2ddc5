"""The governor's settings in the shapes of the domain and the wire."""

import hashlib

from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.domain.plans import PlanRules
from qtctl.services.judge import Rules
from qtctl.settings import Governor as GovernorSettings
from qtctl.wire.governor.commit import CommitSettings
from qtctl.wire.schema.decision import limits_json
from qtctl.wire.schema.keys import Keys


def rules_of(settings: GovernorSettings, keys: Keys, instance: str) -> Rules:
    """Everything that a plan is judged by, from the settings."""
    limits = Limits(
        max_plan_age_sec=settings.max_plan_age_sec,
        max_queue_age_sec=settings.max_queue_age_sec,
        kill_score_critical=settings.kill_score_critical,
        max_notional_per_trade_usd=settings.max_notional_per_trade_usd,
        symbol_cooldown_sec=settings.symbol_cooldown_sec,
        max_exec_per_5min=settings.max_exec_per_5min,
        max_exec_per_hour=settings.max_exec_per_hour,
        max_opens_per_5min_total=settings.max_opens_per_5min_total,
    )
    plans = PlanRules(
        frozenset(settings.open_actions),
        frozenset(settings.close_actions),
        frozenset(settings.require),
    )
    return Rules(
        plans=plans,
        limits=limits,
        downsize=DownsizeRules(
            settings.min_conf,
            settings.downsize_threshold,
            settings.min_factor,
            settings.max_extra_cooldown_sec,
            settings.eff_ttl_sec,
        ),
        commit=CommitSettings(
            limits,
            keys.kills(settings.kill_keys),
            settings.permit_encoding,
            settings.permit_ttl_sec,
            settings.stream_maxlen,
            f"governor:{instance}",
        ),
        limits_digest=hashlib.sha256(limits_json(limits, plans)).hexdigest()[:16],
        instance=instance,
    )
