"""What a /metrics page says."""

import re
from collections.abc import Mapping

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


Series = tuple[str, frozenset[tuple[str, str]]]


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
