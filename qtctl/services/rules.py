"""The governor's settings in the shapes of the domain and the wire."""

import hashlib

from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.domain.plans import PlanRules
from qtctl.services.judge import Rules
from qtctl.settings import Governor as GovernorSettings
from qtctl.settings.rules import rules_from
from qtctl.wire.governor.commit import CommitSettings
from qtctl.wire.schema.decision import limits_json
from qtctl.wire.schema.kill_names import KillNames


def rules_of(settings: GovernorSettings, instance: str) -> Rules:
    """Everything that a plan is judged by, from the settings."""
    limits, plans = rules_from(settings, Limits), rules_from(settings, PlanRules)
    downsize = rules_from(settings, DownsizeRules)
    record = limits_json(limits, plans, downsize)
    return Rules(
        plans=plans,
        limits=limits,
        downsize=downsize,
        commit=CommitSettings(
            limits=limits,
            names=rules_from(settings, KillNames),
            encoding=settings.permit_encoding,
            permit_ttl_sec=settings.permit_ttl_sec,
            events_maxlen=settings.stream_maxlen,
            instance=instance,
            downsize=downsize,
        ),
        limits_json=record,
        limits_digest=hashlib.sha256(record).hexdigest()[:16],
        instance=instance,
    )
