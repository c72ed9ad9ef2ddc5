"""Command lines that work as they are printed: on the same Redis, by the same settings.

A password is never part of one. Where it is in a file or a variable, the shell reads it from there;
where it is in the URL, the command asks for it.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from qtctl.settings import Loaded, Redis, contexts, nodes_of
from qtctl.settings.secrets import PASSWORD
from qtctl.settings.urls import has_password, mask_text, mask_url, url_problem, without_password

_LOCAL = ("127.0.0.1", "localhost", "::1")


class CommandLines(msgspec.Struct, frozen=True):
    """How to call the two programs from the shell that asked: qtctl with the options that it was
    called with, redis-cli for the same server and database."""

    own: str = "qtctl"
    cli: str = "redis-cli"
    host: str | None = None
    """As `own`, for `qtctl serve`, where that takes other options."""

    def qtctl(self, *words: str) -> str:
        """`qtctl --config … group list`."""
        return joined(self.own, words)

    def serve(self, *words: str) -> str:
        """`qtctl --redis-url … serve governor`: a service takes no context."""
        return joined(self.own if self.host is None else self.host, ("serve", *words))

    def redis(self, *words: str) -> str:
        """`redis-cli -u … xtrim KEY …`."""
        return joined(self.cli, words)


def joined(program: str, words: Sequence[str]) -> str:
    """A program's call (words of the shell already) and further words, quoted."""
    return " ".join([program, *(shlex.quote(word) for word in words)])


def is_local(url: str) -> bool:
    """True if the server of a URL is on this host."""
    nodes = nodes_of(url)
    if nodes is not None:
        return any(host in _LOCAL for host, _ in nodes.nodes)
    parts = urlsplit(url)
    return parts.scheme == "unix" or parts.hostname in _LOCAL


def is_usual(url: str) -> bool:
    """True if the unit of a Redis on this host is likely to be that server: on another port than
    the usual one is another server, and a restart would hit the wrong one."""
    if not is_local(url) or nodes_of(url) is not None:
        return is_local(url)
    parts = urlsplit(url)
    return parts.scheme == "unix" or parts.port in (None, 6379)


def words_of(
    loaded: Loaded,
    url: str,
    redis_url: str | None,
    config: str | None,
    sets: Sequence[str],
) -> CommandLines:
    """url: of the server that is asked; the rest: the options of this call."""
    context = None
    if loaded.context is not None and loaded.context_origin == contexts.FLAG:
        context = loaded.context.name
    own, host = own_words(redis_url, config, sets, context), None
    if loaded.context is not None:
        redis = loaded.settings.redis
        host = own_words(redis.url, config, [*sets, *_claims(redis)], None)
    return CommandLines(own, _redis_cli(loaded, url), host)


def _claims(redis: Redis) -> list[str]:
    """What a context says about its server beside the URL, as values of `--set`."""
    given = {name: value for name, value in msgspec.structs.asdict(redis).items() if name != "url"}
    return [
        f"redis.{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in given.items()
        if value != getattr(Redis(), name)
    ]


def own_words(
    redis_url: str | None, config: str | None, sets: Sequence[str], context: str | None
) -> str:
    """`qtctl` with the options of this call, for the shell; a password is left out, and masked
    where the option is not what it should be. context: of `--context`; that of the environment is
    in the shell anyway."""
    own = ["qtctl"]
    if config is not None:
        own += ["--config", mask_text(config)]
    if context is not None:
        own += ["--context", mask_text(context)]
    if redis_url is not None:
        own += ["--redis-url", _repeatable(redis_url)]
    for assignment in sets:
        value = assignment.partition("=")[2] or assignment
        # Quoted, as for TOML.
        if _repeatable(value.strip().strip("\"'")) in value:
            own += ["--set", assignment]
    return " ".join(map(shlex.quote, own))


def _repeatable(url: str) -> str:
    """What was typed as a URL, without its password."""
    if "@" not in url and "?" not in url:
        return url
    if url_problem(url) is not None:
        return mask_url(url)
    known = without_password(url)
    query = known.partition("?")[2]
    options = f"redis://h?{query}"
    return known if not query or mask_url(options) == options else mask_url(known)


def _redis_cli(loaded: Loaded, url: str) -> str:
    redis, nodes = loaded.settings.redis, nodes_of(url)
    if nodes is not None:
        url = nodes.asked(*nodes.nodes[0])  # Nobody answered: so one of those that were asked.
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    words = ["redis-cli", *_place(parts.scheme, url, options)]
    user = unquote(parts.username or options.get("username", "")) or redis.username
    if user:
        words += ["--user", user]
    if parts.scheme == "rediss":
        words += _tls(redis)
    line = " ".join(map(shlex.quote, words))
    if has_password(url):
        return f"{line} --askpass"
    return f"{_password(loaded, redis)}{line}"


def _place(scheme: str, url: str, options: dict[str, str]) -> list[str]:
    """Which server, and which of its databases."""
    parts = urlsplit(url)
    if scheme == "unix":
        number = options.get("db", "0")
        return ["-s", unquote(parts.path), *(["-n", number] if number != "0" else [])]
    number = options.get("db", parts.path.strip("/")) or "0"
    words = ["--tls"] if scheme == "rediss" else []
    # redis-cli's own default; a certificate may be for the name alone.
    if parts.hostname not in ("127.0.0.1", "localhost") or scheme == "rediss":
        words += ["-h", parts.hostname or ""]
    if (parts.port or 6379) != 6379:
        words += ["-p", str(parts.port)]
    return [*words, *(["-n", number] if number != "0" else [])]


def _tls(redis: Redis) -> list[str]:
    words = []
    for option, path in (
        ("--cacert", redis.tls_ca_file),
        ("--cert", redis.tls_cert_file),
        ("--key", redis.tls_key_file or redis.tls_cert_file),
    ):
        words += [option, path] if path else []
    return [*words, *([] if redis.tls_check_hostname else ["--insecure"])]


def _password(loaded: Loaded, redis: Redis) -> str:
    """The beginning of a line in which the shell fetches it from where it is."""
    if loaded.password is None:
        return ""
    if loaded.password.origin == f"environment {PASSWORD}":
        return f'REDISCLI_AUTH="${PASSWORD}" '
    if redis.password_file and redis.password_file in loaded.password.origin:
        return f'REDISCLI_AUTH="$(cat {shlex.quote(str(Path(redis.password_file)))})" '
    return 'REDISCLI_AUTH="$(cat "$CREDENTIALS_DIRECTORY/redis-password")" '
