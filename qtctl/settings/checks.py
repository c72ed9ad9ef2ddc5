"""The settings against each other; each value alone has been checked by its source."""

from collections.abc import Callable, Iterator, Mapping

from qtctl.errors import ConfigError
from qtctl.settings.catalog import by_path, shown, streams
from qtctl.settings.model import Governor, Settings
from qtctl.settings.urls import CLUSTER, hash_tag, scheme_of


def check(settings: Settings, origins: Mapping[str, str], service: str | None) -> None:
    """The settings against each other. Errors: ConfigError with their values and origins."""

    def described(path: str) -> str:
        return f"{path} = {shown(by_path()[path].of(settings))} ({origins[path]})"

    for problem in _conflicts(settings, service, described):
        raise ConfigError(problem)


def _conflicts(
    settings: Settings, service: str | None, described: Callable[[str], str]
) -> Iterator[str]:
    redis, allocation, governor = settings.redis, settings.allocation, settings.governor
    if redis.tls_key_file and not redis.tls_cert_file:
        yield f"{described('redis.tls_key_file')} needs redis.tls_cert_file as well"
    if allocation.min_mult > allocation.max_mult:
        yield f"{described('allocation.min_mult')} is over {described('allocation.max_mult')}"
    opening = {action.upper() for action in governor.open_actions}
    both = opening & {action.upper() for action in governor.close_actions}
    if both:
        yield (
            f"an action can't open and close: {', '.join(sorted(both))} is in "
            f"{described('governor.open_actions')} and in {described('governor.close_actions')}"
        )
    usual = (*Governor().kill_keys, *Governor().halt_keys)
    for key in ("kill_keys", "halt_keys"):
        for name in getattr(governor, key):
            # It would be looked for under the prefix twice, and never be found set. The usual names
            # are meant as they stand, also under a prefix like `governor:`.
            if name not in usual and name.startswith(redis.prefix):
                yield (
                    f"{described(f'governor.{key}')}: {name} begins with redis.prefix, which is "
                    "added anyway; leave it out"
                )
    names = {path: by_path()[path].of(settings) for path in streams()}
    seen: dict[str, str] = {}
    for path, name in names.items():
        # A service that wrote where it reads would feed on its own output.
        if name in seen:
            yield f"{described(path)} is the same stream as {described(seen[name])}"
        seen[name] = path
    if service == "all" and allocation.metrics_port == governor.metrics_port != 0:
        yield (
            f"serve all needs two ports: {described('allocation.metrics_port')} is also "
            f"{described('governor.metrics_port')}"
        )
    if scheme_of(redis.url) != CLUSTER:
        return
    tag = hash_tag(redis.prefix)
    if not tag:
        why = "on a cluster all keys must share a slot, as under {quantum}:"
        yield f"{described('redis.prefix')} has no hash tag: {why}"
    for path, name in names.items():
        if hash_tag(name) != tag:
            of_prefix = f"hash tag {{{tag}}} of {described('redis.prefix')}"
            yield f"{described(path)} must carry the {of_prefix} on a cluster"
