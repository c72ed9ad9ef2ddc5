"""The rules that decisions and passes were taken by, and the same with other settings."""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from qtctl.domain.allocation import AllocationRules
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.errors import UsageError
from qtctl.history.reader import History

T = TypeVar("T", bound=msgspec.Struct)
Changes = Mapping[str, Any]
"""Other values by the path of the setting, `governor.min_conf`."""

SECTIONS = ("governor", "allocation")
"""Those that a replay is about."""
GOVERNOR_KEYS = (*Limits.__struct_fields__, *DownsizeRules.__struct_fields__)
ALLOCATION_KEYS = AllocationRules.__struct_fields__
REPLAYED = tuple(
    [f"governor.{key}" for key in GOVERNOR_KEYS] + [f"allocation.{key}" for key in ALLOCATION_KEYS]
)
"""The settings that a replay can change: what gates, hints and the formula go by."""


class GovernorRules(msgspec.Struct, frozen=True):
    """What a governor judged by."""

    limits: Limits
    downsize: DownsizeRules


def changed(rules: T, section: str, changes: Changes) -> T:
    """The same rules, but for the changes that concern them. Errors: UsageError where the changed
    rules could not be in force."""
    wanted = {
        name: changes[f"{section}.{name}"]
        for name in rules.__struct_fields__
        if f"{section}.{name}" in changes
    }
    found = msgspec.structs.replace(rules, **wanted) if wanted else rules
    if isinstance(found, AllocationRules) and found.min_mult > found.max_mult:
        raise UsageError(
            f"allocation.min_mult {found.min_mult:g} would be over allocation.max_mult "
            f"{found.max_mult:g}: change both, or one by less"
        )
    return found


class RulesBook:
    """The rules in a history by their digest, each read once: governor, those of decisions, and
    allocation, those of passes. None where they are unknown or not whole."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.governor = cache(self._governor)
        self.allocation = cache(history.rules)

    def _governor(self, digest: str) -> GovernorRules | None:
        limits, raw = self._history.limits(digest), self._history.document("limits", digest)
        if limits is None or raw is None:
            return None
        found = msgspec.json.decode(raw, type=dict[str, Any])
        try:
            wanted = {name: found[name] for name in DownsizeRules.__struct_fields__}
            return GovernorRules(limits, msgspec.convert(wanted, DownsizeRules))
        except (KeyError, msgspec.ValidationError):
            return None
