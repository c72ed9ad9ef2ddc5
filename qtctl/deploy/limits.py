"""The limits that keep risk down, and what would loosen one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qtctl.domain.gates import GATES
from qtctl.settings import Loaded
from qtctl.settings.catalog import by_path, fields, plain
from qtctl.settings.urls import has_password

UP, DOWN, MORE, FEWER = "up", "down", "more", "fewer"
"""Which change of a limit raises risk: a higher number, a lower one, names added, names removed."""


@dataclass(frozen=True)
class Limit:
    """A setting that limits risk. zero_is_off: 0 is the loosest value."""

    path: str
    riskier: str
    zero_is_off: bool = False

    @property
    def shown(self) -> str:
        """`max_exec_per_hour`; with its section where two sections have the key."""
        key = self.path.partition(".")[2]
        return key if sum(path.endswith(f".{key}") for path in by_path()) == 1 else self.path

    def loosened(self, before: Any, after: Any) -> bool:
        """True if the change raises risk."""
        if self.riskier == MORE:
            return bool(set(after) - set(before))
        if self.riskier == FEWER:
            return bool(set(before) - set(after))
        if self.zero_is_off and 0 in (before, after):
            return bool(before) and not after
        return bool(after > before if self.riskier == UP else after < before)

    def shows(self, value: Any) -> str:
        """A value in a line for people: `30`, `0 (off)`, `kill,governor:halt`."""
        if isinstance(value, list):
            return ",".join(value) or "none"
        if isinstance(value, bool):
            return plain(value)
        return f"{value:.10g}" + (" (off)" if self.zero_is_off and not value else "")


LIMITS = (
    *(
        Limit(f"governor.{name}", gate.riskier, gate.zero_is_off)
        for gate in GATES
        for name in gate.limits
    ),
    Limit("governor.permit_ttl_sec", UP),
    Limit("governor.kill_keys", FEWER),
    Limit("governor.halt_keys", FEWER),
    Limit("governor.require", FEWER),
    # What is no open passes the gates of opens by.
    Limit("governor.open_actions", FEWER),
    Limit("governor.close_actions", MORE),
    # The hint makes positions smaller and never larger: less of it is more risk.
    Limit("governor.min_conf", UP),
    Limit("governor.eff_ttl_sec", DOWN),
    Limit("governor.downsize_threshold", DOWN),
    Limit("governor.min_factor", UP),
    Limit("governor.max_extra_cooldown_sec", DOWN),
    Limit("safety.allow_eviction", UP),
    Limit("safety.start_halted", DOWN),
    # Proposals, which are in shadow: larger ones, or on weaker ground.
    Limit("allocation.max_mult", UP),
    Limit("allocation.min_mult", UP),
    Limit("allocation.base", UP),
    Limit("allocation.scale", UP),
    Limit("allocation.min_conf", DOWN),
    Limit("allocation.stale_sec", UP),
)


@dataclass(frozen=True)
class Risk:
    """One limit that would be loosened; values as people read them."""

    limit: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"RAISES RISK: {self.limit} {self.before} → {self.after}"

    @property
    def answer(self) -> str:
        """What accepts it on a command line: `max_exec_per_hour=30`."""
        return f"{self.limit}={self.after.partition(' (')[0]}"


ByService = Mapping[str, Loaded]
"""The settings of each service, `allocation` and `governor`."""


def limits_of(loaded: ByService) -> dict[str, Any]:
    """The value of each limit by its path, in types that JSON has."""
    found = {}
    for limit in LIMITS:
        service = "allocation" if limit.path.startswith("allocation.") else "governor"
        value = by_path()[limit.path].of(loaded[service].settings)
        found[limit.path] = list(value) if isinstance(value, tuple) else value
    return found


def risks(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Risk]:
    """Every limit (of `limits_of`) that is looser in `after`."""
    for limit in LIMITS:
        if limit.path not in before or limit.path not in after:
            continue
        was, will_be = before[limit.path], after[limit.path]
        if limit.loosened(was, will_be):
            yield Risk(limit.shown, limit.shows(was), limit.shows(will_be))


def changed(before: ByService, after: ByService) -> Iterator[str]:
    """Every setting that changes for a service: `redis.url A → B (governor)`."""
    found: dict[str, list[str]] = {}
    for service in before:
        for field in fields():
            if field.section in ("allocation", "governor") and field.section != service:
                continue
            was, will_be = (field.of(each[service].settings) for each in (before, after))
            if was != will_be:
                line = f"{field.path} {plain(was) or 'empty'} → {plain(will_be) or 'empty'}"
                found.setdefault(line, []).append(service)
        had, has = (_password(loaded[service]) for loaded in (before, after))
        if had != has:
            found.setdefault(f"redis password: {had} → {has}", []).append(service)
    for line, services in found.items():
        shared = line.partition(".")[0] not in ("allocation", "governor")
        yield f"{line} ({' and '.join(services)})" if shared else line


def _password(loaded: Loaded) -> str:
    """Where the password is, but for the one that systemd would bring."""
    if has_password(loaded.settings.redis.url):
        return "in redis.url"
    return "none" if loaded.password is None else loaded.password.origin
