"""Who is behind a port: nobody, a service of qtctl, or another program."""

import http.client
import re
import socket

import msgspec

TIMEOUT_SEC = 1.5
_MOST_BYTES = 4_096
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}


class Answer(msgspec.Struct, frozen=True):
    """What /readyz says. who: `nobody`, `qtctl`, `other` or `silent` (it takes the connection and
    says nothing in time); text: its line, where it is ours."""

    who: str
    ready: bool = False
    text: str = ""


def address(metrics: str) -> tuple[str, int] | None:
    """Host and port of `host:port` (`[::1]:8044`); None where there is no port yet, or none that
    could be."""
    found = re.fullmatch(r"\[?([^\[\]/@\s]*?)\]?:([0-9]{1,5})", metrics, re.ASCII)
    if found is None or not 0 < int(found[2]) < 65_536:
        return None
    return found[1] or "127.0.0.1", int(found[2])


def is_here(host: str) -> bool:
    """Is it an address of this host. A record is data: nobody else is asked because it says so."""
    host = _WILDCARDS.get(host, host)
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        family, kind, _, _, place = found[0]
        with socket.socket(family, kind) as tried:
            tried.bind(place)
    except (OSError, UnicodeError):
        return host == "localhost"
    return True


def ask(host: str, port: int) -> Answer:
    """Asks /readyz. Never raises."""
    connection = http.client.HTTPConnection(_WILDCARDS.get(host, host), port, timeout=TIMEOUT_SEC)
    try:
        connection.request("GET", "/readyz")
        reply = connection.getresponse()
        text = reply.read(_MOST_BYTES).decode("utf-8", "replace").strip()
        if reply.getheader("Server", "") != "qtctl":
            return Answer("other")
        return Answer("qtctl", reply.status == 200, text.partition("\n")[0])
    except (TimeoutError, http.client.RemoteDisconnected):
        return Answer("silent")
    except (OSError, UnicodeError):
        return Answer("nobody")
    except http.client.HTTPException:
        return Answer("other")  # It speaks, and not HTTP.
    finally:
        connection.close()
