"""Leaves passwords out of text that is handed to others."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from html import escape
from urllib.parse import parse_qsl, quote, unquote

from qtctl.cli.framework.context import Context
from qtctl.cli.output.render import to_json
from qtctl.errors import ConfigError

Mask = Callable[[str], str]
LEAST_SECRET = 6
"""Shorter passwords are words that stand in many places."""
_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s:@/\"\\]*:)[^\s@\"]+@")


def mask_logins(text: str) -> str:
    """The same without the password of any URL in it."""
    return _LOGIN.sub(r"\1***@", text)


def masking(ctx: Context) -> Mask:
    """What leaves out the passwords of URLs, and the one for Redis wherever it comes from."""
    secrets = _forms(_passwords(ctx))

    def mask(text: str) -> str:
        text = mask_logins(text)
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return mask


def _passwords(ctx: Context) -> Iterator[str]:
    with suppress(ConfigError):
        password, url = ctx.loaded.password, ctx.settings.redis.url
        for login in re.findall(r"://[^:/@]*:([^@]*)@", url):
            yield from (login, unquote(login))
        yield from (value for name, value in parse_qsl(url.partition("?")[2]) if "pass" in name)
        if password is not None:
            yield password.read()


def _forms(passwords: Iterable[str]) -> list[str]:
    """How passwords would stand in JSON (as they are, escaped), in a URL, and in HTML."""
    found = {
        form
        for password in passwords
        if len(password) >= LEAST_SECRET
        for form in (password, to_json(password)[1:-1], quote(password, safe=""), escape(password))
    }
    return sorted(found, key=len, reverse=True)
