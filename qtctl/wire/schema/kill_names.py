"""Which names are read as the kill switch, and as which of its two kinds."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from qtctl.wire.schema.keys import HALT_KEPT


class KillNames(msgspec.Struct, frozen=True):
    """The settings of a governor that name its kill switch, without the prefix. A name in both
    lists is a halt key: a configuration from before has all of them in one."""

    kill_keys: tuple[str, ...]
    halt_keys: tuple[str, ...] = ()

    @property
    def kills(self) -> tuple[str, ...]:
        """The kill keys proper."""
        return tuple(name for name in dict.fromkeys(self.kill_keys) if name not in self.halts)

    @property
    def halts(self) -> tuple[str, ...]:
        """The halt keys; what a governor kept of a halt is always among them."""
        return tuple(dict.fromkeys((*self.halt_keys, HALT_KEPT.template)))

    @property
    def names(self) -> tuple[str, ...]:
        """All of them: the kill keys, then the halt keys."""
        return (*self.kills, *self.halts)


def names_of(settings: Mapping[str, Any]) -> KillNames | None:
    """Those in the record of a running governor (one of a version before has kill keys only); None
    where it lacks them."""
    try:
        return msgspec.convert({"halt_keys": ()} | dict(settings), KillNames)
    except msgspec.ValidationError:
        return None


def together(all_names: Iterable[KillNames]) -> KillNames:
    """What any of these read; a name that one of them reads as a kill key is one."""
    found = tuple(all_names)
    kills = tuple(dict.fromkeys(name for each in found for name in each.kills))
    halts = dict.fromkeys(name for each in found for name in each.halts)
    return KillNames(kills, tuple(name for name in halts if name not in kills))
