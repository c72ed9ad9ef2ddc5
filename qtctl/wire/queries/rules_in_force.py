"""The limits in force, and where they come from: one order of preference for every command.

Those of the running service where there is one, since a shell lacks its environment; else those by
which its installed unit would start; else those of this shell.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from qtctl.domain.gates import OFF
from qtctl.settings import Settings
from qtctl.settings.rules import rules_from
from qtctl.wire.schema.service import ServiceRecord

T = TypeVar("T", bound=msgspec.Struct)
_BEFORE: dict[str, Any] = {**OFF, "halt_keys": ()}
"""What a record of a version before lacks: those gates were off, and all names were kill keys."""
Units = Sequence[tuple[str, Settings]]
"""The installed units that run a service, and the settings by which each would start."""


def in_force(
    running: Sequence[ServiceRecord] | None,
    service: str,
    settings: Settings,
    shape: type[T],
    units: Units = (),
) -> tuple[T, str]:
    """Settings of a service by the fields of `shape`, and their source in words. running: its
    records, None where they can't be read; settings: of this shell."""
    # Where several have a record, the one that passed last: another may have ended just now.
    latest = sorted(running or (), key=lambda it: (-it.last_pass_at, -it.started_at))
    for each in latest:
        with contextlib.suppress(msgspec.ValidationError):
            rules = rules_from(_BEFORE | each.settings, shape)
            return rules, f"the running {service} {each.name} {each.version}"
    why = ""
    if running is not None:
        lacks = f"the record of the running {service} lacks them"
        why = f", as {lacks if running else f'no {service} runs'}"
    installed = ((f"the installed {unit}", theirs) for unit, theirs in units)
    place, theirs = next(installed, ("this shell's settings", settings))
    return rules_from(getattr(theirs, service), shape), place + why
