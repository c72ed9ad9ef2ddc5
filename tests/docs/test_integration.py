"""The worked example of docs/integration.md, run as it stands there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qtctl.wire.client.store import Store
from tests.support.cli import hosting
from tests.support.processes import until

PAGE = Path(__file__).parents[2] / "docs" / "integration.md"


def code() -> dict[str, Any]:
    """What the page's Python defines."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec("\n".join(blocks), names)
    return names


def test_the_worked_example_prints_what_the_page_says(
    store: Store, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = code()
    with hosting(redis_url), hosting(redis_url, "allocation"):
        client = page["redis"].Redis.from_url(redis_url)
        page["publish"](client)
        until(lambda: page["proposal"](client, "BTCUSDT"), what="a proposal")
        # The first plan's cooldown is not what is shown here.
        store.run("DEL", "quantum:governor:ledger:BTCUSDT")
        page["example"](redis_url)
        client.close()
    said = capsys.readouterr().out
    assert re.search(r"DOWNSIZE, cap 1000\.00 -> 444\.4\d USD, 96 s more cooldown", said), said
    assert "proposal: (700.0, 'ok')" in said


def test_a_permit_is_taken_once_and_a_plan_that_is_blocked_has_none(
    store: Store, redis_url: str
) -> None:
    page = code()
    with hosting(redis_url):
        client = page["redis"].Redis.from_url(redis_url)
        plan_id = page["publish"](client)
        assert page["take"](client, plan_id)["symbol"] == "BTCUSDT"
        assert page["take"](client, plan_id, 0.0) is None
        in_cooldown = page["publish"](client)
        assert page["take"](client, in_cooldown, 0.3) is None
        assert b"symbol_cooldown" in client.get(f"quantum:governor:block:{in_cooldown}")
        client.close()


def test_without_a_proposal_there_is_nothing_to_trust(store: Store, redis_url: str) -> None:
    page = code()
    client = page["redis"].Redis.from_url(redis_url)
    assert page["proposal"](client, "BTCUSDT") is None
    client.close()


@pytest.mark.parametrize(
    ("age_sec", "taken"), [(0, True), (59, True), (1_900, False), (-90, False)]
)
def test_a_permit_that_outlived_its_lifetime_is_not_acted_on(
    store: Store, redis_url: str, age_sec: int, taken: bool
) -> None:
    """The server's clock stepped back by half an hour, and the key's lifetime with it."""
    page = code()
    client = page["redis"].Redis.from_url(redis_url)
    created_at = store.now_ms() / 1000 - age_sec
    store.run("SET", "quantum:permit:p1", json.dumps({"created_at": created_at}))
    assert (page["take"](client, "p1", 0.0) is not None) == taken
    assert store.run("EXISTS", "quantum:permit:p1") == 0
    client.close()
