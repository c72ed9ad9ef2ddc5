"""docs/history.md: its tables are those of a query, and its examples run."""

import re
from pathlib import Path
from typing import get_args

import pytest

from docs.generators.history_tables import with_history
from qtctl.history.query import Query
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Gap, GapKind, ServiceRow
from qtctl.history.store import Store
from tests.history.samples import DAY_MS, NOON, a_pass, decision_at

PAGE = (Path(__file__).parents[2] / "docs" / "history.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_tables_are_up_to_date() -> None:
    assert with_history(PAGE) == PAGE, "run make docs"


def test_every_kind_of_gap_is_explained() -> None:
    explained = re.findall(r"^\| `(\w+)` \| .* \| .* \|$", PAGE, re.MULTILINE)
    assert set(explained) >= set(get_args(GapKind))


@pytest.mark.parametrize("sql", EXAMPLES)
def test_an_example_has_an_answer(sql: str, tmp_path: Path) -> None:
    closed = {"kind": "close", "verdict": "blocked", "reason": "stale_plan"}
    with Store(tmp_path) as store:
        for at in (NOON, NOON + DAY_MS):
            store.write(
                Batch(
                    cursors={"s": f"{at}-0"},
                    decisions=[decision_at(at), decision_at(at + 1, **closed)],
                    passes=[a_pass(1, at, ("A", "10", "0.5"), ("B", "20", "0.6"))],
                    gaps=[Gap("trimmed", at, at + 1, "s", 3, "x", at)],
                    services=[ServiceRow(at, "started", "governor", "g", "1", "h", 1, at, "d")],
                )
            )
    with Query(History(tmp_path), sql) as asked:
        assert len(list(asked.rows())) >= 1


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
