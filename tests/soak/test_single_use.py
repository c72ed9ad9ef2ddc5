"""A permit is used once: whoever asks, in whatever way, however often, and also when the answer
gets lost on its way."""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from qtctl.wire.client.scripts import source
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.private_server.folder import SOCKET
from tests.services.helpers import governor
from tests.soak.stage import ROOT
from tests.support.cli import Cli
from tests.support.plans import fields, permit
from tests.support.proxy import AFTER, BEFORE, MUTE, RESET, Fault, Proxy

CLOSE = {"action": "FULL_CLOSE_PROPOSED", "reduceOnly": "true"}


def issue(store: Store, count: int, encoding: str = "json") -> None:
    """So many permits by the real governor, plans single-0, single-1, …"""
    plans = [fields(plan_id=f"single-{n}", symbol=f"S{n % 50}", **CLOSE) for n in range(count)]
    flat = [[part for pair in plan.items() for part in pair] for plan in plans]
    store.batch([("XADD", store.keys.plans, "*", *each) for each in flat])
    service = governor(store, permit_ttl_sec=3_600, permit_encoding=encoding)
    service.open()
    assert service.once()
    service.close()
    assert store.run("ZCARD", store.keys.permits) == count


def taken_by(store: Store, kinds: list[str], count: int, folder: Path) -> list[list[str]]:
    """What each taker got; they begin together, and each two of them go the same way."""
    takers = []
    for number, kind in enumerate(kinds):
        command = [sys.executable, "-m", "tests.soak.taker", kind, store.url, str(number // 2)]
        takers.append(
            subprocess.Popen(
                [*command, str(count), str(folder / str(number))],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
    try:
        for taker in takers:
            assert taker.stdout is not None
            assert taker.stdout.readline() == b"ready\n"
        for taker in takers:
            assert taker.stdin is not None
            taker.stdin.write(b"go\n")
            taker.stdin.flush()
        assert [taker.wait(40) for taker in takers] == [0] * len(kinds)
    finally:
        for taker in takers:
            taker.kill()
            taker.communicate()
    return [(folder / str(n)).read_text().splitlines() for n in range(len(kinds))]


@pytest.mark.parametrize(
    ("encoding", "count", "kinds"),
    [
        # Order by order: both ways of taking against each other, and each against itself.
        ("json", 10_000, ["permit_take", "apply", "apply", "apply", "permit_take", "permit_take"]),
        ("hash", 1_000, ["permit_take"] * 4),
    ],
)
def test_many_takers_get_every_permit_exactly_once(
    store: Store, tmp_path: Path, encoding: str, count: int, kinds: list[str]
) -> None:
    issue(store, count, encoding)
    got = taken_by(store, kinds, count, tmp_path)
    times = Counter(plan_id for each in got for plan_id in each)
    assert set(times) == {f"single-{n}" for n in range(count)}, "some permits nobody got"
    assert set(times.values()) == {1}, [id_ for id_, n in times.items() if n > 1][:5]
    assert sum(1 for each in got if each) > 1, "one taker got them all: nobody contended"


@pytest.mark.parametrize("kind", [AFTER, RESET, MUTE])
def test_permit_take_after_a_lost_answer_never_hands_it_out_again(
    server: Embedded, store: Store, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    issue(store, 1)
    store.run("SCRIPT", "LOAD", source("take_permit"))
    take = ("permit", "take", "single-0", "-o", "json", "--set", "redis.timeout_sec=0.3")
    with Proxy(server.directory / SOCKET, Fault(kind, name="EVALSHA")) as proxy:
        cut = Cli(proxy.url, capsys)(*take)
        assert proxy.fired
        assert (cut.code, cut.out) == (3, ""), cut
        assert permit(store, "single-0") is None, "the command was carried out"
        for way in (proxy.url, server.url):
            again = Cli(way, capsys)(*take)
            assert (again.code, again.out) == (1, ""), again
            assert "taken or expired" in again.err, again


def test_a_take_that_never_arrived_leaves_the_permit_to_the_next(
    server: Embedded, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    issue(store, 1)
    with Proxy(server.directory / SOCKET, Fault(BEFORE, name="EVALSHA")) as proxy:
        assert Cli(proxy.url, capsys)("permit", "take", "single-0").code == 3
        assert permit(store, "single-0") is not None
        assert Cli(proxy.url, capsys)("permit", "take", "single-0").code == 0
        assert Cli(proxy.url, capsys)("permit", "take", "single-0").code == 1


def test_a_plan_whose_permit_was_taken_gets_no_other(store: Store, tmp_path: Path) -> None:
    count = 500
    issue(store, count)
    taken_by(store, ["permit_take", "apply"], count, tmp_path)
    again = [fields(plan_id=f"single-{n}", symbol=f"S{n % 50}", **CLOSE) for n in range(count)]
    random.Random(1).shuffle(again)
    store.batch(
        [("XADD", store.keys.plans, "*", *(p for pair in e.items() for p in pair)) for e in again]
    )
    service = governor(store)
    service.open()
    assert service.once()
    service.close()
    assert [id_ for id_ in range(count) if permit(store, f"single-{id_}") is not None] == []
