"""What must hold between settings; each alone has been checked before.

Source: section 5 of the specification ("impossible values", "the same hash tag").
"""

from collections.abc import Callable, Mapping

from qtctl.errors import ConfigError
from qtctl.settings.model import STREAMS, Governor, Settings
from qtctl.settings.nodes import CLUSTER
from qtctl.settings.urls import hash_tag, scheme_of
from qtctl.settings.values import shown

Told = Callable[[str], str]
"""A setting with value and origin: `allocation.min_mult = 2.0 (environment P31_MIN_MULT)`."""


def check(settings: Settings, origins: Mapping[str, str], service: str | None) -> None:
    """Errors: ConfigError naming the settings, where each comes from, and its value."""

    def told(path: str) -> str:
        section, _, key = path.partition(".")
        value = getattr(getattr(settings, section), key)
        return f"{path} = {shown(value)} ({origins[path]})"

    if settings.redis.tls_key_file and not settings.redis.tls_cert_file:
        raise ConfigError(f"{told('redis.tls_key_file')} is the key of no redis.tls_cert_file")
    _check_multipliers(settings, told)
    _check_actions(settings, told)
    _check_kill_keys(settings, told)
    _check_streams(settings, told)
    if service == "all":
        _check_ports(settings, told)
    if scheme_of(settings.redis.url) == CLUSTER:
        _check_hash_tags(settings, told)


def _check_multipliers(settings: Settings, told: Told) -> None:
    if settings.allocation.min_mult > settings.allocation.max_mult:
        raise ConfigError(f"{told('allocation.min_mult')} is over {told('allocation.max_mult')}")


def _check_actions(settings: Settings, told: Told) -> None:
    both = set(settings.governor.open_actions) & set(settings.governor.close_actions)
    if both:
        raise ConfigError(
            f"an action can't open and close: {', '.join(sorted(both))} is in "
            f"{told('governor.open_actions')} and in {told('governor.close_actions')}"
        )


def _check_kill_keys(settings: Settings, told: Told) -> None:
    for name in settings.governor.kill_keys:
        # It would be looked for under the prefix twice, and never be found set. The usual names
        # are meant as they stand, also under a prefix like `governor:`.
        if name not in Governor().kill_keys and name.startswith(settings.redis.prefix):
            raise ConfigError(
                f"{told('governor.kill_keys')}: {name} begins with redis.prefix, which is put "
                "before it anyway; leave it out"
            )


def _check_streams(settings: Settings, told: Told) -> None:
    seen: dict[str, str] = {}
    for section, key in STREAMS:
        path, name = f"{section}.{key}", getattr(getattr(settings, section), key)
        # A service that wrote where it reads would feed on its own output.
        if name in seen:
            raise ConfigError(f"{told(path)} is the same stream as {told(seen[name])}")
        seen[name] = path


def _check_ports(settings: Settings, told: Told) -> None:
    if settings.allocation.metrics_port == settings.governor.metrics_port != 0:
        raise ConfigError(
            f"serve all needs two ports: {told('allocation.metrics_port')} is also "
            f"{told('governor.metrics_port')}"
        )


def _check_hash_tags(settings: Settings, told: Told) -> None:
    tag = hash_tag(settings.redis.prefix)
    if not tag:
        raise ConfigError(
            f"{told('redis.prefix')} has no hash tag: on a cluster all keys must share a slot, "
            "as under {quantum}:"
        )
    for section, key in STREAMS:
        if hash_tag(getattr(getattr(settings, section), key)) != tag:
            raise ConfigError(
                f"{told(f'{section}.{key}')} must carry the hash tag {{{tag}}} of "
                f"{told('redis.prefix')} on a cluster"
            )
