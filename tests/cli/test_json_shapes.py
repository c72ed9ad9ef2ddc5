"""The JSON of what reads Redis: every path in it, with the kinds of its values, as programs rely on
them. What changes on purpose is written anew with
`WRITE_SHAPES=1 pytest tests/cli/test_json_shapes.py`.
"""

import os
from collections.abc import Iterator

import pytest

from qtctl.wire.client.store import Store
from tests.cli.test_evidence_shapes import SHAPES, shape
from tests.services.helpers import allocation, governor, score, send, serve_all, target
from tests.support.cli import Cli
from tests.support.plans import fields

CALLS = (
    "tail proposed", "tail plans", "tail events", "tail rejected", "permit list", "permit show p1",
    "plan list", "plan show p1", "status", "stream list", "group list", "target list", "eff list",
    "why BTCUSDT", "halt --dry-run", "config show",
)  # fmt: skip
NULL = "null"


@pytest.fixture
def stage(store: Store) -> Iterator[None]:
    """A target, a score and both loops; a permit, a plan that was blocked, one not readable."""
    target(store, "BTCUSDT")
    score(store, "BTCUSDT", "0.2")
    loop = allocation(store)
    loop.open()
    loop.once()
    judge = governor(store)
    judge.open()
    for plan in (fields(), fields(plan_id="p2"), fields(plan_id="p3", kill_score="?")):
        send(store, plan)
    serve_all(judge)
    yield
    judge.close()
    loop.close()


@pytest.mark.parametrize("call", CALLS)
def test_every_path_has_its_kind(
    call: str, stage: None, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Cli(redis_url, capsys)(*call.split(), "-o", "json")
    assert said.code in (0, 1), said.err
    golden = SHAPES / f"{call.replace(' --dry-run', '').replace(' ', '-')}.txt"
    found = shape(said.json)
    if os.environ.get("WRITE_SHAPES"):
        golden.write_text(found)
    kinds, known = _kinds(found), _kinds(golden.read_text())
    assert kinds.keys() == known.keys()
    # A rate is null where a stream is too young for one.
    differ = {path for path in kinds if NULL not in (kinds[path], known[path])}
    assert {path: kinds[path] for path in differ} == {path: known[path] for path in differ}


def _kinds(lines: str) -> dict[str, str]:
    """Path to kinds."""
    return dict(line.split(" ", 1) for line in lines.splitlines())
