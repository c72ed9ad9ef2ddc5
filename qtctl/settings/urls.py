"""Redis URLs: shown without their password, checked, taken apart and put together.

Besides URLs of one server there are two kinds that name several nodes:
`redis+sentinel://user:password@host:port,…/service/db` and
`redis+cluster://user:password@host:port,…`. Their login is for the servers; sentinels have one of
their own in the options `sentinel_username` and `sentinel_password`.
"""

import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

import msgspec

SENTINEL, CLUSTER = "redis+sentinel", "redis+cluster"
_PORTS = {SENTINEL: 26379, CLUSTER: 6379}
_NODE = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]@/?#\s]+)(?::([0-9]{1,5}))?")
_OPTIONS = ("sentinel_username", "sentinel_password")
MASK = "***"
EMBEDDED = "embedded:"
_PASSWORDS = ("password", "sentinel_password")
_PLAIN = ("redis", "rediss")
_KNOWN = (*_PLAIN, "unix", SENTINEL, CLUSTER)
_USER = re.compile(r"[\w.%~+-]*")
"""A user name that can't be part of a password."""
_SHOWN_OPTIONS = (
    "db", "protocol", "username", "sentinel_username", "client_name", "socket_timeout",
    "socket_connect_timeout", "socket_keepalive", "health_check_interval", "max_connections",
    "timeout",
)  # fmt: skip
_PORT_6379 = re.compile(r":6379(?=[,/?#]|$)")
_LOGIN = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:/+)?[^\s\"'@:/()=]*:(?!//)[^\s@]+@[^\s\"')]*")
"""Something with `user:password@` in it."""
_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.%]*\]|[^:\[\]]*)(?::[0-9]*)?")
_QUOTED = "in a password, / ? # @ : are %2F %3F %23 %40 %3A"
_DB = re.compile(r"(/[0-9]*)?")


def mask_url(url: str) -> str:
    """A URL with `***` for its password: `redis://user:***@host:6379/0`.

    In any other text it hides too much rather than too little: all before the last `@` is a login;
    a name without a password, and a port that is not a number, may be a password.
    """
    head, login, place = _split(url)
    if not login:
        return head + place
    return f"{head}{_user(login) or ''}{':' if ':' in login else ''}{MASK}@{place}"


def mask_text(text: str) -> str:
    """Prose in which somebody may have typed a URL, or a login, where it does not belong."""
    return _LOGIN.sub(lambda found: mask_url(found[0]), text)


def display_url(url: str) -> str:
    """A URL for people, without password and default port: `redis://user@prod-1/0`."""
    head, login, place = _split(url)
    if scheme_of(url) in (*_PLAIN, CLUSTER):
        place = _PORT_6379.sub("", place)
    user = _user(login)
    return f"{head}{user}@{place}" if user else head + place


def has_password(url: str) -> bool:
    """True if a URL has a password of its own, in its login or in an option."""
    _, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    login = place.rpartition("@")[0] or query.rpartition("@")[0]
    options = (part.partition("=") for part in query.split("&"))
    return bool(login.partition(":")[2]) or any(
        unquote(name) in _PASSWORDS and value for name, _, value in options
    )


def without_password(url: str) -> str:
    """The same URL for a file that anybody may read."""
    head, mark, rest = url.partition("://")
    place, _, query = rest.partition("?")
    login, at, host = place.rpartition("@")
    user = login.partition(":")[0]
    named = [(unquote(part.partition("=")[0]), part) for part in query.split("&") if part]
    options = "&".join(part for name, part in named if name not in _PASSWORDS)
    return head + mark + (user and user + at) + host + (options and f"?{options}")


def scheme_of(url: str) -> str:
    """`redis`, `unix`, …; empty where there is none."""
    scheme, mark, _ = url.partition("://")
    return scheme if mark else ""


def url_problem(url: str) -> str | None:
    """Why a URL is invalid, without its password, or None."""
    if url == EMBEDDED:
        return None
    scheme = scheme_of(url)
    if scheme not in _KNOWN:
        return f"expected {', '.join(f'{known}://' for known in _KNOWN)} or {EMBEDDED}"
    try:
        nodes_of(url)
    except ValueError as problem:
        return str(problem)
    if scheme not in _PLAIN:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return f"its host or port can't be read ({_QUOTED})"
    if parts.fragment or "#" in url or "@" in parts.path:
        return f"a # or @ after its host ({_QUOTED})"
    if _DB.fullmatch(parts.path) is None:
        return "the database at its end is not a number"
    if any(unquote(part).startswith("ssl_") for part in parts.query.split("&")):
        return "its ssl_ options are settings here: tls_ca_file and others in [redis]"
    return None


