"""The suites by name, each on its own stage."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from qtctl.bench import (
    allocation,
    evidence,
    governor,
    governors,
    history,
    latency,
    memory,
    publishing,
    startup,
    trace,
)
from qtctl.bench.figures import Figure
from qtctl.bench.stage import Stage, stage

ON_A_SERVER: Mapping[str, Callable[[Stage, int], Iterator[Figure]]] = {
    "allocation": allocation.measure,
    "governor": governor.measure,
    "governors": governors.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "publishing": publishing.measure,
}
WITHOUT_A_SERVER: Mapping[str, Callable[[int], Iterator[Figure]]] = {
    "evidence": evidence.measure,
    "history": history.measure,
    "startup": startup.measure,
}


def figures(suites: Sequence[str], url: str | None, rounds: int) -> Iterator[Figure]:
    """Each figure as it is measured. url: of a server without keys of qtctl; None: a private
    one for each suite. Errors: RefusedError, RedisUnreachable."""
    for name in suites:
        if name in WITHOUT_A_SERVER:
            yield from WITHOUT_A_SERVER[name](rounds)
            continue
        with stage(url) as on:
            yield from ON_A_SERVER[name](on, rounds)


def trace_of(url: str | None) -> list[trace.Step]:
    """The steps of a plan alone, on the same servers. Errors: as above, and QtctlError."""
    with stage(url) as on:
        return trace.measure(on)
