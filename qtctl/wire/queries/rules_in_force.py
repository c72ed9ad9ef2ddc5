"""The limits in force: those of the running service where there is one, since a shell lacks its
environment; else those of this shell.

Source: section 5 of the specification, last but three paragraph.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from qtctl.domain.allocation import AllocationRules
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.domain.plans import PlanRules
from qtctl.settings import Settings
from qtctl.wire.client.store import Store
from qtctl.wire.queries.services import ServiceRecord, running

T = TypeVar("T", bound=msgspec.Struct)


def governor_limits(store: Store, settings: Settings) -> tuple[Limits, str]:
    """What the gates compare with now, and source."""
    return _of(store, "governor", settings, Limits)


def plan_rules(store: Store, settings: Settings) -> tuple[PlanRules, str]:
    """How plans are read now, and source."""
    return _of(store, "governor", settings, PlanRules)


def downsize_rules(store: Store, settings: Settings) -> tuple[DownsizeRules, str]:
    """What the downsize hint goes by now, and source."""
    return _of(store, "governor", settings, DownsizeRules)


def allocation_rules(store: Store, settings: Settings) -> tuple[AllocationRules, str]:
    """What the allocation formula goes by now, and source."""
    return _of(store, "allocation", settings, AllocationRules)


def of_running(
    alive: Sequence[ServiceRecord], service: str, settings: Settings, shape: type[T]
) -> tuple[T, str]:
    """Any settings of a service by the fields of `shape`, and source; alive as in `running`."""
    # Where several have a record, the one that passed last: another may have ended just now.
    latest = sorted(alive, key=lambda it: (-it.last_pass_at, -it.started_at))
    for each in latest:
        found = _picked(each.settings, shape)
        if found is not None:
            return found, f"of the running {service} ({each.name}, {each.version})"
    section = msgspec.structs.asdict(getattr(settings, service))
    own = _picked(section, shape)
    assert own is not None, "the settings of a section have all the limits"
    return own, f"of this shell's settings (no {service} runs on this Redis)"


def _of(store: Store, service: str, settings: Settings, shape: type[T]) -> tuple[T, str]:
    return of_running(running(store, service), service, settings, shape)


def _picked(values: dict[str, Any], shape: type[T]) -> T | None:
    wanted = {name: values[name] for name in shape.__struct_fields__ if name in values}
    if len(wanted) != len(shape.__struct_fields__):
        return None
    try:
        return msgspec.convert(wanted, shape)
    except msgspec.ValidationError:
        return None