def with_parts(url: str, *, host: str | None, port: int | None, db: int | None) -> str:
    """A redis:// or rediss:// URL, free of problems, with these parts replaced; its login and
    options stay. Errors: ValueError for another scheme, which has no such parts."""
    parts = urlsplit(url)
    if parts.scheme not in _PLAIN:
        raise ValueError(f"{parts.scheme}: has no host, port and database of its own")
    login, at, place = parts.netloc.rpartition("@")
    old = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]*))?", place)
    old_host, old_port = (old[1], old[2]) if old else (place, None)
    if host is not None:
        old_host = f"[{host}]" if ":" in host else host
    new_port = old_port if port is None else str(port)
    netloc = f"{login}{at}{old_host}" + (f":{new_port}" if new_port else "")
    if db is None:
        return urlunsplit(parts._replace(netloc=netloc))
    # redis-py lets ?db= beat the path.
    query = "&".join(part for part in parts.query.split("&") if not part.startswith("db="))
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{db}", query=query))


def database_of(url: str) -> int:
    """The database of the URL of one server."""
    parts = urlsplit(url)
    path = parts.path.strip("/") if parts.scheme in _PLAIN else ""
    # redis-py lets ?db= beat the path.
    number = dict(parse_qsl(parts.query)).get("db", path)
    return int(number) if number.isascii() and number.isdecimal() else 0


def with_database(url: str, number: int) -> str:
    """The same URL of one server for another database."""
    if scheme_of(url) in _PLAIN:
        return with_parts(url, host=None, port=None, db=number)
    place, _, query = url.partition("?")
    options = [part for part in query.split("&") if part and not part.startswith("db=")]
    return f"{place}?{'&'.join([*options, f'db={number}'])}"


def hash_tag(name: str) -> str:
    """The part of a key that Redis Cluster hashes; empty where that is the whole key."""
    _, brace, rest = name.partition("{")
    tag, closing, _ = rest.partition("}")
    return tag if brace and closing else ""


def _split(url: str) -> tuple[str, str, str]:
    """`redis://`, the login as it is, and the rest with nothing secret left in it."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    login, _, place = rest.rpartition("@")
    if "?" in login:
        # A login with a bare ? in it, or an option with an @: which part is secret is unknown.
        return scheme + mark, "", MASK
    where, question, query = place.partition("?")
    if mark and scheme != "unix":
        where = _masked_ports(where)
    options = "&".join(_masked_option(part) for part in query.split("&"))
    return scheme + mark, login, where + question + options


def _user(login: str) -> str | None:
    """The user name in `user:password`; None where it is unclear."""
    user, colon, _ = login.partition(":")
    return user if colon and _USER.fullmatch(user) else None


def _masked_ports(where: str) -> str:
    hosts, slash, _ = where.partition("/")
    nodes = hosts.split(",")
    if all(_HOST_PORT.fullmatch(node) for node in nodes):
        return where
    shown = [it if _HOST_PORT.fullmatch(it) else f"{it.partition(':')[0]}:{MASK}" for it in nodes]
    return ",".join(shown) + (slash and f"/{MASK}")


def _masked_option(part: str) -> str:
    name, equals, _ = part.partition("=")
    if not equals:
        return part and MASK
    # A name that is not known may be a misspelt password.
    return part if unquote(name) in _SHOWN_OPTIONS else f"{name}={MASK}"


class Nodes(msgspec.Struct, frozen=True):
    """The nodes to ask where the primary is. login: `user:password@` as in the URL, or empty;
    sentinel_login likewise; service and db are for Sentinel."""

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
    """The nodes of a Sentinel or Cluster URL; None for any other. Errors: ValueError with what is
    wrong with it, without its password."""
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
            raise ValueError("a cluster has no databases: nothing may follow its hosts")
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
        raise ValueError(f"unknown option; known: {', '.join(known) or 'none'}")
    user, password = (quote(options.get(name, ""), safe="") for name in _OPTIONS)
    return f"{user}:{password}@" if user or password else ""


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
