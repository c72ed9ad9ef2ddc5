"""URLs that name several nodes instead of a server: Sentinel and Cluster.

`redis+sentinel://user:password@host:port,…/service/db` and `redis+cluster://user:password@host:port,…`.
The login is for the servers; sentinels have one of their own in the options `sentinel_username` and
`sentinel_password`. Source: section 5 of the specification ("Redis URLs").
"""

import re
from urllib.parse import parse_qsl, quote, unquote

import msgspec

SENTINEL, CLUSTER = "redis+sentinel", "redis+cluster"
_PORTS = {SENTINEL: 26379, CLUSTER: 6379}
_NODE = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]@/?#\s]+)(?::([0-9]{1,5}))?")
_OPTIONS = ("sentinel_username", "sentinel_password")


class Nodes(msgspec.Struct, frozen=True):
    """Whom to ask where the primary is. login: `user:password@` as in the URL, perhaps empty;
    sentinel_login: likewise; service and db are Sentinel's."""

    scheme: str
    nodes: tuple[tuple[str, int], ...]
    login: str = ""
    sentinel_login: str = ""
    service: str = ""
    db: int = 0

    def url(self, host: str, port: int) -> str:
        """The plain URL of a server, with its login and database."""
        return f"redis://{self.login}{_bracketed(host)}:{port}/{self.db}"

    def asked(self, host: str, port: int) -> str:
        """The plain URL of a node that is asked: a sentinel, or a node of the cluster."""
        login = self.sentinel_login if self.scheme == SENTINEL else self.login
        return f"redis://{login}{_bracketed(host)}:{port}"


def nodes_of(url: str) -> Nodes | None:
    """What such a URL names; None for every other. Errors: ValueError saying what is wrong with
    it, in words without its password."""
    scheme, _, rest = url.partition("://")
    if scheme not in _PORTS:
        return None
    place, _, query = rest.partition("?")
    login, at, where = place.rpartition("@")
    hosts, _, path = where.partition("/")
    nodes = tuple(_node(part, _PORTS[scheme]) for part in hosts.split(","))
    if re.search(r"[/?#@]", login):
        raise ValueError("a / ? # or @ in its login (in a password they are %2F %3F %23 %40)")
    service, db = _path(scheme, path)
    return Nodes(scheme, nodes, login + at, _sentinel_login(scheme, query), service, db)


def _node(text: str, port: int) -> tuple[str, int]:
    found = _NODE.fullmatch(text)
    if found is None or int(found[2] or port) > 65_535:
        raise ValueError("its hosts are not host:port,host:port,…")
    return found[1].strip("[]"), int(found[2] or port)


def _path(scheme: str, path: str) -> tuple[str, int]:
    name, slash, db = path.rstrip("/").partition("/")
    if scheme == CLUSTER:
        if name not in ("", "0") or slash:
            raise ValueError("a cluster has no databases: nothing may stand behind its hosts")
        return "", 0
    if not name:
        raise ValueError("the name of the Sentinel service is missing: …host:port/SERVICE/DB")
    if not re.fullmatch(r"[0-9]{0,9}", db):
        raise ValueError("the database at its end is not a number")
    return unquote(name), int(db or 0)


def _sentinel_login(scheme: str, query: str) -> str:
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = _OPTIONS if scheme == SENTINEL else ()
    if any(name not in known for name in options):
        raise ValueError(f"an option that there is not; there are: {', '.join(known) or 'none'}")
    user, password = (quote(options.get(name, ""), safe="") for name in _OPTIONS)
    return f"{user}:{password}@" if user or password else ""


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
