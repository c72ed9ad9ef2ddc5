"""What an operator needs beside an error of Redis: where its URL comes from, who is logged in."""

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from qtctl.errors import NoPermissionError, QtctlError, RedisUnreachable

if TYPE_CHECKING:
    from qtctl.settings import Loaded


def explained(loaded: "Loaded", problem: Exception) -> QtctlError | None:
    """The same error with what helps; None where there is nothing to add."""
    text = str(problem).rstrip(".")
    if isinstance(problem, RedisUnreachable) and text.startswith("no Redis at"):
        return RedisUnreachable(f"{text}. {_url_hint(loaded)}")
    if isinstance(problem, NoPermissionError):
        return NoPermissionError(f"{text}. {_role_hint(loaded)}")
    return None


def _url_hint(loaded: "Loaded") -> str:
    origin = loaded.origins["redis.url"]
    if origin == "default":
        return "Where is it? Set QTCTL_REDIS_URL, or pass --redis-url"
    if origin.startswith("-"):
        return f"The URL comes from {origin}"
    other = "" if "QTCTL_REDIS_URL" in origin else "QTCTL_REDIS_URL or "
    return f"The URL comes from {origin}; {other}--redis-url names another"


def _role_hint(loaded: "Loaded") -> str:
    redis = loaded.settings.redis
    parts = urlsplit(redis.url)
    login = unquote(parts.netloc.rpartition("@")[0].partition(":")[0])
    by_option = parse_qs(parts.query).get("username", [""])[0]
    user = by_option or login or redis.username or "default"
    return (
        f"Logged in as the user {user}: looking takes the rights of the role viewer, changing "
        "something those of operator (etc/redis-acl.conf)"
    )
