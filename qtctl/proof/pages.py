"""A service's health port, read from outside."""

import http.client
import re
from collections.abc import Mapping

import msgspec

TIMEOUT_SEC = 2.0
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Page(msgspec.Struct, frozen=True):
    """An answer: status 0 where there was none, and body then says why."""

    status: int
    body: str


Series = tuple[str, frozenset[tuple[str, str]]]


def get(address: str, path: str) -> Page:
    """GET http://address/path; never raises."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) == 0:
        return Page(0, f"no metrics port is known ({address or 'no record of the service'})")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=TIMEOUT_SEC)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Page(answer.status, answer.read().decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as problem:
        return Page(0, f"http://{address}{path}: {problem or type(problem).__name__}")
    finally:
        connection.close()


def samples(page: str) -> dict[Series, float]:
    """The samples of a /metrics page by name and labels."""
    found: dict[Series, float] = {}
    for line in page.splitlines():
        match = _SAMPLE.fullmatch(line.strip())
        if match is not None:
            labels = frozenset(_LABEL.findall(match[2] or ""))
            found[(match[1], labels)] = float(match[3])
    return found


def total(found: Mapping[Series, float], name: str, **labels: str) -> float | None:
    """The sum of a metric's samples with these labels, None where there is none."""
    wanted = set(labels.items())
    values = [value for (n, have), value in found.items() if n == name and wanted <= have]
    return sum(values) if values else None
