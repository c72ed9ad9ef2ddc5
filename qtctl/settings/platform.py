"""Variables that a platform puts into every process, and that happen to bear our names.

Container orchestrators announce each service they know to every process: for one called `redis`
REDIS_PORT=tcp://10.0.0.1:6379, REDIS_SERVICE_HOST, REDIS_PORT_6379_TCP_ADDR and more; likewise for
one called `qtctl`. No person writes values of that shape under such names, so they are recognised
by it and ignored. Everything else under our names is a setting, or an error.
"""

import re
from collections.abc import Mapping

_ADDRESS = r"(?:tcp|udp|sctp)://[0-9A-Za-z.:\[\]-]+:[0-9]{1,5}"
_HOST = r"[0-9A-Za-z.:-]+"
_NUMBER = r"[0-9]{1,5}"
_PORT = r".+_PORT_[0-9]{1,5}_(?:TCP|UDP|SCTP)"
_SHAPES = tuple(
    (re.compile(name), re.compile(value))
    for name, value in (
        (r".+_PORT", _ADDRESS),
        (_PORT, _ADDRESS),
        (f"{_PORT}_PROTO", "tcp|udp|sctp"),
        (f"{_PORT}_PORT", _NUMBER),
        (f"{_PORT}_ADDR", _HOST),
        (r".+_SERVICE_HOST", _HOST),
        (r".+_SERVICE_PORT(?:_[A-Z0-9_]+)?", _NUMBER),
        (r".+_NAME", r"/[\w.-]+/[\w.-]+"),
    )
)
_OF_LINKED = re.compile(r"(.+?)_ENV_.+")


def injected(values: Mapping[str, str]) -> set[str]:
    """The names of the variables that a platform has set."""
    found = {
        name
        for name, value in values.items()
        if any(n.fullmatch(name) and v.fullmatch(value) for n, v in _SHAPES)
    }
    # A linked container's own variables, under the alias that its port goes by.
    return found | {
        name
        for name in values
        if (linked := _OF_LINKED.fullmatch(name)) and f"{linked[1]}_PORT" in found
    }
