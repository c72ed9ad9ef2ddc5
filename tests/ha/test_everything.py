"""Both loops, every command and the proofs, on a real Sentinel and a real cluster."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from qtctl.settings import display_url
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, PERMIT, PROPOSED
from tests.ha.services import serving
from tests.support import plans
from tests.support.cli import Cli
from tests.support.nodes import Nodes, cluster, sentinels
from tests.support.processes import qtctl, until

LOOKS = (
    "status", "target list", "target list BTCUSDT", "eff list", "permit list", "permit show p2",
    "plan list", "plan show p1", "plan explain p2", "tail proposed", "tail plans", "tail events",
    "tail rejected", "plan list --what-if max_exec_per_hour=5", "why BTCUSDT", "why ETHUSDT",
    "group list", "stream list", "config show", "completion answer zsh plan show p",
)  # fmt: skip
ACTS = (
    "permit take p2", "inject eff SOLUSDT 0.2", "inject target SOLUSDT 500",
    "inject plan SOLUSDT --wait 5",
    "halt SOLUSDT --reason test", "resume SOLUSDT --reason test --yes", "halt --reason test",
    "resume --reason test --yes", "group recover", "group prune governor",
    "inject clear",
)  # fmt: skip


@pytest.mark.parametrize("make", [sentinels, cluster])
def test_both_loops_every_command_and_the_proofs(
    make: Callable[[], AbstractContextManager[Nodes]], capsys: pytest.CaptureFixture[str]
) -> None:
    with make() as nodes, serving(nodes) as services:
        store = Store(nodes.url, nodes.keys)
        send(store, plan_id="p1", kill_score="0.9")
        send(store, plan_id="p2")
        send(store, plan_id="bad", decision=None)
        keys = nodes.keys
        until(lambda: store.run("EXISTS", keys.at(PERMIT, "p2")), what="a permit")
        until(lambda: store.run("EXISTS", keys.at(DECISION, "p1")), what="a block")
        until(lambda: store.run("EXISTS", keys.at(PROPOSED, "BTCUSDT")), what="a proposal")
        until(lambda: store.run("XLEN", keys.rejected), what="the rejected plan")
        run = Cli(nodes.url, capsys)
        prefix = ("--set", f"redis.prefix={nodes.prefix}")
        for line in (*LOOKS, *ACTS):
            said = run(*line.split(), *prefix)
            assert said.code == 0, (line, said)
        found = run("doctor", "-o", "json", *prefix)
        wrong = [each for each in found.json if each["level"] in ("wrong", "unknown")]
        assert wrong == [], wrong
        primary = f"127.0.0.1:{nodes.primary().port}"
        assert run("status", "-o", "json", *prefix).json["redis"]["primary"] == primary
        assert display_url(nodes.url) in run("halt", "--dry-run", *prefix).err
        store.close()
        with qtctl("proof", "all", "--live", "--yes", "-o", "json", *nodes.options) as proof:
            assert proof.wait(60) == 0, proof
            assert json.loads(proof.stdout)["passed"] == 12
        assert services.code is None


def send(store: Store, **changes: str | None) -> str:
    """A plan, as upstream sends it; the id of its entry."""
    flat = [part for pair in plans.fields(**changes).items() for part in pair]
    return str(store.run("XADD", store.keys.plans, "*", *flat).decode())
